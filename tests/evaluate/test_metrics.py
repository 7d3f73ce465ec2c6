"""Test metrics of two waves with exact values, and what all metrics share: missing packages and no side effects."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from silkcodec.errors import ArgumentError, AudioError, MissingExtraError
from silkcodec.evaluate import metrics
from silkcodec.evaluate.metrics import METRICS, Pair, UndefinedMetric, signal
from speechlike import speechlike

RATE = metrics.SAMPLE_RATE
SPEECH = speechlike(3.0)
OTHER = speechlike(3.0, seed=1)
EXTERNAL = [name for name, metric in metrics.registered().items() if metric.packages]


for package in ("pesq", "pystoi"):
    pytest.importorskip(package, reason="needs the [eval] extra")


def noisy(wave: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    """Return the wave plus orthogonal noise that is exactly `snr_db` lower, so the SI-SDR is `snr_db`."""
    clean = wave.astype(np.float64) - wave.mean(dtype=np.float64)
    noise = np.random.default_rng(seed).standard_normal(len(wave))
    noise -= noise.mean()
    noise -= (noise @ clean) / (clean @ clean) * clean
    noise *= np.sqrt((clean @ clean) / (noise @ noise)) * 10 ** (-snr_db / 20)
    return (clean + noise).astype(np.float32)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 12.5, 40.0])
def test_si_sdr_of_a_known_noise_level(snr_db: float) -> None:
    assert signal.si_sdr_db(Pair(SPEECH, noisy(SPEECH, snr_db))) == pytest.approx(snr_db, abs=1e-3)


@pytest.mark.parametrize("n_samples", [1, 100, 2_400, 9_000])
def test_the_intelligibility_of_short_clips_is_undefined(n_samples: int) -> None:
    with pytest.raises(UndefinedMetric, match="STOI needs at least 384 ms of speech"):
        signal.stoi(Pair(SPEECH[:n_samples], OTHER[:n_samples]))


def test_other_speech_has_low_intelligibility() -> None:
    assert signal.stoi(Pair(SPEECH, OTHER)) < 0.65  # the syllables are synchronous
    assert signal.estoi(Pair(SPEECH, OTHER)) < 0.2


def test_the_mel_distance_of_a_level_change_is_exact() -> None:
    floor = 1e-3 * np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
    wave = SPEECH + floor  # no band is below the clamp of the log-mel
    assert METRICS["mel_distance"](Pair(wave, 1.5 * wave)) == pytest.approx(np.log(1.5), abs=1e-3)


def test_pesq_survives_more_utterances_than_its_table_holds() -> None:
    # 60 utterances in 30 s: in one piece they crash the reference implementation (SIGSEGV).
    time_s = np.arange(30 * RATE) / RATE
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, len(time_s)))
    bursts = np.where(time_s % 0.5 < 0.25, 0.1 * noise[0], 1e-5 * noise[0]).astype(np.float32)
    degraded = bursts + np.where(time_s % 0.5 < 0.25, 0.03 * noise[1], 0).astype(np.float32)
    assert 1.04 < signal.pesq_wb(Pair(bursts, degraded)) < 4.64


def test_pesq_skips_a_silent_part_of_a_long_clip() -> None:
    long = np.concatenate([speechlike(15.0), np.zeros(15 * RATE, dtype=np.float32)])
    assert signal.pesq_wb(Pair(long, long)) == pytest.approx(4.64, abs=0.01)


def test_pesq_is_worst_if_only_the_output_has_no_utterance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pesq

    def no_utterance_but_against_itself(rate: int, reference: np.ndarray, output: np.ndarray, mode: str) -> float:
        if output is not reference:
            raise pesq.NoUtterancesError("none")
        return 4.64

    monkeypatch.setattr(pesq, "pesq", no_utterance_but_against_itself)
    assert signal.pesq_wb(Pair(SPEECH, OTHER)) == signal.PESQ_WORST


def test_metrics_are_reproducible_and_keep_the_random_state() -> None:
    pair = Pair(SPEECH, noisy(SPEECH, 5.0))
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first, second = signal.estoi(pair), signal.estoi(pair)
    assert first == second
    assert np.array_equal(before, np.random.get_state()[1])


def test_a_pair_must_be_aligned_and_finite() -> None:
    with pytest.raises(ArgumentError, match="same shape"):
        Pair(SPEECH, SPEECH[1:])
    with pytest.raises(AudioError, match="NaN"):
        Pair(SPEECH, np.full_like(SPEECH, np.nan))


def test_an_unknown_metric_lists_the_metrics() -> None:
    with pytest.raises(ArgumentError, match=r"'mos'.*pesq_wb"):
        metrics.find_metrics(["mos"])


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_missing_package_is_reported_with_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in metrics.registered()[name].packages:
        monkeypatch.setitem(sys.modules, package, None)
    (metric,) = metrics.find_metrics([name])  # other metrics still work
    assert f"pip install '{metric.distribution}[{metric.extra}]'" in (metric.missing() or "")
    with pytest.raises(MissingExtraError, match="pip install"):
        metric.require()
