"""Test predicted and actual changes in cases with known results, code usage, and the page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.results import rounded
from silkcodec_lab import pages
from silkcodec_lab.gradient import trained_run
from silkcodec_lab.gradient.agreement import (
    STATISTICS,
    OperatingPoint,
    Quantize,
    SplitQuantizer,
    Sums,
    agreement,
    descent,
    difference,
    identity,
    pooled,
    quantizer_agreement,
)
from silkcodec_lab.gradient.experiment import _speech, gradient
from silkcodec_lab.gradient.latent_steps import GradientPlan, frame_losses
from silkcodec_torch.nn.model import SilkNetwork, fresh_states
from silkcodec_torch.quantizers import FSQ, QUANTIZERS, RVQ, VQ, MultiScaleRVQ
from silkcodec_torch.train.config import load_config
from silkcodec_torch.train.losses import SpectralLoss
from speechlike import speechlike

D = 16


def gaussian(n: int, width: int = D, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32))


def rounding(y: Tensor) -> tuple[Tensor, Tensor]:
    """Round to cells of width 1, like FSQ without limits."""
    return torch.round(y), torch.round(y)


def straight(rows: Tensor) -> Tensor:
    """Return a linear loss of a linear decoder, with gradient (1, 2, ..., D) everywhere."""
    return rows @ torch.arange(1.0, rows.shape[-1] + 1)


def bowl(rows: Tensor) -> Tensor:
    return 0.5 * rows.square().sum(dim=-1)


def at(quantize: Quantize, losses: Any = straight, seed: int = 1, width: int = D) -> OperatingPoint:
    return OperatingPoint.at(3 * gaussian(1, width, seed)[0], quantize, losses)


def figure(name: str, sums: Sums) -> float:
    return float(STATISTICS[name](sums))


# --- exact predictions


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_predictions_are_exact_for_a_linear_decoder_without_quantization(size: float) -> None:
    point = at(identity)
    sums = agreement(point, identity, gaussian(40), size, smoothed=True)
    for name, expected in (("correlation", 1), ("slope", 1), ("cosine", 1), ("norm", 1), ("no_effect", 0)):
        assert figure(name, sums) == pytest.approx(expected, abs=1e-3), name
    assert figure("kept", descent(point, identity, size)) == pytest.approx(1, abs=1e-3)


def test_central_differences_of_a_quadratic_loss_are_exact() -> None:
    """For L = |y|^2 / 2, the decrease after a step of length t is 1 - t / (2 |y|) times the predicted decrease."""
    point = at(identity, bowl)
    assert point.gradient == pytest.approx(point.y)
    assert figure("correlation", agreement(point, identity, gaussian(30), 2.0)) == pytest.approx(1, abs=1e-4)
    length = float(point.y.norm())
    for share in (0.5, 2.0, 3.0):
        kept = figure("kept", descent(point, identity, share * length / D**0.5))
        assert kept == pytest.approx(1 - share / 2, abs=1e-4)


def test_the_gradient_is_computed_at_the_quantized_latent() -> None:
    point = at(rounding, bowl)
    torch.testing.assert_close(point.gradient, torch.round(point.y))
    assert point.loss == pytest.approx(float(bowl(torch.round(point.y))))


# --- rounding, with known results


def test_small_steps_change_nothing_except_at_cell_boundaries() -> None:
    middle = OperatingPoint.at(torch.full((D,), 5.0), rounding, straight)  # the center of a cell
    sums = agreement(middle, rounding, torch.eye(D), 0.4)
    assert figure("no_effect", sums) == 1 and sums["ss"] == 0
    assert figure("kept", descent(middle, rounding, 1e-3)) == 0
    wall = OperatingPoint.at(torch.full((D,), 5.5), rounding, straight)
    sums = agreement(wall, rounding, torch.eye(D), 0.01)  # a jump of 1 over a step of 2 x 0.01
    assert figure("no_effect", sums) == 0 and figure("slope", sums) == pytest.approx(50, rel=1e-3)
    assert figure("correlation", sums) == pytest.approx(1)  # right direction, wrong size


def test_predictions_are_exact_for_steps_of_whole_cells() -> None:
    sums = agreement(at(rounding), rounding, torch.eye(D), 2.0)
    assert figure("correlation", sums) == pytest.approx(1) and figure("slope", sums) == pytest.approx(1)


@pytest.mark.parametrize("noise", [0.15, 0.3, 1.0])
def test_the_smoothed_gradient_of_rounding_has_its_closed_form(noise: float) -> None:
    """d/dy E round(y + noise u) = sum of Gaussians at all k + 1/2, which tends to 1 for noise of one cell."""
    y = torch.tensor([0.0, 0.2, 0.4, 0.5, 0.7, 1.0])
    point = OperatingPoint.at(y, rounding, lambda rows: rows @ torch.tensor([1.0, -2.0, 3.0, 1.0, 2.0, -1.0]))
    sums = agreement(point, rounding, gaussian(200_000, len(y)), noise, smoothed=True)
    walls = np.arange(-20, 20) + 0.5
    bells = np.exp(-(((y.numpy()[:, None] - walls) / noise) ** 2) / 2) / (noise * math.sqrt(2 * math.pi))
    slopes = bells.sum(axis=1)
    g = point.gradient.numpy()
    truth = slopes * g
    assert figure("norm", sums) == pytest.approx(np.linalg.norm(truth) / np.linalg.norm(g), rel=0.02)
    assert figure("cosine", sums) == pytest.approx(truth @ g / np.linalg.norm(truth) / np.linalg.norm(g), rel=0.02)
    if noise == 1.0:
        assert slopes == pytest.approx(np.ones(len(y)), abs=1e-6)
        assert figure("cosine", sums) == pytest.approx(1, abs=0.01)


def test_noise_does_not_increase_the_norm_of_the_smoothed_gradient() -> None:
    """With few directions, each half is mostly noise, but the product of the halves is unbiased."""
    point, ab = at(identity, lambda rows: straight(rows) + 30 * torch.sin(40 * rows).sum(dim=-1)), []
    for seed in range(400):  # Smoothing removes the ripple: e^(-40^2 / 2).
        sums = agreement(point, identity, gaussian(8, seed=seed), 1.0, smoothed=True)
        ab.append(sums["ab"])
    norm = np.linalg.norm(np.arange(1, D + 1)) / float(point.gradient.norm())
    error = np.std(ab) / len(ab) ** 0.5
    assert np.mean(ab) == pytest.approx(norm**2, abs=5 * error)


def test_the_quantizer_alone_has_the_expected_correlation() -> None:
    y = 20 * gaussian(2_000)
    for size, stays in ((0.01, 0.984), (0.1, 0.840)):  # 1 - E|2 size u|, the probability of no boundary in between
        sums = quantizer_agreement(rounding, y, gaussian(2_000, seed=3), size, 1)
        assert figure("no_effect", sums) == pytest.approx(stays, abs=0.004)
        assert figure("slope", sums) == pytest.approx(1, abs=0.05)
    sums = quantizer_agreement(rounding, y, gaussian(2_000, seed=3), 3.0, 1)
    # The difference of two uniform errors has a variance of 1 / 6, relative to (2 x 3)^2 for the step.
    assert figure("correlation", sums) == pytest.approx(1 / math.sqrt(1 + 1 / 6 / 36), abs=1e-3)
    assert (
        figure("no_effect", quantizer_agreement(rounding, y, gaussian(2_000, seed=3), 0.1, D)) < 0.1
    )  # a unit of 16 numbers


# --- the real quantizers, split in two

SMALL: dict[str, torch.nn.Module] = {
    "fsq": FSQ(),
    "vq": VQ(entries=64),
    "rvq": RVQ(entries=32),
    "multiscale": MultiScaleRVQ(entries=32),
}


@pytest.mark.parametrize("name", list(SMALL))
def test_a_split_quantizer_equals_the_quantizer_and_its_gradient(name: str) -> None:
    quantizer = SMALL[name].eval()
    split, latent = SplitQuantizer(quantizer), (1.5 * gaussian(5, 128)).requires_grad_(True)
    whole = quantizer(latent)
    y = split.inside(latent)
    quantized, codes = split.quantize(y)
    torch.testing.assert_close(quantized, whole.latent.detach())
    assert torch.equal(codes, whole.codes)
    passed = gaussian(5, 128, seed=2)  # any gradient at the quantized latent
    (theirs,) = torch.autograd.grad(whole.latent, latent, passed, retain_graph=True)
    (ours,) = torch.autograd.grad(y, latent, passed)
    torch.testing.assert_close(theirs, ours)
    assert split.unit == {"fsq": 1, "vq": 4, "rvq": 16, "multiscale": 8}[name]


def test_values_outside_the_range_are_clipped() -> None:
    quantized, codes = SplitQuantizer(FSQ()).quantize(torch.tensor([[-9.0, 9.0, 0.1]]))
    assert quantized.tolist() == [[-1.0, 0.75, 0.0]] and codes.tolist() == [[0, 7, 4]]


def test_the_loss_of_a_frame_equals_the_loss_of_the_whole_clip() -> None:
    """Test that decoding from the state before the frame is the same as decoding the whole clip."""
    torch.manual_seed(0)
    model, spectral, weights = (
        SilkNetwork(load_config("tiny").model).eval(),
        SpectralLoss(),
        {"mel": 1.0, "loudness": 2.0},
    )
    latent, target = 0.5 * gaussian(5, 128), torch.from_numpy(speechlike(2.0))[None]
    losses = frame_losses(model, spectral, weights, latent, target, 2, 2)
    changed = latent.clone()
    changed[2] = gaussian(1, 128, seed=9)[0]
    rows = torch.stack([latent[2], changed[2]])
    for row, whole in zip(losses(rows), (latent, changed), strict=True):
        wave, _ = model.decoder(whole[None], fresh_states(model.decoder.state_shapes(), 1, whole.device))
        terms = spectral(wave[:, 19_200:38_400], target[:, 19_200:38_400])
        torch.testing.assert_close(row, terms["mel"] + 2 * terms["loudness"], atol=1e-4, rtol=1e-4)


# --- statistics over clips


def test_statistics_and_intervals_are_over_clips() -> None:
    records = [{"sp": 1.0, "ss": 1.0, "pp": 4.0}, {"sp": 3.0, "ss": 8.0, "pp": 5.0}]
    found = pooled("slope", records)
    assert found["mean"] == pytest.approx(4 / 9) and (found["low"], found["high"]) == (0.25, 0.6)
    assert pooled("correlation", records)["mean"] == pytest.approx(4 / 9)
    assert difference("slope", records, records) == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 2}
    undefined = pooled("same_sign", [{"same_sign": 0, "moved": 0}] * 3)
    assert undefined == {"mean": None, "low": None, "high": None, "n": 3}


# --- use of codes


def test_used_codes_are_counted_by_codebook() -> None:
    codes = np.stack([np.arange(64) % 8, np.zeros(64, dtype=np.int64)] * 64, axis=1)
    (book,) = trained_run.usage(FSQ(), codes)
    assert (book["books"], book["n_codes"], book["codes_per_frame"]) == (128, 64, 128)
    assert book["bits"] == pytest.approx(1.5) and book["dead"] == pytest.approx(7 / 16) and book["lowest_share"] == 0
    (book,) = trained_run.usage(VQ(entries=16), np.tile(np.arange(4), (50, 8)))
    assert book["bits"] == pytest.approx(2) and book["dead"] == 0.75 and book["n_codes"] == 1_600
    assert book["bits_if_even"] == pytest.approx(4, abs=0.02) and book["dead_if_even"] == pytest.approx(0, abs=1e-9)
    chain = trained_run.usage(RVQ(entries=32), np.tile(np.arange(4), (10, 8)))  # Codebook k always has code k.
    assert [book["bits"] for book in chain] == [0.0] * 4 and [book["codes_per_frame"] for book in chain] == [8] * 4
    scales = trained_run.usage(MultiScaleRVQ(entries=32), np.zeros((10, 30), dtype=np.int64))
    assert [book["codes_per_frame"] for book in scales] == [2, 4, 8, 16] and scales[0]["name"] == "1, stride 8"


def test_spacing_is_the_distance_to_the_nearest_other_entry() -> None:
    assert trained_run.spacing(FSQ(), np.zeros((1, 128), dtype=np.int64)) == 0.25
    quantizer = VQ(entries=4)
    quantizer.codebook.entries.copy_(torch.tensor([[0.0] * 4, [2.0] * 4, [3.0] * 4, [9.0] * 4]))
    codes = np.array([[0, 1, 1, 3] * 8])  # distances per number: 2, 1, 1 and 6
    assert trained_run.spacing(quantizer, codes) == pytest.approx(1.5)


# --- the experiment, with tiny models that it trains


PLAN = GradientPlan(
    steps=(0.1, 1.0), smoothed=(1.0,), directions=2, smoothed_directions=4, singles=2, span=2, clip_s=2.0, train_steps=2
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gradient") / "speech"
    for seed in range(2):
        audio.write(folder / f"{seed}.wav", speechlike(2.4, seed=seed), 24_000)
    return folder


@pytest.fixture(scope="module")
def measured(clips: Path) -> str:
    return json.dumps(rounded(gradient([clips], plan=PLAN)))


@pytest.fixture
def result(measured: str) -> dict[str, Any]:
    return json.loads(measured)


def test_all_quantizers_are_measured(result: dict[str, Any]) -> None:
    assert list(result["models"]) == list(QUANTIZERS) and set(result["differences"]) == {"vq", "rvq", "multiscale"}
    for name, found in result["models"].items():
        assert found["steps_of"]["check"][0]["correlation"]["mean"] > 0.99
        assert ("vector" in found["steps_of"]) == (name != "fsq")
        assert found["curves"][-1]["step"] == 2 and found["curves"][-1]["loss"] > 0
        assert [entry["step"] for entry in found["steps_of"]["frame"]] == [0.1, 1.0]
        assert ["cosine" in entry for entry in found["steps_of"]["frame"]] == [False, True]
        assert found["bits_used"] <= found["bits_per_frame"] + 1e-3
    assert result["models"]["fsq"]["spacing"] == 0.25
    difference = result["differences"]["vq"]["loss"]["mean"]
    losses = [result["models"][name]["loss"]["mean"] for name in ("fsq", "vq")]
    assert difference == pytest.approx(losses[0] - losses[1], abs=1e-5)


def test_a_result_contains_no_paths_of_this_machine(result: dict[str, Any], clips: Path) -> None:
    assert str(clips.parent) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


def test_the_page_matches_the_json(result: dict[str, Any], tmp_path: Path) -> None:
    pages.write_json(result, tmp_path / "gradient.json")
    assert pages.load_result(tmp_path / "gradient.json") == result
    written, drawn = pages.write(result, tmp_path / "pages")
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and drawn.read_bytes().startswith(b"\x89PNG")
    assert "| whole frame | 0.1 |" in text and "| FSQ - VQ |" in text
    best = result["models"]["vq"]["steps_of"]["number"][1]["correlation"]["mean"]  # with a step of one cell
    assert f"{best:.2f} [" in next(line for line in text.splitlines() if line.startswith("| one number | 1 |"))


def test_the_page_compares_frames_with_numbers(result: dict[str, Any]) -> None:
    for found in result["models"].values():
        for kind, mean in (("number", 0.9), ("frame", 0.5)):
            for entry in found["steps_of"][kind]:
                entry["correlation"] = {"mean": mean, "low": mean, "high": mean, "n": 2}
    assert re.search(r"correlation is lower\b.* 0\.50 \[", pages.render(result))
    result["models"]["vq"]["steps_of"]["frame"][0]["correlation"]["mean"] = 0.95
    text = pages.render(result)
    assert "correlation is lower" not in text and re.search(r"correlation at .* 0\.95 \[", text)


@pytest.mark.parametrize(
    ("shifts", "cell"),
    [
        ((0.2, 0.2), "higher at 0.1, 1"),
        ((-0.2, -0.2), "lower at 0.1, 1"),
        ((0.2, -0.2), "higher at 0.1; lower at 1"),
        ((0.0, 0.0), "-"),
    ],
)
def test_the_page_lists_significant_differences(result: dict[str, Any], shifts: tuple[float, float], cell: str) -> None:
    for found in result["differences"].values():
        for kind in ("frame", "number"):
            for entry, mean in zip(found[kind], shifts, strict=True):
                entry |= {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}
    assert f"| FSQ - VQ | {cell} | {cell} |" in pages.render(result)


def test_runs_are_measured_and_damaged_runs_are_errors(clips: Path, tmp_path: Path) -> None:
    waves = [speechlike(2.4, seed=0)]
    (run,) = trained_run.train_tiny(waves, tmp_path / "trained", 2, ["fsq"])
    result = rounded(gradient([clips / "0.wav"], runs=[run], plan=PLAN))
    assert result["settings"]["runs"] == 1 and result["differences"] == {} and "FSQ - " not in pages.render(result)
    with pytest.raises(ArgumentError, match="different quantizers; got fsq, fsq"):
        gradient([clips], runs=[run, run], plan=PLAN)
    (run / "history.jsonl").write_text("{}\n")
    with pytest.raises(WeightsError, match=r"valid history\.jsonl"):
        gradient([clips], runs=[run], plan=PLAN)
    with pytest.raises(WeightsError, match="must contain"):
        gradient([clips], runs=[tmp_path], plan=PLAN)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"steps": (0.0,)}, "A step size must be a finite number above 0; got 0"),
        ({"usage_minutes": math.inf}, "--usage-minutes must be a finite number"),
        ({"clip_s": math.nan}, "--seconds must be a finite number"),
        ({"smoothed": (7.0,)}, "a subset of steps"),
        ({"directions": 1}, "between 2 and"),
        ({"singles": 0}, "between 1 and 128"),
        ({"clip_s": 0.5}, r"at least 1\.6"),
    ],
)
def test_invalid_arguments_are_errors(clips: Path, plan: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        gradient([clips], plan=GradientPlan(**plan))


def test_only_the_needed_speech_is_read_and_counted(clips: Path) -> None:
    found = find_clips([clips])
    waves, counted = _speech(found, 1, GradientPlan(span=2, clip_s=1.6, usage_minutes=2.5 / 60))
    assert [len(wave) for wave in waves] == [round(1.6 * 24_000) + 480]
    assert [len(wave) for wave in counted] == [57_600, 3 * 9_600 + 480]  # a clip of 2.4 s, and the shortest usable part


def test_short_clips_are_an_error(tmp_path: Path) -> None:
    audio.write(tmp_path / "short.wav", speechlike(0.5), 24_000)
    done = CliRunner().invoke(app, ["lab", "gradient", str(tmp_path / "short.wav"), "-o", str(tmp_path / "out")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1) and "1.62 s" in done.stderr
