"""Test bit errors, lost frames and their replacements, the experiment, and the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from silkcodec import audio, mel
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.results import rounded
from silkcodec.silk import Silk
from silkcodec.tokens import Tokens, codebook_sizes
from silkcodec_lab import pages
from silkcodec_lab.robustness import damage as module
from silkcodec_lab.robustness.damage import (
    code_bits,
    decode_with_losses,
    fill_levels,
    flip_bits,
    lose_frames,
    transitions,
)
from silkcodec_lab.robustness.experiment import RobustnessPlan, frame_distances, robustness
from silkcodec_lab.run_codec import RunCodec
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import dump_config, load_config
from speechlike import speechlike


def tokens_at_random(n_frames: int, dims_per_token: int = 7) -> Tokens:
    levels = np.random.default_rng(1).integers(0, 8, (n_frames, 128))
    return Tokens.from_levels(levels, n_samples=9_600 * n_frames, codec="silk@test", dims_per_token=dims_per_token)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- bit errors


def test_a_frame_has_384_bits_in_every_grouping() -> None:
    assert [sum(code_bits(codebook_sizes(dims))) for dims in (1, 4, 7, 20)] == [384] * 4
    with pytest.raises(ArgumentError, match="powers of two"):
        code_bits([4096, 7131])


def test_rate_0_flips_no_bit_and_rate_1_flips_all() -> None:
    made = tokens_at_random(20)
    assert flip_bits(made, 0.0, rng()) == (made, 0)
    inverted, n_flipped = flip_bits(made, 1.0, rng())
    assert n_flipped == 20 * 384
    np.testing.assert_array_equal(inverted.to_levels(), 7 - made.to_levels())
    assert flip_bits(inverted, 1.0, rng())[0] == made


def test_all_bits_are_flipped_with_the_given_rate() -> None:
    made, rate = tokens_at_random(2_000), 0.03
    damaged, n_flipped = flip_bits(made, rate, rng())
    n_bits = 2_000 * 384
    assert abs(n_flipped - rate * n_bits) < 5 * np.sqrt(n_bits * rate * (1 - rate))
    changed = made.to_levels() ^ damaged.to_levels()
    assert np.unpackbits(changed).sum() == n_flipped
    each = (changed[..., None] >> np.arange(3) & 1).sum(axis=0)  # [128, 3], of 2,000 draws
    assert np.abs(each - 2_000 * rate).max() < 6 * np.sqrt(2_000 * rate)


def test_a_bit_error_changes_one_level_by_a_power_of_two() -> None:
    made = tokens_at_random(5)
    for book, bit in ((0, 0), (0, 20), (7, 10), (18, 5)):
        codes = [row.copy() for row in made.codes]
        codes[book][2] ^= 1 << bit
        damaged = Tokens(tuple(codes), made.codebook_sizes, made.frame_rates, 24_000, made.n_samples, made.codec)
        moved = damaged.to_levels().astype(int) - made.to_levels()
        assert np.argwhere(moved).tolist() == [[2, 7 * book + bit // 3]] and abs(moved).max() == 1 << bit % 3


def test_a_higher_rate_flips_additional_bits() -> None:
    made = tokens_at_random(50)
    few, many = (made.to_levels() ^ flip_bits(made, rate, rng())[0].to_levels() for rate in (0.01, 0.1))
    assert np.array_equal(few & many, few) and many.sum() > few.sum() > 0


# --- lost frames


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 0.0), (0.1, 0.0), (0.4, 0.0), (0.1, 3.0), (0.4, 3.0), (0.5, 8.0)])
def test_losses_have_the_given_rate_and_burst_length(rate: float, burst: float) -> None:
    n_frames = 100_000
    lost = lose_frames(n_frames, rate, burst, rng())
    n_runs = int(lost[0]) + int((lost[1:] & ~lost[:-1]).sum())
    expected = burst or 1 / (1 - rate)  # Independent losses also form runs.
    assert lost.mean() == pytest.approx(rate, rel=0.06)
    if rate:
        assert lost.sum() / n_runs == pytest.approx(expected, rel=0.04)
    ends = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]]))))[::2]
    if burst:  # Run lengths have a geometric distribution.
        assert np.mean(ends == 1) == pytest.approx(1 / burst, abs=0.02)


def test_impossible_bursts_are_errors() -> None:
    assert transitions(0.5, 1.0) == (1.0, 0.0)
    with pytest.raises(ArgumentError, match=r"0 or at least 1\.5 frames; got 1"):
        transitions(0.6, 1.0)
    with pytest.raises(ArgumentError, match=r"0 or at least 1 frames; got 0\.5"):
        transitions(0.1, 0.5)
    with pytest.raises(ArgumentError, match="below 1; got 1"):
        transitions(1.0, 0.0)


def test_losses_keep_the_length_of_the_wave(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech[:50_000])
    whole = codec.decode(tokens)
    lost = np.zeros(tokens.n_frames, dtype=bool)
    for method in module.METHODS:
        np.testing.assert_array_equal(decode_with_losses(codec, tokens, lost, method), whole)
    lost[[2, 3]] = True
    silent, *others = waves = [decode_with_losses(codec, tokens, lost, method) for method in module.METHODS]
    assert {wave.shape for wave in waves} == {whole.shape}
    assert not silent[19_200:38_400].any() and all(wave[19_200:28_000].any() for wave in others)
    np.testing.assert_allclose(silent[:19_200], whole[:19_200], atol=1e-4)
    for method in module.METHODS:
        assert not decode_with_losses(codec, tokens, np.ones_like(lost), method).any()


def test_lost_levels_are_filled_from_their_neighbors() -> None:
    levels = np.repeat(np.array([[1], [7], [7], [7], [5], [0]], dtype=np.uint8), 128, axis=1)
    lost = np.array([False, True, True, True, False, True])
    for interpolate, expected in ((False, [1, 1, 1, 1, 5, 5]), (True, [1, 2, 3, 4, 5, 5])):
        assert fill_levels(levels, lost, interpolate=interpolate)[:, 9].tolist() == expected
    assert fill_levels(levels, ~lost, interpolate=True)[:, 9].tolist() == [1, 7, 7, 7, 4, 0]


# --- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained run with residual codebooks."""
    folder = tmp_path_factory.mktemp("run")
    config = load_config("tiny", ["model.quantizer=rvq"])
    torch.manual_seed(0)
    model = SilkNetwork(config.model)
    (folder / "config.toml").write_text(dump_config(config))
    checkpoint.save(folder / "checkpoint.safetensors", {"ema": model.state_dict()}, {"step": 0})
    return folder


