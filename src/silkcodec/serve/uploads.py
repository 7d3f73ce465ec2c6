"""Save uploads to a private folder, with limits on their size and upload time."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.requests import ClientDisconnect, Request

from silkcodec.errors import SilkError

PREFIX = "silk-serve-"  # prefix of upload folders in the system's temporary folder
FRESH_S = 10.0  # Folders that changed more recently are not deleted.
BLOCK = 1 << 18  # bytes per piece of a response


class BodyError(SilkError):
    """Raised when a request body is too large or empty, arrives too slowly, or cannot be stored.

    Attributes:
        status: HTTP status of the response.
        code: error code in the response, e.g. "too_large".
    """

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@contextmanager
def private_folder() -> Iterator[Path]:
    """Create a private folder for uploads, and delete the folders of servers that were killed.

    A running server holds a lock on its folder.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = os.open(name, os.O_RDONLY)
        try:
            _lock(folder)
            yield Path(name)
        finally:
            os.close(folder)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # owned by another user, or not a folder
            continue
        try:
            # A new folder may not be locked yet.
            status = os.fstat(folder)
            is_left = status.st_uid == os.geteuid() and time.time() - status.st_mtime > FRESH_S and _lock(folder)
            if is_left:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(folder)


def _lock(folder: int) -> bool:
    """Lock a folder until its file descriptor is closed. Return False if this is not possible."""
    try:
        import fcntl

        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # Windows and some file systems have no such locks. Delete nothing there.
        return False
    return True


@contextmanager
def request_folder(root: Path) -> Iterator[Path]:
    """Create a folder for the files of a request, and delete it at the end of the `with` block."""
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def save(request: Request, path: Path, max_bytes: int, max_s: float) -> None:
    """Save the body of a request to a file.

    Raises:
        BodyError: the body is empty, its size is above `max_bytes`, receiving it takes longer than `max_s` seconds, or
            the file cannot be written.
        ClientDisconnect: the client disconnected.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    n_bytes = 0
    try:
        async with asyncio.timeout(max_s):
            with open(path, "xb", buffering=0) as file:
                async for piece in request.stream():
                    n_bytes += len(piece)
                    if n_bytes > max_bytes:
                        raise _too_large(max_bytes)
                    file.write(piece)
    except TimeoutError:
        raise BodyError(408, "too_slow", f"An upload must be complete within {max_s:g} s.") from None
    except OSError as error:
        raise BodyError(503, "not_stored", "The server cannot store the upload. Try again later.") from error
    if n_bytes == 0:
        raise BodyError(400, "empty", "The body is empty. Send the file as the body.")


def _too_large(max_bytes: int) -> BodyError:
    return BodyError(413, "too_large", f"An upload may have at most {max_bytes} bytes.")


async def unless_disconnected(request: Request, work: asyncio.Task[float]) -> float:
    """Return the result of a task. If the client disconnects first, cancel the task and raise ClientDisconnect."""
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        gone.cancel()
        work.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def open_result(path: Path) -> tuple[int, Callable[[], AsyncIterator[bytes]]]:
    """Open a file, and return its size and a function that yields its contents.

    The file can be deleted as soon as this function returns.
    """
    file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed after the last piece, or by the garbage collector
    n_bytes = os.fstat(file.fileno()).st_size

    async def pieces() -> AsyncIterator[bytes]:
        with file:
            while piece := file.read(BLOCK):
                yield piece

    return n_bytes, pieces
