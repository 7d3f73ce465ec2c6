"""The .silk file: Tokens <-> bytes. `docs/format.md` describes it to the byte.

    write(tokens, "talk.silk")                  whole recordings
    tokens = read("talk.silk")
    read("talk.silk", start_s=60, duration_s=5) a part of one, without decoding the rest
    read("talk.silk", recover=True)             the part of a damaged one before the damage
    info("talk.silk")                           what one holds, checked but not decoded
    Writer, Reader                              frame by frame, through a pipe, in bounded memory

A file is 48 bytes a frame (960 bit/s) and 1-2 % around them; `entropy=True` makes it smaller where a model's
levels are not all equally likely. Whatever happens to its bytes, reading returns what was written or raises
ContainerError.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from silkcodec.container.layout import VERSION, Chunk, Header
from silkcodec.container.reading import Reader
from silkcodec.container.writing import Writer
from silkcodec.errors import ArgumentError, ContainerError, TokensError
from silkcodec.spec import FRAME_SAMPLES, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Codes, Tokens

__all__ = [
    "VERSION",
    "Chunk",
    "Contents",
    "DamageWarning",
    "Header",
    "Reader",
    "Salvage",
    "Writer",
    "info",
    "read",
    "salvage",
    "write",
]

File = str | os.PathLike[str] | BinaryIO


class DamageWarning(UserWarning):
    """`read(file, recover=True)` read a damaged file up to its damage."""


@dataclass(frozen=True)
class Salvage:
    """What could be read of a file.

    Attributes:
        tokens: all chunks before the damage; the whole recording if there is none.
        damage: where and what the damage is; None: there is none.
        n_samples_lost: samples that `tokens` lacks of the wave; None: the file does not say how many it had.
    """

    tokens: Tokens
    damage: ContainerError | None
    n_samples_lost: int | None


@dataclass(frozen=True)
class Contents:
    """What a file holds, from its header and the headers of its chunks.

    Attributes:
        n_samples: of the wave; None: neither the header nor an end chunk says so.
        n_bytes: of the file, up to the damage if there is one.
        damage: what is wrong with the file (`info(..., recover=True)`); None: nothing.
    """

    header: Header
    chunks: tuple[Chunk, ...]
    n_samples: int | None
    n_bytes: int
    damage: ContainerError | None

    @property
    def n_frames(self) -> int:
        """Frames in all chunks."""
        return sum(chunk.n_frames for chunk in self.chunks)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the frames alone: 48 each where they are raw."""
        return sum(chunk.n_bytes for chunk in self.chunks)

    @property
    def payload_bps(self) -> float:
        """Bits of the frames per second of their span: 960 where they are raw."""
        return self.payload_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def file_bps(self) -> float:
        """Bits of the whole file per second of its frames' span."""
        return self.n_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)


def write(
    tokens: Tokens,
    file: File,
    *,
    entropy: bool = False,
    chunk_frames: int | None = None,
    overwrite: bool = False,
) -> int:
    """Writes Silk tokens, in whatever grouping, to a .silk file and returns its size in bytes.

    Args:
        tokens: of Silk's layout.
        file: a path, where the whole file appears or, on any failure, nothing; or a binary file object.
        entropy: range-code each chunk that gets smaller by it (needs the extra `entropy`; reading then does).
        chunk_frames: frames in a chunk, 1..4096; None: 25, or 75 range-coded. What damage costs, and what a
            reader waits for.
        overwrite: whether a file at that path may be replaced.

    Raises:
        TokensError: tokens of another codec.
        MissingExtraError: entropy without constriction installed.
        OutputError: a file that exists already, a full disk.
    """
    if not isinstance(tokens, Tokens):
        raise TokensError(
            f"A .silk file must be made of Tokens; got a {type(tokens).__name__}; the order is write(tokens, file)."
        )
    if tokens.dims_per_token is None:
        raise TokensError(
            "a .silk file holds tokens of Silk's layout only (128 dimensions of 8 levels at 2.5 Hz); "
            f"got {len(tokens.codes)} codebooks of {tokens.codec!r}."
        )
    with Writer(
        file,
        codec=tokens.codec,
        dims_per_token=tokens.dims_per_token,
        n_samples=tokens.n_samples,
        entropy=entropy,
        chunk_frames=chunk_frames,
        overwrite=overwrite,
    ) as writer:
        step = 4096  # frames at a time: a long recording is not copied whole
        for start in range(0, tokens.n_frames, step):
            writer.write(np.stack([codes[start : start + step] for codes in tokens.codes], axis=1))
        writer.finish()
    return writer.n_bytes


