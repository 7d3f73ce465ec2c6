"""Damage to tokens: bits that are flipped, frames that are lost, and what is put in the place of those."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import ArgumentError
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder
from silkcodec.spec import FRAME_SAMPLES
from silkcodec.tokens import Tokens

METHODS = ("silence", "repeated", "interpolated", "concealed")  # what stands in place of a lost frame; the last is ours

Wave = NDArray[np.float32]
Lost = NDArray[np.bool_]


def flip_bits(tokens: Tokens, rate: float, rng: np.random.Generator) -> tuple[Tokens, int]:
    """Tokens with each bit flipped with probability `rate`, independently, and how many were.

    Raises:
        ArgumentError: a codebook whose size is no power of two: a flipped bit may leave it.
    """
    flipped, n_flipped = [], 0
    for codes, width in zip(tokens.codes, code_bits(tokens.codebook_sizes), strict=True):
        chosen = rng.random((len(codes), width)) < rate
        flipped.append(codes ^ (chosen @ (1 << np.arange(width, dtype=np.int64))))
        n_flipped += int(chosen.sum())
    return replace(tokens, codes=tuple(flipped)), n_flipped


def code_bits(sizes: Sequence[int]) -> list[int]:
    """Bits of a code of each codebook. Raises ArgumentError where that is no whole number."""
    widths = [size.bit_length() - 1 for size in sizes]
    for size, width in zip(sizes, widths, strict=True):
        if size != 1 << width:
            raise ArgumentError(f"bits can only be flipped in codebooks of 2, 4, 8, ... codes; got one of {size}.")
    return widths


def transitions(rate: float, burst: float) -> tuple[float, float]:
    """Gilbert's model: the probabilities to lose a frame after one that came, and after one that was lost.

    A share `rate` of all frames is lost, in runs of `burst` on average; 0: independently. Raises ArgumentError.

    >>> transitions(0.2, 0.0)
    (0.2, 0.2)
    >>> transitions(0.2, 4.0)
    (0.0625, 0.75)
    """
    if not 0 <= rate < 1:
        raise ArgumentError(f"rates of lost frames must be at least 0 and below 1; got {rate:g}.")
    if burst == 0:
        return rate, rate
    lose = rate / burst / (1 - rate) if burst >= 1 else math.inf
    if lose > 1:
        least = max(1.0, rate / (1 - rate))
        raise ArgumentError(f"bursts at a loss of {rate:g} must be 0 or at least {least:g} frames; got {burst:g}.")
    return lose, 1 - 1 / burst


def lose_frames(n_frames: int, rate: float, burst: float, rng: np.random.Generator) -> Lost:
    """Which of the frames are lost, bool [n_frames]; see `transitions`. The first one too may be."""
    after_good, after_lost = transitions(rate, burst)
    lost, now = np.zeros(n_frames, dtype=bool), rng.random() < rate
    for frame, drawn in enumerate(rng.random(n_frames)):
        lost[frame] = now
        now = drawn < (after_lost if now else after_good)
    return lost


def decode_with_losses(codec: Silk, tokens: Tokens, lost: Lost, method: str) -> Wave:
    """Silk's wave, float32 [n_samples], where some frames were lost: one of `METHODS` in their place."""
    levels, stream, parts = tokens.to_levels().astype(np.uint8), StreamDecoder(codec), []
    if method in ("repeated", "interpolated"):
        levels = fill_levels(levels, lost, interpolate=method == "interpolated")
        lost = lost & (np.cumsum(~lost) == 0)  # before the first frame that came there is nothing to fill from
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
    """Levels [F, 128] with each lost frame's taken from the last one that came, or on the line to the next one."""
    filled, came = levels.copy(), np.flatnonzero(~lost)
    for frame in np.flatnonzero(lost):
        before, after = came[came < frame], came[came > frame]
        if not len(before):
            continue
        filled[frame] = levels[before[-1]]
        if interpolate and len(after):
            share = (frame - before[-1]) / (after[0] - before[-1])
            mixed = (1 - share) * levels[before[-1]] + share * levels[after[0]]
            filled[frame] = np.rint(mixed).astype(np.uint8)
    return filled
