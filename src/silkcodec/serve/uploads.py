"""A request's body to a file of a private folder, with limits; and a result back from there."""

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

PREFIX = "silk-serve-"  # of the folder of a server's uploads, in the system's temporary folder
FRESH_S = 10.0
BLOCK = 1 << 18  # bytes sent at once


class BodyError(SilkError):
    """A body that is too large, too slow, or empty. `status`: of HTTP."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for one server's uploads, readable by this user only, and delete those of killed servers.

    A server holds a lock on its folder. The kernel releases the lock when the server ends, however it ends.
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
        except OSError:  # another user's, or no folder
            continue
        try:
            # One that was made a moment ago may not be locked yet.
            status = os.fstat(folder)
            is_left = status.st_uid == os.geteuid() and time.time() - status.st_mtime > FRESH_S and _lock(folder)
            if is_left:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(folder)


def _lock(folder: int) -> bool:
    """Lock an open folder until it is closed; False: another process has it."""
    try:
        import fcntl

        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # not a Unix, or a file system without locks: nothing is swept
        return False
    return True


@contextmanager
def request_folder(root: Path) -> Iterator[Path]:
    """A folder for one request's files, gone when the block ends."""
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def save(request: Request, path: Path, max_bytes: int, max_s: float) -> int:
    """The body of a request to a file, never more of it in memory than a piece; returns its bytes.

    Writing happens on the event loop: a piece is 64 kB at most and goes to the page cache.

    Raises:
        BodyError: it is larger than `max_bytes` (by its own account, or counted), took longer than `max_s`, or is
            empty; or the disk is full. ClientDisconnect.
    """
    promised = request.headers.get("content-length", "0")
    if promised.isdecimal() and int(promised) > max_bytes:
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
        raise BodyError(503, "not_stored", "The server cannot store the upload; come again.") from error
    if n_bytes == 0:
        raise BodyError(400, "empty", "The body must be the file; got nothing.")
    return n_bytes


def _too_large(max_bytes: int) -> BodyError:
    return BodyError(413, "too_large", f"An upload must be {max_bytes} bytes at most.")


async def or_vanished(request: Request, work: asyncio.Task[float]) -> float:
    """What the work returns, unless the client is gone before: then it is cancelled. Raises ClientDisconnect."""
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


def taken(path: Path) -> tuple[int, Callable[[], AsyncIterator[bytes]]]:
    """A finished file's size and its bytes in pieces; its name may vanish meanwhile."""
    file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed at its end, or with the last reference to it
    n_bytes = os.fstat(file.fileno()).st_size

    async def pieces() -> AsyncIterator[bytes]:
        with file:
            while piece := file.read(BLOCK):
                yield piece

    return n_bytes, pieces
