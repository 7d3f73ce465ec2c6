"""Test training runs: all stages, files, and the effect of kill -9, Ctrl-C, damaged files and NaN losses."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from silkcodec import audio
from silkcodec.errors import ArgumentError, OutputError, SilkError, WeightsError
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.train import checkpoint, loop
from silkcodec_torch.train.config import StageConfig, load_config
from silkcodec_torch.train.interrupts import Interrupts
from silkcodec_torch.train.loop import MAX_SKIPPED, Trainer, at_one_level, learning_rate, train
from silkcodec_torch.train.losses import SpectralLoss
from silkcodec_torch.train.run_progress import Means, Progress
from silkcodec_torch.train.validate import validate
from speechlike import speechlike

pytestmark = pytest.mark.slow

SMALL = ["data.crop_frames=1", "optim.threads=1", "log.validate_clip_s=1.2", "log.progress_steps=1",
         "adversary.width=2", "adversary.periods=[2]", "adversary.fft_sizes=[128]"]  # fmt: skip
STAGE = '[[stage]]\nname = "{}"\nsteps = {}\nlosses = {{ mel = 1.0, {} }}\ntrain_encoder = {}\n'
RECONSTRUCTION = STAGE.format("reconstruction", 24, "convergence = 0.5", "true")
ADVERSARIAL = STAGE.format("adversarial", 3, "adversarial = 0.1, features = 0.1", "true")
DECODER = STAGE.format("decoder", 3, "adversarial = 0.1, features = 0.1", "false")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    for i in range(4):
        audio.write(folder / f"{i}.wav", speechlike(2.0, seed=i), SAMPLE_RATE)
    return folder


def config_of(folder: Path, *stages: str) -> Path:
    """Write a config that extends the packaged `tiny` config with these stages."""
    file = folder / "mine.toml"
    file.write_text('extends = "tiny"\n' + "".join(stages), encoding="utf-8")
    return file


def short(speech: Path, steps: int, *more: str) -> list[str]:
    """Return overrides of the `tiny` config for one short stage."""
    stage = f'stage=[{{name="all", steps={steps}, losses={{mel=1.0}}}}]'
    return [f"data.folder={speech}", f"data.cache={speech.parent / 'cache'}", *SMALL, stage, *more]


def weights(run: Path, *groups: str) -> dict[str, torch.Tensor]:
    found = load_file(run / "checkpoint.safetensors")
    return {name: tensor for name, tensor in found.items() if name.partition("/")[0] in groups}


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys() and a
    assert not [name for name in a if not torch.equal(a[name], b[name])]


# --- a whole run


@pytest.fixture(scope="module")
def runs(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run all three stages, and keep the state from before the last stage."""
    folder = tmp_path_factory.mktemp("runs")
    overrides = [f"data.folder={speech}", *SMALL, "log.validate_steps=8"]
    train(config_of(folder, RECONSTRUCTION, ADVERSARIAL), folder / "run", overrides)
    shutil.copytree(folder / "run", folder / "before")
    train(config_of(folder, RECONSTRUCTION, ADVERSARIAL, DECODER), folder / "run", overrides)  # extended by a stage
    return folder / "run", folder / "before"


def test_a_run_writes_its_files(runs: tuple[Path, Path]) -> None:
    run, _ = runs
    assert load_config(run / "config.toml").stage[2].name == "decoder"
    _, progress = checkpoint.load(run / "checkpoint.safetensors")
    assert progress["step"] == 30 and progress["stage"] == 3 and progress["seconds"] > 0 and progress["skipped"] == 0
    assert list((run / "tensorboard").iterdir())
    clips = sorted(p.name for p in (run / "audio" / "step_0000030").iterdir())
    assert clips == ["00_original.wav", "00_silk.wav"]
    assert len(audio.read(run / "audio" / "step_0000030" / "00_silk.wav")) == round(1.2 * SAMPLE_RATE)


