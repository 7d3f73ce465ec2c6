"""Test the adjustments of the averaged weights after the last stage: blending and equalizing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from silkcodec.errors import ArgumentError, WeightsError
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.nn.sizes import ModelConfig
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import load_config
from silkcodec_torch.train.finish import MAX_GAIN_DB, blend, equalize, weights_of
from speechlike import speechlike

CONFIG = {"conv_width": 16, "encoder_convs": 1, "decoder_convs": 1, "width": 16, "heads": 2}
SMALL = ModelConfig(**CONFIG, encoder_layers=1, decoder_layers=1, past_frames=1, noise=True)  # type: ignore[arg-type]


def network(seed: int, config: ModelConfig = SMALL) -> SilkNetwork:
    torch.manual_seed(seed)
    return SilkNetwork(config).eval()


def test_a_blend_lies_between_both_networks() -> None:
    model, other = network(1), network(2)
    others = other.state_dict()
    expected = {name: 0.7 * mine + 0.3 * others[name] for name, mine in model.named_parameters()}
    blend(model, others, 0.3)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected[name])


def test_weights_without_noise_make_the_noise_quieter() -> None:
    model, before = network(1), network(1)
    blend(model, network(2, replace(SMALL, noise=False)).state_dict(), 0.5)
    assert torch.equal(model.decoder.head.noise.weight, before.decoder.head.noise.weight)
    torch.testing.assert_close(model.decoder.head.noise.bias, before.decoder.head.noise.bias - math.log(2))


def test_weights_of_another_size_cannot_be_blended() -> None:
    with pytest.raises(WeightsError, match="sizes"):
        blend(network(1), network(2, replace(SMALL, conv_width=24)).state_dict(), 0.3)


def test_the_weights_of_a_run_are_its_average(tmp_path: Path) -> None:
    states = {group: network(seed).state_dict() for seed, group in enumerate(("model", "ema"))}
    checkpoint.save(tmp_path / "checkpoint.safetensors", states, {})
    found = weights_of(tmp_path)
    assert all(torch.equal(found[name], tensor) for name, tensor in states["ema"].items())


def test_equalizing_raises_a_quiet_output_to_the_level_of_the_recordings() -> None:
    recordings = [speechlike(3.0, seed=seed) for seed in range(3)]
    model = network(1)
    with torch.no_grad():
        model.decoder.head.project.bias[:361] = -7.0
    gains = [equalize(model, recordings) for _ in range(12)]
    assert gains[0].shape == (361,) and gains[0].max() == MAX_GAIN_DB  # one call is limited
    assert gains[-1].max() < 0.5  # nothing is left to raise


def test_recordings_shorter_than_a_window_are_ignored() -> None:
    speech, short = speechlike(2.0), speechlike(1.0)[:719]
    gains = [equalize(network(1), recordings) for recordings in ([speech], [short, speech], [short])]
    assert torch.equal(gains[0], gains[1]) and gains[0].any()
    assert torch.equal(gains[2], torch.zeros(361))


def test_a_share_needs_weights() -> None:
    with pytest.raises(ArgumentError, match="blend"):
        load_config("tiny", ["finish.blend_share=0.5"])


def test_learned_codebooks_cannot_be_blended() -> None:
    with pytest.raises(ArgumentError, match=r"must be fsq if finish\.blend_share is above 0.*got 'rvq'"):
        load_config("rvq", ["finish.blend=a", "finish.blend_share=0.5"])
