"""Simulate bit errors and lost frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from silkcodec.audio import Wave
from silkcodec.errors import ArgumentError
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder
from silkcodec.spec import FRAME_SAMPLES
from silkcodec.tokens import Tokens

METHODS = ("silence", "repeated", "interpolated", "concealed")  # replacements for lost frames; Silk uses the last one

Lost = NDArray[np.bool_]


def flip_bits(tokens: Tokens, rate: float, rng: np.random.Generator) -> tuple[Tokens, int]:
    """Flip each bit of the tokens with probability `rate`.

    Returns:
        The damaged tokens, and the number of flipped bits.

    Raises:
        ArgumentError: A codebook size is not a power of two, so flipping a bit can result in an invalid code.
    """
    flipped, n_flipped = [], 0
    for codes, width in zip(tokens.codes, code_bits(tokens.codebook_sizes), strict=True):
        chosen = rng.random((len(codes), width)) < rate
        flipped.append(codes ^ (chosen @ (1 << np.arange(width, dtype=np.int64))))
        n_flipped += int(chosen.sum())
    return replace(tokens, codes=tuple(flipped)), n_flipped


def code_bits(sizes: Sequence[int]) -> list[int]:
    """Return the number of bits per code for each codebook size.

    Raises:
        ArgumentError: A codebook size is not a power of two.
    """
    widths = [size.bit_length() - 1 for size in sizes]
    for size, width in zip(sizes, widths, strict=True):
        if size != 1 << width:
            raise ArgumentError(f"Bits can be flipped only if all codebook sizes are powers of two; got {size}.")
    return widths


def transitions(rate: float, burst: float) -> tuple[float, float]:
    """Return the probabilities of losing a frame after a received frame and after a lost frame (the Gilbert model).

    Args:
        rate: Share of lost frames.
        burst: Mean number of consecutive lost frames. 0: frames are lost independently.

    Raises:
        ArgumentError: The rate is not in [0, 1), or `burst` is too small for the rate.

    >>> transitions(0.2, 0.0)
    (0.2, 0.2)
    >>> transitions(0.2, 4.0)
    (0.0625, 0.75)
    """
    if not 0 <= rate < 1:
        raise ArgumentError(f"The frame loss rate must be at least 0 and below 1; got {rate:g}.")
    if burst == 0:
        return rate, rate
    lose = rate / burst / (1 - rate) if burst >= 1 else math.inf
    if lose > 1:
        least = max(1.0, rate / (1 - rate))
        raise ArgumentError(
            f"For a loss rate of {rate:g}, the burst length must be 0 or at least {least:g} frames; got {burst:g}."
        )
    return lose, 1 - 1 / burst


def lose_frames(n_frames: int, rate: float, burst: float, rng: np.random.Generator) -> Lost:
    """Return a random mask of lost frames, bool [n_frames]. For `rate` and `burst`, see `transitions`."""
    after_received, after_lost = transitions(rate, burst)
    lost, is_lost = np.zeros(n_frames, dtype=bool), rng.random() < rate
    for frame, drawn in enumerate(rng.random(n_frames)):
        lost[frame] = is_lost
        is_lost = drawn < (after_lost if is_lost else after_received)
    return lost


def decode_with_losses(codec: Silk, tokens: Tokens, lost: Lost, method: str) -> Wave:
    """Decode Silk's tokens into a waveform (float32 [n_samples]) and replace the lost frames.

    Args:
        codec: Silk codec.
        tokens: Tokens of all frames.
        lost: Mask of lost frames, bool [F].
        method: Replacement for lost frames, one of `METHODS`.
    """
    levels, stream, parts = tokens.to_levels(), StreamDecoder(codec), []
    if method in ("repeated", "interpolated"):
        levels = fill_levels(levels, lost, interpolate=method == "interpolated")
        lost = lost & (np.cumsum(~lost) == 0)  # Frames before the first received frame cannot be replaced.
    for is_lost, run in itertools.groupby(range(len(levels)), key=lambda frame: bool(lost[frame])):
        frames = list(run)
        if not is_lost:
            parts.append(stream.feed_levels(levels[frames]))
        elif method == "concealed":
            parts.append(stream.conceal(len(frames)))
        else:
            parts.append(np.zeros(len(frames) * FRAME_SAMPLES, dtype=np.float32))
    return np.concatenate(parts)[: tokens.n_samples]


def fill_levels(levels: NDArray[np.uint8], lost: Lost, *, interpolate: bool) -> NDArray[np.uint8]:
    """Return a copy of the levels ([F, 128]) with the lost frames filled in.

    A lost frame repeats the last received frame or, if `interpolate` is True and a later frame was received, is
    interpolated between these two frames. Lost frames before the first received frame are unchanged.
    """
    filled, received = levels.copy(), np.flatnonzero(~lost)
    for frame in np.flatnonzero(lost):
        before, after = received[received < frame], received[received > frame]
        if not len(before):
            continue
        filled[frame] = levels[before[-1]]
        if interpolate and len(after):
            share = (frame - before[-1]) / (after[0] - before[-1])
            mixed = (1 - share) * levels[before[-1]] + share * levels[after[0]]
            filled[frame] = np.rint(mixed).astype(np.uint8)
    return filled
