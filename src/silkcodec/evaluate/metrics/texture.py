"""Measure whether a codec preserves the fine structure and high frequencies of noise-like sounds, such as fricatives.

Like noise, real fricatives have log spectra that scatter around their envelopes. If a codec averages out this scatter,
fricatives sound synthetic.

All metrics in this module use spectra of 1,024-sample frames (43 ms, Hann window, hop 512) at 24 kHz. The frames are
selected in the reference, so they are the same for all codecs:

- A fricative frame has more power between 4 and 7.4 kHz than between 0.1 and 2.5 kHz. Its power between 4 and 7.4 kHz
  is at most 20 dB below the 99th percentile of this power over all frames. It is also at most 40 dB below the total
  power of the loudest frame.
- An unvoiced frame does not overlap a voiced frame of the F0 analysis (see pitch.py). Its power is at most 40 dB below
  that of the loudest frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from silkcodec.evaluate.metrics.base import SAMPLE_RATE, Metric, Pair, UndefinedMetric, Wave
from silkcodec.evaluate.metrics.pitch import F0_PERIOD_MS, find_f0

Power = NDArray[np.float64]  # [frames, bins]
Frames = NDArray[np.int64]  # frame indices

WINDOW = 1024  # samples
HOP = 512  # samples
HZ = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
POWER_FLOOR = 1e-12  # floor for logarithms; 16-bit rounding noise alone is 1e-8
BLOCK = 4000  # number of frames to analyze at a time (85 s), so that memory does not grow with the duration

MIN_FRAMES = 10  # 0.2 s
FRICATIVE_HZ, VOWEL_HZ = (4000.0, 7400.0), (100.0, 2500.0)
BELOW_FRICATIVES_DB, BELOW_LOUDEST_DB = 20.0, 40.0

SCATTER_HZ = (4200.0, 7400.0)
ENVELOPE_HZ = 400.0  # width of the Hann kernel that smooths the log spectrum
ENERGY_SHARE = 0.99
HIGH_HZ = (7750.0, 10000.0)
TOP_HZ, TOP_DB = (9000.0, 10000.0), -30.0  # minimum power density of a full-band reference, relative to SCATTER_HZ
FLATNESS_HZ = (300.0, 7400.0)
FLATNESS_FLOOR = 1e-6  # relative to the mean of a frame; lower power is inaudible and can be rounding noise
FLATNESS_WORST_DB, HIGH_WORST_DB = -60.0, -100.0


def fricative_scatter_db(pair: Pair) -> float:
    """Return the RMS deviation, in dB, of the output's log spectrum from its envelope in fricatives.

    The envelope is the log spectrum smoothed over frequency with a 400 Hz Hann kernel. The deviation is measured
    between 4.2 and 7.4 kHz. It is 4.9 dB for white noise, and 5.1 to 5.5 dB for recorded fricatives.

    Raises:
        UndefinedMetric: the reference has less than 0.2 s of fricatives.
    """
    return scatter_db(_power_of_output(pair, _fricatives(pair)))


def bandwidth_percent(pair: Pair) -> float:
    """Return the change in the bandwidth of fricatives relative to the reference, in percent.

    The bandwidth is the frequency below which 99 % of the energy lies.

    Raises:
        UndefinedMetric: the reference has less than 0.2 s of fricatives.
    """
    frames = _fricatives(pair)
    return 100.0 * (bandwidth_hz(_power_of_output(pair, frames)) / bandwidth_hz(_power_of_reference(pair, frames)) - 1)


def high_band_db(pair: Pair) -> float:
    """Return the output's power between 7.75 and 10 kHz in fricatives relative to the reference, in dB.

    Raises:
        UndefinedMetric: the reference has less than 0.2 s of fricatives or is not full-band. A reference is full-band
            if its power density between 9 and 10 kHz is at most 30 dB below that between 4.2 and 7.4 kHz.
    """
    frames = _fricatives(pair)
    reference = _power_of_reference(pair, frames)
    top_db = _to_db(_density(reference, TOP_HZ)) - _to_db(_density(reference, SCATTER_HZ))
    if top_db < TOP_DB:
        raise UndefinedMetric(
            "The metric 'High band' needs a full-band reference. Its power density between 9 and 10 kHz must be at "
            f"most 30 dB below that between 4.2 and 7.4 kHz; it is {-top_db:.0f} dB below."
        )
    output = _power_of_output(pair, frames)
    return max(float(_to_db(_density(output, HIGH_HZ)) - _to_db(_density(reference, HIGH_HZ))), HIGH_WORST_DB)


def flatness_db(pair: Pair) -> float:
    """Return the spectral flatness of unvoiced frames in the output minus that in the reference, in dB.

    Flatness is the geometric mean of the power spectrum between 0.3 and 7.4 kHz, divided by its arithmetic mean.

    Raises:
        UndefinedMetric: the reference has less than 0.2 s of unvoiced sound.
    """
    frames: Frames = pair.of_reference("unvoiced frames", _unvoiced_frames)
    if len(frames) < MIN_FRAMES:
        raise UndefinedMetric("Flatness needs at least 0.2 s of unvoiced sound; the reference has less.")
    return _flatness_db(power_of(pair.output, frames)) - _flatness_db(power_of(pair.reference, frames))


def fricative_frames(wave: Wave) -> Frames:
    """Return the indices of the fricative frames in a waveform, float32 [T] at 24 kHz."""
    total, high, low = (np.concatenate(parts) for parts in zip(*_powers(wave), strict=True))
    if not high.any():
        return np.zeros(0, dtype=np.int64)
    high_db = _to_db(high)
    loud = (high_db > np.percentile(high_db, 99) - BELOW_FRICATIVES_DB) & (
        high_db > _to_db(total.max()) - BELOW_LOUDEST_DB
    )
    return np.flatnonzero(loud & (high > low))


def scatter_db(power: Power) -> float:
    """Return the RMS deviation of log spectra from their envelopes between 4.2 and 7.4 kHz, in dB."""
    logarithm = _to_db(power)
    width = int(ENVELOPE_HZ / HZ[1]) | 1
    kernel = np.hanning(width + 2)[1:-1]
    kernel /= kernel.sum()
    envelope = np.apply_along_axis(np.convolve, 1, logarithm, kernel, "same")
    return float(np.sqrt(np.mean(np.square((logarithm - envelope)[:, _bins(SCATTER_HZ)]))))


def bandwidth_hz(power: Power) -> float:
    """Return the frequency in Hz below which 99 % of the energy lies, given power spectra [frames, bins]."""
    energy = np.cumsum(power.sum(axis=0))
    return float(np.interp(ENERGY_SHARE * energy[-1], energy, HZ))


def power_of(wave: Wave, frames: Frames) -> Power:
    """Return the power spectra of the given frames of a waveform at 24 kHz, float64 [len(frames), 513]."""
    padded = np.pad(wave, (WINDOW // 2, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(windows[frames] * np.hanning(WINDOW), axis=1)
    return np.square(np.abs(spectrum)) / WINDOW


def _powers(wave: Wave) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Yield, block by block, each frame's total power and its power in FRICATIVE_HZ and in VOWEL_HZ."""
    n_frames = len(wave) // HOP + 1
    for start in range(0, n_frames, BLOCK):
        power = power_of(wave, np.arange(start, min(start + BLOCK, n_frames)))
        yield power.sum(axis=1), power[:, _bins(FRICATIVE_HZ)].sum(axis=1), power[:, _bins(VOWEL_HZ)].sum(axis=1)


