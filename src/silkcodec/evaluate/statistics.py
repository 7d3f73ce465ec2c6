"""Compute means and their 95 % confidence intervals.

The intervals are percentile bootstrap intervals (Efron, 1979) from 2,000 resamples of the clips. Clips from the same
speaker are treated as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_DRAWS = 2_000


def bootstrap(
    values: Sequence[float] | Floats,
    seed: int = 0,
    weights: Sequence[float] | Floats | None = None,
) -> dict[str, Any]:
    """Compute the mean of values and its 95 % bootstrap interval.

    Args:
        values: values to average, [n].
        seed: random seed.
        weights: weights of the values, [n]. None weights all values equally.

    Returns:
        A dictionary with the keys "mean", "low", "high" and "n". The first three values are None if n or the sum of the
        weights is 0. If weights are given, the "weight" key holds their sum.
    """
    array = np.asarray(values, dtype=np.float64)
    weight = np.ones(array.size) if weights is None else np.asarray(weights, dtype=np.float64)
    total = {} if weights is None else {"weight": float(weight.sum())}
    if array.size == 0 or weight.sum() == 0:
        return {"mean": None, "low": None, "high": None, "n": int(array.size), **total}
    times = _draws(seed, int(array.size))
    drawn = times @ weight
    means = (times @ (weight * array))[drawn > 0] / drawn[drawn > 0]  # Skip resamples with a total weight of 0.
    mean = float((weight * array).sum() / weight.sum())
    return {"mean": mean, **percentiles(means), "n": int(array.size), **total}


def percentiles(means: Floats) -> dict[str, float]:
    """Return the 95 % confidence interval {"low": ..., "high": ...} from the means of the resamples."""
    low, high = np.percentile(means, [2.5, 97.5])
    return {"low": float(low), "high": float(high)}


def resamples(n_values: int, seed: int | Sequence[int] = 0) -> NDArray[np.int64]:
    """Draw resamples with replacement, and return the indices of the drawn values, int64 [2000, n_values]."""
    return np.random.default_rng(seed).integers(0, n_values, size=(N_DRAWS, n_values))


@lru_cache(maxsize=1)  # All codecs and metrics with the same number of clips share the resamples.
def _draws(seed: int, n_values: int) -> Floats:
    """Return how often each resample contains each value, float64 [2000, n_values]."""
    drawn = resamples(n_values, seed)
    drawn += np.arange(N_DRAWS)[:, None] * n_values
    return np.bincount(drawn.ravel(), minlength=N_DRAWS * n_values).reshape(N_DRAWS, n_values).astype(np.float64)
