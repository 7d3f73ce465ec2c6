"""Present a part of an open file as a separate file.

libsndfile reads only one recording per file. If a file contains several, libsndfile is given a span for each of them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any, BinaryIO


class Span(io.RawIOBase):
    """Present a part of an open, seekable file as a separate file.

    Args:
        file: the open file. Closing the span does not close it.
        start: offset of the first byte.
        end: offset after the last byte.
        patches: replacement bytes, keyed by their offset in the file.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, patches: Mapping[int, bytes] | None = None) -> None:
        self._file, self._start, self._size, self._at = file, start, end - start, 0
        self._patches = {at - start: content for at, content in (patches or {}).items()}
        self._error: BaseException | None = None

    @property
    def is_whole_file(self) -> bool:
        """Return whether the span covers the whole file without replacing any bytes."""
        return self._start == 0 and not self._patches and self._size == self._file.seek(0, os.SEEK_END)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def check(self) -> None:
        """Raise the error of an earlier read, because exceptions cannot pass through libsndfile's C callbacks."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def readinto(self, buffer: Any) -> int:
        """Read bytes into `buffer`, and return the number of bytes read, or 0 after an error; see `check`."""
        view = memoryview(buffer).cast("B")
        n = min(len(view), self._size - self._at)
        if n <= 0:  # If a header is damaged, libsndfile may seek far beyond the end.
            return 0
        try:
            self._file.seek(self._start + self._at)
            content = bytearray(self._file.read(n))
        except BaseException as error:  # including Ctrl-C
            self._error = error
            return 0
        for at, patch in self._patches.items():
            for i, byte in enumerate(patch, start=at - self._at):
                if 0 <= i < len(content):
                    content[i] = byte
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek to a position in the span and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the current position in the span."""
        return self._at
