"""Test every metric on real speech with known results: identical, delayed, quieter, noisy and silent outputs."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from repository import SAMPLES
from silkcodec import audio
from silkcodec.evaluate import align
from silkcodec.evaluate.metrics import METRICS, SAMPLE_RATE, Pair, UndefinedMetric, find_metrics, measure_all, signal

WHISPER = Path(sys.prefix) / "models" / "whisper-base"  # installed by `make setup`
MODELS = {"whisper": str(WHISPER)} if WHISPER.is_dir() else {}
FULL_BAND = {"high_band_db"}  # needs a recording to 10 kHz, which the sample is not: tests/test_metrics_texture.py
MEASURED = [name for name in METRICS if name not in FULL_BAND]
FOUND = {metric.name: metric for metric in find_metrics(None, MODELS)}
ENGLISH = audio.read(SAMPLES / "english.flac", SAMPLE_RATE)
COLUMNS = {"language": "en", "text": "Can I get a 20 ounce Americano, with almond milk?"}

IDENTICAL = {  # metric -> (value, tolerance) of a wave against itself
    "pesq_wb": (4.64, 0.01),  # the maximum of P.862.2
    "stoi": (1.0, 1e-6),
    "estoi": (1.0, 1e-6),
    "mel_distance": (0.0, 0.0),
    "si_sdr_db": (signal.SI_SDR_BEST_DB, 0.0),
    "level_db": (0.0, 0.0),
    "visqol": (4.5, 0.1),  # the maximum of its lattice network
    "fricative_scatter_db": (5.3, 0.3),  # of any recording
    "bandwidth_percent": (0.0, 0.0),
    "flatness_db": (0.0, 0.0),
    "f0_correlation": (1.0, 1e-9),
    "f0_rmse_cents": (0.0, 0.0),
    "voicing_error": (0.0, 0.0),
    "speaker_similarity": (1.0, 1e-5),
    "wer": (0.0, 10.0),  # errors of the recognizer, which may miss one word of ten
    "cer": (0.0, 12.0),
    "dwer": (0.0, 0.0),
    "dcer": (0.0, 0.0),
    "dwer_moonshine": (0.0, 0.0),
    "dnsmos": (3.2, 0.2),  # these two do not use the original, so they score the recording itself
    "distillmos": (4.3, 0.2),
}
SILENT = {  # metric -> value if the output is silent
    "pesq_wb": signal.PESQ_WORST,
    "stoi": 0.0,
    "estoi": 0.0,
    "si_sdr_db": signal.SI_SDR_WORST_DB,
    "level_db": -100.0,
    "visqol": 1.0,
    "fricative_scatter_db": 0.0,
    "bandwidth_percent": -100.0,
    "high_band_db": -100.0,
    "flatness_db": -60.0,
    "f0_correlation": 0.0,
    "f0_rmse_cents": 1200.0,
    "speaker_similarity": 0.0,
    "wer": 100.0,
    "cer": 100.0,
    "dwer": 100.0,
    "dcer": 100.0,
    "dwer_moonshine": 100.0,
    "dnsmos": 1.0,
    "distillmos": 1.0,
}
# metric -> allowed change at half the level; the mel distance and the level depend on the level
LEVEL_MAY_CHANGE = {
    "pesq_wb": 0.01,
    "visqol": 0.05,
    "dnsmos": 0.1,
    "speaker_similarity": 1e-3,
    "voicing_error": 0.5,
    "flatness_db": 0.01,
}
LEVELS = {"mel_distance", "level_db"}

WAVES = {
    "identical": lambda: ENGLISH.copy(),
    "late": lambda: _aligned(np.concatenate([np.zeros(2400, dtype=np.float32), ENGLISH])),
    "quieter": lambda: np.float32(0.5) * ENGLISH,
    "noise -30 dB": lambda: _noisy(30.0),
    "noise -10 dB": lambda: _noisy(10.0),
    "noise +5 dB": lambda: _noisy(-5.0),
    "silent": lambda: np.zeros_like(ENGLISH),
}
SHARED: dict[str, object] = {}  # cache of the one reference, which is transcribed once


def _aligned(late: np.ndarray) -> np.ndarray:
    delay = align.find_delay(ENGLISH, late, SAMPLE_RATE)
    assert delay.n_samples == 2400
    return align.shifted(late, delay.n_samples, len(ENGLISH))


def _noisy(snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(ENGLISH))
    scale = np.linalg.norm(ENGLISH) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    return (ENGLISH + scale * noise).astype(np.float32)


@cache
def value(name: str, case: str) -> float:
    """Return the value of a metric for a case. Skip the test if the metric is not available."""
    missing = FOUND[name].missing()
    if missing is not None:
        pytest.skip(missing)
    return FOUND[name](pair(case))


@cache
def pair(case: str) -> Pair:
    return Pair(ENGLISH, WAVES[case](), COLUMNS, SHARED)


def test_every_metric_has_its_known_cases() -> None:
    assert set(IDENTICAL) == set(MEASURED)
    assert set(METRICS) - set(SILENT) == {"mel_distance", "voicing_error"}


@pytest.mark.parametrize("name", MEASURED)
def test_identical_waves_get_the_best_value(name: str) -> None:
    expected, tolerance = IDENTICAL[name]
    assert value(name, "identical") == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("name", MEASURED)
def test_a_delay_has_no_effect_after_alignment(name: str) -> None:
    assert value(name, "late") == value(name, "identical")


@pytest.mark.parametrize("name", sorted(set(MEASURED) - LEVELS))
def test_half_the_level_changes_only_level_metrics(name: str) -> None:
    tolerance = LEVEL_MAY_CHANGE.get(name, 1e-3)
    assert value(name, "quieter") == pytest.approx(value(name, "identical"), abs=tolerance)


def test_half_the_level_is_6_db() -> None:
    assert value("level_db", "quieter") == pytest.approx(-20 * np.log10(2), abs=1e-4)
    assert 0.3 < value("mel_distance", "quieter") <= np.log(2) + 1e-3  # less if a band is at the floor of the log-mel


@pytest.mark.parametrize("name", sorted(set(MEASURED) - {"level_db", "fricative_scatter_db"}))
def test_noise_makes_every_metric_worse(name: str) -> None:
    scores = [value(name, case) for case in ("identical", "noise -30 dB", "noise -10 dB", "noise +5 dB")]
    best_first = METRICS[name].better == "higher"
    assert scores == sorted(scores, reverse=best_first) and scores[0] != scores[-1]


@pytest.mark.parametrize("name", METRICS)
def test_a_silent_output_gets_the_worst_value(name: str) -> None:
    measured = value(name, "silent")
    if name in SILENT:
        assert measured == SILENT[name]
    if METRICS[name].better == "higher":
        assert measured <= value(name, "noise +5 dB")
    elif (
        METRICS[name].better == "lower" and name != "dwer_moonshine"
    ):  # in noise, it outputs words that are not there, so the rate exceeds 100 %
        assert measured >= value(name, "noise +5 dB")


@pytest.mark.parametrize("name", METRICS)
def test_a_silent_reference_is_undefined_for_every_metric(name: str) -> None:
    with pytest.raises(UndefinedMetric, match="silent"):
        FOUND[name](Pair(np.zeros_like(ENGLISH), ENGLISH, COLUMNS))


@pytest.mark.parametrize("name", ["pesq_wb", "stoi", "estoi", "visqol", "f0_correlation", "speaker_similarity"])
def test_a_reference_too_short_is_undefined_with_a_reason(name: str) -> None:
    if FOUND[name].missing() is not None:
        pytest.skip(str(FOUND[name].missing()))
    click = ENGLISH[24_000:25_500]  # 62 ms
    values, undefined, weights = measure_all(Pair(click, click), [FOUND[name]])
    assert values == {name: None} and weights == {}
    assert "need" in undefined[name]
