"""Collect metrics for each test condition and clip, and summarize them over clips."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.audio import Wave
from silkcodec.evaluate.metrics import SAMPLE_RATE
from silkcodec.evaluate.statistics import bootstrap

Key = tuple[Any, ...]  # test condition
ByClip = dict[str, dict[str, float]]  # metric -> clip -> value


class Scores:
    """Collect metrics for each test condition and clip.

    Args:
        seed: Random seed for the bootstrap intervals.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.values: dict[Key, dict[str, dict[str, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )  # condition -> metric -> clip -> one value per draw

    def add_metrics(self, key: Key, clip: str, metrics: dict[str, float | None]) -> None:
        """Add the metrics of one draw of a test condition. Undefined metrics (None) are skipped."""
        for name, value in metrics.items():
            if value is not None:
                self.values[key][name][clip].append(value)

    def by_clip(self, key: Key) -> ByClip:
        """Return the mean of each metric over draws, for each clip."""
        return {
            name: {clip: float(np.mean(values)) for clip, values in of.items()} for name, of in self.values[key].items()
        }

    def means(self, key: Key) -> dict[str, Any]:
        """Return the mean of each metric over clips, with its bootstrap interval."""
        return {name: bootstrap(list(of.values()), self.seed) for name, of in self.by_clip(key).items()}

    def difference(self, values: ByClip, other: ByClip) -> dict[str, Any]:
        """Return the mean paired difference in each metric, with its bootstrap interval over clips."""
        return {
            name: bootstrap([value - other[name][clip] for clip, value in of.items()], self.seed)
            for name, of in values.items()
        }


def match_length(output: Wave, sample_rate: int, n_samples: int) -> Wave:
    """Resample decoded audio to 24 kHz, and cut or zero-pad it to `n_samples`."""
    resampled = audio.as_wave(output, sample_rate, SAMPLE_RATE)[:n_samples]
    return np.pad(resampled, (0, n_samples - len(resampled)))
