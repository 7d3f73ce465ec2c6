"""Test that numbers in the documents match the JSON in bench/, and that missed targets are marked."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import tables

from repository import ROOT

DOCUMENT = "# Title\n\n<!-- bench:{0} -->\nwritten before\n<!-- /bench:{0} -->\n\nEnd.\n"


def shown(name: str, bench: Path) -> str:
    return str(tables.TABLES[name](bench))


def entry(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 3}


def quality(stoi: float, weights: str = "silk@aaaaaaaaaaaa", created: str = "2026-01-02T00:00:00+00:00") -> Any:
    """Return a result of `silk compare` with the given STOI for Silk and 0.80 for Codec2."""
    codecs = ["silk", "codec2:1200", "codec2:3200", "opus:6k"]
    rates = {"n_clips": 3, "n_failed": 0, "tokens_per_second": 47.5, "bits_per_second": 960.0}
    return {
        "kind": "silk compare",
        "format": 2,
        "version": "0.1.0",
        "created": created,
        "settings": {"codecs": codecs, "split": "valid", "limit": None, "seed": 0, "by": [], "jobs": 1},
        "clips": {"n": 3, "duration_s": 36.0},
        "metrics": {
            "pesq_wb": {"label": "PESQ-WB", "unit": "MOS-LQO", "better": "higher"},
            "stoi": {"label": "STOI", "unit": "", "better": "higher"},
            "visqol": {"label": "ViSQOL", "unit": "MOS-LQO", "better": "higher"},
        },
        "codecs": {name: {**rates, "codec_id": weights if name == "silk" else name} for name in codecs},
        "means": {
            name: {"pesq_wb": entry(1.9), "stoi": entry(stoi if name == "silk" else 0.80), "visqol": entry(2.5)}
            for name in codecs
        },
        "differences": {
            "of": "silk",
            "minus": {
                name: {"pesq_wb": entry(0.2), "stoi": entry(stoi - 0.80), "visqol": entry(0.1)} for name in codecs[1:]
            },
        },
        "groups": {
            "speaker_seen": {
                "seen": {"n_clips": 3, "codecs": {n: {"pesq_wb": entry(1.5), "stoi": entry(0.8)} for n in codecs}}
            }
        },
        "left_out": [],
    }


def speed() -> Any:
    """Return a result of `bench/speed.py` with every target met."""
    return {
        "kind": "silk speed",
        "format": 1,
        "created": "2026-01-02T00:00:00+00:00",
        "quick": False,
        "took_s": 200.0,
        "conditions": {
            "cpu": "a CPU",
            "cores": 2,
            "system": "Linux x86_64",
            "load_before": 0.1,
            "others_cores": 0.01,
            "threads": 2,
            "provider": "CPUExecutionProvider",
            "codec": "silk@aaaaaaaaaaaa",
            "versions": {"python": "3.11.7"},
        },
        "start": {name: {"median_s": 0.2, "n_runs": 7} for name in ("help", "encode_10_s", "import", "load")},
        **{
            name: {
                "encode_times_real_time": 170.0,
                "decode_times_real_time": 170.0,
                "tokens_per_second": 47.5,
                "bits_per_second": 960.0,
                "n_clips": 24,
            }
            for name in ("library", "library_one_thread", "batch", "command")
        },
        "stream": {way: {"p50_ms": 5.0, "p99_ms": 9.0} for way in ("encode", "decode")},
        "memory": {
            "short_s": 600.0,
            "long_s": 3600.0,
            **{way: {"short_mb": 150.0, "long_mb": 155.0, "growth_mb": 5.0} for way in ("encode", "decode")},
        },
        "size": {"files": [{"file": "a.flac", "duration_s": 5.0}], "entropy_gain_percent": None},
    }


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """Write a folder bench/ with the real targets and invented results."""
    folder = tmp_path / "bench"
    folder.mkdir()
    targets = (ROOT / "bench" / "targets.json").read_text(encoding="utf-8")
    (folder / "targets.json").write_text(targets, encoding="utf-8")
    (folder / "quality").mkdir()
    (folder / "quality/results.json").write_text(json.dumps(quality(0.89)), encoding="utf-8")
    (folder / "speed.json").write_text(json.dumps(speed()), encoding="utf-8")
    return folder


def test_no_table_in_the_documents_is_stale() -> None:
    found = [path.relative_to(ROOT).as_posix() for path in tables.stale(ROOT, ROOT / "bench")]
    assert found == [], "run: python bench/tables.py"


def test_results_contain_no_local_paths() -> None:
    for path in (ROOT / "bench").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not [start for start in ('"/', "'/", "/home/", "/tmp/", "file:/") if start in text], path.name


def test_every_table_is_in_a_document() -> None:
    paths = [path for pattern in tables.DOCUMENTS for path in ROOT.glob(pattern)]
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert [name for name in tables.TABLES if f"<!-- bench:{name} -->" not in text] == []


@pytest.mark.parametrize("name", ["speed", "quality", "published", "quality-groups", "progress"])
def test_filling_is_idempotent(bench: Path, name: str) -> None:
    once = tables.fill(DOCUMENT.format(name), bench)
    assert "written before" not in once and once.startswith("# Title\n") and once.endswith("\nEnd.\n")
    assert tables.fill(once, bench) == once


@pytest.mark.parametrize(
    "name", ["speed", "quality", "quality-times", "words", "published", "quality-groups", "levels", "progress"]
)
def test_missing_measurements_are_marked(tmp_path: Path, name: str) -> None:
    assert "Not measured yet" in tables.fill(DOCUMENT.format(name), tmp_path)


def test_a_changed_number_makes_a_document_stale(bench: Path) -> None:
    root = bench.parent
    readme = root / "README.md"
    readme.write_text(tables.fill(DOCUMENT.format("quality"), bench), encoding="utf-8")
    assert tables.stale(root, bench) == {}
    (bench / "quality/results.json").write_text(json.dumps(quality(0.90)), encoding="utf-8")
    assert list(tables.stale(root, bench)) == [readme]


def test_a_missed_target_is_marked(bench: Path) -> None:
    assert "**no**" not in shown("quality", bench)
    (bench / "quality/results.json").write_text(json.dumps(quality(0.87)), encoding="utf-8")
    missed = [line for line in shown("quality", bench).splitlines() if "**no**" in line]
    assert missed == ["| STOI | 0.870 [0.860, 0.880] | at least 0.880 | **no** |"]
    reached = [line for line in shown("published", bench).splitlines() if line.endswith("yes |")]
    assert not reached and "| 2.25 | 1.90 [1.89, 1.91] | **no** |" in shown("published", bench)

    assert "**no**" not in tables.speed(bench)
    slow = copy.deepcopy(speed())
    slow["library"]["encode_times_real_time"] = 59.9
    slow["memory"]["decode"]["growth_mb"] = 50.1
    (bench / "speed.json").write_text(json.dumps(slow), encoding="utf-8")
    assert tables.speed(bench).count("**no**") == 2


def test_a_target_without_its_comparison_is_not_met(bench: Path) -> None:
    result = quality(0.89)
    result["differences"]["minus"].pop("codec2:3200")
    del result["metrics"]["visqol"]
    for figures in [*result["means"].values(), *result["differences"]["minus"].values()]:
        del figures["visqol"]
    (bench / "quality/results.json").write_text(json.dumps(result), encoding="utf-8")
    assert shown("quality", bench).count("not measured") == 6  # naturalness twice, scatter; differences


def test_load_and_other_weights_are_reported(bench: Path) -> None:
    idle = tables.speed(bench)
    busy = speed()
    busy["conditions"]["others_cores"] = 1.8
    (bench / "speed.json").write_text(json.dumps(busy), encoding="utf-8")
    loaded = tables.speed(bench)
    assert "1.8 cores" in loaded and "1.8 cores" not in idle
    weights = bench.parent / "src" / "silkcodec" / "silk" / "weights"
    weights.mkdir(parents=True)
    states = {"states": [{"name": "state_wave", "shape": [784]}]}
    config = {"weights_hash": "aaaaaaaaaaaa", "encoder": states, "decoder": states}
    (weights / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tables.quality_tables.keep(bench)
    assert tables.speed(bench) == loaded
    quality_of_embedded = shown("quality", bench)
    other = {**config, "weights_hash": "bbbbbbbbbbbb"}
    (weights / "config.json").write_text(json.dumps(other), encoding="utf-8")
    same_network = tables.speed(bench)
    assert same_network != loaded
    other["encoder"] = {"states": [{"name": "state_wave", "shape": [999]}]}
    (weights / "config.json").write_text(json.dumps(other), encoding="utf-8")
    assert tables.speed(bench) not in (loaded, same_network)
    assert shown("quality", bench) != quality_of_embedded


def test_quality_has_no_times(bench: Path) -> None:
    result = quality(0.89)
    result["codecs"]["silk"] |= {"encode_times_real_time": 12345.0, "decode_times_real_time": 12345.0}
    (bench / "quality/results.json").write_text(json.dumps(result), encoding="utf-8")
    assert "12345" not in shown("quality", bench)


def test_progress_has_a_row_per_weights(bench: Path) -> None:
    assert tables.quality_tables.keep(bench).name == "2026-01-02-aaaaaaaaaaaa.json"
    newer = quality(0.92, "silk@cccccccccccc", "2026-02-03T00:00:00+00:00")
    (bench / "quality/results.json").write_text(json.dumps(newer), encoding="utf-8")
    rows = shown("progress", bench).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["silk@aaaaaaaaaaaa", "silk@cccccccccccc"]
    assert "0.890" in rows[0] and "0.920" in rows[1]


def test_word_errors_have_a_column_per_language(bench: Path) -> None:
    assert "Not measured yet" in shown("words", bench)
    for folder, names in (("english", ("dwer", "dcer")), ("mandarin", ("dcer",))):
        result = quality(0.89)
        result["settings"]["models"] = {"whisper": "whisper-base"}
        result["metrics"] = {name: {"label": name, "unit": "%", "better": "lower"} for name in names}
        worse = {"opus:6k": 4.0}
        result["means"] = {c: {n: entry(worse.get(c, 12.0)) for n in names} for c in result["settings"]["codecs"]}
        (bench / "quality" / folder).mkdir()
        (bench / "quality" / folder / "results.json").write_text(json.dumps(result), encoding="utf-8")
    lines = shown("words", bench).splitlines()
    assert lines[0] == "| codec | tokens/s | bit/s | English dwer % ↓ | English dcer % ↓ | Mandarin dcer % ↓ |"
    missed = [line for line in lines if "**no**" in line]
    assert len(missed) == 2 and missed[0].startswith("| English dwer | 12.0 [12.0, 12.0] | at most 8 %")
    assert "Whisper" in lines[-1]
    lines = [line for line in shown("published", bench).splitlines() if "WER" in line]
    assert lines and all("| 12.0 [12.0, 12.0] | **no** |" in line for line in lines)


def test_no_table_shows_only_metrics_close_to_losses(bench: Path) -> None:
    known = {"pesq_wb", "stoi", "estoi", "mel_distance"}
    for columns in (*tables.quality_tables.COLUMNS, tables.quality_tables.GROUPED, tables.quality_tables.PROGRESS):
        assert set(columns) - known


def test_english_sentences_and_the_gap_have_separate_tables(bench: Path) -> None:
    assert "Not measured yet" in shown("quality-english", bench)
    result = quality(0.89)
    group = {"n_clips": 2, "codecs": {name: {**result["means"][name], "stoi": entry(0.7)} for name in result["codecs"]}}
    result["groups"] = {"group": {"english-read": group}}
    (bench / "quality/results.json").write_text(json.dumps(result), encoding="utf-8")
    text = shown("quality-english", bench)
    assert "0.700 [0.690, 0.710]" in text and "dwer" not in text

    words = {**result, "settings": {**result["settings"], "split": None}}
    words["metrics"] = {"dwer": {"label": "dWER", "unit": "%", "better": "lower"}}
    words["means"] = {name: {"dwer": entry(7.0)} for name in result["codecs"]}
    (bench / "quality/english").mkdir()
    (bench / "quality/english/results.json").write_text(json.dumps(words), encoding="utf-8")
    assert "| dWER (%) ↓ |" in shown("quality-english", bench)

    assert "Not measured yet" in shown("quality-gap", bench)
    codecs = [{"silk": {**result["means"]["silk"], "stoi": entry(value)}} for value in (0.9, 0.8)]
    parts = zip(("training", "unseen"), codecs, strict=True)
    result["groups"] = {"gap": {part: {"n_clips": 2, "codecs": means} for part, means in parts}}
    (bench / "quality/gap").mkdir()
    (bench / "quality/gap/results.json").write_text(json.dumps(result), encoding="utf-8")
    (row,) = [line for line in shown("quality-gap", bench).splitlines() if line.startswith("| STOI")]
    assert row.endswith("| 0.900 [0.890, 0.910] | 0.800 [0.790, 0.810] | 0.100 [0.086, 0.114] |")


def test_times_state_the_number_of_concurrent_clips(bench: Path) -> None:
    result = quality(0.89)
    result["codecs"]["silk"] |= {
        "encode_times_real_time": 1_050.4, "decode_times_real_time": 2.0, "timed_with_jobs": 2, "latency_ms": 420.0,
    }  # fmt: skip
    (bench / "quality/results.json").write_text(json.dumps(result), encoding="utf-8")
    text = shown("quality-times", bench)
    assert "| 1,050x | 2x | 420 ms |" in text and "2 clips" in text
    assert text.splitlines()[-3].endswith("|  |  |  |")  # a codec that was not timed


def test_the_use_of_levels_is_reported_and_drawn(bench: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs [dev]")
    assert "Not measured yet" in shown("levels", bench) and tables.quality_tables.draw_levels(bench) is None
    result = quality(0.89)
    result["codecs"]["silk"]["dimensions"] = {
        "n_levels": 8, "n_frames": 20_000, "n_used": [8] * 127 + [7], "perplexity": [6.5] * 127 + [5.0],
        "entropy_bits": [2.7] * 128, "entropy_bits_per_second": 864.0,
    }  # fmt: skip
    (bench / "quality/results.json").write_text(json.dumps(result), encoding="utf-8")
    text = shown("levels", bench)
    assert all(number in text for number in ("5.00", "6.50", "6.49", "345.6"))
    assert tables.quality_tables.draw_levels(bench).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!-- bench:nonesuch -->\n<!-- /bench:nonesuch -->\n", "must be one of"),
        ("<!-- bench:speed -->\n", "pairs"),
        ("<!-- /bench:speed -->\n", "pairs"),
        ("<!-- bench:speed -->\n<!-- bench:quality -->\n", "pairs"),
        ("<!-- bench:speed -->\n<!-- /bench:quality -->\n", "pairs"),
    ],
)
def test_damaged_markers_are_refused(bench: Path, text: str, says: str) -> None:
    with pytest.raises(tables.TableError, match=says):
        tables.fill(text, bench)


def test_the_scores_in_the_readme_are_those_of_the_results(tmp_path: Path) -> None:
    (tmp_path / "quality" / "english").mkdir(parents=True)
    (tmp_path / "targets.json").write_text((ROOT / "bench" / "targets.json").read_text("utf-8"), "utf-8")
    assert "Not measured" in shown("scores", tmp_path)
    result = quality(0.9)
    result["metrics"]["distillmos"] = {"label": "DistillMOS", "unit": "MOS", "better": "higher"}
    figures = {"silk": {"distillmos": entry(3.456), "pesq_wb": entry(2.2)}, "original": {"distillmos": entry(4.0)}}
    result["groups"]["group"] = {"english-read": {"n_clips": 12, "codecs": figures}}
    for means in result["means"].values():
        means["distillmos"] = entry(3.0)
    (tmp_path / "quality" / "results.json").write_text(json.dumps(result), "utf-8")
    text = shown("scores", tmp_path)
    assert all(number in text for number in ("12", "3.46", "4.00", "2.20"))
    spoken = quality(0.9)
    spoken["means"]["silk"]["dwer"] = entry(9.87)
    (tmp_path / "quality" / "english" / "results.json").write_text(json.dumps(spoken), "utf-8")
    assert "9.9 %" in shown("scores", tmp_path)
    spoken["codecs"]["silk"]["codec_id"] = "silk@bbbbbbbbbbbb"
    (tmp_path / "quality" / "english" / "results.json").write_text(json.dumps(spoken), "utf-8")
    assert shown("scores", tmp_path) == text  # These weights were not measured.
