"""Test texture metrics with known results: noise, a smooth spectrum, and noise of known bandwidth and level."""

from __future__ import annotations

import numpy as np
import pytest

from silkcodec.evaluate.metrics import METRICS, SAMPLE_RATE, Pair, UndefinedMetric, texture

N = 4 * SAMPLE_RATE
NOISE = (0.05 * np.random.default_rng(0).standard_normal(N)).astype(np.float32)


def band_limited(low_hz: float, high_hz: float, gain_above_hz: float = 0.0, gain: float = 1.0) -> np.ndarray:
    """Return noise between two frequencies, with a gain above a third frequency."""
    spectrum = np.fft.rfft(NOISE)
    hz = np.fft.rfftfreq(N, 1 / SAMPLE_RATE)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    if gain_above_hz:
        spectrum[hz > gain_above_hz] *= gain
    return np.fft.irfft(spectrum, N).astype(np.float32)


def without_grain() -> np.ndarray:
    """Return a wave with one click per frame. It is white like noise, but its power spectrum is flat in every bin."""
    wave = np.zeros(N, dtype=np.float32)
    wave[texture.HOP // 2 :: texture.WINDOW] = 0.5
    return wave


FRICATIVE = band_limited(3000, 12_000)


def test_noise_scatters_and_a_smooth_spectrum_does_not() -> None:
    assert texture.fricative_scatter_db(Pair(FRICATIVE, NOISE)) == pytest.approx(4.9, abs=0.1)
    assert texture.fricative_scatter_db(Pair(FRICATIVE, without_grain())) < 0.1


def test_averaging_spectra_lowers_the_scatter() -> None:
    frames = texture.fricative_frames(FRICATIVE)
    power = texture.power_of(FRICATIVE, frames)
    averaged = (power[0:-3:4] + power[1:-2:4] + power[2:-1:4] + power[3::4][: len(power[0:-3:4])]) / 4
    assert texture.scatter_db(power) > texture.scatter_db(averaged) + 1.5


def test_scatter_ignores_level_and_spectral_slope() -> None:
    sloped = np.diff(FRICATIVE, prepend=np.float32(0))
    expected = texture.fricative_scatter_db(Pair(FRICATIVE, FRICATIVE))
    assert texture.fricative_scatter_db(Pair(FRICATIVE, 0.1 * FRICATIVE)) == pytest.approx(expected, abs=1e-3)
    assert texture.fricative_scatter_db(Pair(FRICATIVE, sloped)) == pytest.approx(expected, abs=0.1)


def test_bandwidth_of_band_limited_noise() -> None:
    power = texture.power_of(NOISE, np.arange(10, 100))
    assert texture.bandwidth_hz(power) == pytest.approx(0.99 * 12_000, rel=0.01)
    full, half = band_limited(2600, 12_000), band_limited(2600, 6000)
    expected = (2600 + 0.99 * 3400) / (2600 + 0.99 * 9400) - 1
    assert texture.bandwidth_percent(Pair(full, half)) == pytest.approx(100 * expected, abs=1.0)


def test_high_band_is_relative_to_the_reference_and_needs_a_full_band_one() -> None:
    quieter = band_limited(3000, 12_000, 7500, 0.1)
    assert texture.high_band_db(Pair(FRICATIVE, quieter)) == pytest.approx(-20, abs=0.2)
    narrow = band_limited(3000, 8000)
    with pytest.raises(UndefinedMetric, match="full-band"):
        texture.high_band_db(Pair(narrow, narrow))


@pytest.mark.skipif(METRICS["flatness_db"].missing() is not None, reason="needs the [eval] extra")
def test_flatness_of_noise_is_minus_2_5_db() -> None:
    # The power is exponentially distributed: the mean logarithm is 2.51 dB (Euler's constant) below that of the mean.
    assert texture.flatness_db(Pair(NOISE, without_grain())) == pytest.approx(2.51, abs=0.1)


def test_voiced_sound_alone_is_undefined() -> None:
    time_s = np.arange(N) / SAMPLE_RATE
    hum = (0.1 * np.sign(np.sin(2 * np.pi * 120 * time_s))).astype(np.float32)
    for name in ("fricative_scatter_db", "bandwidth_percent", "high_band_db"):
        with pytest.raises(UndefinedMetric, match="ricatives"):
            METRICS[name](Pair(hum, hum))


def test_frames_come_from_the_reference_alone() -> None:
    half = N // 2
    reference = np.concatenate([FRICATIVE[:half], np.zeros(half, dtype=np.float32)])
    assert texture.fricative_frames(reference).max() <= half // texture.HOP + 1
    assert texture.fricative_scatter_db(Pair(reference, FRICATIVE)) == pytest.approx(4.9, abs=0.2)
