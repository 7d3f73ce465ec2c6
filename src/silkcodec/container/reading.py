"""Reading .silk files, from a path, a file object or a pipe, one chunk at a time.

Nothing is believed before it is checked: a chunk is at most 200 kB whatever its header claims, and its
checksum comes before its meaning. So memory follows the bytes that are there, not the numbers in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from ..errors import ArgumentError, ContainerError
from ..tokens import SILK_FRAME_RATE, Codes, levels_to_codes, n_frames
from . import payload
from .layout import (
    CHUNK,
    CODED,
    CRC,
    END,
    END_PAYLOAD,
    MAGIC,
    PREFIX,
    RAW,
    Chunk,
    Header,
    check_magic,
    chunk_crc,
    is_possible_chunk,
    parse_header,
)


class Reader:
    """Reads one recording from a .silk file, front to back, one chunk at a time.

        with Reader("talk.silk") as reader:
            for codes in reader.frames():  # int64 [F, K]
                play(decoder.feed(codes))

    Each chunk is checked before its frames are given out, and given out as soon as it is there: from a pipe,
    no byte after it is waited for.

    Args:
        file: a path, or a binary file object, which stays open.

    Attributes:
        header: what the file says of itself.
        n_frames: frames passed so far, read or skipped.
        n_samples: of the wave; None until the end chunk is reached, which alone is certain of it.

    Raises:
        ContainerError: no such file, not a .silk file, or a damaged header. While reading: damage, at
            `offset`; what was given out before it is sound.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self.n_frames = 0
        self.n_samples: int | None = None
        self._input = _Input(file)
        try:
            self.header, self._crc = self._read_header()
        except BaseException:
            self.close()
            raise

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[Codes]:
        """Yields the codes of frames first..last-1, int64 [F, K], chunk by chunk, and goes on to the end.

        Chunks outside are passed over, in a seekable file without reading (so without checking) them.
        """
        for chunk, crc in self._chunks():
            before, after = chunk.first_frame, chunk.first_frame + chunk.n_frames
            if after <= first or (last is not None and before >= last):
                self._skip(chunk, crc)
                continue
            codes = levels_to_codes(self._levels(chunk, crc), self.header.dims_per_token)
            yield codes[max(0, first - before) : None if last is None else last - before]

    def chunks(self) -> Iterator[Chunk]:
        """Yields what the chunks say of themselves, without reading the frames of a seekable file."""
        for chunk, crc in self._chunks():
            self._skip(chunk, crc)
            yield chunk

    def expect_end_of_file(self) -> None:
        """Raises ContainerError if anything follows the end chunk; on a pipe, waits until it is closed."""
        end = self._input.offset
        if self._input.read(1):
            raise self._damaged(end, "the recording ends here, but more bytes follow")

    @property
    def n_bytes(self) -> int:
        """Bytes passed so far."""
        return self._input.offset

    @property
    def name(self) -> str:
        """The path or name of the file, for messages."""
        return self._input.name

    def close(self) -> None:
        """Closes the file, if it was given as a path."""
        self._input.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> tuple[Header, int]:
        prefix = self._input.read(PREFIX.size)
        check_magic(self.name, prefix[: len(MAGIC)])
        if len(prefix) < PREFIX.size:
            raise self._cut_short("inside its header")
        length: int = PREFIX.unpack(prefix)[2]
        if length < PREFIX.size + CRC.size:
            raise self._damaged(PREFIX.size - 2, f"a header has no {length} bytes")
        rest = self._input.read(length - PREFIX.size)
        if len(rest) < length - PREFIX.size:
            raise self._cut_short("inside its header")
        return parse_header(self.name, prefix + rest), CRC.unpack(rest[-CRC.size :])[0]

    def _chunks(self) -> Iterator[tuple[Chunk, int]]:
        """Chunk headers and checksums; the caller reads or skips the payload before it asks for the next."""
        while self.n_samples is None:
            offset = self._input.offset
            head = self._input.read(CHUNK.size)
            if len(head) < CHUNK.size:
                raise self._cut_short("before its end chunk")
            kind, frames, n_bytes, crc = CHUNK.unpack(head)
            if not is_possible_chunk(kind, frames, n_bytes):
                raise self._damaged(offset, f"no chunk {kind!r} has {frames} frames in {n_bytes} bytes")
            if kind == END:
                self._read_end(offset, crc)
                return
            if self.header.n_frames is not None and self.n_frames + frames > self.header.n_frames:
                raise self._damaged(
                    offset, f"a chunk goes beyond the {self.header.n_frames} frames of the header"
                )
            yield Chunk(offset, kind == CODED, self.n_frames, frames, n_bytes), crc

    def _read_end(self, offset: int, crc: int) -> None:
        data = self._checked_payload(offset, END, 0, END_PAYLOAD.size, crc)
        (n_samples,) = END_PAYLOAD.unpack(data)
        if (
            not n_samples
            or n_frames(n_samples) != self.n_frames
            or self.header.n_samples not in (None, n_samples)
        ):
            raise self._damaged(offset, f"its {self.n_frames} frames are not those of {n_samples} samples")
        self.n_samples = n_samples
        if self._input.seekable:  # a pipe may stay open, and is not waited for
            self.expect_end_of_file()

    def _levels(self, chunk: Chunk, crc: int) -> payload.Levels:
        kind = CODED if chunk.coded else RAW
        data = self._checked_payload(chunk.offset, kind, chunk.n_frames, chunk.n_bytes, crc)
        try:
            levels = payload.decode(data, chunk.n_frames) if chunk.coded else payload.unpack(data)
        except payload.CodedPayloadError as error:
            raise self._damaged(chunk.offset, str(error)) from error
        self.n_frames += chunk.n_frames
        return levels

    def _skip(self, chunk: Chunk, crc: int) -> None:
        if not self._input.seekable:
            self._levels(chunk, crc)
            return
        if not self._input.skip(chunk.n_bytes):
            raise self._cut_short(f"inside the chunk that starts at byte {chunk.offset}")
        self._crc = crc
        self.n_frames += chunk.n_frames

    def _checked_payload(self, offset: int, kind: bytes, frames: int, n_bytes: int, crc: int) -> bytes:
        data = self._input.read(n_bytes)
        if len(data) < n_bytes:
            raise self._cut_short(f"inside the chunk that starts at byte {offset}")
        if chunk_crc(kind, frames, data, self._crc) != crc:
            raise self._damaged(offset, f"the checksum of bytes {offset}..{self._input.offset - 1} is wrong")
        self._crc = crc
        return data

    def _damaged(self, offset: int, what: str) -> ContainerError:
        return ContainerError(
            f"{self.name} is damaged at byte {offset}: {what}{self._what_is_left()}.", offset
        )

    def _cut_short(self, where: str) -> ContainerError:
        end = self._input.offset
        return ContainerError(
            f"{self.name} is cut short: it ends at byte {end}, {where}{self._what_is_left()}.", end
        )

    def _what_is_left(self) -> str:
        seconds = self.n_frames / SILK_FRAME_RATE
        return f"; the {seconds:.1f} s before it can be read with recover" if self.n_frames else ""


