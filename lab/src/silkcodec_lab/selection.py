"""Which speech an experiment trains on and which it holds out, and the waves of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips

SAMPLE_RATE = 24_000  # Hz, of the waves
BLOCK_S = 60.0  # longer clips are read in pieces of this
HELD_OUT_SHARE = 10  # without splits, one clip of so many is held out

Part = tuple[Clip, float]  # a clip and the seconds of it that are used


@dataclass(frozen=True)
class Selection:
    """What to train on and what to score."""

    train: list[Part]
    held_out: list[Part]

    @property
    def train_s(self) -> float:
        return sum(seconds for _, seconds in self.train)

    @property
    def held_out_s(self) -> float:
        return sum(seconds for _, seconds in self.held_out)

    def facts(self) -> dict[str, Any]:
        """Return the number of clips and the duration of both parts, for a result."""
        return {
            "train": {"n_clips": len(self.train), "duration_s": self.train_s},
            "held_out": {"n_clips": len(self.held_out), "duration_s": self.held_out_s},
        }


def select(
    inputs: Sequence[str | os.PathLike[str]],
    splits: tuple[str, str] | None,
    train_s: float,
    held_out_s: float,
    seed: int,
) -> Selection:
    """Return clips in random order, as many as fill the seconds; the last one is cut.

    Raises:
        ArgumentError: no seconds, or less than two clips. AudioError: see `find_clips`.
    """
    if not (train_s > 0 and held_out_s > 0):
        raise ArgumentError(f"speech must be more than 0 minutes; got {train_s / 60:g} and {held_out_s / 60:g}.")
    if splits is not None:
        train, held_out = (find_clips(inputs, split=split) for split in splits)
        random.Random(seed).shuffle(train)
        random.Random(seed).shuffle(held_out)
    else:
        clips = find_clips(inputs)
        if len(clips) < 2:
            raise ArgumentError(f"the experiment needs two clips at least, one to hold out; got {len(clips)}.")
        random.Random(seed).shuffle(clips)
        n_held_out = -(-len(clips) // HELD_OUT_SHARE)
        train, held_out = clips[n_held_out:], clips[:n_held_out]
    return Selection(_fill(train, train_s), _fill(held_out, held_out_s))


def waves(part: Part) -> Iterator[NDArray[np.float32]]:
    """Yield the waves of a part, in blocks of at most `BLOCK_S`."""
    clip, seconds = part
    with audio.Reader(clip.path, SAMPLE_RATE) as reader:
        while seconds > 0 and len(wave := reader.read(round(min(seconds, BLOCK_S) * SAMPLE_RATE))):
            seconds -= BLOCK_S
            yield wave


def _fill(clips: list[Clip], duration_s: float) -> list[Part]:
    parts: list[Part] = []
    for clip in clips:
        taken_s = min(audio.duration_s(clip.path), duration_s - sum(seconds for _, seconds in parts))
        if taken_s <= 0:
            break
        parts.append((clip, taken_s))
    return parts
