"""Files that appear under their name only when they are complete.

Everything Silk writes goes through `replacing`: the bytes go to a hidden file beside the target, which is
renamed onto the target at the very end. So a killed process, a full disk or an error half way leaves
either the old file or none, never half of one.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from silkcodec.errors import OutputError


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Say whether `path` can be written, before any work is done for it; nothing is created.

    Returns:
        The path. Missing folders above it are fine: `replacing` makes them.

    Raises:
        OutputError: it exists already (and `overwrite` is False), is a folder, or lies where nothing can
            be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"The output must be a file; '{path}' is a folder; add a file name.")
    if _is_device(path):
        return path
    if path.exists():
        if not overwrite:
            raise OutputError(f"'{path}' exists already; choose another name, or overwrite it with --force.")
        if not os.access(path, os.W_OK):
            raise OutputError(f"'{path}' cannot be overwritten: no permission; choose another name.")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"'{path}' cannot be written: '{folder}' is a file, not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"'{path}' cannot be written: no permission in '{folder}'; choose another folder.")
    return path


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False, durable: bool = False) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; the file appears when the block ends without an error, or not at all.

    Folders above it are made. A device such as /dev/null is written directly: it cannot be replaced.

    Args:
        overwrite: a file of that name may be replaced.
        durable: wait until the bytes, and then the name, are on the disk: a loss of power keeps them too.

    Raises:
        OutputError: see `check_output`; also when the disk is full.
    """
    path = check_output(path, overwrite=overwrite)
    try:
        if _is_device(path):
            with open(path, "wb", buffering=0) as device:
                yield _Guarded(device, path)  # type: ignore[misc]
            return
        path = Path(os.path.realpath(path))  # a link is followed, not replaced by a file
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    part = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    with ExitStack() as undo:
        undo.callback(part.unlink, missing_ok=True)  # set up before the file is there: Ctrl-C may come at any time
        try:
            # Not tempfile: that makes files only their owner may read, whatever the umask says.
            raw = open(part, "x+b", buffering=0)  # noqa: SIM115 - closed on every way out
            undo.callback(raw.close)
        except OSError as error:
            raise _cannot_write(path, error) from error
        guarded = _Guarded(raw, path)
        yield guarded  # type: ignore[misc]
        guarded.flush()
        try:
            if durable:
                os.fsync(raw.fileno())
            raw.close()
            os.replace(part, path)
            if durable:
                _sync_folder(path.parent)
        except OSError as error:
            raise _cannot_write(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk, where the system can open folders (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def standard_output() -> BinaryIO:
    """Standard output for bytes: what cannot be written to it (a closed pipe, say) is an OutputError.

    Raises:
        OutputError: it is a terminal, which bytes would only confuse.
    """
    if sys.stdout.isatty():
        raise OutputError("Bytes must not go to a terminal; send them to a file or a pipe: > FILE, | COMMAND.")
    stdout = sys.stdout.buffer
    # Past Python's own buffer, which would try again at exit what a closed pipe has already refused.
    return _Guarded(getattr(stdout, "raw", stdout), "standard output")  # type: ignore[return-value]


class _Guarded(io.RawIOBase):
    """A file whose failures are OutputErrors, so that a full disk is told apart from an unreadable input.

    Collects small writes (headers, frames of 48 bytes) into larger ones; unlike `io.BufferedWriter` it
    does not try again, when it is closed, to write what the disk has already refused.
    """

    BUFFER = 1 << 16  # bytes

    def __init__(self, file: Any, name: object) -> None:
        self._file = file
        self._name = name
        self._pending = bytearray()

    def write(self, data: Any) -> int:
        """Write all of `data`, bytes or anything with a buffer."""
        view = memoryview(data).cast("B")
        self._pending += view
        if len(self._pending) >= self.BUFFER:
            self.flush()
        return len(view)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        pending, self._pending = memoryview(bytes(self._pending)), bytearray()
        try:
            while pending:
                pending = pending[self._file.write(pending) :]
        except OSError as error:
            raise _cannot_write(self._name, error) from error

    def read(self, size: int = -1) -> bytes:
        """Read back what was written, as writers that patch their header do."""
        self.flush()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move in the file."""
        self.flush()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position in bytes, buffered ones included."""
        return self._file.tell() + len(self._pending)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file to `size` bytes."""
        self.flush()
        return self._file.truncate(size)

    def readable(self) -> bool:
        """Whether what was written can be read back."""
        return self._file.readable()

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be moved: yes for files, no for most devices."""
        return self._file.seekable()

    def close(self) -> None:
        """Flushing is `replacing`'s business: a file that failed must not be written to once more."""
        self._pending.clear()
        super().close()


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _cannot_write(name: object, error: OSError) -> OutputError:
    name = f"'{name}'" if isinstance(name, Path) else name
    return OutputError(f"{name} cannot be written: {error.strerror or error}.")