def read(file: File, *, recover: bool = False, start_s: float = 0.0, duration_s: float | None = None) -> Tokens:
    """Return the Tokens of a .silk file, or of a part of it.

    Everything up to the part is checked, so a part of a damaged file comes from its right place or is an error.
    Damage after the part does no harm.

    Args:
        file: a path or a binary file object, which need not be seekable.
        recover: read a damaged file up to its damage, with a DamageWarning (`salvage` has it as a value).
        start_s: seconds; the part begins with the frame that holds this moment.
        duration_s: seconds; the part ends with the frame that holds start_s + duration_s; None: at the end.
            Decoding a part is not quite the same as cutting the decoded whole, since the decoder remembers:
            read a second more before it and cut that off.

    Raises:
        ContainerError: not a .silk file, a newer one, or a damaged one, at byte `offset`.
        MissingExtraError: the file is range-coded and constriction is not installed.
        ArgumentError: a part that is not in the recording.
    """
    result = salvage(file, start_s=start_s, duration_s=duration_s)
    if result.damage is not None:
        if not recover:
            raise result.damage
        warnings.warn(str(result.damage), DamageWarning, stacklevel=2)
    return result.tokens


def salvage(file: File, *, start_s: float = 0.0, duration_s: float | None = None) -> Salvage:
    """Return the chunks before the damage of a file that may be damaged, and the number of samples lost.

    Only frames are returned whose checksum holds, and the checksums of everything before them. Arguments and errors
    are those of `read`.

    Raises:
        ContainerError: the header is damaged, or no frame of the part is before the damage.
    """
    first, last = _part(start_s, duration_s)
    pieces: list[Codes] = []
    damage: ContainerError | None = None
    with Reader(file) as reader:
        try:
            for codes in reader.frames(first, last):
                pieces.append(codes)
            reader.expect_end_of_file()
        except ContainerError as error:
            damage = error
    whole = reader.n_samples if reader.n_samples is not None else reader.header.n_samples
    held = min(reader.n_frames * FRAME_SAMPLES, whole or math.inf)  # samples before the damage, or in all
    begin, end = first * FRAME_SAMPLES, math.inf if last is None else last * FRAME_SAMPLES
    if not pieces:
        if damage is not None:
            raise damage
        total_s = held / SILK_SAMPLE_RATE
        raise ArgumentError(f"start_s must be below the {total_s:.3f} s of {reader.name}; got {start_s}.")
    sizes = reader.header.codebook_sizes
    tokens = Tokens(
        codes=tuple(np.concatenate(pieces).T),
        codebook_sizes=sizes,
        frame_rates=(SILK_FRAME_RATE,) * len(sizes),
        sample_rate=reader.header.sample_rate,
        n_samples=int(min(held, end)) - begin,
        codec=reader.header.codec,
    )
    lost = None if whole is None and damage else int(min(whole or held, end)) - begin - tokens.n_samples
    return Salvage(tokens, damage, lost)


def info(file: File, *, recover: bool = False) -> Contents:
    """Return what a .silk file holds. All checksums are verified; no frame is decoded.

    Raises:
        ContainerError: not a .silk file, or (unless `recover`) a damaged one.
    """
    chunks: list[Chunk] = []
    damage: ContainerError | None = None
    with Reader(file) as reader:
        try:
            for chunk in reader.chunks():
                chunks.append(chunk)
            reader.expect_end_of_file()
        except ContainerError as error:
            if not recover:
                raise
            damage = error
    n_samples = reader.n_samples if reader.n_samples is not None else reader.header.n_samples
    return Contents(reader.header, tuple(chunks), n_samples, reader.n_bytes, damage)


def _part(start_s: float, duration_s: float | None) -> tuple[int, int | None]:
    """The frames (first, one past the last) that hold a stretch of time."""
    if not (math.isfinite(start_s) and start_s >= 0):
        raise ArgumentError(f"start_s must be a number of seconds from 0 on; got {start_s}.")
    start = round(start_s * SILK_SAMPLE_RATE)
    if duration_s is None:
        return start // FRAME_SAMPLES, None
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise ArgumentError(f"duration_s must be a number of seconds above 0; got {duration_s}.")
    end = max(start + 1, round((start_s + duration_s) * SILK_SAMPLE_RATE))
    return start // FRAME_SAMPLES, -(-end // FRAME_SAMPLES)
