"""Means over speakers and what they are worth: the bootstrap of the coverage experiment, and its two controls."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN, UNSEEN = "seen", "unseen"  # speakers that a quantizer was fitted on; others of the same language
N_DRAWS = 2_000
FEW = 5  # speakers; below that an interval over speakers says next to nothing

Floats = NDArray[np.float64]


def in_order(groups: Iterable[str]) -> list[str]:
    """Each group once, the controls first."""
    return sorted(dict.fromkeys(groups), key=lambda group: {SEEN: 0, UNSEEN: 1}.get(group, 2))


def weighted_quantile(parts: Sequence[Floats], share: float) -> float:
    """The value that `share` of all stay within, every part weighing the same however many it holds."""
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])


def draws(values: Floats, seed: int, group: str) -> Floats:
    """Means of `N_DRAWS` resamples of [n] speakers; the same resamples for every quantity of a group."""
    generator = np.random.default_rng([seed, zlib.crc32(group.encode())])
    return np.asarray(values[generator.integers(0, len(values), (N_DRAWS, len(values)))].mean(axis=1))


def interval(values: Floats, seed: int, group: str) -> dict[str, Any]:
    """Mean over speakers and its 95 % bootstrap interval; of a single speaker there is none."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    low, high = np.percentile(draws(values, seed, group), [2.5, 97.5])
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}


def difference(values: Floats, control: Floats, seed: int, group: str) -> dict[str, Any]:
    """Mean of a group less that of the control; speakers of both are drawn, independently of each other."""
    mean, n = float(values.mean() - control.mean()), min(len(values), len(control))
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    low, high = np.percentile(draws(values, seed, group) - draws(control, seed, UNSEEN), [2.5, 97.5])
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}
