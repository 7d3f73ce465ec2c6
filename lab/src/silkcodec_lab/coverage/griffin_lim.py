"""Convert mel magnitudes to audio with the Griffin-Lim algorithm.

Griffin-Lim (doi:10.1109/TASSP.1984.1164317) is used with momentum (Perraudin et al. 2013,
doi:10.1109/WASPAA.2013.6701851).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silkcodec import mel
from silkcodec.audio import Wave

Magnitudes = NDArray[np.float32]  # [columns, n_fft // 2 + 1]

MOMENTUM = np.float32(0.99)
BIN_STEPS = 20  # number of multiplicative updates of the bins
LEAST = np.float32(1e-9)  # avoids division by 0


def magnitudes(bands: NDArray[np.floating], filters: NDArray[np.float32]) -> Magnitudes:
    """Return the magnitudes of frequency bins ([columns, B]) that best approximate mel magnitudes ([columns, M]).

    The returned magnitudes are non-negative. Multiplicative updates (Lee & Seung 2001) reduce the squared difference
    between `magnitudes @ filters` and `bands`.
    """
    wanted = np.maximum(bands.astype(np.float32), 0) @ filters.T
    bins = np.maximum(wanted, LEAST) * (filters.sum(axis=1) > 0)
    for _ in range(BIN_STEPS):
        bins *= wanted / np.maximum(bins @ filters @ filters.T, LEAST)
    return bins


def wave_of(bins: Magnitudes, seed: int, steps: int) -> Wave:
    """Return a waveform, float32 [columns * hop], whose spectrum has approximately the given magnitudes.

    Args:
        bins: Magnitudes of the spectrum.
        seed: Random seed for the initial phases.
        steps: Number of Griffin-Lim iterations.
    """
    phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(bins.shape)).astype(np.complex64)
    previous = np.zeros_like(phases)
    for _ in range(steps):
        current = spectrum(inverse(bins * phases))
        extrapolated = current + MOMENTUM * (current - previous)
        phases = extrapolated / np.maximum(np.abs(extrapolated), LEAST)
        previous = current
    return inverse(bins * phases)


def spectrum(wave: Wave) -> NDArray[np.complex64]:
    """Return the short-time spectrum of a waveform, complex64 [columns, n_fft // 2 + 1].

    The samples after the last whole hop are ignored.
    """
    n = len(wave) // mel.HOP
    padded = np.pad(wave[: n * mel.HOP], (mel.HISTORY, mel.LOOKAHEAD))
    windows = np.lib.stride_tricks.sliding_window_view(padded, mel.N_FFT)[:: mel.HOP][:n]
    return np.fft.rfft(windows * mel.hann(), axis=-1).astype(np.complex64, copy=False)


def inverse(columns: NDArray[np.complex64]) -> Wave:
    """Return the waveform, float32 [columns * hop], whose short-time spectrum is closest to the given spectrum."""
    window, n = mel.hann(), len(columns)
    frames = np.fft.irfft(columns, mel.N_FFT, axis=-1) * window
    total, power = np.zeros((2, mel.HISTORY + n * mel.HOP + mel.LOOKAHEAD), dtype=np.float32)
    for index, frame in enumerate(frames):
        place = slice(index * mel.HOP, index * mel.HOP + mel.N_FFT)
        total[place] += frame
        power[place] += window * window
    wave = total / np.maximum(power, np.float32(1e-3))
    return wave[mel.HISTORY : mel.HISTORY + n * mel.HOP].astype(np.float32, copy=False)
