"""Read .silk files from a path, a file object or a pipe, one chunk at a time.

The checksum of a chunk is verified before the chunk is used. Chunks of more than 200 kB are rejected, so a forged size
cannot make the reader allocate much memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from silkcodec.container import payload
from silkcodec.container.structure import (
    CHUNK,
    CODED,
    CRC,
    END,
    END_PAYLOAD,
    PREFIX,
    Chunk,
    Header,
    check_magic,
    chunk_crc,
    is_possible_chunk,
    parse_header,
)
from silkcodec.errors import ArgumentError, ContainerError, capitalized
from silkcodec.spec import SILK_FRAME_RATE
from silkcodec.tokens import Codes, levels_to_codes, n_frames

PIECE_FRAMES = 25
"""Maximum number of frames per yielded array (10 s). A chunk of 4 kB can contain 27 minutes, so this limits memory."""


class Reader:
    """Read a .silk file one chunk at a time.

        with Reader("talk.silk") as reader:
            for codes in reader.frames():  # int64 [F, K]
                play(decoder.feed(codes))

    Args:
        file: a path or a binary file object. File objects are not closed.
        suggest_recovery: whether errors about damage tell how to read the frames before it.

    Attributes:
        header: header of the file.
        n_frames: number of frames read so far.
        n_samples: length of the recording in samples, or None until the end of the file has been read.

    Raises:
        ContainerError: the file is missing, is not a .silk file, or is damaged. Reading can also raise this error.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO, *, suggest_recovery: bool = True) -> None:
        self._suggest_recovery = suggest_recovery
        self.n_frames = 0
        self.n_samples: int | None = None
        self._input = _Input(file)
        try:
            self.header, self._crc = self._read_header()
        except BaseException:
            self.close()
            raise

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[Codes]:
        """Yield the codes of consecutive frames, int64 [F, K].

        Args:
            first: index of the first frame.
            last: index of the frame after the last frame to read. None reads to the end of the file.

        Raises:
            ContainerError: the file is damaged.
        """
        for levels in self.levels(first, last):
            yield levels_to_codes(levels, self.header.dims_per_token)

    def levels(self, first: int = 0, last: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield the FSQ levels of consecutive frames, uint8 [F, 128].

        Args:
            first: index of the first frame.
            last: index of the frame after the last frame to read. None reads to the end of the file.

        Raises:
            ContainerError: the file is damaged.
        """
        for chunk, data in self._chunks():
            before = chunk.first_frame
            if last is not None and before >= last:
                if self._input.seekable:
                    self._input.go_to_end()
                    return
                continue
            begin, end = max(0, first - before), min(chunk.n_frames, (last or math.inf) - before)
            if begin >= end:
                continue
            levels = self._levels(chunk, data)
            for start in range(begin, int(end), PIECE_FRAMES):
                yield levels[start : min(int(end), start + PIECE_FRAMES)]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the headers of the chunks without decoding the frames.

        Raises:
            ContainerError: the file is damaged.
        """
        for chunk, _ in self._chunks():
            yield chunk

    def expect_end_of_file(self) -> None:
        """Check that the file ends after the recording. For a pipe, wait until it is closed.

        Raises:
            ContainerError: more bytes follow the recording.
        """
        end = self._input.offset
        if self.n_samples is not None and self._input.read(1):
            raise self._damaged(end, "the recording ends there, but more bytes follow")

    @property
    def n_bytes(self) -> int:
        """Return the number of bytes read or skipped so far."""
        return self._input.offset

    @property
    def name(self) -> str:
        """Return the name of the file for error messages."""
        return self._input.name

    def close(self) -> None:
        """Close the file if it was opened from a path."""
        self._input.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> tuple[Header, int]:
        prefix = self._input.read(PREFIX.size)
        check_magic(self.name, prefix)
        if len(prefix) < PREFIX.size:
            raise self._truncated("inside its header")
        length: int = PREFIX.unpack(prefix)[2]
        if length < PREFIX.size + CRC.size:
            raise self._damaged(PREFIX.size - 2, f"the header cannot have {length} bytes")
        rest = self._input.read(length - PREFIX.size)
        if len(rest) < length - PREFIX.size:
            raise self._truncated("inside its header")
        return parse_header(self.name, prefix + rest), CRC.unpack(rest[-CRC.size :])[0]

    def _chunks(self) -> Iterator[tuple[Chunk, bytes]]:
        """Yield each chunk and its payload after verifying the checksum."""
        while self.n_samples is None:
            offset = self._input.offset
            head = self._input.read(CHUNK.size)
            if len(head) < CHUNK.size:
                raise self._truncated("before its end chunk")
            kind, frames, n_bytes, crc = CHUNK.unpack(head)
            if not is_possible_chunk(kind, frames, n_bytes):
                raise self._damaged(offset, f"a {kind!r} chunk cannot have {frames} frames in {n_bytes} bytes")
            if kind == END:
                self._read_end(offset, crc)
                return
            if self.header.n_frames is not None and self.n_frames + frames > self.header.n_frames:
                raise self._damaged(offset, f"there are more than the {self.header.n_frames} declared frames")
            data = self._checked_payload(offset, kind, frames, n_bytes, crc)
            chunk = Chunk(offset, kind == CODED, self.n_frames, frames, n_bytes)
            self.n_frames += frames
            yield chunk, data

    def _read_end(self, offset: int, crc: int) -> None:
        data = self._checked_payload(offset, END, 0, END_PAYLOAD.size, crc)
        (n_samples,) = END_PAYLOAD.unpack(data)
        if not n_samples or n_frames(n_samples) != self.n_frames or self.header.n_samples not in (None, n_samples):
            raise self._damaged(offset, f"{self.n_frames} frames do not match {n_samples} samples")
        self.n_samples = n_samples
        if self._input.seekable:  # A pipe may stay open after the end chunk.
            self.expect_end_of_file()

    def _levels(self, chunk: Chunk, data: bytes) -> payload.Levels:
        if not chunk.coded:
            return payload.unpack(data)
        try:
            return payload.decode(data, chunk.n_frames)
        except payload.CodedPayloadError as error:
            self.n_frames = chunk.first_frame  # None of the chunk's frames can be read.
            raise self._damaged(chunk.offset, str(error)) from error

    def _checked_payload(self, offset: int, kind: bytes, frames: int, n_bytes: int, crc: int) -> bytes:
        data = self._input.read(n_bytes)
        if len(data) < n_bytes:
            raise self._truncated(f"inside the chunk that starts at byte {offset}")
        if chunk_crc(kind, frames, data, self._crc) != crc:
            raise self._damaged(offset, f"the checksum of bytes {offset} to {self._input.offset - 1} is wrong")
        self._crc = crc
        return data

    def _damaged(self, offset: int, what: str) -> ContainerError:
        where = f"{capitalized(self.name)} is damaged at byte {offset}"
        return ContainerError(f"{where}: {what}{self._recoverable()}.", offset)

    def _truncated(self, where: str) -> ContainerError:
        end = self._input.offset
        what = f"{capitalized(self.name)} is truncated: it ends at byte {end}, {where}"
        return ContainerError(f"{what}{self._recoverable()}.", end)

    def _recoverable(self) -> str:
        seconds = self.n_frames / SILK_FRAME_RATE
        if not (self.n_frames and self._suggest_recovery):
            return ""
        return f". To read the {seconds:.1f} s before the damage, use silk decode --recover (in Python, recover=True)"


class _Input:
    """Read bytes from a path, a file object or a pipe, and count them."""

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self.offset = 0
        self._owned = isinstance(file, (str, os.PathLike))
        if isinstance(file, (str, os.PathLike)):
            self.name = f"'{os.fspath(file)}'"
            try:
                self._file: BinaryIO = open(file, "rb")  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise self._unreadable(error) from error
        elif hasattr(file, "read"):
            name = getattr(file, "name", None)  # The name of a pipe is a number.
            self.name = "standard input" if name == "<stdin>" else f"'{name}'" if isinstance(name, str) else "the input"
            self._file = file
        else:
            raise ArgumentError(f"file must be a path or a binary file object; got {type(file).__name__}.")
        self.seekable = self._file.seekable()

    def read(self, n: int) -> bytes:
        """Read n bytes, or fewer at the end of the file."""
        pieces, missing = [], n
        while missing:
            try:
                piece = self._file.read(missing)  # A pipe may return fewer bytes.
            except OSError as error:
                raise self._unreadable(error) from error
            if isinstance(piece, str):
                raise ArgumentError(f"file must be opened in binary mode; got {self.name} in text mode.")
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self.offset += len(data)
        return data

    def go_to_end(self) -> None:
        """Skip the rest of a seekable file without reading it."""
        try:
            self.offset -= self._file.tell()
            self.offset += self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        if self._owned:
            self._file.close()

    def _unreadable(self, error: OSError) -> ContainerError:
        return ContainerError(f"Cannot read {self.name}: {error.strerror or error}.")
