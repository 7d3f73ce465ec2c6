"""Test decoding with fewer codebooks for each quantizer, rates, the order of groups, and the page."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import silkcodec
from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, OutputError, TokensError
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.results import rounded
from silkcodec.silk import EMBEDDED, Silk
from silkcodec_lab import pages, run_codec
from silkcodec_lab.bandwidth import experiment
from silkcodec_lab.bandwidth import figure as bandwidth_figure
from silkcodec_lab.bandwidth.bench import (
    Bench,
    BenchPool,
    BenchSettings,
    cuts,
    greedy_order,
    keep_groups,
    order_cuts,
    rates,
)
from silkcodec_lab.bandwidth.experiment import BandwidthPlan, _examples, _find, bandwidth
from silkcodec_lab.run_codec import RunCodec, coarse_first, decode_cut
from silkcodec_lab.scores import match_length
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.quantizers import FSQ, RVQ, VQ, MultiScaleRVQ
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import dump_config, load_config
from speechlike import speechlike

N_CODES = {"fsq": 128, "vq": 32, "rvq": 32, "multiscale": 30}
SMALL = {
    "fsq": lambda: FSQ(),
    "vq": lambda: VQ(entries=16),
    "rvq": lambda: RVQ(entries=16),
    "multiscale": lambda: MultiScaleRVQ(entries=16),
}


def codes_of(kind: str, quantizer: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    return quantizer.eval()(torch.randn(2, 3, 128)).codes  # [2, 3, K]


# --- missing codes


@pytest.mark.parametrize("kind", SMALL)
def test_all_codes_decode_as_the_quantizer_does(kind: str) -> None:
    quantizer = SMALL[kind]()
    codes = codes_of(kind, quantizer)
    assert codes.shape[-1] == N_CODES[kind]
    torch.testing.assert_close(decode_cut(quantizer, codes), quantizer.decode(codes), rtol=0, atol=0)


def test_rvq_with_missing_codes_is_the_sum_of_the_first_stages() -> None:
    quantizer = RVQ(entries=16)
    codes = codes_of("rvq", quantizer)
    streams = coarse_first(quantizer, 32)
    cut = codes.clone()
    cut[..., streams[16:]] = -1
    torch.testing.assert_close(decode_cut(quantizer, cut), quantizer.decode(cut), rtol=0, atol=0)
    chains = codes.unflatten(-1, (8, 4))
    expected = (quantizer.codebooks[0](chains[..., 0]) + quantizer.codebooks[1](chains[..., 1])).flatten(-2)
    torch.testing.assert_close(decode_cut(quantizer, cut), expected)


def test_a_missing_scale_adds_nothing() -> None:
    quantizer = MultiScaleRVQ(entries=16)
    codes = codes_of("multiscale", quantizer)
    cut = codes.clone()
    cut[..., 2:] = -1
    expected = quantizer.codebooks[0](codes[..., :2]).repeat_interleave(8, dim=-2).flatten(-2)
    torch.testing.assert_close(decode_cut(quantizer, cut), expected)


def test_a_missing_vector_is_the_mean_of_the_training_vectors() -> None:
    quantizer = VQ(entries=16)
    quantizer.codebook.counts.copy_(torch.arange(16.0))
    codes = codes_of("vq", quantizer)
    cut = codes.clone()
    cut[..., 20:] = -1
    decoded = decode_cut(quantizer, cut).unflatten(-1, (32, 4))
    mean = (torch.arange(16.0)[:, None] * quantizer.codebook.entries).sum(0) / 120
    torch.testing.assert_close(decoded[..., 20:, :], mean.expand(2, 3, 12, 4))
    torch.testing.assert_close(decoded[..., :20, :], quantizer.codebook(codes[..., :20]))


def test_a_missing_dimension_is_the_middle_level() -> None:
    quantizer = FSQ()
    cut = codes_of("fsq", quantizer)
    whole = quantizer.decode(cut)
    cut[..., 50:] = -1
    decoded = decode_cut(quantizer, cut)
    assert not decoded[..., 50:].any()
    torch.testing.assert_close(decoded[..., :50], whole[..., :50])


def test_each_stage_of_a_binary_chain_halves_the_largest_error() -> None:
    """Test a chain in which codebook k contains all signs of 2^-(k+1), so stages are binary digits."""
    quantizer = RVQ(latent_width=4, vectors=2, codebooks=5, entries=4).eval()
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=2)))
    for stage, book in enumerate(quantizer.codebooks):
        book.entries.copy_(signs * 0.5 ** (stage + 1))
    latent = torch.rand(500, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes, streams = quantizer(latent).codes, coarse_first(quantizer, 10)
    mean_errors = []
    for kept in range(11):
        cut = codes.clone()
        cut[..., streams[kept:]] = -1
        error = (decode_cut(quantizer, cut) - latent).abs()
        mean_errors.append(float(error.mean()))
        if kept % 2 == 0:  # whole stages of both vectors
            assert float(error.max()) <= 0.5 ** (kept // 2) + 1e-6
    assert all(b < a for a, b in itertools.pairwise(mean_errors))


# --- a run as a codec


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of untrained runs, one per quantizer."""
    folders = {}
    for kind in N_CODES:
        folders[kind] = folder = tmp_path_factory.mktemp(f"run-{kind}")
        config = load_config("tiny", [f"model.quantizer={kind}"])
        torch.manual_seed(0)
        (folder / "config.toml").write_text(dump_config(config))
        state = SilkNetwork(config.model).state_dict()
        checkpoint.save(folder / "checkpoint.safetensors", {"ema": state}, {"step": 0})
    return folders


