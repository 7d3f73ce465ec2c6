"""Test the rate loss: its value, its gradients, and a training run with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.quantizers.fsq import FSQ
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import load_config
from silkcodec_torch.train.loop import train
from silkcodec_torch.train.rate import RateLoss
from speechlike import speechlike

DIMS = 6


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def loss() -> RateLoss:
    torch.manual_seed(1)
    return RateLoss(n_dims=DIMS, width=16)


def quantized(latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = FSQ()(latent)
    return found.latent, found.codes


def fit(loss: RateLoss, latent: torch.Tensor, levels: torch.Tensor, steps: int = 150) -> float:
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(latent, levels)
        value.backward()
        optimizer.step()
    return value.item()


def randomized(loss: RateLoss) -> RateLoss:
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.normal_(std=0.3)
    return loss


def test_an_untrained_model_needs_three_bits_per_level(loss: RateLoss) -> None:
    latent, levels = quantized(torch.randn(2, 5, DIMS))
    assert loss(latent, levels).item() == pytest.approx(3.0, abs=1e-5)


def test_a_trained_model_reaches_the_entropy(loss: RateLoss) -> None:
    """Levels 2 and 5 are equally likely in even dimensions, and odd dimensions repeat the preceding one."""
    coins = torch.randint(2, (16, 10, DIMS // 2)).repeat_interleave(2, dim=2)
    levels = torch.where(coins == 1, 5, 2)
    assert fit(loss, FSQ().decode(levels), levels) == pytest.approx(0.5, abs=0.05)


def test_a_trained_model_uses_the_previous_frames(loss: RateLoss) -> None:
    """Each frame repeats the first one, which is random, so only a tenth of the frames cost bits."""
    levels = torch.randint(8, (64, 1, DIMS)).repeat(1, 10, 1)
    assert fit(loss, FSQ().decode(levels), levels) < 1.0


def test_a_cost_depends_only_on_what_precedes_the_level(loss: RateLoss) -> None:
    randomized(loss)
    latent = torch.randn(1, 4, DIMS, requires_grad=True)
    for frame, dim in ((0, 0), (1, 3), (3, 5)):
        (gradient,) = torch.autograd.grad(loss.costs(latent)[0, frame, dim, 0], latent)
        used = gradient[0].flatten().nonzero().flatten()
        position = frame * DIMS + dim
        assert len(used) == 0 if position == 0 else int(used.max()) == position - 1


@pytest.mark.parametrize("level", range(8))
def test_the_encoder_gets_the_slope_of_the_cost(loss: RateLoss, level: int) -> None:
    randomized(loss)
    latent = FSQ().decode(torch.full((1, 1, DIMS), level)).requires_grad_()
    costs = loss.costs(latent.detach())[0, 0, -1]  # the last dimension is not in the context of any other level
    (gradient,) = torch.autograd.grad(loss(latent, torch.full((1, 1, DIMS), level)), latent)
    below, above = max(level - 1, 0), min(level + 1, 7)
    slope = (costs[above] - costs[below]) / (above - below)
    # A latent of 1 is 4 levels, and the loss is the mean over the dimensions.
    assert float(gradient[0, 0, -1]) == pytest.approx(4 * slope.item() / DIMS, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_a_run_makes_levels_cheaper_and_resumes(tmp_path: Path) -> None:
    for i in range(3):
        audio.write(tmp_path / "speech" / f"{i}.wav", speechlike(2.0, seed=i), SAMPLE_RATE)
    file = tmp_path / "rate.toml"
    stage = '[[stage]]\nname = "{}"\nsteps = 8\nlosses = {{ mel = 1.0, rate = 2.0 }}\n'
    more = [f"data.folder={tmp_path / 'speech'}", "rate.width=8", "rate.learning_rate=0.02"]
    more += ["optim.threads=1", "data.crop_frames=1", "log.validate_clip_s=1.2"]
    file.write_text('extends = "tiny"\n' + stage.format("one"), encoding="utf-8")
    train(file, tmp_path / "run", more)
    groups, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert groups["rate"].keys() == RateLoss(width=8).state_dict().keys() and groups["optimizer_rate"]
    lines = (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [json.loads(line)["train"]["rate"] for line in lines]
    assert len(rates) == 2 and rates[1] < rates[0] < 3.0
    file.write_text('extends = "tiny"\n' + stage.format("one") + stage.format("two"), encoding="utf-8")
    train(file, tmp_path / "run", more)
    resumed, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert not torch.equal(resumed["rate"]["within"], groups["rate"]["within"])


@pytest.mark.slow
def test_a_new_run_can_start_from_the_model_of_the_rate_loss(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    audio.write(tmp_path / "speech" / "0.wav", speechlike(2.0), SAMPLE_RATE)
    stage = 'stage=[{name="one", steps=1, losses={mel=1.0, rate=1.0}}]'
    more = [f"data.folder={tmp_path / 'speech'}", "optim.threads=1", "data.crop_frames=1", stage]
    train("tiny", tmp_path / "first", more)
    for name, width in (("same", 256), ("other", 8)):
        run = tmp_path / name
        train("tiny", run, [*more, f"init={tmp_path / 'first'}", f"rate.width={width}", "rate.learning_rate=0.0"])
        groups, _ = checkpoint.load(run / "checkpoint.safetensors")
        source, _ = checkpoint.load(tmp_path / "first" / "checkpoint.safetensors")
        same = {key: torch.equal(value, source["rate"][key]) for key, value in groups["rate"].items() if width == 256}
        assert all(same.values()) and ("loaded the model of the rate loss" in capsys.readouterr().err) == (width == 256)


def test_the_rate_loss_requires_fsq(tmp_path: Path) -> None:
    file = tmp_path / "rate.toml"
    file.write_text('extends = "tiny"\n[[stage]]\nname = "a"\nsteps = 1\nlosses = { rate = 1.0 }\n')
    assert load_config(file).rate.width == 256
    with pytest.raises(ArgumentError, match=r"model\.quantizer must be fsq if a stage uses the rate loss; got 'vq'"):
        load_config(file, ["model.quantizer=vq"])
