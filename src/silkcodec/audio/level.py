"""Measure the level of a recording, and normalize it.

The codec is less accurate for recordings below about -45 dBFS or with a DC offset above 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.audio.resampling import Wave

TARGET_DBFS = -26.0
"""Level after normalization in dBFS, the usual speech level in codec tests (ITU-T P.56)."""

QUIET_DBFS = -45.0
"""Level in dBFS below which normalization helps."""

HIGH_OFFSET = 0.05
"""DC offset above which removing it helps. Full scale is 1."""

MAX_GAIN = 1000.0
"""Maximum gain of normalization, 60 dB."""

MAX_PEAK = 0.99
"""Maximum peak after normalization. Full scale is 1."""

SILENCE = 1e-7
"""RMS level at or below which a recording is not normalized, -140 dBFS."""

PIECE_SAMPLES = 2400
"""Length of the pieces whose power `Meter` measures, in samples (100 ms)."""

GATE = 0.1
"""Fraction of the mean power below which a piece counts as a pause, similar to ITU-R BS.1770."""


@dataclass(frozen=True)
class Level:
    """The level of a recording.

    Attributes:
        offset: mean of the samples (DC offset).
        active: RMS level excluding pauses, after subtracting the offset.
        peak: highest absolute sample value, after subtracting the offset.
    """

    offset: float
    active: float
    peak: float

    @property
    def dbfs(self) -> float:
        """Return the RMS level excluding pauses, in dB relative to full scale."""
        return 20 * float(np.log10(max(self.active, SILENCE)))

    @property
    def is_quiet(self) -> bool:
        """Return whether the recording is too quiet for the codec. Silence does not count as too quiet."""
        return self.active > SILENCE and self.dbfs < QUIET_DBFS

    @property
    def is_offset(self) -> bool:
        """Return whether the DC offset is large enough to reduce quality."""
        return abs(self.offset) > HIGH_OFFSET

    @property
    def scale(self) -> float:
        """Return the gain that normalizes the recording."""
        if self.active <= SILENCE:
            return 1.0
        return min(10 ** (TARGET_DBFS / 20) / self.active, MAX_PEAK / self.peak, MAX_GAIN)

    def apply(self, block: Wave) -> Wave:
        """Subtract the recording's DC offset from a block, and multiply the block by `scale`.

        Args:
            block: samples, float32 [n].

        Returns:
            The normalized samples, float32 [n].
        """
        return ((block - np.float32(self.offset)) * np.float32(self.scale)).astype(np.float32)


class Meter:
    """Measure the level of a recording block by block."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []  # arrays [n, 3]: each piece's sample count, sum and energy
        # Keeping the incomplete piece makes the result independent of the input's block boundaries.
        self._rest = np.zeros(0, np.float32)
        self._low, self._high = np.inf, -np.inf

    def feed(self, block: Wave) -> None:
        """Add a block of the recording to the measurement.

        Args:
            block: samples, float32 [n].
        """
        if not len(block):
            return
        self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
        held = np.concatenate([self._rest, block])
        whole = len(held) // PIECE_SAMPLES * PIECE_SAMPLES
        self._rest = held[whole:]
        if whole:
            self._sums.append(_sums(held[:whole].reshape(-1, PIECE_SAMPLES)))

    def level(self) -> Level:
        """Return the level of all blocks so far."""
        pieces = [*self._sums, *([_sums(self._rest[None])] if len(self._rest) else [])]
        if not pieces or self._low == self._high:
            return Level(self._low if pieces else 0.0, 0.0, 0.0)
        counts, sums, energies = np.concatenate(pieces).T
        offset = float(sums.sum() / counts.sum())
        powers = np.maximum(energies - 2 * offset * sums + counts * offset**2, 0) / counts
        gate = GATE * float(np.average(powers, weights=counts))
        loud = powers >= gate
        active = float(np.sqrt(np.average(powers[loud], weights=counts[loud])))
        return Level(offset, active, max(self._high - offset, offset - self._low))


def _sums(pieces: Wave) -> NDArray[np.float64]:
    """Return the number of samples, their sum and their energy for each row of an array."""
    exact = pieces.astype(np.float64)
    counts = np.full(len(pieces), pieces.shape[1])
    return np.stack([counts, exact.sum(axis=1), (exact**2).sum(axis=1)], axis=1)


def normalize(wave: ArrayLike, sample_rate: float) -> tuple[Wave, float]:
    """Remove the DC offset from a recording, and scale the recording to the level at which the codec works best.

    Args:
        wave, sample_rate: see `Codec.encode`.

    Returns:
        Two values: the normalized samples, float32 [T'] at 24 kHz, and the gain that restores the original level after
        decoding.

    >>> quiet = 0.001 * np.sin(np.arange(24_000) / 10)
    >>> wave, gain = normalize(quiet, 24_000)
    >>> round(float(wave.std()), 2), bool(np.allclose(wave * gain, quiet, atol=1e-6))
    (0.05, True)
    """
    mono = audio.as_wave(wave, sample_rate)
    meter = Meter()
    meter.feed(mono)
    level = meter.level()
    return level.apply(mono), 1 / level.scale
