"""Test F0 and voicing on pulse trains with a known pitch."""

from __future__ import annotations

import numpy as np
import pytest

from silkcodec.evaluate.metrics import METRICS, SAMPLE_RATE, Pair, UndefinedMetric, pitch

if METRICS["voicing_error"].missing() is not None:
    pytest.skip(str(METRICS["voicing_error"].missing()), allow_module_level=True)

N = 3 * SAMPLE_RATE
TIME_S = np.arange(N) / SAMPLE_RATE
GLIDE_HZ = 140.0 * 2 ** (0.4 * np.sin(2 * np.pi * 0.8 * TIME_S))  # 106 to 185 Hz
NOISE = (1e-4 * np.random.default_rng(0).standard_normal(N)).astype(np.float32)


def voice(f0_hz: np.ndarray, voiced: np.ndarray | bool = True) -> np.ndarray:
    """Return a pulse train filtered by three formants, float32 [N]."""
    from scipy.signal import lfilter

    wave = np.diff(np.floor(np.cumsum(f0_hz) / SAMPLE_RATE), prepend=0.0) * voiced
    for formant_hz, width_hz in ((600, 80), (1500, 120), (2700, 200)):
        radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * formant_hz / SAMPLE_RATE), radius**2]
        wave = lfilter([1 - radius], poles, wave)
    return (0.1 * wave / np.std(wave)).astype(np.float32) + NOISE


def test_the_pitch_of_a_pulse_train_is_found() -> None:
    f0 = pitch.find_f0(voice(GLIDE_HZ))
    truth = GLIDE_HZ[np.minimum(np.arange(len(f0)) * SAMPLE_RATE // 200, N - 1)]  # every 5 ms
    voiced = f0 > 0
    assert np.mean(voiced) > 0.95
    assert np.sqrt(np.mean((1200 * np.log2(f0[voiced] / truth[voiced])) ** 2)) < 20


@pytest.mark.parametrize("cents", [100.0, -300.0])
def test_a_transposed_melody_has_a_constant_error(cents: float) -> None:
    pair = Pair(voice(GLIDE_HZ), voice(GLIDE_HZ * 2 ** (cents / 1200)))
    assert pitch.f0_rmse_cents(pair) == pytest.approx(abs(cents), abs=8)
    assert pitch.f0_correlation(pair) > 0.99
    assert pitch.voicing_error(pair) < 3


def test_a_melody_turned_upside_down_correlates_negatively() -> None:
    pair = Pair(voice(GLIDE_HZ), voice(140.0**2 / GLIDE_HZ))
    assert pitch.f0_correlation(pair) < -0.9


def test_voicing_error_is_the_share_of_frames() -> None:
    pair = Pair(voice(GLIDE_HZ), voice(GLIDE_HZ, TIME_S < 2.0))
    assert pitch.voicing_error(pair) == pytest.approx(100 / 3, abs=3)
    assert pitch.f0_rmse_cents(pair) < 20  # no error where both are voiced


def test_a_monotone_reference_is_undefined_and_a_monotone_output_is_worst() -> None:
    melody, drone = np.linspace(100.0, 200.0, 400), np.full(400, 150.0)

    def correlation(reference: np.ndarray, output: np.ndarray) -> float:
        pair = Pair(voice(GLIDE_HZ), voice(GLIDE_HZ), shared={"F0": reference})
        pair.of_output("F0", lambda wave: output)
        return pitch.f0_correlation(pair)

    assert correlation(melody, drone) == 0.0
    assert correlation(melody, np.zeros(400)) == 0.0  # whispered
    with pytest.raises(UndefinedMetric, match="constant"):
        correlation(drone, melody)
    with pytest.raises(UndefinedMetric, match="voiced"):
        correlation(np.zeros(400), melody)


def test_the_reference_is_analysed_once_for_all_codecs() -> None:
    shared: dict[str, object] = {}
    pitch.voicing_error(Pair(voice(GLIDE_HZ), voice(GLIDE_HZ), shared=shared))
    kept = shared["F0"]
    pitch.voicing_error(Pair(voice(GLIDE_HZ), NOISE, shared=shared))
    assert shared["F0"] is kept
