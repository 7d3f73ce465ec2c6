"""Test that the model in examples/speech_lm trains, is causal, and samples frame by frame."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repository import ROOT

pytest.importorskip("torch", reason="needs ./pytorch")

import torch

from silkcodec import audio
from silkcodec.silk import Silk
from speechlike import speechlike

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "speech_lm"
TINY = ["--steps", "4", "--batch", "2", "--width", "16", "--layers", "1", "--heads", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """Import the three files of the example, which import each other as scripts."""
    names = ("model", "train", "sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        threads = torch.get_num_threads()
        yield tuple(__import__(name) for name in names)
        torch.set_num_threads(threads)
        for name in names:
            sys.modules.pop(name)
        sys.modules.update(before)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for seed in range(3):
        audio.write(folder / f"{seed}.wav", speechlike(2.0, seed=seed), 24_000)
    return folder


@pytest.fixture(scope="module")
def trained(example: Any, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    example[1].main([str(clips), "-o", str(folder / "run"), "--results", str(folder / "result.json"), *TINY])
    return folder, json.loads((folder / "result.json").read_text())


def test_it_trains_and_reports_its_results(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, result = trained
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["config.json", "model.safetensors"]
    bits = result["bits_per_frame"]
    assert bits["raw"] == 384 and 300 < bits["unigram"] < 420 and bits["model"] <= bits["unigram"]
    assert [point["step"] for point in result["curve"]] == [0, 1, 2, 3, 4]
    assert result["speech"]["train"] == {"n_clips": 2, "duration_s": 4.0}
    assert result["kind"] == "silk speech lm" and "cpu" in result["conditions"]
    assert str(folder) not in json.dumps(result)


def test_its_results_become_the_table_in_the_docs(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    import lm_table

    assert lm_table.speech_lm(tmp_path) == lm_table.MISSING
    result = {**trained[1], "sampling": {"first_audio_s": 0.0812, "times_real_time": 4.56}}
    (tmp_path / "speech_lm.json").write_text(json.dumps(result))
    text = lm_table.speech_lm(tmp_path)
    assert "| 384 |" in text
    assert "81 ms" in text and "4.6" in text


def test_it_samples_audio_after_one_frame(
    example: Any, trained: tuple[Path, dict[str, Any]], clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained
    words = [str(folder / "run"), "-o", str(folder / "out.wav"), "--seconds", "1.2"]
    figures = example[2].main([*words, "--results", str(folder / "result.json")])
    wave = audio.read(folder / "out.wav")
    assert len(wave) == 28_800 and np.isfinite(wave).all() and (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"first audio after \d+ ms", capsys.readouterr().err)
    assert figures["first_audio_s"] > 0 and json.loads((folder / "result.json").read_text())["sampling"] == {
        **figures, "seconds": 1.2, "temperature": 0.9,
    }  # fmt: skip
    example[2].main([*words, "--prompt", str(clips / "0.wav"), "--prompt-seconds", "0.8"])
    assert not np.array_equal(audio.read(folder / "out.wav"), wave)


def test_predictions_depend_only_on_earlier_tokens(example: Any) -> None:
    model = model_of(example)
    codes = torch.randint(0, 8, (1, 4, 3, 2), generator=torch.Generator().manual_seed(1))
    codes[:, :, 2, 1] = 0  # a head with one code
    before = model.bits(codes)
    later = codes.clone()
    later[0, 2, 0, 0] = 7 - later[0, 2, 0, 0]
    after = model.bits(later)
    assert torch.equal(after[0, :2], before[0, :2]) and after[0, 2] != before[0, 2] and after[0, 3] != before[0, 3]


def test_samples_follow_the_predictions(example: Any) -> None:
    """Check that confident heads sample the most likely codes, and that the cache matches a single pass."""
    model = model_of(example, spread=400.0)
    stream = model.stream(torch.Generator().manual_seed(0))
    frames = torch.stack([frame for frame, _ in zip(stream, range(4), strict=False)])
    assert model.bits(frames[None]).max() < 0.5 and len(frames.unique(dim=0)) > 1
    again = model.stream(torch.Generator().manual_seed(0), prompt=frames[:2])
    assert torch.equal(next(again), frames[2]) and torch.equal(next(again), frames[3])
    assert (frames[:, 2, 1] == 0).all(), "a head with one code is always 0"


def model_of(example: Any, spread: float = 1.0) -> Any:
    torch.manual_seed(3)
    model = example[0].SpeechModel(torch.tensor([[8, 8], [8, 8], [8, 1]]), window=4, width=16, layers=2, heads=2).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in ("out", "chain"):
                parameter.normal_(std=spread)
            elif name.endswith(("out.weight", "down.weight")):
                parameter.normal_(std=0.3)
            elif name in ("vectors", "which", "start"):
                parameter.normal_()
    return model


def test_it_trains_on_a_corpus_of_tokens(
    example: Any, codec: Silk, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that training on the output of `silk tokenize` does not load a codec."""
    from silkcodec import corpus

    every = [codec.encode(audio.read(path)) for path in sorted(clips.iterdir())]
    rows = [corpus.Row(str(i), f"{i}.wav", 0.0, tokens, {}, "") for i, tokens in enumerate(every)]
    monkeypatch.setattr(corpus, "read", lambda folder: rows, raising=False)
    (tmp_path / "tokens-00000-of-00001.parquet").touch()
    result = example[1].main([str(tmp_path), "-o", str(tmp_path / "run"), *TINY])
    assert result["speech"]["train"]["n_clips"] == 2 and result["codec"] == codec.codec_id


