"""Time alignment: a codec's output is moved onto its reference before anything is measured.

Codecs of this package return waves without delay. Another program's output may be late, and a metric that compares
windows of 25 ms would then measure the delay. Vocoders and neural codecs keep no phase: their waveform may correlate
best a pitch period off, with errors of up to 24 ms. So the energy envelopes decide:

1. the lag at which the envelopes of 20 bands correlate best, to 1 ms;
2. where the waveforms correlate too (0.5 or more) and best within 3 ms of that lag, their own lag, to a sample: a
   codec that keeps the waveform and has a constant delay is aligned exactly;
3. otherwise the lag of the envelopes, or none if it raises their correlation by less than 0.003. On clips through
   Silk and Codec2, whose delay is known, chance raised it by up to 0.001, a real delay of 5 ms by 0.0003 to 0.01 and
   one of 10 ms by 0.007 or more. A smaller delay of a codec without phase may remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]

MAX_DELAY_S = 0.5  # lags searched, either way
WAVEFORM_AGREES = 0.5  # least normalised correlation at which the waveform's lag is used
WAVEFORM_NEAR_S = 0.003  # largest distance of that lag from the envelopes' lag
ENVELOPE_GAIN = 0.003  # least gain in the envelopes' correlation for a lag other than 0
COMPRESSION = 0.3  # power of the magnitude, about loudness; logarithms would weigh noise in pauses as much as speech
ENVELOPE_HOP_S = 0.001
ENVELOPE_WINDOW_S = 0.02
ENVELOPE_BANDS = 20  # of 200 Hz, from 200 Hz to 4.2 kHz: what the narrowest codec still carries


@dataclass(frozen=True)
class Delay:
    """How late the output is.

    Attributes:
        n_samples: positive: the output is late; negative: it is early.
        method: which correlation decided; "none" where one wave is silent.
        correlation: its normalised value at that lag, -1 .. 1.
    """

    n_samples: int
    method: Literal["waveform", "envelope", "none"]
    correlation: float


def find_delay(reference: Wave, output: Wave, sample_rate: int, max_delay_s: float = MAX_DELAY_S) -> Delay:
    """The delay of `output` [T2] behind `reference` [T1], both float32 at `sample_rate` Hz."""
    if not reference.any() or not output.any():
        return Delay(0, "none", 0.0)
    a, b = _band_envelopes(reference, sample_rate), _band_envelopes(output, sample_rate)
    scale = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if scale == 0.0:
        return Delay(0, "none", 0.0)
    n_lags = int(max_delay_s / ENVELOPE_HOP_S)
    envelope = _cross_correlation(a, b, n_lags) / scale
    best = int(np.argmax(envelope))
    exact = _waveform_delay(reference, output, int(max_delay_s * sample_rate))
    distance_s = abs(exact.n_samples / sample_rate - (best - n_lags) * ENVELOPE_HOP_S)
    if exact.correlation >= WAVEFORM_AGREES and distance_s <= WAVEFORM_NEAR_S:
        return exact
    if envelope[best] - envelope[n_lags] < ENVELOPE_GAIN:
        best = n_lags
    n_samples = round((best - n_lags) * ENVELOPE_HOP_S * sample_rate)
    return Delay(n_samples, "envelope", float(envelope[best]))


def _waveform_delay(reference: Wave, output: Wave, n_lags: int) -> Delay:
    """The lag at which the waveforms correlate best, to a sample."""
    scale = float(np.linalg.norm(reference)) * float(np.linalg.norm(output))
    waveform = _cross_correlation(reference[:, None], output[:, None], n_lags) / max(scale, 1e-30)
    best = int(np.argmax(waveform))
    return Delay(best - n_lags, "waveform", float(waveform[best]))


def shifted(output: Wave, delay_samples: int, n_samples: int) -> Wave:
    """`output` moved earlier by `delay_samples` (later, where negative), cut or zero-padded: [n_samples]."""
    moved = np.zeros(n_samples, dtype=np.float32)
    source = output[max(delay_samples, 0) :]
    start = min(max(-delay_samples, 0), n_samples)
    kept = min(len(source), n_samples - start)
    moved[start : start + kept] = source[:kept]
    return moved


def _cross_correlation(a: NDArray[np.floating], b: NDArray[np.floating], n_lags: int) -> NDArray[np.float64]:
    """sum over n and columns of a[n] * b[n + lag] for lag -n_lags .. n_lags: float64 [2 n_lags + 1]."""
    size = 1 << int(max(len(a), len(b)) + n_lags).bit_length()  # no lag of interest wraps around
    product = np.zeros(size // 2 + 1, dtype=np.complex128)
    for column in range(a.shape[1]):  # one at a time: the memory of one transform
        product += np.conj(np.fft.rfft(a[:, column], size)) * np.fft.rfft(b[:, column], size)
    full = np.fft.irfft(product, size)
    return np.concatenate([full[size - n_lags :], full[: n_lags + 1]]) if n_lags else full[:1]


def _band_envelopes(wave: Wave, sample_rate: int) -> NDArray[np.float32]:
    """Compressed magnitude of 20 bands every millisecond, each band's mean removed: float32 [T / 1 ms, 20]."""
    hop, window = round(ENVELOPE_HOP_S * sample_rate), round(ENVELOPE_WINDOW_S * sample_rate)
    padded = np.pad(wave, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: len(wave) // hop + 1]
    bins_per_band = round(200 * ENVELOPE_WINDOW_S)
    last_bin = bins_per_band * (ENVELOPE_BANDS + 1)
    taper = np.hanning(window).astype(np.float32)
    bands = []
    for start in range(0, len(frames), 4000):  # 4 s at a time: an hour must not need 60 GB
        magnitude = np.abs(np.fft.rfft(frames[start : start + 4000] * taper, axis=1))
        in_bands = magnitude[:, bins_per_band:last_bin].reshape(len(magnitude), -1, bins_per_band)
        bands.append(in_bands.sum(axis=2, dtype=np.float32))
    envelopes = np.concatenate(bands) ** COMPRESSION
    centred: NDArray[np.float32] = envelopes - envelopes.mean(axis=0)
    return centred
