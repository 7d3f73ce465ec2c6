"""Test sequence lengths, the language model, its training and scores, and the page."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.results import rounded
from silkcodec.silk import EMBEDDED
from silkcodec.tokens import Tokens
from silkcodec_lab import pages
from silkcodec_lab.lm_cost import experiment, lm_training
from silkcodec_lab.lm_cost.arithmetic import Layout, arithmetic
from silkcodec_lab.lm_cost.experiment import lm_cost
from silkcodec_lab.lm_cost.language_model import FrameLanguageModel, ModelSize
from silkcodec_lab.lm_cost.lm_training import TrainingPlan
from speechlike import speechlike

ROOT = Path(__file__).resolve().parent.parent
TINY = ModelSize(width=16, layers=1, heads=2, depth_width=16, depth_layers=1, depth_heads=2)


def codes_at_random(high: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape)


def silk_tokens(dims_per_token: int = 7, n_frames: int = 6) -> Tokens:
    levels = codes_at_random(8, (n_frames, 128))
    return Tokens.from_levels(levels, n_samples=9_600 * n_frames, codec="silk@test", dims_per_token=dims_per_token)


# --- layout: arithmetic


def test_a_minute_of_silk_in_every_grouping() -> None:
    figures = arithmetic(Layout.of(silk_tokens(7)))
    assert figures["minute_steps"] == {"flat": 2_850, "frame": 150, "delay": 168}
    assert figures["outputs"] == {"whole": 18 * 8**7 + 64, "factorized": 128 * 8}
    assert figures["output_parameters"]["factorized"] == 1_024 * 1_024
    assert (figures["tokens_per_second"], figures["raw_bits_per_second"]) == (47.5, 960.0)
    assert figures["speech_s_per_step"] == {"flat": pytest.approx(1 / 47.5), "frame": 0.4}
    for dims, flat, outputs in ((4, 4_800, 32 * 4_096), (1, 19_200, 128 * 8)):
        figures = arithmetic(Layout.of(silk_tokens(dims)))
        assert figures["minute_steps"]["flat"] == flat and figures["minute_steps"]["frame"] == 150
        assert figures["outputs"] == {"whole": outputs, "factorized": outputs}


def test_a_minute_of_a_multi_scale_codec() -> None:
    codes, sizes, rates = (np.zeros(2, int), np.zeros(4, int), np.zeros(8, int)), (4, 16, 32), (12.0, 24.0, 48.0)
    figures = arithmetic(Layout.of(Tokens(codes, sizes, rates, 24_000, 4_000, "test")))
    assert figures["minute_steps"] == {"flat": 7 * 720, "frame": 720, "delay": 726}
    assert figures["outputs"]["whole"] == 52


# --- the model


def model_of(head_sizes: Any, seed: int = 0, *, spread: float = 0.0) -> FrameLanguageModel:
    torch.manual_seed(seed)
    model = FrameLanguageModel(np.array(head_sizes), TINY)
    with torch.no_grad():
        model.out.normal_(std=spread)
    return model


@pytest.mark.parametrize("dims", [7, 4, 2, 1])
def test_bits_of_an_untrained_model_are_the_raw_bits(dims: int) -> None:
    made = silk_tokens(dims)
    layout = Layout.of(made)
    frames = torch.from_numpy(layout.frames(made))
    bits = lm_training.score(model_of(layout.head_sizes), frames, 3, layout.frame_rate)
    assert bits == pytest.approx([960.0, 960.0], rel=1e-5)


def test_the_model_is_causal() -> None:
    sizes = np.array([[5, 3], [4, 1], [6, 1]])
    model = model_of(sizes, spread=1.0)
    codes = torch.from_numpy(codes_at_random(sizes, (1, 6, 3, 2)))
    before = model(codes).detach().unflatten(1, (1, 6))  # [P, B, F, H, S]
    for frame, token in ((2, 0), (2, 1), (3, 2)):
        changed = codes.clone()
        changed[0, frame, token, 0] = (changed[0, frame, token, 0] + 1) % int(sizes[token, 0])
        differs = (model(changed).detach().unflatten(1, (1, 6)) != before).flatten(3).any(-1)[:, 0].T  # [F, P]
        seen = differs.flatten().nonzero()[:, 0]
        assert seen.min() > 3 * frame + token, "an earlier prediction changed"
        assert differs[frame + 1 :].any() and (token == 2 or differs[frame, token + 1 :].all()), "nobody listens"


def test_sampling_agrees_with_the_predictions() -> None:
    """With very confident heads, sampling returns the most likely code, so cached and full passes must agree."""
    sizes = np.array([[5, 3], [4, 1], [6, 1]])
    model = model_of(sizes, spread=100.0)
    drawn = model.sample(8, torch.Generator().manual_seed(0))
    assert drawn.shape == (8, 3, 2) and len(drawn.unique(dim=0)) > 2
    predicted = model(drawn[None]).argmax(-1).transpose(0, 1)  # [F, P, H]
    assert torch.equal(predicted, drawn)


def trained(frames: np.ndarray, sizes: Any, n_steps: int = 60, seed: int = 0) -> dict[str, Any]:
    """Train at 10 frames/s with the last 200 frames held out, and return the curve and the scores."""
    plan = TrainingPlan(window_s=2.0, batch=4, learning_rate=5e-3, warmup_steps=5, seed=seed, threads=1, size=TINY)
    return lm_training.train(np.array(sizes), 10.0, frames[:-200], frames[-200:], n_steps, plan)[1]


def bits_per_second(frames: np.ndarray, sizes: Any, n_steps: int = 60) -> float:
    return trained(frames, sizes, n_steps)["curve"][-1]["bits_per_second"]


def test_random_tokens_cost_all_their_bits_and_constant_tokens_none() -> None:
    assert bits_per_second(codes_at_random(16, (5_000, 2, 1)), [[16], [16]]) == pytest.approx(80.0, rel=0.02)
    assert bits_per_second(np.full((500, 2, 1), 3), [[16], [16]]) < 0.5


def test_repeated_tokens_cost_nothing_and_heads_are_independent() -> None:
    codes = codes_at_random(8, (5_000, 1, 1))
    in_turn = bits_per_second(codes.repeat(2, axis=1), [[8], [8]], 120)
    at_once = bits_per_second(codes.repeat(2, axis=2), [[8, 8]])
    assert (in_turn, at_once) == (pytest.approx(30.0, rel=0.05), pytest.approx(60.0, rel=0.02))


def test_repeated_frames_cost_nothing() -> None:
    codes = codes_at_random(8, (500, 2, 1)).repeat(20, axis=0)  # 48 bits where it changes, every 2 s
    assert bits_per_second(codes, [[8], [8]], 150) < 20  # of 60


def test_order_zero_is_the_cross_entropy_of_frequencies() -> None:
    sizes = np.array([[2, 1], [4, 1]])
    frames = np.zeros((30, 2, 2), dtype=np.int64)
    frames[:10, 0, 0] = 1
    counts = np.array([20.5, 10.5]) / 31, 30.5 / 32
    bits = -(2 * np.log2(counts[0][0]) + np.log2(counts[0][1])) / 3 - np.log2(counts[1])
    assert lm_training.order0_bits_per_second(sizes, 10.0, frames, frames) == pytest.approx(10 * bits)


def test_training_is_reproducible() -> None:
    frames = codes_at_random(16, (400, 2, 1))

    def bits(seed: int) -> list[float]:
        return trained(frames, [[16], [16]], 8, seed)["bits_per_second_of_windows"]

    assert bits(1) == bits(1) != bits(2)


# --- the experiment


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm-cost") / "speech"
    for seed in range(3):
        audio.write(folder / f"{seed}.wav", speechlike(2.4, seed=seed), 24_000)
    return folder


@pytest.fixture(scope="module")
def measured(clips: Path) -> str:
    plan = TrainingPlan(passes=2, window_s=1.2, threads=1, size=TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm_training, "TIMED_S", 0.0)
        return json.dumps(rounded(lm_cost([clips], ["silk", "silk/4"], cost_only=["silk/1"], plan=plan)))


@pytest.fixture
def result(measured: str) -> dict[str, Any]:
    return json.loads(measured)


def test_all_codecs_get_the_same_training_and_cost_only_has_no_bits(result: dict[str, Any]) -> None:
    assert list(result["codecs"]) == ["silk", "silk/4", "silk/1"]
    assert result["speech"]["train"] == {"n_clips": 2, "duration_s": 4.8}
    assert result["settings"]["n_steps"] == 4  # 2 passes of 4.8 s in windows of 2 x 1.2 s
    for name, tokens_per_frame in (("silk", 19), ("silk/4", 32)):
        found = result["codecs"][name]
        assert found["tokens_per_frame"] == tokens_per_frame and not found["cost_only"]
        assert found["curve"][0]["bits_per_second"] == pytest.approx(960.0, rel=1e-5)
        assert found["curve"][-1]["speech_s"] == pytest.approx(9.6)
        assert found["bits_per_second"]["mean"] < 960 and found["share_of_raw_bits"] < 1
    alone = result["codecs"]["silk/1"]
    assert alone["cost_only"] and alone["train_s_per_hour"] > 0 and alone["sampling_times_real_time"] > 0
    assert not {"bits_per_second", "curve", "order0_bits_per_second"} & set(alone)
    parameters = [found["parameters"] for found in result["codecs"].values()]
    assert len({(counts["body"], counts["depth"]) for counts in parameters}) == 1


def test_a_result_contains_no_paths_of_this_machine(result: dict[str, Any], clips: Path) -> None:
    assert str(clips.parent) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


def test_the_page_matches_the_json(result: dict[str, Any], tmp_path: Path) -> None:
    pages.write_json(result, tmp_path / "lm-cost.json")
    assert pages.load_result(tmp_path / "lm-cost.json") == result
    written, figure = pages.write(result, tmp_path / "pages")
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    assert "| silk | 2.5 | 47.5 | 2,850 | 150 |" in text and "](lm-cost.png)" in text
    predicted = text[text.index("### Bits per second") : text.index("### Training and sampling")]
    assert "silk/4" in predicted and "silk/1" not in predicted
    assert "--threads 1 -o FOLDER" in text


def test_rising_bits_are_reported_as_overfitting(result: dict[str, Any]) -> None:
    assert "overfits" not in pages.render(result)
    result["codecs"]["silk/4"]["curve"][-1]["bits_per_second"] *= 1.02
    assert "**overfits** on `silk/4`" in pages.render(result)


def test_a_busy_machine_is_reported(result: dict[str, Any]) -> None:
    for others, reported in ((0.0, False), (1.5, True)):
        result["machine"]["others_cores"] = others
        assert ("not idle" in pages.render(result)) == reported


def test_the_page_states_the_version_of_silkcodec_once(result: dict[str, Any]) -> None:
    assert len(re.findall(r"silkcodec \d", pages.render(result))) == 1


def test_weights_folders_are_named_after_the_folder(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "copy")
    _, views = experiment._load_all(["silk", str(tmp_path / "copy")], [])
    assert [view.name for view in views] == ["silk", "copy"]


# --- invalid input


@pytest.mark.parametrize(
    ("codecs", "options", "says"),
    [
        ([], {}, "at least one codec"),
        (["silk", "silk/7"], {}, "different names"),
        (["silk/0"], {}, "dims_per_token"),
        (["silk"], {"cost_only": ["silk"]}, "different names"),
        (["silk"], {"train_minutes": 0}, "--minutes must be a finite number above 0; got 0"),
        (["silk"], {"held_out_minutes": math.nan}, "--held-out-minutes must be a finite number above 0; got nan"),
        (["nonesuch"], {}, "must be"),
    ],
)
def test_invalid_arguments_are_errors(clips: Path, codecs: list[str], options: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        lm_cost([clips], codecs, **options)


def test_a_single_clip_is_an_error(clips: Path) -> None:
    with pytest.raises(ArgumentError, match="at least two clips"):
        lm_cost([clips / "0.wav"], ["silk"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lm-cost", "nowhere", "-o", "out"], "not found"),
        (["lm-cost", "speech", "-o", "out", "--splits", "train"], "--splits must name"),
        (["lm-cost", "speech", "-o", "out", "--splits", "train,valid"], "INDEX.tsv"),
        (["lm-cost", "speech", "-o", "out", "--passes", "inf"], "passes must be a finite number above 0; got inf"),
        (["lm-cost", "speech", "-o", "full"], "already exists"),
        (["page", "full/lm-cost.md", "-o", "out"], "Pass a JSON file"),
        (["page", "full/other.json", "-o", "out"], "is not a 'silk lab' result"),
    ],
)
def test_errors_of_the_command_are_one_line(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(clips) if word == "speech" else word for word in words]
    Path("full").mkdir()
    Path("full/lm-cost.md").write_text("mine")
    Path("full/other.json").write_text('{"kind": "silk compare", "format": 1}')
    done = CliRunner().invoke(app, ["lab", *words])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert says in done.stderr and not Path("out").exists() and Path("full/lm-cost.md").read_text() == "mine"


def test_the_command_writes_result_page_and_figure(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["lm-cost", str(clips), "-o", "out", "--results", "kept/lm-cost.json", "--codecs", "silk", "--passes", "1"]
    done = CliRunner().invoke(app, ["lab", *words])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["lm-cost.md", "lm-cost.png"]
    assert CliRunner().invoke(app, ["lab", "page", "kept/lm-cost.json", "-o", "again"]).exit_code == 0
    assert Path("again/lm-cost.md").read_bytes() == Path("out/lm-cost.md").read_bytes()
