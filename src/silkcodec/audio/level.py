"""Measure the level of a recording, and normalise it to the level at which the codec works best.

A recording below about -45 dBFS, or with a constant offset (DC) beyond 0.05, loses intelligibility in the codec. The
level of a recording is known only at its end, so streams are encoded without normalisation. A file can be read twice
and is normalised on request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio

Wave = NDArray[np.float32]

TARGET_DBFS = -26.0  # the usual level of speech in codec tests (ITU-T P.56)
QUIET_DBFS = -45.0  # below this level, normalising helps
HIGH_OFFSET = 0.05  # above this offset, removing it helps
MAX_GAIN = 1000.0  # 60 dB
MAX_PEAK = 0.99
SILENCE = 1e-7  # -140 dBFS: a level at or below this is not normalised
PIECE_SAMPLES = 2400  # 100 ms
GATE = 0.1  # fraction of the mean power; pieces below it are pauses, as in ITU-R BS.1770


@dataclass(frozen=True)
class Level:
    """Represent the level of a recording.

    Attributes:
        offset: the mean of its samples (DC).
        active: RMS outside pauses, without the offset. peak: the highest absolute value without the offset.
    """

    offset: float
    active: float
    peak: float

    @property
    def dbfs(self) -> float:
        """Return the active level, in dB of full scale."""
        return 20 * float(np.log10(max(self.active, SILENCE)))

    @property
    def is_quiet(self) -> bool:
        """Return whether the recording is not silent but too quiet for the codec."""
        return self.active > SILENCE and self.dbfs < QUIET_DBFS

    @property
    def is_offset(self) -> bool:
        """Return whether the offset is high enough to reduce the quality."""
        return abs(self.offset) > HIGH_OFFSET

    @property
    def scale(self) -> float:
        """Return the factor that scales the recording to TARGET_DBFS without exceeding full scale."""
        if self.active <= SILENCE:
            return 1.0
        return min(10 ** (TARGET_DBFS / 20) / self.active, MAX_PEAK / self.peak, MAX_GAIN)

    def apply(self, block: Wave) -> Wave:
        """Return a piece of the recording, normalised: float32 [n]."""
        return ((block - np.float32(self.offset)) * np.float32(self.scale)).astype(np.float32)


class Meter:
    """Measure the level of a recording that is fed in pieces. Memory is bounded: 24 bytes per 100 ms."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []  # [n, 3] each: samples of a piece, their sum and their energy
        # The incomplete piece is kept, so that the block boundaries of the input do not affect the result.
        self._rest = np.zeros(0, np.float32)
        self._low, self._high = np.inf, -np.inf

    def feed(self, block: Wave) -> None:
        """Add a piece of the recording, float32 [n]."""
        if not len(block):
            return
        self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
        held = np.concatenate([self._rest, block])
        whole = len(held) // PIECE_SAMPLES * PIECE_SAMPLES
        self._rest = held[whole:]
        if whole:
            self._sums.append(_sums(held[:whole].reshape(-1, PIECE_SAMPLES)))

    def level(self) -> Level:
        """Return the level of all pieces fed so far."""
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
    """Return the number of samples, their sum and their energy, [n, 3], of pieces [n, m]."""
    exact = pieces.astype(np.float64)
    counts = np.full(len(pieces), pieces.shape[1])
    return np.stack([counts, exact.sum(axis=1), (exact**2).sum(axis=1)], axis=1)


def normalize(wave: ArrayLike, sample_rate: float) -> tuple[Wave, float]:
    """Return a whole recording at the best level for the codec, and the gain that restores its level.

    Args:
        wave, sample_rate: see `Codec.encode`.

    Returns:
        float32 [T'] at 24 kHz without its offset; the factor for the decoded wave.

    >>> wave, gain = normalize(recording, 48_000)                           # doctest: +SKIP
    >>> decoded = codec.decode(codec.encode(wave)) * gain                   # doctest: +SKIP
    """
    mono = audio.as_wave(wave, sample_rate)
    meter = Meter()
    meter.feed(mono)
    level = meter.level()
    return level.apply(mono), 1 / level.scale