@pytest.mark.parametrize("kind", N_CODES)
def test_fewer_codebooks_are_the_first_ones_with_proportional_bits(
    kind: str, run_folders: dict[str, Path], speech: np.ndarray
) -> None:
    codec, wave = RunCodec(run_folders[kind]), speech[:20_000]
    whole = codec.encode(wave, 24_000)
    k = len(whole.codes)
    assert codec.encode(wave, 24_000, n_codebooks=k) == whole and k == N_CODES[kind] == codec.stages[-1]
    assert whole.bits_per_second == pytest.approx(960, abs=0.1)
    for kept in (1, codec.stages[1], k - 1):
        part = codec.encode(wave, 24_000, n_codebooks=kept)
        assert all(map(np.array_equal, part.codes, whole.codes)) and len(part.codes) == kept
        assert part.tokens_per_second == 2.5 * kept
        assert part.bits_per_second == pytest.approx(whole.bits_per_second * kept / k)
        decoded = codec.decode(part)
        assert decoded.shape == (20_000,) and np.isfinite(decoded).all()
        assert not np.array_equal(decoded, codec.decode(whole))
    for wrong in (0, k + 1):
        with pytest.raises(ArgumentError, match=rf"must be between 1 and {k} for 'run:{kind}'; got {wrong}"):
            codec.encode(wave, 24_000, n_codebooks=wrong)


def test_all_codebooks_decode_as_the_network_does(run_folders: dict[str, Path], speech: np.ndarray) -> None:
    codec, wave = RunCodec(run_folders["rvq"]), speech[:20_000]
    codes = codec.model.encode(torch.from_numpy(wave)[None])
    np.testing.assert_array_equal(codec.decode(codec.encode(wave, 24_000)), codec.model.decode(codes, 20_000)[0])
    with pytest.raises(TokensError, match="run:rvq:0"):
        codec.decode(RunCodec(run_folders["vq"]).encode(wave, 24_000))


# --- Silk's groups and their order