def test_the_history_has_scores_and_training_losses(runs: tuple[Path, Path]) -> None:
    lines = history(runs[0])
    assert [line["step"] for line in lines] == [8, 16, 24, 27, 30]  # each once, including the last of each run
    for line in lines:
        assert {"pesq_wb", "stoi", "mel_distance", "perplexity", "hours", "train", "skipped"} <= line.keys()
        assert {"mel", "gradient", "learning_rate"} <= line["train"].keys()
    assert "adversarial" not in lines[2]["train"] and {"adversarial", "discriminator"} <= lines[3]["train"].keys()


def test_the_loss_goes_down(runs: tuple[Path, Path]) -> None:
    lines = history(runs[0])
    assert lines[2]["train"]["mel"] < lines[0]["train"]["mel"]
    assert lines[2]["mel_distance"] < lines[0]["mel_distance"]


def test_the_last_stage_changes_no_token(runs: tuple[Path, Path]) -> None:
    """Check this for the averaged weights, which are exported."""
    wave = torch.from_numpy(speechlike(2.0, seed=9))[None]
    tokens, waves = [], []
    for run in runs:
        model = SilkNetwork(load_config(run / "config.toml").model).eval()
        groups, _ = checkpoint.load(run / "checkpoint.safetensors")
        model.load_state_dict(groups["ema"])
        tokens.append(model.encode(wave))
        waves.append(model.decode(tokens[-1], wave.shape[1]))
    assert torch.equal(*tokens)
    assert not torch.equal(*waves)
    after = weights(runs[0], "model", "ema")
    for name in after:
        if name.startswith("model/encoder"):  # the decoder was trained on the tokens of the exported encoder
            assert torch.equal(after[name], after[name.replace("model/", "ema/")]), name


