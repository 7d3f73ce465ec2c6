"""Compute means over speakers with bootstrap intervals, and define the names of the two control groups."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN, UNSEEN = "seen", "unseen"  # speakers in the training set of a quantizer, and other speakers of its language
N_DRAWS = 2_000  # number of bootstrap resamples
FEW = 5  # With fewer speakers, intervals are not reliable.

Floats = NDArray[np.float64]


def in_order(groups: Iterable[str]) -> list[str]:
    """Return the distinct groups, with the control groups first."""
    return sorted(dict.fromkeys(groups), key=lambda group: {SEEN: 0, UNSEEN: 1}.get(group, 2))


def weighted_quantile(parts: Sequence[Floats], share: float) -> float:
    """Return the quantile `share` of all values. All parts have the same weight, regardless of their size."""
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])


def bootstrap_means(values: Floats, seed: int, group: str) -> Floats:
    """Return the means of `N_DRAWS` resamples of speakers, [n]. All quantities of a group use the same resamples."""
    generator = np.random.default_rng([seed, zlib.crc32(group.encode())])
    return np.asarray(values[generator.integers(0, len(values), (N_DRAWS, len(values)))].mean(axis=1))


def interval(values: Floats, seed: int, group: str) -> dict[str, Any]:
    """Return the mean over speakers with its 95 % bootstrap interval, which is None for a single speaker."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    low, high = np.percentile(bootstrap_means(values, seed, group), [2.5, 97.5])
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}


def difference(values: Floats, control: Floats, seed: int, group: str) -> dict[str, Any]:
    """Return the mean of a group minus that of the control group. Both groups are resampled independently."""
    mean, n = float(values.mean() - control.mean()), min(len(values), len(control))
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    low, high = np.percentile(
        bootstrap_means(values, seed, group) - bootstrap_means(control, seed, UNSEEN), [2.5, 97.5]
    )
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}
