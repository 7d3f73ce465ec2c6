"""Create audio that metrics treat as speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def speechlike(duration_s: float, seed: int = 0, sample_rate: int = 24_000) -> NDArray[np.float32]:
    """Return voiced syllables and pauses with a peak of 0.5, float32 [duration_s * sample_rate]."""
    rng = np.random.default_rng(seed)
    n_samples = round(duration_s * sample_rate)
    wave = 1e-5 * rng.standard_normal(n_samples)
    start, count = 0, 0
    while start < n_samples:
        n = min(round(0.3 * sample_rate), n_samples - start)
        time_s = np.arange(n) / sample_rate
        pitch = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(1, 3) * time_s))
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        formants = rng.uniform([300, 900, 2200], [800, 2000, 3400])
        syllable = np.zeros(n)
        for harmonic in range(1, 40):
            hz = harmonic * pitch.mean()
            gain = sum(np.exp(-(((hz - formant) / 250) ** 2)) for formant in formants) + 0.02
            syllable += gain * np.sin(harmonic * phase + rng.uniform(0, 6.28))
        syllable += 0.2 * rng.standard_normal(n)
        wave[start : start + n] += syllable * np.hanning(n)
        count += 1
        start += round((0.4 if count % 4 else 0.8) * sample_rate)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)
