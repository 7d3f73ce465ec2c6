"""Test that stuck FSQ dimensions are found, and are reset without changing the decoded audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.nn.sizes import ModelConfig
from silkcodec_torch.train.stuck import reset
from speechlike import speechlike

STUCK = [5, 77]
CONFIG = {"conv_width": 16, "encoder_convs": 1, "decoder_convs": 1, "width": 16, "heads": 2}
SMALL = ModelConfig(**CONFIG, encoder_layers=1, decoder_layers=1, past_frames=1)  # type: ignore[arg-type]


@pytest.fixture
def waves() -> list[np.ndarray]:
    return [speechlike(14.0, seed=seed) for seed in range(3)]


def lively(waves: list[np.ndarray]) -> SilkNetwork:
    """Return a network with latent values that vary, unlike those of an untrained network."""
    torch.manual_seed(0)
    model = SilkNetwork(SMALL).eval()
    found: list[torch.Tensor] = []
    hook = model.encoder.fold.register_forward_hook(lambda _module, _inputs, latent: found.append(latent[0]))
    for wave in waves:
        model.encode(torch.from_numpy(wave)[None])
    hook.remove()
    latents = torch.cat(found)
    with torch.no_grad():
        model.encoder.fold.weight /= latents.std(dim=0)[:, None]
        model.encoder.fold.bias -= latents.mean(dim=0) / latents.std(dim=0)
    return model


@pytest.fixture
def model(waves: list[np.ndarray]) -> SilkNetwork:
    model = lively(waves)
    with torch.no_grad():
        for dimension, level in zip(STUCK, (9.0, -9.0), strict=True):
            model.encoder.fold.weight[dimension] = 0
            model.encoder.fold.bias[dimension] = level
    return model


def test_reset_dimensions_vary_and_do_not_change_the_wave(model: SilkNetwork, waves: list[np.ndarray]) -> None:
    given = torch.from_numpy(waves[0])[None]
    before = model.decode(model.encode(given), given.shape[1])
    kept = model.encoder.fold.weight[6].clone()
    assert reset(model, waves) == STUCK
    assert torch.equal(model.encoder.fold.weight[6], kept)
    after = model.decode(model.encode(given), given.shape[1])
    assert torch.allclose(before, after, atol=1e-5)

    wave = torch.from_numpy(waves[0])[None, : 9600 * 4 + 480]
    model(wave).wave.square().mean().backward()  # first the columns of the decoder are trained
    assert all(model.decoder.unfold.weight.grad[:, dimension].any() for dimension in STUCK)
    with torch.no_grad():
        model.decoder.unfold.weight -= model.decoder.unfold.weight.grad
    model.zero_grad()
    model(wave).wave.square().mean().backward()  # and then the rows of the encoder
    assert all(model.encoder.fold.weight.grad[dimension].any() for dimension in STUCK)


def test_nothing_changes_without_stuck_dimensions(waves: list[np.ndarray]) -> None:
    model = lively(waves)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert reset(model, waves) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_short_speech_is_not_decided(model: SilkNetwork, waves: list[np.ndarray]) -> None:
    assert reset(model, waves[:1]) == []


def test_codebooks_are_not_changed(waves: list[np.ndarray]) -> None:
    config = ModelConfig(**CONFIG, encoder_layers=1, decoder_layers=1, past_frames=1, quantizer="rvq")  # type: ignore[arg-type]
    assert reset(SilkNetwork(config).eval(), waves) == []
