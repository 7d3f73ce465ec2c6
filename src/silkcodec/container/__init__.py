"""Read and write .silk files, which store Tokens. `docs/format.md` specifies the format.

    write(tokens, "talk.silk")                   write a whole recording
    tokens = read("talk.silk")                   read a whole recording
    read("talk.silk", start_s=60, duration_s=5)  read a part of a recording
    read("talk.silk", recover=True)              read a damaged file up to the damage
    info("talk.silk")                            verify a file and describe it without decoding
    Writer, Reader                               write or read files and pipes frame by frame

Without entropy coding, files have a bit rate of 960 bit/s plus an overhead of 1-2 %, which is higher for short files.
Checksums detect damage.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from silkcodec.container.reader import Reader
from silkcodec.container.structure import VERSION, Chunk, Header
from silkcodec.container.writer import Writer
from silkcodec.errors import ArgumentError, ContainerError, TokensError
from silkcodec.spec import FRAME_SAMPLES, MAX_S, SILK_FRAME_RATE, SILK_SAMPLE_RATE
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
    """Issued when `read(file, recover=True)` reads a damaged file."""


@dataclass(frozen=True)
class Recovered:
    """The recovered part of a damaged file.

    Attributes:
        tokens: the tokens before the damage, or the whole recording if the file is undamaged.
        damage: error that describes the damage, or None if the file is undamaged.
        n_samples_lost: number of lost samples, or None if the recording's length is unknown.
    """

    tokens: Tokens
    damage: ContainerError | None
    n_samples_lost: int | None


@dataclass(frozen=True)
class Contents:
    """A description of a .silk file.

    Attributes:
        header: header of the file.
        chunks: headers of the undamaged chunks.
        n_samples: length of the recording in samples, or None if the file does not declare it.
        n_bytes: size of the file in bytes. If the file is damaged, the number of bytes before the damage.
        damage: error that describes the damage, or None if the file is undamaged.
    """

    header: Header
    chunks: tuple[Chunk, ...]
    n_samples: int | None
    n_bytes: int
    damage: ContainerError | None

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return sum(chunk.n_frames for chunk in self.chunks)

    @property
    def payload_bytes(self) -> int:
        """Return the size of the frames in bytes, without headers."""
        return sum(chunk.n_bytes for chunk in self.chunks)

    @property
    def payload_bps(self) -> float:
        """Return the bit rate of the frames, without headers."""
        return self.payload_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def file_bps(self) -> float:
        """Return the bit rate of the file, including headers."""
        return self.n_bytes * 8 * SILK_FRAME_RATE / max(1, self.n_frames)


def write(
    tokens: Tokens,
    file: File,
    *,
    entropy: bool = False,
    chunk_frames: int | None = None,
    overwrite: bool = False,
) -> int:
    """Write tokens to a .silk file.

    Args:
        tokens: tokens in Silk's layout: 128 dimensions of 8 levels at 2.5 Hz, with any number of dimensions per token.
        file: a path or a binary file object. A file is created at the path only if writing succeeds.
        entropy: compress the file with a range coder. Both writing and reading then require the `[entropy]` extra.
        chunk_frames: number of frames per chunk, 1 to 4096. None uses 25, or 75 with `entropy`. Damage anywhere
            in a chunk makes the whole chunk unreadable.
        overwrite: replace the file if it exists.

    Returns:
        The size of the file in bytes.

    Raises:
        TokensError: the tokens do not have Silk's layout.
        MissingExtraError: `entropy` is set, but constriction is not installed.
        OutputError: the file already exists or cannot be written, for example because the disk is full.
    """
    if not isinstance(tokens, Tokens):
        raise TokensError(
            f"tokens must be of type Tokens; got {type(tokens).__name__}. The order of the arguments is (tokens, file)."
        )
    if tokens.dims_per_token is None:
        raise TokensError(
            "A .silk file can store only tokens in Silk's layout (128 dimensions of 8 levels at 2.5 Hz); "
            f"got {len(tokens.codes)} codebooks from {tokens.codec!r}."
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
        step = 4096  # frames per call; a long recording is not copied at once
        for start in range(0, tokens.n_frames, step):
            writer.write(np.stack([codes[start : start + step] for codes in tokens.codes], axis=1))
        writer.finish()
    return writer.n_bytes


def read(file: File, *, recover: bool = False, start_s: float = 0.0, duration_s: float | None = None) -> Tokens:
    """Read tokens from a .silk file or from a part of it.

    Decoding a part differs slightly from decoding the whole recording, because the decoder is stateful. To reduce
    the difference, read a few additional seconds before the part and discard them after decoding.

    Args:
        file: a path or a binary file object, which does not need to be seekable.
        recover: if the file is damaged, return the part before the damage and issue a DamageWarning.
        start_s: start of the part in seconds, rounded down to the start of a frame.
        duration_s: duration of the part in seconds. The end is rounded up to the end of a frame. None reads to the end
            of the file.

    Returns:
        The tokens of the file or of the part.

    Raises:
        ContainerError: the file is damaged or is not a .silk file, or its format version is too new.
        MissingExtraError: the file is range-coded and constriction is not installed.
        ArgumentError: the part is empty, or does not start within the recording.
    """
    result = read_damaged(file, start_s=start_s, duration_s=duration_s)
    if result.damage is not None:
        if not recover:
            raise result.damage
        warnings.warn(str(result.damage), DamageWarning, stacklevel=2)
    return result.tokens


def read_damaged(file: File, *, start_s: float = 0.0, duration_s: float | None = None) -> Recovered:
    """Read a damaged file up to the damage.

    Args:
        file, start_s, duration_s: see `read`.

    Returns:
        The recovered tokens, the damage and the number of lost samples.

    Raises:
        ContainerError: the header is damaged, or no frame could be recovered.
        MissingExtraError, ArgumentError: see `read`.
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
    held = min(reader.n_frames * FRAME_SAMPLES, whole or math.inf)  # number of samples that could be read
    begin, end = first * FRAME_SAMPLES, math.inf if last is None else last * FRAME_SAMPLES
    if not pieces:
        if damage is not None:
            raise damage
        total_s = held / SILK_SAMPLE_RATE
        raise ArgumentError(
            f"start_s must be before the end of {reader.name}, which is at {total_s:.3f} s; got {start_s} s."
        )
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
    """Verify the checksums of a .silk file and describe its contents.

    Args:
        file: a path or a binary file object.
        recover: if the file is damaged, describe the part before the damage instead of raising an error.

    Returns:
        The description of the file.

    Raises:
        ContainerError: the file is not a .silk file, or it is damaged and `recover` is False.
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
    n_bytes = reader.n_bytes if damage is None or damage.offset is None else damage.offset
    return Contents(reader.header, tuple(chunks), n_samples, n_bytes, damage)


def _part(start_s: float, duration_s: float | None) -> tuple[int, int | None]:
    """Convert a time range to the index of its first frame and the index after its last frame."""
    if not 0 <= start_s <= MAX_S:
        raise ArgumentError(f"start_s must be between 0 and {MAX_S:g} seconds; got {start_s}.")
    start = round(start_s * SILK_SAMPLE_RATE)
    if duration_s is None:
        return start // FRAME_SAMPLES, None
    if not 0 < duration_s <= MAX_S:
        raise ArgumentError(f"duration_s must be above 0 and at most {MAX_S:g} seconds; got {duration_s}.")
    end = max(start + 1, round((start_s + duration_s) * SILK_SAMPLE_RATE))
    return start // FRAME_SAMPLES, -(-end // FRAME_SAMPLES)
