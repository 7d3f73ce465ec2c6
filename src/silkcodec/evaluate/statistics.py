"""Compute means and their 95 % confidence intervals.

The interval is the percentile bootstrap (Efron, 1979): 2,000 resamples of the same size, drawn with replacement. It
only shows how much the mean depends on the choice of clips, and it treats clips of one speaker as independent.
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
    n_draws: int = N_DRAWS,
    weights: Sequence[float] | Floats | None = None,
) -> dict[str, Any]:
    """Return the mean of [n] values, and the 2.5 % and 97.5 % percentiles of the means of `n_draws` resamples.

    Args:
        values: [n].
        seed: random seed of the draws.
        n_draws: number of resamples.
        weights: [n], weights of the values in every mean; None: all equal.

    Returns:
        {"mean", "low", "high", "n"}; the first three are None if n or the sum of the weights is 0. With weights, the
        result also has {"weight"}, their sum.
    """
    array = np.asarray(values, dtype=np.float64)
    weight = np.ones(array.size) if weights is None else np.asarray(weights, dtype=np.float64)
    total = {} if weights is None else {"weight": float(weight.sum())}
    if array.size == 0 or weight.sum() == 0:
        return {"mean": None, "low": None, "high": None, "n": int(array.size), **total}
    times = _draws(seed, n_draws, int(array.size))
    drawn = times @ weight
    means = (times @ (weight * array))[drawn > 0] / drawn[drawn > 0]  # A draw with a total weight of 0 has no mean.
    mean = float((weight * array).sum() / weight.sum())
    return {"mean": mean, **percentiles(means), "n": int(array.size), **total}


def percentiles(means: Floats) -> dict[str, float]:
    """Return the bounds {"low", "high"} of the 95 % interval of the means of resamples."""
    low, high = np.percentile(means, [2.5, 97.5])
    return {"low": float(low), "high": float(high)}


@lru_cache(maxsize=1)  # All codecs and metrics with the same number of clips share the draws.
def _draws(seed: int, n_draws: int, n_values: int) -> Floats:
    """Return how often each draw contains each value, float64 [n_draws, n_values]."""
    drawn = np.random.default_rng(seed).integers(0, n_values, size=(n_draws, n_values))
    drawn += np.arange(n_draws)[:, None] * n_values
    return np.bincount(drawn.ravel(), minlength=n_draws * n_values).reshape(n_draws, n_values).astype(np.float64)
