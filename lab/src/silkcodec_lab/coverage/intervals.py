"""Compute bootstrap intervals of means over speakers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.evaluate.statistics import percentiles, resamples

SEEN, UNSEEN = "seen", "unseen"  # speakers in the training set of a quantizer, and other speakers of its language
FEW = 5  # With fewer speakers, intervals are not reliable.

Floats = NDArray[np.float64]


def in_order(groups: Iterable[str]) -> list[str]:
    """Return the distinct group names, with "seen" and "unseen" first."""
    return sorted(dict.fromkeys(groups), key=lambda group: {SEEN: 0, UNSEEN: 1}.get(group, 2))


def weighted_quantile(parts: Sequence[Floats], share: float) -> float:
    """Return a quantile of the values in several arrays. All arrays have the same weight, regardless of their size."""
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])


def bootstrap_means(values: Floats, seed: int, group: str) -> Floats:
    """Return the means of bootstrap resamples.

    The same seed, group and number of values always give the same resamples.
    """
    if len(values) == 1:
        return values  # All resamples are equal.
    return np.asarray(values[resamples(len(values), [seed, zlib.crc32(group.encode())])].mean(axis=1))


def interval(values: Floats, seed: int, group: str) -> dict[str, Any]:
    """Return the mean and its 95 % bootstrap interval. For a single value, the bounds are None."""
    return _summary(values.mean(), bootstrap_means(values, seed, group), len(values))


def difference(values: Floats, control: Floats, seed: int, group: str) -> dict[str, Any]:
    """Return the difference between the means of a group and the control group, with its 95 % bootstrap interval."""
    draws = bootstrap_means(values, seed, group) - bootstrap_means(control, seed, UNSEEN)
    return _summary(values.mean() - control.mean(), draws, min(len(values), len(control)))


def _summary(mean: float, draws: Floats, n: int) -> dict[str, Any]:
    bounds = percentiles(draws) if n > 1 else {"low": None, "high": None}
    return {"mean": float(mean), **bounds, "n": n}
