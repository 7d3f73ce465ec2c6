"""Read and write .silk files: Tokens <-> bytes. `docs/format.md` specifies every byte.

    write(tokens, "talk.silk")                  whole recordings
    tokens = read("talk.silk")
    read("talk.silk", start_s=60, duration_s=5) a part of a recording, without decoding the rest
    read("talk.silk", recover=True)             the part of a damaged file before the damage
    info("talk.silk")                           the contents, checked but not decoded
    Writer, Reader                              frame by frame, through a pipe, in bounded memory

A file has 48 bytes per frame (960 bit/s) and 1-2 % overhead. `entropy=True` makes it smaller if the levels of a
model are not equally likely. If the bytes are corrupted, reading returns the original data or raises ContainerError.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from silkcodec.container.reading import Reader
from silkcodec.container.structure import VERSION, Chunk, Header
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
    "Recovered",
    "Writer",
    "info",
    "read",
    "read_damaged",
    "write",
]

File = str | os.PathLike[str] | BinaryIO


class DamageWarning(UserWarning):
    """Warn that `read(file, recover=True)` read a damaged file only up to the damage."""


@dataclass(frozen=True)
class Recovered:
    """Represent the recovered part of a file.

    Attributes:
        tokens: all chunks before the damage; the whole recording if there is no damage.
        damage: the position and kind of the damage; None if there is none.
        n_samples_lost: samples of the wave that are missing in `tokens`; None if the length of the wave is unknown.
    """

    tokens: Tokens
    damage: ContainerError | None
    n_samples_lost: int | None


@dataclass(frozen=True)
class Contents:
    """Describe the contents of a file, from its header and the headers of its chunks.

    Attributes:
        n_samples: number of samples of the wave; None if neither the header nor an end chunk has it.
        n_bytes: size of the file, up to the damage if there is any.
        damage: the damage of the file (`info(..., recover=True)`); None if there is none.
    """

    header: Header
    chunks: tuple[Chunk, ...]
    n_samples: int | None
    n_bytes: int
    damage: ContainerError | None

    @property
    def n_frames(self) -> int:
        """Return the number of frames in all chunks."""
        return sum(chunk.n_frames for chunk in self.chunks)

    @property
    def payload_bytes(self) -> int:
        """Return the bytes of the frames alone: 48 per raw frame."""
        return sum(chunk.n_bytes for chunk in self.chunks)

    @property
    def payload_bps(self) -> float:
        """Return the bits of the frames per second of their span: 960 for raw frames."""
        return self.payload_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def file_bps(self) -> float:
        """Return the bits of the whole file per second of its frames' span."""
        return self.n_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)


def write(
    tokens: Tokens,
    file: File,
    *,
    entropy: bool = False,
    chunk_frames: int | None = None,
    overwrite: bool = False,
) -> int:
    """Write Silk tokens in any grouping to a .silk file and return its size in bytes.

    Args:
        tokens: tokens of Silk's layout.
        file: a path, which is created only if writing succeeds; or a binary file object.
        entropy: range-code each chunk that becomes smaller (needs the extra `entropy`, for reading too).
        chunk_frames: frames per chunk, 1..4096; None: 25, or 75 if range-coded. Damage makes whole chunks unreadable,
            and a reader waits for whole chunks.
        overwrite: whether an existing file may be replaced.

    Raises:
        TokensError: the tokens are from another codec.
        MissingExtraError: `entropy` is set, but constriction is not installed.
        OutputError: the file exists already, or the disk is full.
    """
    if not isinstance(tokens, Tokens):
        raise TokensError(
            f"A .silk file needs Tokens; got a {type(tokens).__name__}. The order of the arguments is (tokens, file)."
        )
    if tokens.dims_per_token is None:
        raise TokensError(
            "a .silk file can store only tokens of Silk's layout (128 dimensions of 8 levels at 2.5 Hz); "
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
        step = 4096  # Frames per call, so that a long recording is not copied at once.
        for start in range(0, tokens.n_frames, step):
            writer.write(np.stack([codes[start : start + step] for codes in tokens.codes], axis=1))
        writer.finish()
    return writer.n_bytes


def read(file: File, *, recover: bool = False, start_s: float = 0.0, duration_s: float | None = None) -> Tokens:
    """Return the Tokens of a .silk file, or of a part of it.

    Everything up to the part is checked, so a damaged file gives the correct part or an error. Damage after the part
    has no effect.

    Args:
        file: a path or a binary file object, which need not be seekable.
        recover: read a damaged file up to its damage, with a DamageWarning (`read_damaged` returns the damage instead).
        start_s: seconds; the part begins with the frame that contains this time.
        duration_s: seconds; the part ends with the frame that contains start_s + duration_s; None: read to the end.
            The decoder has state, so decoding a part differs slightly from cutting the decoded recording. To avoid
            this, read one more second before the part and cut it off after decoding.

    Raises:
        ContainerError: the file is not a .silk file, has a newer version, or is damaged at byte `offset`.
        MissingExtraError: the file is range-coded and constriction is not installed.
        ArgumentError: the part is not in the recording.
    """
    result = read_damaged(file, start_s=start_s, duration_s=duration_s)
    if result.damage is not None:
        if not recover:
            raise result.damage
        warnings.warn(str(result.damage), DamageWarning, stacklevel=2)
    return result.tokens


def read_damaged(file: File, *, start_s: float = 0.0, duration_s: float | None = None) -> Recovered:
    """Return the part of a file before its damage, if there is any, and the number of lost samples.

    A frame is returned only if its checksum and all checksums before it are correct. Arguments and errors are those
    of `read`.

    Raises:
        ContainerError: the header is damaged, or the damage precedes all frames of the part.
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
    return Recovered(tokens, damage, lost)


def info(file: File, *, recover: bool = False) -> Contents:
    """Return the contents of a .silk file. All checksums are verified; no frame is decoded.

    Raises:
        ContainerError: the file is not a .silk file, or (unless `recover`) is damaged.
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
    """Return the frames (first, one past the last) that cover a period of time."""
    if not (math.isfinite(start_s) and start_s >= 0):
        raise ArgumentError(f"start_s must be a number of seconds of at least 0; got {start_s}.")
    start = round(start_s * SILK_SAMPLE_RATE)
    if duration_s is None:
        return start // FRAME_SAMPLES, None
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise ArgumentError(f"duration_s must be a number of seconds above 0; got {duration_s}.")
    end = max(start + 1, round((start_s + duration_s) * SILK_SAMPLE_RATE))
    return start // FRAME_SAMPLES, -(-end // FRAME_SAMPLES)
