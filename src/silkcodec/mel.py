"""Compute Silk's log-mel spectrogram with NumPy.

This is the reference implementation, used for tests and for drawing spectrograms. The exported encoder graph contains
the same computation.

Column *j* covers 240 samples (10 ms). It is computed from the samples ``[240 j - 304, 240 j + 720)`` with a periodic
Hann window of 1024 samples, so the last column of a frame also uses the first 20 ms of the next frame:

    samples   |<------------ frame t: 9600 ------------>|<-480->|
    columns    0   1   2   ...                 38   39
    window 39                       [-------- 1024 ---------]

The spectrum is a magnitude spectrum. The mel scale is Slaney's. The filters are triangles of height 1 between 0 and
12 kHz. Mel magnitudes below 1e-5 are raised to 1e-5 before the natural logarithm is taken.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from silkcodec.spec import COLUMNS, FLOOR, FRAME_SAMPLES, HISTORY, HOP, LOOKAHEAD, N_FFT, N_MELS, SILK_SAMPLE_RATE

SAMPLE_RATE = SILK_SAMPLE_RATE
"""Sample rate in Hz, 24,000."""

FRAME = FRAME_SAMPLES
"""Samples per frame, 9,600."""


def hz_to_mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert a frequency in Hz to mel on Slaney's scale.

    Below 1 kHz, a range of 200 Hz spans 3 mel. Above 1 kHz, a factor of 6.4 in frequency spans 27 mel.

    Source: M. Slaney, Auditory Toolbox, 1998.

    Args:
        hz: frequency in Hz, a number or an array.

    Returns:
        The frequency in mel, float64 with the shape of `hz`.
    """
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15.0 + 27.0 / np.log(6.4) * np.log(np.maximum(hz, 1.0) / 1000.0))


def mel_to_hz(mel: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert a frequency in mel to Hz. This is the inverse of `hz_to_mel`.

    Args:
        mel: frequency in mel, a number or an array.

    Returns:
        The frequency in Hz, float64 with the shape of `mel`.
    """
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)))


@cache
def filterbank(n_mels: int = N_MELS, n_fft: int = N_FFT, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Return triangular mel filters of height 1 between 0 Hz and the Nyquist frequency.

    Args:
        n_mels: number of filters.
        n_fft: length of the Fourier transform in samples.
        sample_rate: sample rate in Hz.

    Returns:
        The weight of each frequency bin in each filter, float32 [n_fft // 2 + 1, n_mels].
    """
    edges = mel_to_hz(np.linspace(0.0, float(hz_to_mel(sample_rate / 2)), n_mels + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def hann(n: int = N_FFT) -> NDArray[np.float32]:
    """Return a periodic Hann window, float32 [n].

    Args:
        n: length of the window in samples.
    """
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def log_mel(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a recording, padded with zeros to whole 400 ms frames.

    Args:
        wave: mono samples at 24 kHz, float32 [T].

    Returns:
        Natural logarithms of mel magnitudes, at least log(1e-5), float32 [F * 40, 128] with F = ceil(T / 9600).
    """
    n_columns = -(-len(wave) // FRAME_SAMPLES) * COLUMNS
    padded = np.zeros(HISTORY + n_columns * HOP + LOOKAHEAD, dtype=np.float32)
    padded[HISTORY : HISTORY + len(wave)] = wave
    if n_columns == 0:
        return np.zeros((0, N_MELS), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][:n_columns]
    magnitude = np.abs(np.fft.rfft(windows * hann(), axis=-1)).astype(np.float32)
    return np.log(np.maximum(magnitude @ filterbank(), FLOOR))
