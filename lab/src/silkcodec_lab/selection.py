"""Select training clips and held-out clips, read recordings, and check durations."""

from __future__ import annotations

import math
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
from silkcodec.spec import SILK_SAMPLE_RATE

BLOCK_S = 60.0  # maximum duration of a block of audio
CLIPS_PER_HELD_OUT = 10  # If no splits are given, one in this many clips is held out.

Part = tuple[Clip, float]  # clip, and the duration to use in seconds


@dataclass(frozen=True)
class Selection:
    """Store the training clips and the held-out clips."""

    train: list[Part]
    held_out: list[Part]

    @property
    def train_s(self) -> float:
        """Return the duration of the training speech in seconds."""
        return sum(seconds for _, seconds in self.train)

    @property
    def held_out_s(self) -> float:
        """Return the duration of the held-out speech in seconds."""
        return sum(seconds for _, seconds in self.held_out)

    def facts(self) -> dict[str, Any]:
        """Return the number and total duration of the clips in each set as JSON values."""
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
    """Select random training clips and held-out clips, up to a maximum total duration for each set.

    Args:
        inputs: Audio files, folders, or a manifest.
        splits: Training split and held-out split of the manifest. None: hold out a tenth of the clips at random.
        train_s: Maximum duration of the training speech in seconds.
        held_out_s: Maximum duration of the held-out speech in seconds.
        seed: Random seed for the order of the clips.

    Raises:
        ArgumentError: A duration is not a finite number above 0, or there are fewer than two clips.
        AudioError: See `find_clips`.
    """
    check_positive("--minutes", train_s / 60)
    check_positive("--held-out-minutes", held_out_s / 60)
    if splits is not None:
        train, held_out = (find_clips(inputs, split=split) for split in splits)
        random.Random(seed).shuffle(train)
        random.Random(seed).shuffle(held_out)
    else:
        clips = find_clips(inputs)
        if len(clips) < 2:
            raise ArgumentError(f"The experiment needs at least two clips, because one is held out; got {len(clips)}.")
        random.Random(seed).shuffle(clips)
        n_held_out = -(-len(clips) // CLIPS_PER_HELD_OUT)
        train, held_out = clips[n_held_out:], clips[:n_held_out]
    return Selection(_fill(train, train_s), _fill(held_out, held_out_s))


def waves(part: Part) -> Iterator[NDArray[np.float32]]:
    """Yield the audio of a selected clip in blocks of at most `BLOCK_S` seconds, float32 [T] at 24 kHz."""
    clip, seconds = part
    with audio.Reader(clip.path, SILK_SAMPLE_RATE) as reader:
        while seconds > 0 and len(wave := reader.read(round(min(seconds, BLOCK_S) * SILK_SAMPLE_RATE))):
            seconds -= BLOCK_S
            yield wave


def beginning(path: str | os.PathLike[str], seconds: float) -> NDArray[np.float32]:
    """Read at most the first `seconds` of a recording, float32 [T] at 24 kHz, without decoding the rest.

    Raises:
        AudioError: See `audio.Reader`.
    """
    with audio.Reader(path, SILK_SAMPLE_RATE) as reader:
        return reader.read(round(seconds * SILK_SAMPLE_RATE))


def check_positive(name: str, value: float) -> None:
    """Raise ArgumentError unless the value of a setting is finite and above 0."""
    if not 0 < value < math.inf:
        raise ArgumentError(f"{name} must be a finite number above 0; got {value:g}.")


def describe_speech(facts: dict[str, Any]) -> str:
    """Format the number of clips and their total duration as text."""
    seconds, n_clips = facts["duration_s"], facts["n_clips"]
    duration = f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
    return f"{n_clips} clips, {duration} in total" if n_clips > 1 else f"one clip of {duration}"


def _fill(clips: list[Clip], duration_s: float) -> list[Part]:
    """Return clips with a total duration of at most `duration_s`. Clips without a declared duration are skipped."""
    parts: list[Part] = []
    left_s = duration_s
    for clip in clips:
        if left_s <= 0:
            break
        taken_s = min(audio.duration_s(clip.path), left_s)
        if taken_s > 0:
            parts.append((clip, taken_s))
            left_s -= taken_s
    return parts
