"""Test the alignment with known delays, for waveform codecs and for codecs that preserve only the envelope."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silkcodec.evaluate import align
from speechlike import speechlike

RATE = 24_000
SPEECH = speechlike(3.0)


@settings(max_examples=20)
@given(delay=st.integers(-11_999, 11_999))
def test_a_known_delay_is_found_to_the_sample(delay: int) -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
    late = align.shifted(SPEECH + noise, -delay, len(SPEECH))
    found = align.find_delay(SPEECH, late, RATE)
    assert (found.n_samples, found.method) == (delay, "waveform")


@pytest.mark.parametrize("delay_ms", [-60, 0, 20, 300])
def test_a_delay_is_found_from_the_envelope(delay_ms: int) -> None:
    # Like a vocoder: the same short-time spectrum with other phases, so the waveforms do not correlate.
    spectrum = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(SPEECH, 480)[::240] * np.hanning(480))
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(spectrum.shape))
    vocoded = np.zeros(len(SPEECH), dtype=np.float32)
    for index, frame in enumerate(np.fft.irfft(np.abs(spectrum) * phases, 480) * np.hanning(480)):
        vocoded[240 * index : 240 * index + 480] += frame.astype(np.float32)
    delay = delay_ms * RATE // 1000
    found = align.find_delay(SPEECH, align.shifted(vocoded, -delay, len(SPEECH)), RATE)
    assert found.method == "envelope"
    assert found.n_samples == pytest.approx(delay, abs=3 * RATE // 1000)


def test_a_false_lag_of_the_waveform_is_rejected() -> None:
    # A low voice with odd harmonics only. With inverted phases, the waveform correlation peaks 8 ms off.
    time_s = np.arange(3 * RATE) / RATE
    voice = (
        sum(np.sin(2 * np.pi * 62.5 * k * time_s) for k in range(3, 40, 2))
        * np.hanning(RATE // 2)[np.arange(3 * RATE) % (RATE // 2)]
    )
    wave = (0.02 * voice).astype(np.float32)
    assert abs(align._waveform_delay(wave, -wave, RATE // 2).n_samples) == 0.008 * RATE
    assert align.find_delay(wave, -wave, RATE) == align.Delay(0, "envelope", pytest.approx(1.0))


@pytest.mark.parametrize("delay", [0, 7, 100, 2400])
def test_a_constant_delay_of_a_waveform_codec_is_found_to_the_sample(delay: int) -> None:
    # Even with coarse quantization to 16 steps, the waveforms still correlate.
    coarse = (np.round(SPEECH * 16) / 16).astype(np.float32)
    found = align.find_delay(SPEECH, align.shifted(coarse, -delay, len(SPEECH)), RATE)
    assert (found.n_samples, found.method) == (delay, "waveform")


def test_alignment_removes_a_delay_for_every_metric() -> None:
    late = np.concatenate([np.zeros(1234, dtype=np.float32), SPEECH])  # longer than the reference, too
    delay = align.find_delay(SPEECH, late, RATE)
    aligned = align.shifted(late, delay.n_samples, len(SPEECH))
    assert np.array_equal(aligned, SPEECH)


def test_silence_has_no_delay() -> None:
    assert align.find_delay(SPEECH, np.zeros_like(SPEECH), RATE) == align.Delay(0, "none", 0.0)


@given(length=st.integers(1, 50), delay=st.integers(-80, 80), wanted=st.integers(1, 80))
def test_shifted_moves_and_keeps_the_length(length: int, delay: int, wanted: int) -> None:
    wave = np.arange(1, length + 1, dtype=np.float32)
    moved = align.shifted(wave, delay, wanted)
    expected = [wave[i + delay] if 0 <= i + delay < length else 0.0 for i in range(wanted)]
    assert moved.tolist() == expected
