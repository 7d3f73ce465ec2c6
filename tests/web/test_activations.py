"""Test the data that web/make_data.py writes for the page and its TypeScript tests."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from repository import ROOT

sys.path.insert(0, str(ROOT / "web"))
import activations
import make_data


def test_the_recorded_spectrum_is_that_of_the_decoded_wave(codec: Any, speech: Any) -> None:
    tokens = codec.encode(speech)
    recorder = activations.Recorder(codec)
    found = recorder.record(speech, tokens.to_levels())
    sizes = [int(one.rate_hz * 0.4 * tokens.n_frames) * one.rows for one in recorder.layers]
    assert len(found) == sum(sizes)
    rows = recorder.layers[-1].rows
    predicted = np.frombuffer(found[-sizes[-1] :], np.uint8).reshape(-1, rows).astype(float)
    wave = np.pad(codec.decode(tokens), (0, 720))
    frames = np.lib.stride_tricks.sliding_window_view(wave, 720)[::240][: len(predicted)] * np.hanning(720)
    heard = np.log(np.abs(np.fft.rfft(frames))[:, : 3 * rows].reshape(len(frames), rows, 3).mean(axis=2) + 1e-3)
    assert np.corrcoef(predicted[: len(heard)].ravel(), heard.ravel())[0, 1] > 0.8


def test_a_sine_at_full_scale_is_at_0_dbfs() -> None:
    sine = np.sin(2 * np.pi * 40 * np.arange(720) / 720) * np.hanning(721)[:-1]
    log_magnitude = np.log(np.abs(np.fft.rfft(sine)) + 1e-9)
    picture = activations.spectrum(np.concatenate([log_magnitude, np.zeros(361)])[None])
    assert picture[0, 40 // 3] == 255
    assert np.delete(picture[0], 40 // 3).max() == 0


def test_float16_latents_round_to_their_levels() -> None:
    latents = np.array([[-3.4999, 2.4999, 0.5001, -4.2]], np.float32)
    levels = np.array([[1, 6, 5, 0]], np.uint8)
    found = make_data.half(latents, levels)
    np.testing.assert_array_equal(np.rint(found).clip(-4, 3) + 4, levels)
    np.testing.assert_allclose(found, latents, atol=0.005)


def test_layers_are_found_in_order(codec: Any) -> None:
    index = activations.Recorder(codec).index()
    network = codec.config.encoder.states
    convolutions = [one["number"] for one in index if one["part"] == "encoder" and one["kind"] == "convolution"]
    assert convolutions == [1 + i for i in range(sum(name.startswith("state_conv") for name in network))]
    layers = [one["number"] for one in index if one["part"] == "encoder" and one["kind"] == "transformer"]
    assert layers == [1 + i for i in range(sum(name.startswith("state_layer") for name in network))]


def test_the_fixtures_of_the_typescript_tests_are_current() -> None:
    pytest.importorskip("constriction", reason="needs [entropy]")
    made, stored = make_data.fixtures(), json.loads(make_data.FIXTURES.read_text(encoding="utf-8"))
    np.testing.assert_allclose(made.pop("mel"), stored.pop("mel"), atol=1e-3)
    assert made == stored, "run: python web/make_data.py --fixtures"
