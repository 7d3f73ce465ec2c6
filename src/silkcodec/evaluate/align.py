"""Estimate and remove the delay of a codec's output before metrics are computed.

1. Find the delay that maximizes the correlation of the energy envelopes in 20 bands, with a resolution of 1 ms.
2. Find the delay that maximizes the correlation of the waveforms, with a resolution of one sample. Use this delay if
   the correlation is at least 0.5 and the delay is within 3 ms of the one from step 1.
3. Otherwise, use the delay from step 1, or 0 if using 0 lowers the correlation of the envelopes by less than 0.003.

Correlating only the waveforms is not reliable, because vocoders and neural codecs do not preserve phase: the estimated
delay can be wrong by one pitch period. The threshold of 0.003 is based on measurements of Silk and Codec2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from silkcodec.audio.resampling import Wave

MAX_DELAY_S = 0.5  # largest lag searched, in both directions
WAVEFORM_AGREES = 0.5  # minimum normalized correlation at which the lag of the waveforms is used
WAVEFORM_NEAR_S = 0.003  # maximum distance between the lags of waveforms and envelopes
ENVELOPE_GAIN = 0.003  # minimum gain in the correlation of the envelopes for a lag other than 0
COMPRESSION = 0.3  # exponent of the magnitude, similar to loudness; a logarithm would weight pauses like speech
ENVELOPE_HOP_S = 0.001
ENVELOPE_WINDOW_S = 0.02
ENVELOPE_BANDS = 20  # bands of 200 Hz from 200 Hz to 4.2 kHz, a range that even narrowband codecs encode


@dataclass(frozen=True)
class Delay:
    """The delay of a codec's output relative to its reference.

    Attributes:
        n_samples: delay in samples, positive if the output is late and negative if it is early.
        method: signal from which the delay was determined, "waveform" or "envelope"; "none" if the reference or the
            output is silent.
        correlation: normalized correlation at this delay, from -1 to 1.
    """

    n_samples: int
    method: Literal["waveform", "envelope", "none"]
    correlation: float


def find_delay(reference: Wave, output: Wave, sample_rate: int) -> Delay:
    """Estimate the delay of a codec's output relative to its reference.

    Args:
        reference: samples of the reference, float32 [T1].
        output: samples of the output, float32 [T2].
        sample_rate: sample rate of both waveforms in Hz.
    """
    if not reference.any() or not output.any():
        return Delay(0, "none", 0.0)
    a, b = _band_envelopes(reference, sample_rate), _band_envelopes(output, sample_rate)
    scale = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if scale == 0.0:
        return Delay(0, "none", 0.0)
    n_lags = int(MAX_DELAY_S / ENVELOPE_HOP_S)
    envelope = _cross_correlation(a, b, n_lags) / scale
    best = int(np.argmax(envelope))
    exact = _waveform_delay(reference, output, int(MAX_DELAY_S * sample_rate))
    distance_s = abs(exact.n_samples / sample_rate - (best - n_lags) * ENVELOPE_HOP_S)
    if exact.correlation >= WAVEFORM_AGREES and distance_s <= WAVEFORM_NEAR_S:
        return exact
    if envelope[best] - envelope[n_lags] < ENVELOPE_GAIN:
        best = n_lags
    n_samples = round((best - n_lags) * ENVELOPE_HOP_S * sample_rate)
    return Delay(n_samples, "envelope", float(envelope[best]))


def _waveform_delay(reference: Wave, output: Wave, n_lags: int) -> Delay:
    """Return the delay that maximizes the correlation of two waveforms."""
    scale = float(np.linalg.norm(reference)) * float(np.linalg.norm(output))
    waveform = _cross_correlation(reference[:, None], output[:, None], n_lags) / max(scale, 1e-30)
    best = int(np.argmax(waveform))
    return Delay(best - n_lags, "waveform", float(waveform[best]))


def shifted(output: Wave, delay_samples: int, n_samples: int) -> Wave:
    """Remove a delay from `output`, and cut or zero-pad the result to `n_samples` samples."""
    moved = np.zeros(n_samples, dtype=np.float32)
    source = output[max(delay_samples, 0) :]
    start = min(max(-delay_samples, 0), n_samples)
    kept = min(len(source), n_samples - start)
    moved[start : start + kept] = source[:kept]
    return moved


def _cross_correlation(a: NDArray[np.floating], b: NDArray[np.floating], n_lags: int) -> NDArray[np.float64]:
    """Return the cross-correlation of two arrays, summed over their columns, for lags from -n_lags to n_lags."""
    size = 1 << int(max(len(a), len(b)) + n_lags).bit_length()  # large enough that no searched lag wraps around
    product = np.zeros(size // 2 + 1, dtype=np.complex128)
    for column in range(a.shape[1]):  # one column at a time to save memory
        product += np.conj(np.fft.rfft(a[:, column], size)) * np.fft.rfft(b[:, column], size)
    full = np.fft.irfft(product, size)
    return np.concatenate([full[size - n_lags :], full[: n_lags + 1]]) if n_lags else full[:1]


def _band_envelopes(wave: Wave, sample_rate: int) -> NDArray[np.float32]:
    """Return the energy envelopes of a waveform in 20 bands, float32 [milliseconds, 20]."""
    hop, window = round(ENVELOPE_HOP_S * sample_rate), round(ENVELOPE_WINDOW_S * sample_rate)
    padded = np.pad(wave, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: len(wave) // hop + 1]
    bins_per_band = round(200 * ENVELOPE_WINDOW_S)
    last_bin = bins_per_band * (ENVELOPE_BANDS + 1)
    taper = np.hanning(window).astype(np.float32)
    bands = []
    for start in range(0, len(frames), 4000):  # 4 s at a time, because one hour at once would need 60 GB
        magnitude = np.abs(np.fft.rfft(frames[start : start + 4000] * taper, axis=1))
        in_bands = magnitude[:, bins_per_band:last_bin].reshape(len(magnitude), -1, bins_per_band)
        bands.append(in_bands.sum(axis=2, dtype=np.float32))
    envelopes = np.concatenate(bands) ** COMPRESSION
    centered: NDArray[np.float32] = envelopes - envelopes.mean(axis=0)
    return centered