def _fricatives(pair: Pair) -> Frames:
    frames: Frames = pair.of_reference("fricative frames", fricative_frames)
    if len(frames) < MIN_FRAMES:
        raise UndefinedMetric(
            f"This metric needs at least {MIN_FRAMES} frames (0.2 s) of fricatives; got {len(frames)} frames."
        )
    return frames


def _power_of_reference(pair: Pair, frames: Frames) -> Power:
    power: Power = pair.of_reference("power in fricatives", lambda wave: power_of(wave, frames))
    return power


def _power_of_output(pair: Pair, frames: Frames) -> Power:
    power: Power = pair.of_output("power in fricatives", lambda wave: power_of(wave, frames))
    return power


def _unvoiced_frames(wave: Wave) -> Frames:
    total_db = _to_db(np.concatenate([total for total, _, _ in _powers(wave)]))
    voiced_s = F0_PERIOD_MS / 1000 * np.flatnonzero(find_f0(wave) > 0)
    centers_s = np.arange(len(total_db)) * HOP / SAMPLE_RATE
    half_s = WINDOW / 2 / SAMPLE_RATE
    n_voiced = np.searchsorted(voiced_s, centers_s + half_s) - np.searchsorted(voiced_s, centers_s - half_s)
    return np.flatnonzero((n_voiced == 0) & (total_db > total_db.max() - BELOW_LOUDEST_DB))


def _flatness_db(power: Power) -> float:
    band = power[:, _bins(FLATNESS_HZ)]
    band = np.maximum(band, FLATNESS_FLOOR * band.mean(axis=1, keepdims=True))
    return float(np.mean(_to_db(band).mean(axis=1) - _to_db(band.mean(axis=1))))


def _bins(band_hz: tuple[float, float]) -> slice:
    return slice(*np.searchsorted(HZ, band_hz))


def _density(power: Power, band_hz: tuple[float, float]) -> float:
    return float(power[:, _bins(band_hz)].mean())


def _to_db(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 10.0 * np.log10(np.asarray(power) + POWER_FLOOR)


TEXTURE_METRICS = (
    Metric(
        "fricative_scatter_db",
        "Fricative scatter",
        "dB",
        "original",
        fricative_scatter_db,
        worst=0.0,
        what="scatter of the log spectrum around its envelope in fricatives; values below the original's mean an "
        "overly smooth spectrum",
        source="defined in `metrics/texture.py`",
    ),
    Metric(
        "bandwidth_percent",
        "Bandwidth",
        "%",
        "zero",
        bandwidth_percent,
        worst=-100.0,
        what="change in the frequency below which 99 % of the energy of fricatives lies",
        source="defined in `metrics/texture.py`",
    ),
    Metric(
        "high_band_db",
        "High band",
        "dB",
        "zero",
        high_band_db,
        worst=HIGH_WORST_DB,
        what="power of fricatives between 7.75 and 10 kHz relative to the original; only for full-band originals",
        source="defined in `metrics/texture.py`",
    ),
    Metric(
        "flatness_db",
        "Flatness",
        "dB",
        "zero",
        flatness_db,
        worst=FLATNESS_WORST_DB,
        what="spectral flatness of unvoiced frames minus that of the original; values above 0 mean an overly "
        "smooth spectrum",
        source="defined in `metrics/texture.py`; F0 from `pyworld`",
        packages=("pyworld",),
    ),
)