def test_the_losses_use_only_the_bandwidth_of_a_file(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(speech, tmp_path / "speech"))
    rows = [f"{i}.wav\t{'valid' if i == 0 else 'train'}\t5000" for i in range(4)]
    (folder / "INDEX.tsv").write_text("\n".join(["path\tsplit\thz", *rows]) + "\n", encoding="utf-8")
    compared: list[torch.Tensor] = []

    class Recorded(SpectralLoss):
        def forward(self, wave: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
            compared.append(torch.cat([wave, target]).detach())
            return super().forward(wave, target)

    monkeypatch.setattr(loop, "SpectralLoss", Recorded)
    overrides = [*short(folder, 1, "optim.compile=false"), "data.index=INDEX.tsv", "data.bandwidth_column=hz"]
    for limit in (0, 10_000):
        train("tiny", tmp_path / f"run{limit}", [*overrides, f"data.full_band_hz={limit}"])
    above = [torch.fft.rfft(waves).abs()[:, -1000:].amax(dim=1) for waves in compared]  # above 10,750 Hz
    assert (above[0][: len(above[0]) // 2] > 1e-2).all()  # An untrained decoder outputs noise at all frequencies.
    assert (above[1] < 1e-3).all()


def test_a_finished_run_does_not_change(runs: tuple[Path, Path], speech: Path) -> None:
    run, _ = runs
    before = {p: p.read_bytes() for p in (run / "checkpoint.safetensors", run / "history.jsonl")}
    train(run / "config.toml", run)
    assert all(path.read_bytes() == content for path, content in before.items())


# --- adjusting the average


@pytest.fixture(scope="module")
def blended(speech: Path, uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a run whose average was blended with that of another run, and the overrides of its config."""
    run = tmp_path_factory.mktemp("blended") / "run"
    overrides = short(speech, 4, f"finish.blend={uninterrupted}", "finish.blend_share=0.5", "seed=8")
    train("tiny", run, overrides)
    return run, overrides


def test_additional_stages_continue_with_the_average_before_its_adjustment(
    speech: Path, blended: tuple[Path, list[str]], uninterrupted: Path, tmp_path: Path
) -> None:
    run, overrides = blended
    groups, _ = checkpoint.load(run / "checkpoint.safetensors")
    other = {name.removeprefix("ema/"): tensor for name, tensor in weights(uninterrupted, "ema").items()}
    for name, tensor in groups["ema"].items():
        torch.testing.assert_close(tensor, (groups["unadjusted"][name] + other[name]) / 2)
    shutil.copytree(run, tmp_path / "run")
    stages = 'stage=[{name="all", steps=4, losses={mel=1.0}}, {name="more", steps=1, losses={mel=1.0}}]'
    trainer = Trainer(load_config("tiny", [*overrides, stages]), tmp_path / "run")
    assert_same(trainer.ema.state_dict(), groups["unadjusted"])
    start = Trainer(load_config("tiny", short(speech, 1, f"init={run}")), tmp_path / "other")
    assert_same(start.model.state_dict(), groups["ema"])  # A new run starts from the adjusted weights.


def test_a_crash_in_the_last_validation_does_not_skip_it(
    blended: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, overrides = blended
    measure, calls = loop.validate, []

    def crashing(*arguments: Any) -> dict[str, float]:
        calls.append(arguments)
        if len(calls) == 2:  # the first validation is that of the last step
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(loop, "validate", crashing)
    with pytest.raises(KeyboardInterrupt):
        train("tiny", tmp_path / "run", overrides)
    train("tiny", tmp_path / "run", overrides)
    assert [line["step"] for line in history(tmp_path / "run")] == [4, 4]
    assert_same(weights(tmp_path / "run", "ema"), weights(blended[0], "ema"))


def test_wrong_weights_for_the_blend_are_reported_before_training(
    speech: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    for source, more, message in (
        (tmp_path / "nowhere", "seed=1", "finish.blend must be a folder"),
        (uninterrupted, "model.width=48", "finish.blend must have the sizes set in"),
    ):
        overrides = short(speech, 1, f"finish.blend={source}", "finish.blend_share=0.5", more)
        with pytest.raises(WeightsError, match=message):
            Trainer(load_config("tiny", overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- resuming


@pytest.fixture(scope="module")
def uninterrupted(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    train("tiny", run, short(speech, 8))
    return run


def test_a_killed_run_ends_like_an_uninterrupted_one(speech: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """Kill a run in step 6, after the checkpoint of step 5, and check that the resumed run gives identical results."""
    code = """
import os, signal, sys
from silkcodec_torch.train import loop
average = loop.Trainer._average
def deadly(self):
    if self.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    average(self)
loop.Trainer._average = deadly
loop.train("tiny", sys.argv[1], sys.argv[2:])
"""
    overrides = [*short(speech, 8), "log.checkpoint_minutes=0"]
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run"), *overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 5
    train("tiny", tmp_path / "run", overrides)
    assert_same(weights(tmp_path / "run", "model", "ema"), weights(uninterrupted, "model", "ema"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_saves_and_exits_with_130(
    speech: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    average = Trainer._average

    def interrupted(self: Trainer) -> None:
        if self.step == 2:
            os.kill(os.getpid(), number)
        average(self)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_average", interrupted)
        with pytest.raises(SystemExit) as left:
            train("tiny", tmp_path / "run", short(speech, 8))
    assert left.value.code == 130 and signal.getsignal(number) is before
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 3  # the step is finished
    train("tiny", tmp_path / "run", short(speech, 8))
    assert_same(weights(tmp_path / "run", "model", "ema"), weights(uninterrupted, "model", "ema"))


def test_the_second_interrupt_has_its_previous_effect() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    requested = []
    thread = threading.Thread(target=lambda: requested.append(Interrupts().__enter__().requested))  # no handlers here
    thread.start()
    thread.join()
    assert requested == [False]


def test_an_older_checkpoint_is_resumed(speech: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """Resume a run from an early version, which has no count of skipped steps and no `init`."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith("init")))
    file = tmp_path / "run" / "checkpoint.safetensors"
    groups, progress = checkpoint.load(file)
    del progress["skipped"]
    checkpoint.save(file, groups, progress)
    train(config, tmp_path / "run", ["stage.0.steps=8"])
    assert_same(weights(tmp_path / "run", "model"), weights(uninterrupted, "model"))


def test_the_history_removes_repeated_steps(tmp_path: Path) -> None:
    lines = ['{"step": 4, "stoi": 0.1}', '{"step": 8, "stoi": 0.2}', '{"step": 12}', '{"st']
    (tmp_path / "history.jsonl").write_text("\n".join(lines), encoding="utf-8")
    progress = Progress(tmp_path, load_config("tiny"))
    assert progress.rewind(9) == 8 and progress.first_step == 10
    assert (tmp_path / "history.jsonl").read_text() == "\n".join(lines[:2]) + "\n"
    assert progress.rewind(3) == -1


def test_the_remaining_time_ignores_compilation_and_earlier_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(tmp_path, load_config("tiny", ["log.progress_steps=10"]))
    first, second = (StageConfig(name, steps=600, losses={"mel": 1.0}) for name in ("first", "second"))
    progress.begin(first)
    for step in range(1, 36):
        progress.update(step, step / 600, {"mel": 5.0}, 60.0 if step == 1 else 1.0, 4.0)
    progress.begin(second)
    for step in range(36, 61):
        progress.update(step, (step - 35) / 600, {"mel": 1.0}, 4.0, 4.0)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines[2] == "first 30/600 4x real time, 10 min left, mel 5"  # 570 s
    assert lines[3:] == [
        "second 5/600 1x real time, 40 min left, mel 1",
        "second 15/600 1x real time, 39 min left, mel 1",
        "second 25/600 1x real time, 38 min left, mel 1",
    ]


@pytest.mark.parametrize("damage", ["truncated", "other bytes", "empty", "no progress"])
def test_a_damaged_checkpoint_gives_one_sentence(
    speech: Path, tmp_path: Path, uninterrupted: Path, damage: str
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint.safetensors"
    if damage == "truncated":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "no progress":
        save_file({"model/x": torch.zeros(1)}, file)
    else:
        file.write_bytes(b"" if damage == "empty" else b"not a checkpoint, but longer than a header" * 10)
    with pytest.raises(WeightsError, match="complete checkpoint") as caught:
        train("tiny", tmp_path / "run", short(speech, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["model.width=48", "optim.optimizer=adamw"])
def test_a_checkpoint_of_another_config_gives_one_sentence(
    speech: Path, tmp_path: Path, uninterrupted: Path, change: str
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    saved = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(WeightsError, match=r"do(es)? not match the config") as caught:
        train("tiny", tmp_path / "run", short(speech, 8, change))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run" / "config.toml").read_bytes() == saved  # nothing was overwritten


def test_an_unwritable_run_folder_gives_one_sentence(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write to the run folder"):
        train("tiny", tmp_path / "file", short(speech, 1))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "checkpoint.safetensors"
    checkpoint.save(file, {"model": {"x": torch.ones(2)}}, {"step": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        checkpoint.save(file, {"model": {"x": torch.zeros(2)}}, {"step": 2})
    groups, progress = checkpoint.load(file)
    assert progress == {"step": 1} and torch.equal(groups["model"]["x"], torch.ones(2))


# --- starting from other weights


def test_a_run_starts_from_the_average_of_another(speech: Path, tmp_path: Path, uninterrupted: Path) -> None:
    source = weights(uninterrupted, "ema")
    config = load_config("tiny", short(speech, 1, f"init={uninterrupted}", "seed=5"))
    trainer = Trainer(config, tmp_path / "run")
    for module in (trainer.model, trainer.ema):
        assert_same({f"ema/{name}": tensor for name, tensor in module.state_dict().items()}, source)
    assert trainer.step == 0
    groups, _ = checkpoint.load(uninterrupted / "checkpoint.safetensors")
    for name in ("adamw", "muon"):
        assert_same(checkpoint.optimizer_tensors(trainer.optimizers[name]), groups[f"optimizer_{name}"])
    overrides = short(speech, 1, f"init={uninterrupted}", "optim.optimizer=adamw")
    other = Trainer(load_config("tiny", overrides), tmp_path / "other")
    assert not other.optimizers["adamw"].state  # with other optimizers, only the weights are loaded
    trainer.save()
    fresh = Trainer(
        load_config("tiny", short(speech, 1, "seed=6")), tmp_path / "run"
    )  # the run's own checkpoint has priority
    assert_same(fresh.model.state_dict(), trainer.model.state_dict())


def test_a_run_adds_noise_to_a_model_without_noise(speech: Path, tmp_path: Path, uninterrupted: Path) -> None:
    overrides = short(speech, 1, f"init={uninterrupted}", "model.noise=true")
    trainer = Trainer(load_config("tiny", overrides), tmp_path / "run")
    source = weights(uninterrupted, "ema")
    ours = {f"ema/{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    assert ours.keys() - source.keys() == {"ema/decoder.head.noise.weight", "ema/decoder.head.noise.bias"}
    assert_same({name: ours[name] for name in source}, source)
    assert not any(trainer.optimizers[name].state for name in ("adamw", "muon"))
    trainer.run()


def test_a_run_starts_from_the_raw_weights_before_the_decay_with_their_discriminators(
    speech: Path, tmp_path: Path
) -> None:
    stage = 'stage=[{name="all", steps=4, losses={mel=1.0, adversarial=0.5, features=1.0}, decay_share=0.5}]'
    overrides = [*short(speech, 1)[:-1], stage]
    train("tiny", tmp_path / "first", overrides)
    groups, progress = checkpoint.load(tmp_path / "first" / "stable.safetensors")
    assert progress["steps_in_stage"] == 2  # of 4; the learning rate falls from here
    again = [*overrides, f"init={tmp_path / 'first' / 'stable.safetensors'}", "seed=6"]
    trainer = Trainer(load_config("tiny", again), tmp_path / "second")
    assert_same(trainer.model.state_dict(), groups["model"])
    assert trainer.discriminators is not None
    assert_same(trainer.discriminators.state_dict(), groups["discriminators"])
    larger = Trainer(load_config("tiny", [*again, "adversary.width=3"]), tmp_path / "third")
    assert larger.discriminators is not None  # with other sizes, they start from random weights
    assert larger.discriminators.state_dict().keys() == groups["discriminators"].keys()


def test_a_stage_of_discriminators_changes_only_them(speech: Path, tmp_path: Path) -> None:
    losses = "losses={adversarial=0.5}, train_encoder=false, train_decoder=false"
    overrides = [*short(speech, 1)[:-1], f'stage=[{{name="discriminators", steps=3, {losses}}}]']
    trainer = Trainer(load_config("tiny", overrides), tmp_path / "run")
    assert trainer.discriminators is not None
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    theirs = {name: value.clone() for name, value in trainer.discriminators.state_dict().items()}
    trainer.run()
    assert_same(trainer.model.state_dict(), before)
    assert [name for name, value in trainer.discriminators.state_dict().items() if not torch.equal(value, theirs[name])]


def test_a_stage_of_discriminators_trains_them_in_every_step_on_one_version(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = "losses={adversarial=0.5}, train_encoder=false, train_decoder=false"
    overrides = [*short(speech, 1)[:-1], f'stage=[{{name="discriminators", steps=3, {losses}}}]', "model.noise=true"]
    trainer = Trainer(load_config("tiny", [*overrides, "adversary.every_steps=2"]), tmp_path / "run")
    sizes = []
    trainer.model.register_forward_hook(lambda _, __, found: sizes.append(len(found.wave)))
    trainer.run()
    state = trainer.optimizers["discriminators"].state
    assert sizes == [2, 2, 2] and {int(entry["step"]) for entry in state.values()} == {3}


def test_a_ramp_of_the_only_loss_starts_above_zero(speech: Path, tmp_path: Path) -> None:
    stage = 'stage=[{name="adversarial", steps=2, losses={adversarial=0.5}}]'
    train("tiny", tmp_path / "run", [*short(speech, 1)[:-1], stage, "adversary.ramp_steps=4"])
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 2


def test_an_encoder_stage_keeps_the_decoder(speech: Path, tmp_path: Path) -> None:
    overrides = [*short(speech, 1)[:-1], 'stage=[{name="encoder", steps=3, losses={mel=1.0}, train_decoder=false}]']
    trainer = Trainer(load_config("tiny", overrides), tmp_path / "run")
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    after = trainer.ema.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(after[name], before[name])}
    assert changed == {"encoder"}


@pytest.mark.parametrize("frozen", ["encoder", "decoder", None])
def test_stuck_dimensions_are_reset_only_if_no_part_is_frozen(
    speech: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, frozen: str | None
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(loop.stuck, "reset", lambda *given: calls.append(given) or [])
    overrides = short(speech, 1, f"init={uninterrupted}", *([f"stage.0.train_{frozen}=false"] if frozen else []))
    Trainer(load_config("tiny", overrides), tmp_path / "run")
    assert bool(calls) is (frozen is None)


def test_an_invalid_init_gives_one_sentence(speech: Path, tmp_path: Path, uninterrupted: Path) -> None:
    for source, more, message in (
        (tmp_path / "nowhere", "seed=1", "init must be a folder"),
        (uninterrupted, "model.width=48", "do(es)? not match the config"),
    ):
        with pytest.raises(WeightsError, match=message):
            train("tiny", tmp_path / "run", short(speech, 1, f"init={source}", more))
    assert not (tmp_path / "run").exists()


# --- losses that are NaN


class Broken(torch.nn.Module):
    """Compute the spectral losses, with NaN as the mel loss in some calls."""

    def __init__(self, losses: torch.nn.Module, bad: set[int]) -> None:
        super().__init__()
        self.losses, self.bad, self.calls = losses, bad, 0

    def forward(self, wave: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        terms = self.losses(wave, target)
        return terms | {"mel": terms["mel"] * math.nan} if self.calls in self.bad else terms


def test_a_step_without_a_finite_gradient_changes_nothing(speech: Path, tmp_path: Path) -> None:
    trainer = Trainer(load_config("tiny", short(speech, 6)), tmp_path / "run")
    trainer.losses = Broken(trainer.losses, bad={2, 3})
    before, step = [], trainer._step

    def watched(*arguments: Any) -> dict[str, float]:
        before.append({name: t.clone() for name, t in (trainer.model.state_dict() | {}).items()})
        return step(*arguments)

    trainer._step = watched
    trainer.run()
    assert_same(before[1], before[2])
    assert_same(before[1], before[3])
    assert not torch.equal(before[3]["encoder.fold.weight"], before[4]["encoder.fold.weight"])
    assert trainer.skipped == 2 and trainer.skipped_in_row == 0 and trainer.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in trainer.ema.state_dict().values())
    line = history(tmp_path / "run")[0]
    assert line["step"] == 4 and line["skipped"] == 2 and math.isfinite(line["train"]["mel"])


def test_a_run_without_finite_gradients_stops(speech: Path, tmp_path: Path) -> None:
    trainer = Trainer(load_config("tiny", short(speech, 60, "log.checkpoint_minutes=0")), tmp_path / "run")
    trainer.losses = Broken(trainer.losses, bad=set(range(4, 100)))
    with pytest.raises(SilkError, match=f"{MAX_SKIPPED} consecutive steps, up to step 23"):
        trainer.run()
    groups, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in groups["model"].values())


def test_a_nan_wave_does_not_reach_the_discriminators(speech: Path, tmp_path: Path) -> None:
    stage = 'stage=[{name="a", steps=2, losses={mel=1.0, adversarial=1.0}}]'
    trainer = Trainer(load_config("tiny", [*short(speech, 1), stage]), tmp_path / "run")
    before = {name: tensor.clone() for name, tensor in trainer.discriminators.state_dict().items()}
    for wave in (torch.full((2, 9600), math.nan), torch.zeros(2, 9600)):
        assert_same(before, trainer.discriminators.state_dict())
        loss, _ = trainer._compare(torch.randn(2, 9600), wave)
        gradients = trainer._discriminator_gradients(loss, trains_codec=False)
        trainer._update_discriminators(trainer.config.stage[0], 0.0, gradients)
    assert not torch.equal(*(next(iter(s.values())) for s in (before, trainer.discriminators.state_dict())))


# --- schedules and averages


def test_learning_rate_in_closed_form() -> None:
    stage = StageConfig("a", steps=100, losses={"mel": 1.0}, learning_rate_scale=0.5, decay_share=0.2)
    rates = [learning_rate(2.0, 10, stage, step, step / 100) for step in range(100)]
    assert np.allclose(rates[:10], [0.1 * (step + 1) for step in range(10)])  # up to 2.0 x 0.5
    assert np.allclose(rates[10:80], 1.0)
    assert np.allclose(rates[80:], [(100 - step) / 20 for step in range(80, 100)])
    flat = StageConfig("b", steps=3, losses={"mel": 1.0}, decay_share=0.0)
    assert [learning_rate(1.0, 0, flat, step, step / 3) for step in range(3)] == [1.0, 1.0, 1.0]


def test_a_stage_of_minutes_ends_by_the_clock_and_its_rate_falls_with_it(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advance the clock by 1.5 s per call, so that each step takes 1.5 s."""
    ticks = itertools.count(step=1.5)
    monkeypatch.setattr("silkcodec_torch.train.loop.time.monotonic", lambda: next(ticks))
    stage = 'stage=[{name="a", minutes=0.1, decay_share=1.0, losses={mel=1.0}}]'
    plain = ["optim.warmup_steps=0", "optim.learning_rate=1e-3", "log.checkpoint_minutes=9"]
    trainer = Trainer(load_config("tiny", [*short(speech, 1), stage, *plain]), tmp_path / "run")
    rates = []
    update = trainer.progress.update
    monkeypatch.setattr(
        trainer.progress, "update", lambda *what: (rates.append(what[2]["learning_rate"]), update(*what))[1]
    )
    trainer.run()
    assert trainer.step == 4 and trainer.seconds == 6.0
    assert np.allclose(rates, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_a_stage_of_minutes_resumes_with_the_remaining_time(speech: Path, tmp_path: Path) -> None:
    stage = 'stage=[{name="a", minutes=1.0, losses={mel=1.0}}]'
    config = load_config("tiny", [*short(speech, 1), stage])
    before = Trainer(config, tmp_path / "run")
    before.seconds_in_stage = 45.0
    before.save()
    assert Trainer(config, tmp_path / "run")._done(config.stage[0]) == 0.75


def test_discriminators_get_originals_at_one_level() -> None:
    target = torch.stack([0.01 * torch.randn(4800), 0.5 * torch.randn(4800), torch.zeros(4800)])
    wave = target + 0.001
    original, decoded = at_one_level(target, wave)
    assert torch.allclose(original[:2].square().mean(dim=1), torch.ones(2))
    scale = original[:2, :1] / target[:2, :1]
    assert torch.allclose(decoded[:2], wave[:2] * scale)  # the relative level is preserved
    assert torch.allclose(decoded[2], torch.ones(4800)) and torch.isfinite(decoded).all()


def test_discriminators_get_another_segment_in_each_step(speech: Path, tmp_path: Path) -> None:
    config = load_config("tiny", [*short(speech, 1), "data.crop_frames=3", "adversary.crop_s=0.5"])
    trainer = Trainer(config, tmp_path / "run")
    segments = []
    for trainer.step in range(50):
        segments.append(trainer._segment())
    assert all(s.start >= 0 and s.stop <= 3 * 9600 and s.stop - s.start == 12_000 for s in segments)
    assert len({s.start for s in segments}) > 40
    whole = Trainer(load_config("tiny", [*short(speech, 1), "data.crop_frames=3"]), tmp_path / "other")
    assert whole._segment() == slice(0, 3 * 9600)


@pytest.mark.parametrize("ema_decay", [0.0, 0.5, 0.999])
def test_moving_average_in_closed_form(ema_decay: float) -> None:
    model, ema = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    config = SimpleNamespace(optim=SimpleNamespace(ema_decay=ema_decay), init="")
    expected = float(ema.weight.detach())
    for step in range(50):
        with torch.no_grad():
            model.weight.fill_(step**1.5)
        Trainer._average(SimpleNamespace(config=config, step=step, ema=ema, model=model))
        decay = min(ema_decay, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step**1.5
    assert float(ema.weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_means_have_a_count_per_name() -> None:
    means = Means()
    for values in ({"mel": 1.0}, {"mel": 3.0, "features": 5.0}, {}):
        means.add(values)
    assert means.take() == {"mel": 2.0, "features": 5.0}
    assert means.take() == {}


# --- validation


class Perfect(torch.nn.Module):
    """Return the input as the decoded audio."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        self.wave = wave
        return torch.arange(8).repeat(16).expand(1, -(-wave.shape[1] // 9600), 128)

    def decode(self, levels: torch.Tensor, n_samples: int) -> torch.Tensor:
        return self.wave[:, :n_samples]


def test_validation_measures_and_stores_audio(tmp_path: Path) -> None:
    waves = [speechlike(2.0, seed=1), np.zeros(12_000, np.float32)]  # metrics are undefined for silence
    for _ in range(2):  # a resumed run validates the same step again
        scores = validate(Perfect(), waves, tmp_path / "audio")
    assert scores["pesq_wb"] > 4.5 and scores["stoi"] > 0.99 and scores["mel_distance"] == 0.0
    assert scores["perplexity"] == pytest.approx(1.0)  # every dimension is stuck at one level
    assert len(list((tmp_path / "audio").iterdir())) == 4
    silent = validate(Perfect(), waves[1:])
    assert math.isnan(silent["stoi"])
    progress = Progress(tmp_path, load_config("tiny"))
    progress.report(1, silent, {"hours": 0.0})
    line = json.loads((tmp_path / "history.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert line["stoi"] is None


# --- several processes, and the machine


def test_two_processes_train_one_model(speech: Path, tmp_path: Path) -> None:
    """Start two processes like `torchrun`, and check that they have the same weights and write one checkpoint."""
    code = """
import sys, hashlib
from pathlib import Path
from silkcodec_torch.train import loop
class Watched(loop.Trainer):
    def run(self):
        super().run()
        state = {**self.model.state_dict(), **self.discriminators.state_dict(prefix="d.")}
        digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in state.values())).hexdigest()
        Path(sys.argv[1]).parent.joinpath(f"rank{self.rank}").write_text(digest)
loop.Trainer = Watched
loop.train("tiny", sys.argv[1], sys.argv[2:])
"""
    stages = ('stage=[{name="a", steps=2, losses={mel=1.0}}, {name="b", steps=1, losses={mel=1.0, adversarial=1.0}},'
              '{name="c", steps=1, losses={mel=1.0, features=1.0}, train_encoder=false},'
              '{name="d", steps=1, losses={adversarial=1.0}, train_encoder=false, train_decoder=false}]')  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-c", code, str(tmp_path / "run"), *short(speech, 1), stages]
        processes.append(
            subprocess.Popen(command, env={**os.environ, **place}, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    try:
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said.decode()
    finally:
        for process in processes:
            process.kill()
    assert (tmp_path / "rank0").read_text() == (tmp_path / "rank1").read_text()
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 5
    assert [line["step"] for line in history(tmp_path / "run")] == [4, 5]


def test_processes_wait_for_the_first_one_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **options: given.update(options))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Trainer._device(SimpleNamespace(world=2)) == torch.device("cpu")
    assert given["timeout"] >= timedelta(hours=12)


def test_the_batch_must_divide_among_processes(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ArgumentError, match="must be a multiple of 3, the number of processes; got 2"):
        train("tiny", tmp_path / "run", short(speech, 1))


def test_freed_memory_is_kept_with_glibc() -> None:
    """Count page faults, to check that blocks that are allocated and freed repeatedly get new pages only once."""
    code = """
import resource, sys
import numpy as np
from silkcodec_torch.train.allocator import keep_freed_pages
done = keep_freed_pages() if sys.argv[1] == "keep" else False
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(6_000_000)
before = faults()
for _ in range(10):
    np.ones(6_000_000)
print(int(done), faults() - before)
"""
    pytest.importorskip("resource")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def run(word: str, **more: str) -> tuple[bool, int]:
        result = subprocess.run(
            [sys.executable, "-c", code, word], env=environment | more, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        done, faults = result.stdout.split()
        return done == "1", int(faults)

    done, faults = run("keep")
    if done:
        assert faults < run("leave")[1] / 2
    assert not run("keep", MALLOC_ARENA_MAX="2")[0]  # settings of the user have priority