class _Input:
    """Bytes in order from a path, a file object or a pipe, counted from where reading began."""

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self.offset = 0
        self._owned = isinstance(file, (str, os.PathLike))
        if isinstance(file, (str, os.PathLike)):
            self.name = os.fspath(file)
            try:
                self._file: BinaryIO = open(file, "rb")  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise self._unreadable(error) from error
        elif hasattr(file, "read"):
            self.name = str(getattr(file, "name", "the input"))
            self._file = file
        else:
            raise ArgumentError(f"file must be a path or a binary file object; got {type(file).__name__}.")
        self.seekable = self._file.seekable()

    def read(self, n: int) -> bytes:
        """The next n bytes, or fewer at the end of the file. n is small (see `layout`)."""
        pieces, missing = [], n
        while missing:
            try:
                piece = self._file.read(missing)  # a pipe gives what it has
            except OSError as error:
                raise self._unreadable(error) from error
            if isinstance(piece, str):
                raise ArgumentError(f"{self.name} must be opened in binary mode; got a text file object.")
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self.offset += len(data)
        return data

    def skip(self, n: int) -> bool:
        """Passes over n >= 1 bytes of a seekable file; False if it ends before."""
        try:
            here = self._file.tell()
            self._file.seek(n - 1, os.SEEK_CUR)
            if self._file.read(1):  # one can seek past the end, but not read there
                self.offset += n
                return True
            self.offset += self._file.seek(0, os.SEEK_END) - here
        except OSError as error:
            raise self._unreadable(error) from error
        return False

    def close(self) -> None:
        if self._owned:
            self._file.close()

    def _unreadable(self, error: OSError) -> ContainerError:
        return ContainerError(f"{self.name} cannot be read: {error.strerror or error}.")