def test_the_untrained_weights_are_kept_if_training_makes_them_worse(example: Any, codec: Silk, clips: Path) -> None:
    _, program, _ = example
    layout = program.lm.Layout.of_codec(codec)
    frames = np.concatenate([layout.frames(codec.encode(audio.read(path))) for path in sorted(clips.iterdir())])
    settings = {"seed": 0, "window": 0.8, "width": 16, "layers": 1, "heads": 2, "steps": 2, "batch": 2}
    args = argparse.Namespace(**settings, learning_rate=10.0)
    speech = program.Speech(layout, frames[:10], frames[10:], (2, 1), 0.0)
    model, curve, _ = program.train(speech, args)
    assert curve[0]["held_out"] == min(point["held_out"] for point in curve)
    assert not model.out.any()  # as before training


def test_a_damaged_model_is_reported(
    example: Any, trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (None, b"damaged"):
        run = tmp_path / str(content)
        shutil.copytree(trained[0] / "run", run)
        (run / "model.safetensors").unlink()
        if content is not None:
            (run / "model.safetensors").write_bytes(content)
        assert error_of(example[2], [str(run), "-o", "out.wav"], capsys).startswith("sample.py: Cannot read the model")


@pytest.mark.parametrize("part", [1, 2])
def test_missing_inputs_are_one_line_errors(
    example: Any, part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = error_of(example[part], ["nowhere", "-o", str(tmp_path / "out.wav")], capsys).splitlines()
    assert "nowhere" in line


@pytest.mark.parametrize(
    ("part", "option", "says"),
    [
        (1, "--splits=train", "--splits must be two names, such as train,valid; got 'train'"),
        (1, "--window=0.1", "--window must be at least 0.4 s, the length of a frame; got 0.1"),
        (1, "--hours=0", "--hours must be above 0; got 0"),
        (2, "--prompt-seconds=0", "--prompt-seconds must be above 0; got 0"),
    ],
)
def test_invalid_options_are_reported_first(
    example: Any, part: int, option: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in error_of(example[part], ["nowhere", "-o", "out.wav", option], capsys)


def error_of(program: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a program that fails with exit code 2, and return its error messages."""
    with pytest.raises(SystemExit) as left:
        program.main(words)
    assert left.value.code == 2
    return capsys.readouterr().err