def test_keeping_the_first_groups_equals_encoding_fewer_codebooks(codec: Silk, speech: np.ndarray) -> None:
    wave = speech[:30_000]
    whole = codec.encode(wave)
    assert keep_groups(whole, range(19)) == whole and rates(whole, range(19)) == {
        "tokens_per_second": 47.5,
        "bits_per_second": 960.0,
    }
    for k in (1, 10, 18):
        part = codec.encode(wave, n_codebooks=k)
        np.testing.assert_array_equal(codec.decode(keep_groups(whole, range(k))), codec.decode(part))
        assert rates(whole, range(k)) == {
            "tokens_per_second": part.tokens_per_second,
            "bits_per_second": part.bits_per_second,
        }
    assert rates(whole, [18])["bits_per_second"] == 15.0  # 2 dimensions of 3 bits


class FakeCodec:
    def __init__(self, k: int, **attributes: Any) -> None:
        self.codebook_sizes, self.quantizer = (8,) * k, "RVQ"
        vars(self).update(attributes)


def test_numbers_of_codebooks_are_evenly_spaced_whole_stages() -> None:
    assert cuts(silkcodec.load("gsm"), 8) == [52]
    assert cuts(FakeCodec(19), 8) == [2, 5, 7, 10, 12, 14, 17, 19] and cuts(FakeCodec(19), 1) == [19]
    assert cuts(FakeCodec(19), 50) == list(range(1, 20))
    assert cuts(FakeCodec(32, stages=(8, 16, 24, 32)), 8) == [8, 16, 24, 32]
    assert order_cuts([2, 5, 7, 10, 12, 14, 17, 19]) == [5, 10, 14] and order_cuts([10, 19]) == [10]
    assert order_cuts([19]) == []


def test_greedy_removal_finds_the_order_of_independent_groups() -> None:
    weights = [3.0, 1.0, 4.0, 1.5, 9.0]

    class FakePool:
        def map(self, method: str, tasks: Sequence[Any]) -> Iterator[float]:
            assert method == "order_distance"
            yield from (sum(weights) - sum(weights[group] for group in kept) for kept in tasks)

    steps: list[int] = []
    order, distances = greedy_order(FakePool(), 5, lambda: steps.append(1))  # type: ignore[arg-type]
    assert order == [4, 2, 0, 3, 1] and distances == [9.5, 5.5, 2.5, 1.0, 0.0]
    assert len(steps) == 5 + 4 + 3 + 2


def test_outputs_are_cut_or_padded() -> None:
    wave = np.ones(8_000, dtype=np.float32)
    assert match_length(wave, 24_000, 5_000).shape == (5_000,)
    assert match_length(wave, 24_000, 9_000)[7_999:].tolist() == [1.0] + [0.0] * 1_000
    assert match_length(wave, 8_000, 24_000).shape == (24_000,)


# --- the experiment


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bandwidth") / "speech"
    for seed in range(3):
        audio.write(folder / f"{seed}.wav", speechlike(1.6, seed=seed), 24_000)
    return folder


PLAN = BandwidthPlan(points=4, n_draws=2, n_order=1, order_s=0.4, listen_s=0.8, jobs=1)


