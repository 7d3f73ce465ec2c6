"""Test that the activations in the page are those of the model."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from repository import ROOT

sys.path.insert(0, str(ROOT / "web"))
import activations


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


def test_layers_are_found_in_order(codec: Any) -> None:
    index = activations.Recorder(codec).index()
    network = codec.config.encoder.states
    convolutions = [one["number"] for one in index if one["part"] == "encoder" and one["kind"] == "convolution"]
    assert convolutions == [1 + i for i in range(sum(name.startswith("state_conv") for name in network))]
    layers = [one["number"] for one in index if one["part"] == "encoder" and one["kind"] == "transformer"]
    assert layers == [1 + i for i in range(sum(name.startswith("state_layer") for name in network))]
