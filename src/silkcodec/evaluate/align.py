"""Time alignment: a codec's output is moved onto its reference before anything is measured.

Codecs of ours return waves without delay, but a foreign reconstruction may come late, and a metric that
compares 25 ms windows would then measure the delay. One rule for every codec and clip:

1. where the waveforms agree (normalised cross-correlation of 0.5 or more), the lag of its peak, to a sample;
2. otherwise - vocoders keep the envelope, not the waveform, and the waveform's peak may sit a pitch period
   off - the peak of the correlation of the band envelopes, to 1 ms. A lag that is hardly better than none
   (by less than 0.005) counts as none: on clips through Codec2, whose delay is known, chance was worth up to
   0.004 and a real delay of 10 ms nearly always more. A smaller delay of a vocoder may stay; the codecs of
   this package have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]

MAX_DELAY_S = 0.5  # lags searched, either way
WAVEFORM_AGREES = 0.5  # normalised correlation from which the waveform's own peak is trusted
ENVELOPE_GAIN = 0.005  # what a lag must add to the envelopes' correlation to be believed
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
    n_lags = int(max_delay_s * sample_rate)
    scale = float(np.linalg.norm(reference)) * float(np.linalg.norm(output))
    if scale == 0.0:
        return Delay(0, "none", 0.0)
    waveform = _cross_correlation(reference[:, None], output[:, None], n_lags) / scale
    best = int(np.argmax(waveform))
    if waveform[best] >= WAVEFORM_AGREES:
        return Delay(best - n_lags, "waveform", float(waveform[best]))

    a, b = _band_envelopes(reference, sample_rate), _band_envelopes(output, sample_rate)
    n_lags = int(max_delay_s / ENVELOPE_HOP_S)
    scale = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if scale == 0.0:
        return Delay(0, "none", 0.0)
    envelope = _cross_correlation(a, b, n_lags) / scale
    best = int(np.argmax(envelope))
    if envelope[best] - envelope[n_lags] < ENVELOPE_GAIN:
        best = n_lags
    n_samples = round((best - n_lags) * ENVELOPE_HOP_S * sample_rate)
    return Delay(n_samples, "envelope", float(envelope[best]))


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
    """Log magnitude of 20 bands every millisecond, each band's mean removed: float32 [T / 1 ms, 20]."""
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
    # The floor, 60 dB under the loudest, keeps digital silence from outweighing speech.
    envelopes = np.concatenate(bands)
    logarithm = np.log(envelopes + 1e-3 * max(float(envelopes.max(initial=0.0)), 1e-12))
    return logarithm - logarithm.mean(axis=0)
