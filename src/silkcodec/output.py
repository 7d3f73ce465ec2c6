"""Write files atomically: a file appears at its path only when it is complete."""

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
    """Check that a file can be written, without creating it.

    Returns:
        The path as a `Path`.

    Raises:
        OutputError: the path is a folder, is not writable, or already exists and `overwrite` is False.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"The output must be a file, but '{path}' is a folder. Add a file name.")
    except (OSError, ValueError) as error:  # The name is too long or contains a null byte.
        raise _cannot_write(path, error) from error
    if _is_device(path):
        return path
    if path.exists():
        if not overwrite:
            raise OutputError(f"'{path}' already exists. Choose another name, or overwrite it with --force.")
        if not os.access(path, os.W_OK):
            raise OutputError(f"Cannot overwrite '{path}': permission denied. Choose another name.")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"Cannot write to '{path}': '{folder}' is a file, not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write to '{path}': permission denied for folder '{folder}'. Choose another folder.")
    return path


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that appears at its path only if the `with` block ends without an error.

    Missing parent folders are created. Devices such as /dev/null are opened directly.

    Args:
        path: path of the file.
        overwrite: whether an existing file can be replaced.
        durable: whether to flush the file to disk, so that it survives a power failure.

    Raises:
        OutputError: the file already exists or cannot be written, for example because the disk is full.
    """
    path = check_output(path, overwrite=overwrite)
    try:
        if _is_device(path):
            with open(path, "wb", buffering=0) as device:
                guarded = Guarded(device, path)
                yield guarded  # type: ignore[misc]
                guarded.flush()
            return
        path = Path(os.path.realpath(path))  # Write to the target of a symbolic link instead of replacing the link.
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    part = path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.part")
    with ExitStack() as undo:
        undo.callback(part.unlink, missing_ok=True)  # Registered before `open`, because Ctrl-C can come at any time.
        try:
            # The tempfile module is not used, because it ignores the umask and makes files private to their owner.
            raw = open(part, "x+b", buffering=0)  # noqa: SIM115 - `undo` closes it
            undo.callback(raw.close)
        except OSError as error:
            raise _cannot_write(path, error) from error
        guarded = Guarded(raw, path)
        yield guarded  # type: ignore[misc]
        guarded.flush()
        try:
            if durable:
                os.fsync(raw.fileno())
            raw.close()
            if check_output(path, overwrite=overwrite).exists():  # Another process may have written it meanwhile.
                os.chmod(part, stat.S_IMODE(path.stat().st_mode))
            os.replace(part, path)
            if durable:
                _sync_folder(path.parent)
        except OSError as error:
            raise _cannot_write(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk, except on Windows."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def standard_output() -> BinaryIO:
    """Return standard output as a binary file. Failed writes raise OutputError.

    Raises:
        OutputError: standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise OutputError("Cannot write binary data to a terminal. Redirect the output with '> FILE' or '| COMMAND'.")
    stdout = sys.stdout.buffer
    # Python's buffered writer would retry a failed write to a closed pipe at exit.
    return Guarded(getattr(stdout, "raw", stdout), "standard output")  # type: ignore[return-value]


class Guarded(io.RawIOBase):
    """Wrap a file, so that failed writes raise OutputError and are not retried when the file is closed."""

    BUFFER = 1 << 16  # bytes

    def __init__(self, file: Any, name: object) -> None:
        self._file = file
        self._name = name
        self._pending = bytearray()

    def write(self, data: Any) -> int:
        """Write or buffer `data`, and return its length in bytes."""
        view = memoryview(data).cast("B")
        self._pending += view
        if len(self._pending) >= self.BUFFER:
            self.flush()
        return len(view)

    def flush(self) -> None:
        """Write all buffered bytes to the file.

        Raises:
            OutputError: the write fails.
        """
        pending, self._pending = memoryview(bytes(self._pending)), bytearray()
        try:
            while pending:
                taken = self._file.write(pending)
                pending = pending[len(pending) if taken is None else taken :]
        except OSError as error:
            raise _cannot_write(self._name, error) from error

    def read(self, size: int = -1) -> bytes:
        """Read bytes back from the file. Some audio writers need this to update the header of a file."""
        self.flush()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek to a position in the file and return it."""
        self.flush()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position, including buffered bytes."""
        return self._file.tell() + len(self._pending)

    def truncate(self, size: int | None = None) -> int:
        self.flush()
        return self._file.truncate(size)

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def close(self) -> None:
        """Close the file without writing the buffered bytes."""
        self._pending.clear()
        super().close()


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _cannot_write(name: object, error: OSError | ValueError) -> OutputError:
    name = f"'{name}'" if isinstance(name, Path) else name
    return OutputError(f"Cannot write to {name}: {getattr(error, 'strerror', None) or error}.")
