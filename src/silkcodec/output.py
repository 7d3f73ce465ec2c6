"""Write files that appear under their final name only when they are complete.

Everything that Silk writes goes through `replacing`. It writes to a hidden file beside the target and renames that file
to the target at the end. A killed process, a full disk or an error therefore leaves the old file or no file, but never
a partial one.
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
    """Check that `path` can be written, before any work is done for it. Nothing is created.

    Returns:
        The path. Its parent folders may be missing, because `replacing` creates them.

    Raises:
        OutputError: the path exists already (and `overwrite` is False), is a folder, or is in a folder without write
            permission.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"The output must be a file; '{path}' is a folder. Add a file name.")
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
    """Open `path` for writing bytes. The file appears only if the `with` block ends without an error.

    Missing parent folders are created. A device such as /dev/null is written directly, because it cannot be replaced.

    Args:
        overwrite: whether an existing file may be replaced.
        durable: sync the bytes, and then the file name, to the disk, so that they survive a power failure.

    Raises:
        OutputError: see `check_output`; or the disk is full.
    """
    path = check_output(path, overwrite=overwrite)
    try:
        if _is_device(path):
            with open(path, "wb", buffering=0) as device:
                yield _Guarded(device, path)  # type: ignore[misc]
            return
        path = Path(os.path.realpath(path))  # Follow a link instead of replacing it.
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    part = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    with ExitStack() as undo:
        undo.callback(part.unlink, missing_ok=True)  # Registered first, because Ctrl-C can come at any time.
        try:
            # Files of tempfile are readable only by their owner, whatever the umask is.
            raw = open(part, "x+b", buffering=0)  # noqa: SIM115 - `undo` closes it
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
    """Sync the list of names in a folder to the disk. Windows cannot open folders, so this does nothing there."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def standard_output() -> BinaryIO:
    """Return standard output for bytes. A failed write, e.g. to a closed pipe, raises OutputError.

    Raises:
        OutputError: standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise OutputError(
            "Binary output must not go to a terminal; redirect it to a file or a pipe: > FILE, | COMMAND."
        )
    stdout = sys.stdout.buffer
    # Bypass Python's buffer, because it would retry a failed write to a closed pipe at exit.
    return _Guarded(getattr(stdout, "raw", stdout), "standard output")  # type: ignore[return-value]


class _Guarded(io.RawIOBase):
    """Wrap a file so that failed writes raise OutputError, which distinguishes a full disk from an unreadable input.

    Small writes (headers, frames of 48 bytes) are collected into larger ones. Unlike `io.BufferedWriter`, this class
    does not retry a failed write when it is closed.
    """

    BUFFER = 1 << 16  # bytes

    def __init__(self, file: Any, name: object) -> None:
        self._file = file
        self._name = name
        self._pending = bytearray()

    def write(self, data: Any) -> int:
        """Write all of `data`: bytes or any object with a buffer. Return the number of bytes."""
        view = memoryview(data).cast("B")
        self._pending += view
        if len(self._pending) >= self.BUFFER:
            self.flush()
        return len(view)

    def flush(self) -> None:
        """Pass all buffered bytes to the operating system. Raises OutputError."""
        pending, self._pending = memoryview(bytes(self._pending)), bytearray()
        try:
            while pending:
                pending = pending[self._file.write(pending) :]
        except OSError as error:
            raise _cannot_write(self._name, error) from error

    def read(self, size: int = -1) -> bytes:
        """Read bytes back. Writers that patch their header need this."""
        self.flush()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position in the file and return it."""
        self.flush()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes, including buffered bytes."""
        return self._file.tell() + len(self._pending)

    def truncate(self, size: int | None = None) -> int:
        """Truncate the file to `size` bytes and return the new size."""
        self.flush()
        return self._file.truncate(size)

    def readable(self) -> bool:
        """Return whether written bytes can be read back."""
        return self._file.readable()

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the position can be moved: True for files, False for most devices."""
        return self._file.seekable()

    def close(self) -> None:
        """Close without flushing. `replacing` flushes a complete file, and a failed write must not be retried."""
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
