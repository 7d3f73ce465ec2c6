"""Mel magnitudes -> a wave: least squares for the bins, Griffin-Lim for their phases; doi 10.1109/TASSP.1984.1164317.

With the momentum of Perraudin et al. 2013 (doi 10.1109/WASPAA.2013.6701851). The windows are those of
`silkcodec.mel`, so that the mel of what comes out is the mel that went in as far as a wave with that mel exists. No
model: what it gets wrong, it gets wrong of every spectrogram alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silkcodec import mel

Wave = NDArray[np.float32]
Magnitudes = NDArray[np.float32]  # [columns, n_fft // 2 + 1]

MOMENTUM = np.float32(0.99)
BIN_STEPS = 20  # of the multiplicative updates that find the bins
LEAST = np.float32(1e-9)


def magnitudes(bands: NDArray[np.floating], filters: NDArray[np.float32]) -> Magnitudes:
    """Bins [columns, B] >= 0 whose bands, `bins @ filters`, come nearest to those given, [columns, M].

    Multiplicative updates (Lee & Seung 2001): a bin that no filter reaches is 0.
    """
    wanted = np.maximum(bands.astype(np.float32), 0) @ filters.T
    bins = np.maximum(wanted, LEAST) * (filters.sum(axis=1) > 0)
    for _ in range(BIN_STEPS):
        bins *= wanted / np.maximum(bins @ filters @ filters.T, LEAST)
    return bins


def wave_of(bins: Magnitudes, seed: int, steps: int) -> Wave:
    """A wave with about these magnitudes, float32 [columns * hop]; phases begin at random."""
    phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(bins.shape)).astype(np.complex64)
    before = np.zeros_like(phases)
    for _ in range(steps):
        now = spectrum(inverse(bins * phases))
        ahead = now + MOMENTUM * (now - before)
        phases = ahead / np.maximum(np.abs(ahead), LEAST)
        before = now
    return inverse(bins * phases)


def spectrum(wave: Wave) -> NDArray[np.complex64]:
    """Complex spectrum of each column of 10 ms, [columns, n_fft // 2 + 1]: what `mel.log_mel` takes magnitudes of."""
    n = len(wave) // mel.HOP
    padded = np.zeros(mel.HISTORY + n * mel.HOP + mel.LOOKAHEAD, dtype=np.float32)
    padded[mel.HISTORY : mel.HISTORY + len(wave)] = wave[: n * mel.HOP]
    windows = np.lib.stride_tricks.sliding_window_view(padded, mel.N_FFT)[:: mel.HOP][:n]
    return np.fft.rfft(windows * mel.hann(), axis=-1).astype(np.complex64, copy=False)


def inverse(columns: NDArray[np.complex64]) -> Wave:
    """The wave whose spectrum comes nearest to these columns, [columns * hop]: overlap and add, over windows' power."""
    window, n = mel.hann(), len(columns)
    frames = np.fft.irfft(columns, mel.N_FFT, axis=-1) * window
    total, power = np.zeros((2, mel.HISTORY + n * mel.HOP + mel.LOOKAHEAD), dtype=np.float32)
    for index, frame in enumerate(frames):
        place = slice(index * mel.HOP, index * mel.HOP + mel.N_FFT)
        total[place] += frame
        power[place] += window * window
    wave = total / np.maximum(power, np.float32(1e-3))
    return wave[mel.HISTORY : mel.HISTORY + n * mel.HOP].astype(np.float32, copy=False)
