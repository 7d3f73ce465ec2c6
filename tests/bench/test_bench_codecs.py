"""Test the table of codecs: measurement, ratios, and the rates in the package."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import codec_bench
import codec_tables
import findings
import numpy as np
import pytest

from repository import ROOT
from silkcodec import audio, codec
from silkcodec.baselines import catalogue
from silkcodec.cli import coding

BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 1.3 s of speech, which is not a whole number of frames for any codec."""
    path = tmp_path_factory.mktemp("clip") / "speech.wav"
    speech = audio.read(ROOT / "samples" / "english.flac")
    audio.write(path, np.resize(speech, 31_200))
    return path


def worker(*arguments: str | Path) -> Any:
    command = [sys.executable, str(BENCH / "codec_worker.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def presets() -> Any:
    return worker("presets")


def side(times_real_time: float, duration_s: float = 30.0) -> dict[str, float]:
    median_s = duration_s / times_real_time
    return {"times_real_time": times_real_time, "median_s": median_s, "lowest_s": median_s, "highest_s": median_s}


def measured(encode: float, decode: float, memory_mb: float, **changes: Any) -> dict[str, Any]:
    """Return the result of a measured codec, by default with 9 codebooks at 86 Hz."""
    return {
        "quantizer": "RVQ",
        "sample_rate": 24_000,
        "frame_rates_hz": [86.0] * 9,
        "codebook_sizes": [1024] * 9,
        "latency_ms": None,
        "tokens_per_second": 774.0,
        "bits_per_second": 7740.0,
        "counted": [{"duration_s": 60.0, "n_tokens": 46_500, "tokens_per_second": 775.0, "bits_per_second": 7750.0}],
        "parameters": 1_000_000,
        "speed": {"load_s": 1.0, "encode": side(encode), "decode": side(decode), "peak_memory_mb": memory_mb},
        **changes,
    }


def result() -> dict[str, Any]:
    """Return a result of codec_bench.py: a slow baseline, a fast one, and a classical codec."""
    return {
        "kind": "silk codecs",
        "format": 1,
        "created": "2026-01-02T00:00:00+00:00",
        "quick": False,
        "took_s": 700.0,
        "conditions": {
            "cpu": "a CPU",
            "cores": 2,
            "system": "Linux x86_64",
            "load_before": 0.1,
            "others_cores": 0.01,
            "threads": 2,
            "codec": "silk@aaaaaaaaaaaa",
            "versions": {"python": "3.11.7"},
        },
        "sizes": {"speed_s": 30.0, "count_s": 60.0, "long_s": 600.0, "patience_s": 20.0, "runs": 3, "threads": 2},
        "codecs": {
            "silk": measured(60.0, 90.0, 200.0),
            "dac:44k": measured(6.0, 9.0, 800.0),
            "mimi:8": measured(30.0, 9.0, 100.0),
            "mimi:9": measured(1.0, 1.0, 1.0, speed=None),
            "opus:6k": measured(120.0, 900.0, 50.0, parameters=None),
            "snac:24k": {"failed": "ValueError: no such thing"},
        },
    }


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "targets.json").write_text((BENCH / "targets.json").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "codecs.json").write_text(json.dumps(result()), encoding="utf-8")
    return folder


# --- measuring


@pytest.mark.slow
def test_a_codec_is_measured(clip: Path) -> None:
    found = worker("measure", clip, "silk", "--runs", "2", "--threads", "1")
    assert (found["tokens_per_second"], found["bits_per_second"]) == (47.5, 960)
    assert found["counted"][0]["n_codes"] == [4] * 19  # 1.3 s end in the fourth frame of 0.4 s
    assert found["counted"][0]["tokens_per_second"] == pytest.approx(4 * 19 / 1.3)
    assert found["counted"][0]["bits_per_second"] == pytest.approx(4 * 384 / 1.3)
    assert 5e6 < found["parameters"] < 5e7
    speed = found["speed"]
    assert speed["load_s"] > 0 and 20 < speed["peak_memory_mb"] < 5000
    for way in ("encode", "decode"):
        assert speed[way]["n_runs"] >= 2
        assert speed[way]["lowest_s"] <= speed[way]["median_s"] <= speed[way]["highest_s"]
        assert speed[way]["times_real_time"] == pytest.approx(1.3 / speed[way]["median_s"])


@pytest.mark.slow
def test_a_baseline_with_random_weights_is_measured_like_a_published_one(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    import random_baselines

    random_baselines.write_model("mimi", tmp_path, small=True)
    name = f"mimi:8@{tmp_path / 'mimi'}"
    found = worker("measure", clip, name, "--runs", "1")
    assert found["frame_rates_hz"] == [12.5] * 8 and found["codebook_sizes"] == [2048] * 8
    assert found["counted"][0]["n_codes"] == [17] * 8  # 16.25 frames, padded
    assert (found["tokens_per_second"], found["bits_per_second"]) == (100, 1100)
    assert found["quantizer"] == "split RVQ" and found["parameters"] > 1000


@pytest.mark.slow
def test_presets_of_one_codec_are_counted_in_one_process(clip: Path) -> None:
    pytest.importorskip("opuslib")
    found = worker("count", clip, "opus:6k", "opus:8k")
    assert list(found) == ["opus:6k", "opus:8k"]
    assert [row["tokens_per_second"] for row in found.values()] == [750, 1000]
    assert all(row["parameters"] is None for row in found.values())


def test_every_preset_of_a_baseline_has_a_model() -> None:
    pytest.importorskip("transformers")
    import random_baselines

    models = {codec_bench.model_of(name) for name in presets()}
    assert models - {None} == set(random_baselines.MODELS)


def test_speed_is_measured_of_existing_presets() -> None:
    assert set(codec_bench.SPEED_OF) <= set(presets())


# --- tables


def test_ratios_are_relative_to_silk() -> None:
    found = codec_tables.ratios(result(), "dac:44k", "silk")
    assert found["encode"] == pytest.approx(10) and found["decode"] == pytest.approx(10)
    assert found["both"] == pytest.approx(10) and found["memory"] == pytest.approx(4)
    mixed = codec_tables.ratios(result(), "mimi:8", "silk")
    assert (mixed["encode"], mixed["decode"], mixed["memory"]) == pytest.approx((2, 10, 0.5))
    assert mixed["both"] == pytest.approx((1 / 30 + 1 / 9) / (1 / 60 + 1 / 90))


def test_the_target_applies_to_the_slower_direction(bench: Path) -> None:
    lines = {line.split(" | ")[0].strip("| "): line for line in codec_tables.speed(bench).splitlines()}
    assert lines["dac:44k"].endswith("| 10x faster | 10x faster | 4.0x less | at least 3x faster | yes |")
    assert lines["mimi:8"].endswith("| 2.0x more | at least 3x faster | **no** |")
    assert lines["opus:6k"].endswith("| 2.0x slower | 10x slower | 2.9x slower | 4.0x more |  |  |")


def test_failures_and_load_are_reported(bench: Path) -> None:
    for make in codec_tables.TABLES.values():
        assert "| failed: ValueError: no such thing |" in make(bench)
    assert "not idle" not in codec_tables.speed(bench)
    busy = copy.deepcopy(result())
    busy["conditions"]["others_cores"] = 1.0
    (bench / "codecs.json").write_text(json.dumps(busy), encoding="utf-8")
    assert "not idle" in codec_tables.speed(bench)


def test_a_quick_run_has_rates_but_no_times(bench: Path) -> None:
    (bench / "codecs.json").write_text(json.dumps(result() | {"quick": True}), encoding="utf-8")
    assert codec_tables.speed(bench) == codec_tables.NOT_YET
    assert "| mimi:8 |" in codec_tables.rates(bench)


def test_presets_without_speed_are_not_in_the_short_tables(bench: Path) -> None:
    assert "mimi:9" not in codec_tables.rates(bench) + codec_tables.speed(bench)
    assert "| `mimi:8` * | [kyutai/mimi](https://huggingface.co/kyutai/mimi) | 24 kHz | " in codec_tables.presets(bench)


def test_changed_numbers_make_the_packaged_rates_stale(bench: Path) -> None:
    root = bench.parent
    ((path, text),) = codec_tables.stale(root, bench).items()
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert codec_tables.stale(root, bench) == {}
    changed = result()
    changed["codecs"]["mimi:8"]["tokens_per_second"] = 101.0
    (bench / "codecs.json").write_text(json.dumps(changed), encoding="utf-8")
    assert list(codec_tables.stale(root, bench)) == [path]


# --- measured results


def test_every_built_in_preset_was_measured() -> None:
    found = findings.read_result(BENCH / "codecs.json", codec_tables.KIND)
    assert found is not None
    assert set(found["codecs"]) == set(presets()), "run: make bench-codecs"


def test_the_packaged_rates_match_the_measurement() -> None:
    assert codec_tables.stale(ROOT, BENCH) == {}, "run: python bench/tables.py"


def test_counted_tokens_exceed_the_duration_by_less_than_one_frame() -> None:
    """Check the declared frame rate of every codec: only the last frame (or window) may exceed the duration."""
    for name, row in catalogue.measured().items():
        assert row is not None, name
        extra_s = (row["counted_tokens_per_second"] / row["tokens_per_second"] - 1) * row["counted_s"]
        assert -1e-6 <= extra_s <= 1.0, name  # at most the chunk of 1 s of stereo EnCodec


def test_known_rates() -> None:
    found = {name: row["tokens_per_second"] for name, row in catalogue.measured().items() if row}
    assert found["silk"] == 47.5 and found["encodec:6k"] == 600 and found["mimi:8"] == 100
    assert 774 <= found["dac:44k"] <= 776
    assert found["snac:24k"] == pytest.approx(46.875 + 23.4375 + 11.71875, abs=1e-3)


# --- silk codecs


def test_a_codec_of_another_package_is_listed_as_not_measured() -> None:
    found = {row["name"]: row for row in catalogue.rows(catalogue.measured(), {**codec.codecs(), "theirs": "x.y:Z"})}
    assert set(catalogue.measured()) < set(found)
    assert found["theirs"] == {"name": "theirs", "module": "x.y", "needs": ""}
    assert catalogue.cells(found["theirs"])["tokens/s"] == "not measured"


def test_a_missing_package_is_reported_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "missing", lambda name: "pip install 'x[y]'" if name in ("mimi", "snac") else None)
    found = catalogue.rows(catalogue.measured(), codec.codecs())
    assert "Not installed: mimi, snac. Run: pip install 'x[y]'" in catalogue.notes(found, [])
    cells = {row["name"]: catalogue.cells(row)["installed"] for row in found}
    assert (cells["silk"], cells["mimi:8"]) == ("yes", "no")


def test_the_list_is_short_and_reports_omitted_presets(capsys: pytest.CaptureFixture[str]) -> None:
    coding.codecs()
    text = capsys.readouterr().out
    assert "mimi:8 " in text and "mimi:9 " not in text and "30 more presets of mimi" in text
    assert "82.0 = 11.719 + 23.438 + 46.875" in text


def test_listing_loads_no_codec() -> None:
    code = "import sys; from silkcodec.cli.coding import codecs; codecs(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"torch", "transformers", "onnxruntime", "numpy", "scipy"}, done.stderr
