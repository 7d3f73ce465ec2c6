"""Test the loss on speaker embeddings, here with random weights: its value, its gradient, and a training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from silkcodec import audio
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.metrics import speaker as metric
from silkcodec_torch.nn import ge2e
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.card import speaker_lines
from silkcodec_torch.train.config import load_config
from silkcodec_torch.train.loop import train
from silkcodec_torch.train.speaker_loss import WINDOW, SpeakerLoss, load_speaker_loss
from speechlike import speechlike


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write random weights as Resemblyzer does, with a tensor that embeddings do not need."""
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("speaker") / "pretrained.pt"
    state = ge2e.SpeakerEncoder().state_dict() | {"similarity_weight": torch.ones(1)}
    state["lstm.weight_ih_l0"] *= 1000  # Mel energies are small numbers.
    for name in state:
        state[name] *= 2 if "lstm" in name else 1
    torch.save({"model_state": state}, file)
    return file


@pytest.fixture(scope="module")
def loss(weights: Path) -> SpeakerLoss:
    return load_speaker_loss(str(weights))


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    """Return two voices, float32 [2, 3.2 s]."""
    return torch.stack([torch.from_numpy(speechlike(3.2, seed)) for seed in (1, 2)])


def test_it_computes_the_energies_of_the_metric(loss: SpeakerLoss) -> None:
    """Compare a window at 24 kHz with the same window at 16 kHz, except at its edges, which are padded differently."""
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, 30)

    def tones(sample_rate: int) -> np.ndarray:
        time_s = np.arange(WINDOW * sample_rate // SAMPLE_RATE) / sample_rate
        parts = [np.sin(2 * np.pi * 200 * (i + 1) * time_s + phase) / (i + 1) for i, phase in enumerate(phases)]
        return (0.1 * np.sum(parts, axis=0)).astype(np.float32)

    ours = loss._windows(torch.from_numpy(tones(SAMPLE_RATE))[None])[0]
    theirs = torch.from_numpy(metric._ge2e_windows(tones(ge2e.SAMPLE_RATE))[0])
    torch.testing.assert_close(ours[5:-5], theirs[5:-5], rtol=0.03, atol=1e-3 * float(theirs.max()))


def test_equal_audio_has_no_loss_and_other_audio_has(loss: SpeakerLoss, speech: torch.Tensor) -> None:
    assert loss(speech, speech).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(speech.flip(0), speech).item() > 1e-5


def test_pauses_are_ignored(loss: SpeakerLoss, speech: torch.Tensor) -> None:
    edge = SAMPLE_RATE // 20  # more than half of a 25 ms window of the spectrogram
    paused = speech.clone()
    paused[:, WINDOW - edge :] = 0.0
    noisy = paused.clone()
    noisy[:, WINDOW + edge :] = 1e-4 * torch.randn(len(speech), speech.shape[1] - WINDOW - edge)
    assert loss(noisy, paused).item() == pytest.approx(0.0, abs=1e-6)


def test_a_crop_is_not_a_pause_because_another_is_loud(loss: SpeakerLoss, speech: torch.Tensor) -> None:
    target = speech * torch.tensor([[1.0], [1000.0]])
    wave = torch.stack([speech[1], target[1]])
    assert loss(wave, target).item() > 1e-5


def test_silence_has_a_finite_gradient(loss: SpeakerLoss, speech: torch.Tensor) -> None:
    for wave, target in ((torch.zeros_like(speech), speech), (speech, torch.zeros_like(speech))):
        given = wave.clone().requires_grad_()
        loss(given, target).backward()
        assert given.grad is not None and torch.isfinite(given.grad).all()


def test_the_gradient_reduces_the_loss(loss: SpeakerLoss, speech: torch.Tensor) -> None:
    given = (speech + 0.3 * speech.flip(0)).requires_grad_()
    before = loss(given, speech)
    before.backward()
    assert given.grad is not None
    with torch.no_grad():
        moved = given - 0.01 * given.grad / given.grad.abs().max()
    assert loss(moved, speech).item() < before.item()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    for i in range(3):
        audio.write(folder / f"{i}.wav", speechlike(2.5, i), SAMPLE_RATE)
    return [
        f"data.folder={folder}",
        "data.valid_percent=30",
        "data.crop_frames=4",
        f"data.cache={folder.parent / 'cache'}",
    ]


def stage(losses: str) -> str:
    return f"stage=[{{name='only', steps=2, losses={{{losses}}}}}]"


def test_a_run_with_the_loss_logs_it(data: list[str], weights: Path, tmp_path: Path) -> None:
    overrides = [*data, f"speaker.weights={weights}", stage("mel=1, speaker=2")]
    train("tiny", tmp_path / "run", overrides)
    line = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
    assert 0 < line["train"]["speaker"] < 1
    groups, _ = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert not [name for group in groups.values() for name in group if "lstm" in name]
    assert "pretrained.pt" in " ".join(speaker_lines(load_config(tmp_path / "run" / "config.toml")))
    assert speaker_lines(load_config("tiny")) == []


def test_bad_configs_and_weights_give_one_sentence(data: list[str], tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"model_state": {"linear.weight": torch.zeros(1)}}, other)
    (text := tmp_path / "text.pt").write_text("no weights")
    for more, error, message in (
        ([], ArgumentError, "speaker.weights must be the path of Resemblyzer's pretrained.pt"),
        (["speaker.weights=x", "data.crop_frames=3"], ArgumentError, "data.crop_frames must be at least 4"),
        (["speaker.weights=nowhere.pt"], WeightsError, "Cannot load 'nowhere.pt'"),
        ([f"speaker.weights={other}"], WeightsError, "it does not contain"),
        ([f"speaker.weights={text}"], WeightsError, "Cannot load"),
    ):
        with pytest.raises(error, match=message):
            train("tiny", tmp_path / "run", [*data, stage("mel=1, speaker=1"), *more])
    assert not (tmp_path / "run").exists()
