"""Test runs with every quantizer: configs, checkpoints, averaged weights and frozen codebooks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.codebooks import perplexity
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.quantizers import QUANTIZERS as CLASSES
from silkcodec_torch.quantizers import RVQ
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import QUANTIZERS, load_config
from silkcodec_torch.train.export import export
from silkcodec_torch.train.loop import Trainer
from speechlike import speechlike

pytestmark = pytest.mark.slow

LEARNED = [name for name in QUANTIZERS if name != "fsq"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for i in range(6):
        audio.write(folder / f"{i}.wav", speechlike(3.0, seed=i), 24_000)
    return folder


RUN = """
extends = "tiny"
[[stage]]
name = "reconstruction"
steps = 3
losses = { mel = 1.0 }
"""
DECODER = """
[[stage]]
name = "decoder"
steps = 3
losses = { mel = 1.0 }
train_encoder = false
"""


def trained(speech: Path, run: Path, quantizer: str, stages: str = RUN) -> Trainer:
    run.mkdir(exist_ok=True)
    (run / "mine.toml").write_text(stages)
    overrides = [f"data.folder={speech}", "data.valid_percent=30.0", f"model.quantizer={quantizer}"]
    trainer = Trainer(load_config(run / "mine.toml", overrides), run)
    trainer.run()
    return trainer


def test_the_configs_know_every_quantizer() -> None:
    assert tuple(CLASSES) == QUANTIZERS
    for name in QUANTIZERS:
        config = load_config(name)
        assert config.model.quantizer == name
        rest = load_config("small")  # the configs differ only in one line
        assert config.stage == rest.stage and config.optim == rest.optim


def test_all_quantizers_use_the_same_bits() -> None:
    for name in LEARNED:
        assert CLASSES[name]().bits_per_frame == pytest.approx(384, abs=0.01)


def test_an_unknown_quantizer_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"model\.quantizer must be one of fsq, vq, rvq, multiscale; got 'fsk'"):
        load_config("tiny", ["model.quantizer=fsk"])


@pytest.mark.parametrize("quantizer", LEARNED)
def test_a_run_with_learned_codebooks(quantizer: str, speech: Path, tmp_path: Path) -> None:
    trainer = trained(speech, tmp_path / "run", quantizer)
    learned = trainer.model.quantizer.state_dict()
    for name, value in trainer.ema.quantizer.state_dict().items():
        assert torch.equal(value, learned[name])  # codebooks are copied into the average

    groups, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    model = SilkNetwork(trainer.config.model).eval()
    checkpoint.fill(model, groups, "ema", tmp_path)
    wave = torch.from_numpy(speechlike(1.0))[None]
    codes = model.encode(wave)
    assert codes.shape == (1, 3, len(model.quantizer.codebook_sizes))
    assert torch.equal(codes, trainer.ema.encode(wave))
    assert model.decode(codes, wave.shape[1]).shape == wave.shape

    with pytest.raises(ArgumentError, match=rf"'fsq' quantizer .* uses '{quantizer}'"):
        export(tmp_path / "run", tmp_path / "weights")


def test_a_resumed_run_draws_the_same_random_numbers(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use quantizer dropout in every step, and stop one of two runs after its second step."""
    monkeypatch.setitem(CLASSES, "rvq", lambda: RVQ(entries=8, dropout=1.0))
    whole = trained(speech, tmp_path / "whole", "rvq", RUN.replace("3", "6")).model.state_dict()
    average = Trainer._average

    def interrupted(self: Trainer) -> None:
        average(self)
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_average", interrupted)
        trained(speech, tmp_path / "parts", "rvq", RUN.replace("3", "6"))
    parts = trained(speech, tmp_path / "parts", "rvq", RUN.replace("3", "6")).model.state_dict()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_codebooks_are_frozen_if_only_the_decoder_is_trained(speech: Path, tmp_path: Path) -> None:
    before = trained(speech, tmp_path / "run", "rvq").model.quantizer.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    going_on = trained(speech, tmp_path / "run", "rvq", RUN + DECODER)
    assert going_on.step == 6
    after = going_on.model.quantizer.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_perplexity_of_known_cases() -> None:
    assert perplexity(np.array([3, 3, 3])) == pytest.approx(1.0)
    assert perplexity(np.arange(8).repeat(5)) == pytest.approx(8.0)
    assert perplexity(np.array([0, 0, 1, 1])) == pytest.approx(2.0)
