"""Average channels and detect whether they cancel each other out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silkcodec.audio.resampling import Wave

_SILENCE = 1e-10  # mean square; -100 dB
# Channels cancel each other out if the energy of their sum is below this fraction of the sum of their energies. For
# uncorrelated channels, both are equal.
_CANCELLED = 0.2


class Downmix:
    """Average the channels of a stream, and detect whether they cancel each other out."""

    def __init__(self) -> None:
        self._n_values, self._of_channels, self._of_mean = 0, 0.0, 0.0

    def mix(self, samples: Wave) -> Wave:
        """Return the mean [n] of the channels of a block [n, C]."""
        mean = to_mono(samples)
        self.add(samples, mean)
        return mean

    def add(self, samples: Wave, mean: Wave) -> None:
        """Add a block ([n, C] or [C, n]) and its channel mean ([n]) to the measurement."""
        if samples.ndim == 2 and min(samples.shape) > 1:
            self._n_values += samples.size
            self._of_channels += _energy(samples)
            self._of_mean += _energy(mean) * (samples.size // len(mean)) ** 2

    @property
    def cancels(self) -> bool:
        """Return whether averaging the channels removed most of the signal."""
        return self._of_channels > _SILENCE * self._n_values and self._of_mean < _CANCELLED * self._of_channels


def to_mono(samples: Wave) -> Wave:
    """Average samples [T, C] over the channels.

    The channels are added one by one, so that the result does not depend on the memory layout of the array.
    """
    if samples.ndim == 1:
        return samples
    total = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    if samples.shape[1] > 1:
        total /= samples.shape[1]
    return total


def _energy(samples: NDArray[np.float32]) -> float:
    return float(np.vdot(samples, samples))