@pytest.fixture(scope="module")
def measured(clips: Path, run_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("audio") / "bandwidth_audio"
    runs = [run_folders["fsq"], run_folders["rvq"]]
    result = bandwidth([clips], ["silk"], folder=folder, runs=runs, plan=PLAN)
    return json.dumps(rounded(result)), folder


@pytest.fixture
def result(measured: tuple[str, Path]) -> dict[str, Any]:
    return json.loads(measured[0])


def test_rates_are_counted_and_all_codebooks_are_best(result: dict[str, Any]) -> None:
    points = {(p["codec"], p["kept"], p["how"]): p for p in result["points"]}
    assert [key[1] for key in points if key[0] == "silk" and key[2] == "first"] == [5, 10, 14, 19]
    assert [key[1] for key in points if key[0] == "run:rvq"] == [8, 16, 24, 32]
    for (codec, kept, _), point in points.items():
        assert point["tokens_per_second"] == 2.5 * kept
        if codec == "silk" and kept < 19:
            assert point["bits_per_second"] == 2.5 * 21 * kept  # groups of 7 dimensions of 3 bits
        assert {entry["n"] for entry in point["metrics"].values()} == {2}
    silk = [points["silk", kept, "first"]["metrics"]["mel_distance"]["mean"] for kept in (5, 19)]
    assert silk[1] < silk[0]
    assert points["run:fsq", 128, "first"]["bits_per_second"] == 960
    assert result["speech"]["n_clips"] == 2 and result["order"]["n_clips"] == 1
    assert sorted(result["order"]["groups"]) == list(range(19)) and len(result["order"]["distances"]) == 19


def test_differences_are_paired_and_at_equal_bits(result: dict[str, Any]) -> None:
    points = {(p["codec"], p["kept"], p["how"]): p for p in result["points"]}
    pairs = [[tuple(e[side].values()) for side in ("of", "minus")] for e in result["compared"]]
    runs = [pair for pair in pairs if pair[0][0] == "run:rvq"]
    assert runs == [[("run:rvq", k, "first"), ("run:fsq", 4 * k, "first")] for k in (8, 16, 24, 32)]
    assert [("silk", 10, "best"), ("silk", 10, "first")] in pairs
    for pair, entry in zip(pairs, result["compared"], strict=True):
        a, b = (points[key] for key in pair)
        assert a["bits_per_second"] == pytest.approx(b["bits_per_second"], rel=2e-3)
        for name, difference in entry["metrics"].items():
            expected = a["metrics"][name]["mean"] - b["metrics"][name]["mean"]
            assert difference["mean"] == pytest.approx(expected, abs=2e-5)


def test_audio_examples_are_written(result: dict[str, Any], measured: tuple[str, Path]) -> None:
    folder = measured[1]
    examples = result["audio"]
    assert examples["folder"] == "bandwidth_audio"
    assert {entry["file"] for entry in examples["files"]} == {path.name for path in folder.iterdir()}
    assert {"original.flac", "silk-k5.flac", "silk-k19.flac", "silk-best-k10.flac", "run-rvq-k8.flac"} <= {
        entry["file"] for entry in examples["files"]
    }
    assert examples["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert {len(audio.read(path)) for path in folder.iterdir()} == {19_200}
    shown = [entry["spectrogram"] for entry in examples["files"] if entry["spectrogram"] is not None]
    assert len(shown) == 8 and {bandwidth_figure.pixels(one).shape for one in shown} == {(40, 64)}


def test_the_page_matches_the_json(result: dict[str, Any], tmp_path: Path) -> None:
    pages.write_json(result, tmp_path / "bandwidth.json")
    assert pages.load_result(tmp_path / "bandwidth.json") == result
    written, figure = pages.write(result, tmp_path / "pages")
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    for fact in (
        "| silk | 10 of 19 | 25.0 | 525 |",
        "| run:fsq | 64 of 128 | 160.0 | 480 |",
        "| best groups - first groups, 10 groups |",
        "| run:rvq - run:fsq, 480 bit/s |",
        "(bandwidth_audio/run-rvq-k8.flac)",
        "--run RUN --run RUN",
    ):
        assert fact in text, fact


def test_a_result_contains_no_paths_of_this_machine(result: dict[str, Any], clips: Path) -> None:
    assert str(clips.parent) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


@pytest.mark.parametrize("points", range(1, 9))
def test_selections_with_audio_examples_are_measured(points: int) -> None:
    found = _examples(SimpleNamespace(cuts={"silk": cuts(FakeCodec(19), points)}), ordered=True)
    kept = {one["kept"] for one in found if one["how"] == "best"}
    assert kept <= set(order_cuts(cuts(FakeCodec(19), points))) and len(kept) == (points > 1)


@pytest.mark.slow
def test_worker_processes_give_the_same_result(clips: Path) -> None:
    bench = Bench(BenchSettings(("silk",), points=2, clip_s=0.8))
    tasks = [(0, find_clips([clips])[0], ())]
    with BenchPool(bench, jobs=2) as pool:  # one process per task at most
        assert list(pool.map("measure", tasks)) == [bench.measure(tasks[0])]


def test_a_third_of_the_clips_is_reserved_for_the_order(clips: Path) -> None:
    measured, ordering = _find([clips], None, "train", None, 8, 0)
    assert len(ordering) == 1 and sorted([*measured, *ordering], key=str) == sorted(find_clips([clips]), key=str)
    bench = Bench(BenchSettings(("silk",), order_clips=tuple(ordering), order_s=0.8))
    assert bench.order_distance(range(19)) < bench.order_distance(range(3))


def test_the_groups_of_a_weights_folder_are_ordered(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[dict[str, Any]] = []
    load = run_codec.load
    monkeypatch.setattr(run_codec, "load", lambda name, **given: options.append(given) or load(name, **given))
    monkeypatch.setattr(experiment, "greedy_order", lambda pool, n, progress: (list(range(n)), [0.0] * n))
    plan = BandwidthPlan(points=1, n_order=1, clip_s=0.4, listen_s=0.4, jobs=1)
    result = bandwidth([clips], [str(EMBEDDED)], folder=tmp_path, plan=plan)
    assert result["order"]["n_clips"] == 1 and options == [{"threads": 1}]


def test_without_order_clips_there_is_no_order(clips: Path, tmp_path: Path) -> None:
    result = rounded(bandwidth([clips / "0.wav"], ["silk"], folder=tmp_path, plan=PLAN))
    assert result["order"] is None and {point["how"] for point in result["points"]} == {"first"}
    assert "groups" not in pages.render(result).partition("## Limitations")[0]
    assert bandwidth_figure.figure(result).startswith(b"\x89PNG")


def test_the_page_in_the_documentation_has_its_audio() -> None:
    (path,) = pages.committed("bandwidth")
    result = pages.load_result(path)
    folder = Path(__file__).resolve().parents[4] / "docs" / "lab"
    sizes = [(folder / result["audio"]["folder"] / entry["file"]).stat().st_size for entry in result["audio"]["files"]]
    assert sum(sizes) == result["audio"]["bytes"] < 1_500_000


# --- invalid input


@pytest.mark.parametrize(
    ("codecs", "plan", "says"),
    [
        ([], {}, "at least one codec"),
        (["silk", "silk"], {}, "different names; got 'silk' twice"),
        (["silk"], {"points": 0}, "at least 1"),
        (["silk"], {"clip_s": 0.0}, "clip_s must be a finite number above 0; got 0"),
        (["silk"], {"listen_s": math.nan}, "listen_s must be a finite number above 0; got nan"),
    ],
)
def test_invalid_arguments_are_errors(
    clips: Path, tmp_path: Path, codecs: list[str], plan: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        bandwidth([clips], codecs, folder=tmp_path / "audio", plan=BandwidthPlan(jobs=1, **plan))


def test_existing_audio_is_not_overwritten(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "silk-k19.flac").write_bytes(b"mine")
    with pytest.raises(OutputError, match="already exists"):
        bandwidth([clips], ["silk"], folder=tmp_path, plan=PLAN)


def test_the_command_writes_result_page_figure_and_audio(
    clips: Path, run_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["bandwidth", str(clips), "-o", "out", "--codecs", "", "--run", str(run_folders["vq"])]
    words += ["--seconds", "0.8", "--points", "2", "--clips", "1", "--jobs", "1"]
    done = CliRunner().invoke(app, ["lab", *words])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "bandwidth.json",
        "bandwidth.md",
        "bandwidth.png",
        "bandwidth_audio",
    ]
    done = CliRunner().invoke(app, ["lab", *words])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1) and "already exists" in done.stderr