def test_a_run_is_a_codec(run: Path, speech: np.ndarray) -> None:
    codec = RunCodec(run)
    tokens = codec.encode(speech[:30_000], 24_000)
    assert (codec.name, tokens.bits_per_second) == ("run:rvq", 960.0)
    wave = codec.decode(tokens)
    assert wave.shape == (30_000,) and np.isfinite(codec.decode(flip_bits(tokens, 0.1, rng())[0])).all()
    np.testing.assert_array_equal(codec.decode(flip_bits(tokens, 0.0, rng())[0]), wave)


# --- the experiment


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robustness") / "speech"
    for seed in range(2):
        audio.write(folder / f"{seed}.wav", speechlike(2.4, seed=seed), 24_000)
    return folder


PLAN = RobustnessPlan(flip_rates=(0.0, 0.1), loss_rates=(0.0, 0.4), bursts=(0.0, 2.0), n_seeds=1)


@pytest.fixture(scope="module")
def measured(clips: Path, run: Path) -> str:
    return json.dumps(rounded(robustness([clips], ["silk"], runs=[run], plan=PLAN)))


@pytest.fixture
def result(measured: str) -> dict[str, Any]:
    return json.loads(measured)


def test_quality_falls_with_damage(result: dict[str, Any]) -> None:
    clean = {entry["codec"]: entry["metrics"] for entry in result["clean"]}
    assert list(clean) == ["silk", "run:rvq"] == list(result["codecs"])
    flips = {(entry["codec"], entry["rate"]): entry for entry in result["flips"]}
    for codec in clean:
        assert flips[codec, 0.0]["metrics"] == clean[codec] and flips[codec, 0.0]["n_flipped"] == 0
        assert flips[codec, 0.1]["n_bits"] == 2 * 6 * 384
    assert flips["silk", 0.1]["metrics"]["mel_distance"]["mean"] > clean["silk"]["mel_distance"]["mean"]
    losses = {(entry["rate"], entry["burst"], entry["method"]): entry for entry in result["losses"]}
    assert len(losses) == 16
    for (rate, _, method), entry in losses.items():
        assert entry["n_frames"] == 12 and ("gain" in entry) == (method == "concealed")
        if rate == 0:
            assert entry["metrics"] == clean["silk"] and entry["n_lost"] == 0
        else:
            assert entry["metrics"]["mel_distance"]["mean"] > clean["silk"]["mel_distance"]["mean"]
    gain, at = (
        losses[0.4, 0.0, "concealed"]["gain"]["silence"]["stoi"],
        [losses[0.4, 0.0, method]["metrics"] for method in ("silence", "concealed")],
    )
    assert gain["mean"] == pytest.approx(at[1]["stoi"]["mean"] - at[0]["stoi"]["mean"], abs=1e-5)


def test_the_output_recovers_after_a_disturbance(result: dict[str, Any]) -> None:
    apart = {(e["disturbance"], e["frame"]): e["metrics"]["mel_distance"]["mean"] for e in result["recovery"]}
    assert len({name for name, _ in apart}) == 5 and min(apart.values()) >= 0
    for method in module.METHODS:
        assert apart[f"frame lost, {method}", 0] > apart[f"frame lost, {method}", 1]
    assert apart["one bit flipped", 0] < apart["frame lost, silence", 0]


def test_padding_is_excluded_from_the_distance() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 2 * 9_600 + 240).astype(np.float32)  # one column in the last frame
    distances = frame_distances(2 * wave, mel.log_mel(wave))
    assert distances == pytest.approx([math.log(2)] * 3, abs=0.01)


def test_results_are_reproducible(result: dict[str, Any], clips: Path) -> None:
    again = json.loads(json.dumps(rounded(robustness([clips], ["silk"], plan=PLAN))))
    assert again["losses"] == result["losses"] and again["recovery"] == result["recovery"]
    assert again["flips"] == [entry for entry in result["flips"] if entry["codec"] == "silk"]


def test_a_result_contains_no_paths_of_this_machine(result: dict[str, Any], clips: Path) -> None:
    assert str(clips.parent) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


def test_the_page_matches_the_json(result: dict[str, Any], tmp_path: Path) -> None:
    pages.write_json(result, tmp_path / "robustness.json")
    assert pages.load_result(tmp_path / "robustness.json") == result
    written, figure = pages.write(result, tmp_path / "pages")
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    stoi = {e["codec"]: e["metrics"]["stoi"]["mean"] for e in result["flips"] if e["rate"] == 0.1}
    (row,) = [line for line in text.splitlines() if line.startswith("| 0.1 |")]
    assert all(f" {mean:.3f} [" in row for mean in stoi.values())
    assert all(fact in text for fact in ("| bursts of 2 | 0.4 |", "| concealed - silence |", "--run RUN"))


def test_runs_are_compared_by_their_change_with_bit_errors(
    clips: Path, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("fsq")
    config = load_config("tiny", ["model.quantizer=fsq"])
    (other / "config.toml").write_text(dump_config(config))
    checkpoint.save(other / "checkpoint.safetensors", {"ema": SilkNetwork(config.model).state_dict()}, {"step": 0})
    result = rounded(robustness([clips], [], runs=[other, run], plan=PLAN))
    clean = {entry["codec"]: entry["metrics"]["mel_distance"]["mean"] for entry in result["clean"]}
    flips = {(entry["codec"], entry["rate"]): entry for entry in result["flips"]}
    assert [key for key, entry in flips.items() if "against" in entry] == [("run:rvq", 0.0), ("run:rvq", 0.1)]
    for rate in (0.0, 0.1):
        change = {codec: flips[codec, rate]["metrics"]["mel_distance"]["mean"] - clean[codec] for codec in clean}
        found = flips["run:rvq", rate]["against"]["run:fsq"]["mel_distance"]["mean"]
        assert found == pytest.approx(change["run:rvq"] - change["run:fsq"], abs=2e-5)
    lost = -flips["run:rvq", 0.1]["against"]["run:fsq"]["stoi"]["mean"]
    assert f"STOI decreases by {lost:.3f} [" in pages.render(result)


def test_lost_frames_are_measured_for_silk_only(clips: Path, run: Path) -> None:
    result = rounded(robustness([clips / "0.wav"], [], runs=[run], plan=PLAN))
    assert result["losses"] == result["recovery"] == [] and len(result["flips"]) == 2
    assert "lost frame" not in pages.render(result).partition("## Method")[2].partition("## Limitations")[0]


# --- invalid input


@pytest.mark.parametrize(
    ("codecs", "plan", "says"),
    [
        ([], {}, "at least one codec"),
        (["silk", "silk"], {}, "different names"),
        (["silk"], {"flip_rates": (1.5,)}, "flip_rates must be between 0 and 1"),
        (["silk"], {"loss_rates": (0.9,), "bursts": (2.0,)}, "at least 9 frames"),
        (["silk"], {"n_seeds": 0}, "above 0"),
        (["silk"], {"clip_s": math.inf}, "--seconds must be a finite number above 0; got inf"),
    ],
)
def test_invalid_arguments_are_errors(clips: Path, codecs: list[str], plan: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        robustness([clips], codecs, plan=RobustnessPlan(**plan))


def test_a_missing_run_is_an_error(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="must contain"):
        robustness([clips], ["silk"], runs=[tmp_path])


@pytest.mark.slow
def test_the_command_writes_result_page_and_figure(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["robustness", str(clips), "-o", "out", "--codecs", "silk", "--seeds", "1", "--seconds", "0.9"]
    done = CliRunner().invoke(app, ["lab", *words])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "robustness.json",
        "robustness.md",
        "robustness.png",
    ]
    done = CliRunner().invoke(app, ["lab", *words])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1) and "already exists" in done.stderr
