"""Test silk compare: the same clips for every codec, reported failures, reused rows, processes and reports."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fakecodecs
from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, AudioError, OutputError, SilkError
from silkcodec.evaluate import listening, metrics, report, run
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.compare import compare
from silkcodec.evaluate.run import RunOptions
from speechlike import speechlike
from waiting import wait_until

RATE = 24_000
METRICS = ["si_sdr_db", "mel_distance", "level_db"]  # metrics that need no extra


@pytest.fixture(autouse=True)
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakecodecs.install(tmp_path / "site", monkeypatch)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write four clips, one of them silent, and their index. Speaker ann and language pt are also in training."""
    rows = [
        ("a.wav", "ann", "en", "train"),
        ("b.wav", "bob", "pt", "train"),
        ("v/1.wav", "ann", "pt_BR", "valid"),
        ("v/2.wav", "eve", "pt", "valid"),
        ("v/3.wav", "unknown", "zh", "valid"),
        ("v/silent.wav", "eve", "zh", "valid"),
    ]
    folder = tmp_path / "corpus"
    (folder / "v").mkdir(parents=True)
    for index, (name, *_rest) in enumerate(rows):
        wave = speechlike(0.5 + 0.25 * index, seed=index)
        audio.write(folder / name, 0 * wave if "silent" in name else wave, RATE)
    lines = ["path\tspeaker\tlanguage\tsplit\tnote"] + ["\t".join((*row, "x" * 200)) for row in rows]
    (folder / "INDEX.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def measure(
    corpus: Path, names: list[str], folder: Path | None = None, *, progress: Any = None, **options: Any
) -> dict[str, Any]:
    """Run compare in this process, which is fast."""
    given = RunOptions(**{"split": "valid", "metric_names": METRICS, "listen": 0, **options})
    return compare([corpus], names, folder, given, isolate=False, progress=progress)


# --- clips -------------------------------------------------------------------------------------------------


def test_clips_of_a_split_have_their_columns(corpus: Path) -> None:
    clips = find_clips([corpus / "INDEX.tsv"], split="valid")
    assert [clip.name for clip in clips] == ["v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]
    assert [clip.columns["speaker_seen"] for clip in clips] == ["seen", "unseen", "unknown", "unseen"]
    assert [clip.columns["language_seen"] for clip in clips] == ["seen", "seen", "unseen", "unseen"]
    assert clips[0].columns["note"] == "x" * 200 and "path" not in clips[0].columns
    assert find_clips([corpus], split="valid") == clips  # a folder is read as its index


def test_clips_of_folders_and_files(corpus: Path) -> None:
    names = [clip.name for clip in find_clips([corpus])]
    assert names == ["a.wav", "b.wav", "v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]
    assert [clip.name for clip in find_clips([corpus / "v/1.wav", corpus / "a.wav"])] == ["a.wav", "v/1.wav"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("language=zh", ["v/3.wav", "v/silent.wav"]),
        ("language=pt*", ["v/1.wav", "v/2.wav"]),
        ("language=pt*|zh,speaker=eve", ["v/2.wav", "v/silent.wav"]),
    ],
)
def test_a_filter_selects_rows_of_a_manifest(corpus: Path, conditions: str, expected: list[str]) -> None:
    for given in (corpus, corpus / "INDEX.tsv"):
        assert [clip.name for clip in find_clips([f"{given}:{conditions}"], split="valid")] == expected
    assert "b.wav" in [clip.name for clip in find_clips([f"{corpus}:language=pt*"])]  # of every split


def test_a_path_that_looks_like_a_filter_is_a_path(corpus: Path) -> None:
    (corpus / "v/1.wav").rename(corpus / "a:b=c.wav")
    assert [clip.name for clip in find_clips([corpus / "a:b=c.wav"])] == ["a:b=c.wav"]


def test_the_paths_of_a_manifest_may_be_relative_to_another_folder(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("path\tgroup\nv/1.wav\tx\na.wav\ty\n", encoding="utf-8")
    (clip,) = find_clips([f"{tmp_path / 'list.tsv'}:group=x"], root=corpus)
    assert (clip.name, clip.path) == ("v/1.wav", corpus / "v" / "1.wav")
    with pytest.raises(AudioError, match=r"'a\.wav'|'v/1\.wav'"):
        find_clips([tmp_path / "list.tsv"])


def test_a_limit_is_reproducible(corpus: Path) -> None:
    draws = [[clip.name for clip in find_clips([corpus], limit=3, seed=seed)] for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1] and len(draws[0]) == 3
    assert len({tuple(draw) for draw in draws}) > 1


def test_clip_names_contain_no_local_path(corpus: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"audio_filepath": str(corpus / name)}) for name in ("a.wav", "v/1.wav")]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/all.jsonl").write_text("\n".join(lines))
    assert [clip.name for clip in find_clips([tmp_path / "lists/all.jsonl"])] == ["a.wav", "v/1.wav"]


def test_a_filter_does_not_change_clip_names(corpus: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"audio_filepath": str(corpus / name), "voice": name[0]}) for name in ("a.wav", "v/1.wav")]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/all.jsonl").write_text("\n".join(lines))
    assert [clip.name for clip in find_clips([f"{tmp_path / 'lists/all.jsonl'}:voice=v"])] == ["v/1.wav"]


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([], {}, ArgumentError, "at least"),
        (["nowhere"], {}, AudioError, "nowhere"),
        (["."], {"limit": 0}, ArgumentError, "limit"),
        (["INDEX.tsv"], {"split": "test"}, ArgumentError, "train, valid"),
        (["a.wav"], {"split": "valid"}, ArgumentError, "manifest"),
        (["empty"], {}, AudioError, "no audio files"),
        (["bad.tsv"], {}, ArgumentError, "'bad.tsv' must have a column .*; got the header: 'a, b'"),
        (["gone.tsv"], {}, AudioError, r"nothing\.wav"),
        (["v", "v/1.wav"], {}, ArgumentError, r"same path relative to their folders: '1\.wav'"),
        (["cut.jsonl"], {}, ArgumentError, "with an offset"),
        (["cut.tsv"], {}, ArgumentError, "with an offset"),
        (["INDEX.tsv:language=xx"], {}, ArgumentError, "'language=xx' does not match any row of 'INDEX.tsv'"),
        (["INDEX.tsv:language=en,zh"], {}, ArgumentError, "column=value; got 'zh'"),
        (["v:language=en"], {}, ArgumentError, "filter requires a manifest"),
        (["v"], {"root": "v"}, ArgumentError, "root folder requires a manifest"),
    ],
)
def test_bad_clips_are_refused(
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(corpus)
    (corpus / "empty").mkdir()
    (corpus / "bad.tsv").write_text("a\tb\n1\t2\n")
    (corpus / "gone.tsv").write_text("path\nnothing.wav\n")
    (corpus / "cut.tsv").write_text("path\tstart\tduration\na.wav\t0.2\t0.1\n")
    (corpus / "cut.jsonl").write_text('{"audio_filepath": "a.wav", "offset": 1.5}\n')
    with pytest.raises(error, match=message):
        find_clips(inputs, **options)


# --- the result --------------------------------------------------------------------------------------------


def test_a_result_describes_the_codecs(corpus: Path) -> None:
    result = measure(corpus, ["half", "same"])
    half, same = result["means"]["half"], result["means"]["same"]
    assert half["level_db"]["mean"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert same["level_db"]["mean"] == 0.0 == same["mel_distance"]["mean"]
    assert half["si_sdr_db"]["mean"] == same["si_sdr_db"]["mean"] == 100.0
    codec = result["codecs"]["half"]
    assert (codec["tokens_per_second"], codec["bits_per_second"], codec["n_failed"]) == (100.0, 200.0, 0)
    assert (codec["quantizer"], codec["latency_ms"], codec["codec_id"]) == ("none", 250.0, "half@000000000000")
    assert result["clips"]["n"] == 4 and (result["kind"], result["format"]) == ("silk compare", 2)
    assert result["differences"]["of"] == "half"
    difference = result["differences"]["minus"]["same"]["level_db"]
    assert difference["mean"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)


def test_rates_and_codebooks_are_counted_from_tokens(corpus: Path) -> None:
    codec = measure(corpus, ["scales"])["codecs"]["scales"]
    slow, fast = codec["codebooks"]
    n_frames = sum(int(np.ceil(duration * 50)) for duration in (1.0, 1.25, 1.5, 1.75))
    assert slow == {
        "size": 4,
        "frame_rate_hz": 50.0,
        "n_tokens": n_frames,
        "n_used": 4,
        "perplexity": pytest.approx(4.0, abs=0.01),
        "entropy_bits": pytest.approx(2.0, abs=0.01),
    }
    assert (fast["size"], fast["n_used"]) == (8, 4)  # half of it is never used
    assert fast["perplexity"] == pytest.approx(4.0, abs=0.01)
    assert codec["tokens_per_second"] == 150.0
    assert codec["bits_per_second"] == pytest.approx(50 * 2 + 100 * 3)
    assert codec["entropy_bits_per_second"] == pytest.approx(50 * 2 + 100 * 2, abs=1)
    assert codec["latency_ms"] is None
    assert report.frame_rates(codec) == "50.0..100.0"


def test_a_silent_clip_is_counted_and_reported(corpus: Path) -> None:
    result = measure(corpus, ["half"])
    assert result["means"]["half"]["level_db"]["n"] == 3
    left_out = [(entry["clip"], entry["metric"]) for entry in result["left_out"]]
    assert left_out == [("v/silent.wav", metric) for metric in METRICS]
    assert all(entry["reason"] in report.to_markdown(result) for entry in result["left_out"])
    assert report.failures(result) == []  # not a failure


def test_a_silent_output_is_scored(corpus: Path) -> None:
    result = measure(corpus, ["mute"])
    assert result["means"]["mute"]["si_sdr_db"] == {"mean": -100.0, "low": -100.0, "high": -100.0, "n": 3}


def test_groups_split_the_means(corpus: Path) -> None:
    groups = measure(corpus, ["half"], by=["speaker_seen", "language"])["groups"]
    assert {value: group["n_clips"] for value, group in groups["speaker_seen"].items()} == {
        "seen": 1,
        "unknown": 1,
        "unseen": 2,
    }
    assert list(groups["language"]) == ["pt", "pt_BR", "zh"]
    assert groups["language"]["zh"]["codecs"]["half"]["level_db"]["n"] == 1
    assert list(measure(corpus, ["half"])["groups"]) == ["speaker_seen", "language_seen"]


def test_unavailable_metrics_are_reported(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(metrics.METRICS["level_db"], name="absent", label="Absent", packages=("nonesuch",))
    monkeypatch.setitem(metrics.METRICS, "absent", absent)
    result = measure(corpus, ["half"], metric_names=["level_db", "absent"])
    assert "pip install" in result["metrics"]["absent"]["missing"]
    assert "missing" not in result["metrics"]["level_db"]
    assert result["means"]["half"]["level_db"]["mean"] is not None
    assert any("Absent" in sentence for sentence in report.failures(result))  # it was requested
    assert result["metrics"]["absent"]["missing"] in report.to_markdown(result)


def test_error_rates_weight_clips_by_words(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"pt_BR": 30.0, "pt": 10.0, "zh": 10.0}

    def rate(pair: metrics.Pair) -> metrics.Weighted:
        return metrics.Weighted(0.1 if pair.columns["language"] == "pt_BR" else 0.6, words[pair.columns["language"]])

    fake = replace(metrics.METRICS["level_db"], name="fake_wer", measure=rate, weighted_by="words")
    monkeypatch.setitem(metrics.METRICS, "fake_wer", fake)
    entry = measure(corpus, ["half"], metric_names=["fake_wer"])["means"]["half"]["fake_wer"]
    assert entry["mean"] == pytest.approx((30 * 0.1 + 20 * 0.6) / 50)
    assert (entry["weight"], entry["n"]) == (50.0, 3)
    assert 0.1 <= entry["low"] < entry["mean"] < entry["high"] <= 0.6


# --- what fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says"), [("refuses", "tokens must be short"), ("raises", "ZeroDivisionError"), ("nan", "finite")]
)
def test_a_clip_that_fails_is_excluded_for_all_codecs(corpus: Path, fault: str, says: str) -> None:
    name = f"failing:{fault}"
    result = measure(corpus, ["half", name])  # only v/1.wav, of 1 s, is short enough
    assert result["codecs"][name]["n_failed"] == 3
    assert result["means"]["half"]["level_db"]["n"] == result["means"][name]["level_db"]["n"] == 1
    assert any(says in entry["reason"] for entry in result["left_out"])
    assert any(f"{name} failed on 3 of 4 clips" in sentence for sentence in report.failures(result))


def test_an_unusable_codec_does_not_stop_the_others(corpus: Path, tmp_path: Path) -> None:
    result = measure(corpus, ["unloadable", "half", "same", "unloadable:raises"], tmp_path / "out")
    assert "pip install 'silkcodec[eval]'" in result["codecs"]["unloadable"]["failed"]
    assert "no such library" in result["codecs"]["unloadable:raises"]["failed"]
    assert result["codecs"]["unloadable"]["n_failed"] == 4
    assert result["means"]["half"]["level_db"]["n"] == 3
    assert result["means"]["unloadable"]["level_db"]["mean"] is None
    assert result["differences"]["of"] == "half"  # the first codec with values
    assert len(report.failures(result)) == 2
    assert result["codecs"]["unloadable"]["failed"] in (tmp_path / "out/report.md").read_text()


def test_the_original_has_its_own_row(corpus: Path, tmp_path: Path) -> None:
    result = measure(corpus, ["half", "original"], tmp_path / "out")
    assert list(result["means"]) == ["half", "original"]
    assert result["means"]["original"]["mel_distance"]["mean"] == 0.0
    assert "tokens_per_second" not in result["codecs"]["original"]
    with pytest.raises(ArgumentError, match="codec"):
        measure(corpus, ["original"])


def test_without_a_usable_codec_there_is_no_result(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SilkError, match="pip install"):
        measure(corpus, ["unloadable"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["nonesuch", "same:c", "sme", "half,", ""])
def test_a_misspelled_name_is_refused_before_anything_runs(corpus: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError):
        measure(corpus, ["half", name], tmp_path / "out")
    assert fakecodecs.ENCODED.get("half", 0) == 0 and not (tmp_path / "out").exists()


def test_an_unreadable_clip_is_reported(corpus: Path) -> None:
    (corpus / "v/2.wav").write_bytes(b"no audio at all")
    result = measure(corpus, ["half"])
    assert [entry["clip"] for entry in result["left_out"] if entry["metric"] == "all"] == ["v/2.wav"]
    assert str(corpus) not in json.dumps(result), "a result must not contain local paths"


def test_only_unreadable_clips_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    with pytest.raises(AudioError, match=r"text\.wav"):
        compare([tmp_path / "text.wav"], ["half"], isolate=False)


def test_a_failing_metric_is_reported_and_retried(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(pair: metrics.Pair) -> float:
        raise KeyError("from a third-party package")

    level = metrics.METRICS["level_db"]
    monkeypatch.setitem(metrics.METRICS, "level_db", replace(level, measure=breaks))
    result = measure(corpus, ["half"], tmp_path / "out")
    assert result["means"]["half"]["si_sdr_db"]["n"] == 3 and result["means"]["half"]["level_db"]["n"] == 0
    assert any("level_db failed on 3 rows: KeyError" in sentence for sentence in report.failures(result))
    monkeypatch.setitem(metrics.METRICS, "level_db", level)
    result = measure(corpus, ["half"], tmp_path / "out", overwrite=True)
    assert result["means"]["half"]["level_db"]["n"] == 3 and report.failures(result) == []


def test_a_value_of_an_earlier_model_is_dropped_if_the_new_model_fails(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model_metric(pair: metrics.Pair, model: str | None) -> float:
        if model == "large" and pair.duration_s > 1.2:
            raise KeyError("from a third-party package")
        return {"small": 90.0, "large": 10.0}[str(model)]

    with_model = replace(metrics.METRICS["level_db"], name="with_model", measure=model_metric, model_key="model")
    monkeypatch.setitem(metrics.METRICS, "with_model", with_model)
    options: dict[str, Any] = {"metric_names": ["with_model"], "overwrite": True}
    measure(corpus, ["half"], tmp_path / "out", models={"model": "small"}, **options)
    found = measure(corpus, ["half"], tmp_path / "out", models={"model": "large"}, **options)["means"]["half"]
    assert found["with_model"]["mean"] == 10.0 and 0 < found["with_model"]["n"] < 4


def test_a_changed_model_at_the_same_path_is_noticed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model_metric(pair: metrics.Pair, model: str | None) -> float:
        return float((Path(str(model)) / "model.bin").read_text())

    with_model = replace(metrics.METRICS["level_db"], name="with_model", measure=model_metric, model_key="model")
    monkeypatch.setitem(metrics.METRICS, "with_model", with_model)
    (tmp_path / "model").mkdir()
    options: dict[str, Any] = {"metric_names": ["with_model"], "overwrite": True}
    for index, value in enumerate(("1", "2")):
        (tmp_path / "model/model.bin").write_text(value)
        os.utime(tmp_path / "model/model.bin", (1_000 + index, 1_000 + index))
        result = measure(corpus, ["half"], tmp_path / "out", models={"model": str(tmp_path / "model")}, **options)
        assert result["means"]["half"]["with_model"]["mean"] == float(value)


def test_a_model_that_cannot_be_loaded_is_tried_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def model_metric(pair: metrics.Pair, model: str | None) -> float:
        tried.append(model)
        raise ArgumentError("The model must be a folder; got 'none'.")

    with_model = replace(metrics.METRICS["level_db"], name="with_model", measure=model_metric, model_key="model")
    monkeypatch.setitem(metrics.METRICS, "with_model", with_model)
    result = measure(corpus, ["half", "same"], metric_names=["with_model", "level_db"], models={"model": "none"})
    assert tried == ["none"] and result["means"]["half"]["level_db"]["n"] == 3
    found = [(codecs, names, len(clips)) for codecs, names, clips, _ in report.reasons(result)]
    assert found == [(["half", "same"], ["with_model"], 4), (["half", "same"], ["level_db"], 1)]


def test_outputs_and_arguments_are_checked_before_any_codec_is_loaded(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        measure(corpus, ["half"], tmp_path / "out")
    with pytest.raises(ArgumentError, match="folder"):
        measure(corpus, ["half"], tmp_path / "file")
    for options in (
        {"jobs": 0},
        {"metric_names": ["mos"]},
        {"models": {"nonesuch": "x"}},
        {"limit": 0},
        {"listen": -1},
        {"by": ["nonesuch"]},
    ):
        with pytest.raises(ArgumentError):
            measure(corpus, ["half"], **options)
    assert fakecodecs.ENCODED == {}
    assert (tmp_path / "out/report.md").read_text() == "mine"


# --- resuming ----------------------------------------------------------------------------------------------


def test_nothing_is_measured_twice(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encoded = fakecodecs.ENCODED
    first = measure(corpus, ["half"], out)
    assert json.loads((out / "results.json").read_text()) == first == report.load_result(out / "results.json")
    assert encoded["half"] == 4

    done: list[Any] = []
    again = measure(corpus, ["half"], out, overwrite=True, progress=lambda *args: done.append(args))
    assert encoded["half"] == 4 and done == []
    assert {**again, "created": ""} == {**first, "created": ""}

    measure(corpus, ["half", "same"], out, overwrite=True)  # an added codec: only that one
    assert encoded == {"half": 4, "same": 4}

    fakecodecs.WEIGHTS["half"] = "111111111111"  # a codec with other weights is another codec
    measure(corpus, ["half", "same"], out, overwrite=True)
    assert encoded == {"half": 8, "same": 4}

    del fakecodecs.WEIGHTS["half"]  # and the first rows are still stored
    measure(corpus, ["half"], out, overwrite=True)
    assert encoded["half"] == 8

    measure(corpus, ["same:a"], out, overwrite=True)  # a preset of the same weights is another codec too
    assert encoded["same:a"] == 4


def test_the_output_of_a_run_is_not_an_input(corpus: Path) -> None:
    options = RunOptions(metric_names=METRICS, listen=1)
    for _ in range(2):
        result = compare(
            [corpus / "v"], ["half"], corpus / "v" / "out", replace(options, overwrite=True), isolate=False
        )
        assert result["codecs"]["half"]["n_clips"] == 4


def test_an_added_metric_measures_only_that_metric(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    for name in METRICS:
        metric = metrics.METRICS[name]

        def counted(pair: metrics.Pair, metric: metrics.Metric = metric) -> Any:
            measured.append(metric.name)
            return metric.measure(pair)

        monkeypatch.setitem(metrics.METRICS, name, replace(metric, measure=counted))
    out = tmp_path / "out"
    measure(corpus, ["half"], out, metric_names=["si_sdr_db"])
    assert measured == ["si_sdr_db"] * 3  # one clip of four is silent
    result = measure(corpus, ["half"], out, metric_names=["si_sdr_db", "level_db"], overwrite=True)
    assert measured == ["si_sdr_db"] * 3 + ["level_db"] * 3
    assert {metric: entry["n"] for metric, entry in result["means"]["half"].items()} == {"si_sdr_db": 3, "level_db": 3}
    result = measure(corpus, ["half"], out, metric_names=["level_db"], overwrite=True)  # and removing one loses no rows
    measure(corpus, ["half"], out, metric_names=["si_sdr_db", "level_db"], overwrite=True)
    assert len(measured) == 6 and list(result["means"]["half"]) == ["level_db"]


def test_another_model_or_text_measures_what_depends_on_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_models: list[str | None] = []

    def model_metric(pair: metrics.Pair, model: str | None) -> float:
        used_models.append(model)
        return 1.0

    with_model = replace(metrics.METRICS["level_db"], name="with_model", measure=model_metric, model_key="model")
    monkeypatch.setitem(metrics.METRICS, "with_model", with_model)
    options: dict[str, Any] = {"metric_names": ["with_model", "level_db"], "overwrite": True}
    for model in ("small", "small", "large"):
        measure(corpus, ["half"], tmp_path / "out", models={"model": model}, **options)
    assert used_models == ["small"] * 3 + ["large"] * 3
    index = corpus / "INDEX.tsv"
    index.write_text(index.read_text().replace("v/1.wav\tann", "v/1.wav\tanna"))
    measure(corpus, ["half"], tmp_path / "out", models={"model": "large"}, **options)
    assert len(used_models) == 7  # the manifest columns of v/1.wav may affect the metric


def test_an_interrupted_run_resumes(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop_after_two(done: int, total: int, clip: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(corpus, ["half"], out, progress=stop_after_two)
    assert not (out / "results.json").exists()
    rows = out / "rows.jsonl"
    rows.write_bytes(rows.read_bytes()[:-20])  # killed in the middle of the second row
    measure(corpus, ["half"], out)
    assert fakecodecs.ENCODED["half"] == 2 + 3
    kept = [json.loads(line) for line in rows.read_text().splitlines() if line.endswith("}")]
    assert sorted(row["clip"] for row in kept) == ["v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]


def test_a_changed_clip_is_measured_again(corpus: Path, tmp_path: Path) -> None:
    measure(corpus, ["half"], tmp_path / "out")
    audio.write(corpus / "v/1.wav", speechlike(2.0, seed=9), RATE, overwrite=True)
    measure(corpus, ["half"], tmp_path / "out", overwrite=True)
    assert fakecodecs.ENCODED["half"] == 4 + 1


def test_audio_examples_are_stored(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    measure(corpus, ["half", "same:a"], out, listen=1)
    (found,) = listening.kept(out, {"v/1.wav": ["half", "same:a"]})
    assert list(found.waves) == ["reference", "half", "same:a"] and found.sample_rate == RATE
    assert np.allclose(found.waves["half"], 0.5 * found.waves["reference"], atol=1e-4)
    stored = sorted(path.name for path in out.glob("audio/v/1.wav/*"))
    assert stored[:2] == ["half.flac", "reference.flac"] and stored[2].startswith("same_a-") and len(stored) == 3
    assert not (out / "audio/v/2.wav").exists()

    before = dict(fakecodecs.ENCODED)
    measure(corpus, ["half", "same:a"], out, listen=1, overwrite=True)
    assert before == fakecodecs.ENCODED  # nothing is decoded again
    measure(corpus, ["half", "same:a"], out, listen=2, overwrite=True)
    assert fakecodecs.ENCODED["half"] == before["half"] + 1  # one more clip, whose rows were stored
    (out / "audio/v/1.wav/half.flac").unlink()
    measure(corpus, ["half"], out, listen=1, overwrite=True)
    assert (out / "audio/v/1.wav/half.flac").exists()


# --- in separate processes -----------------------------------------------------------------------------


def test_a_crash_affects_only_its_codec(corpus: Path, tmp_path: Path) -> None:
    """Run the command with several failures. Everything else is measured, and the exit code reports the failures."""
    out = tmp_path / "out"
    clips = [str(corpus / "v" / name) for name in ("1.wav", "2.wav")]  # the first clip is short enough
    words = ["compare", *clips, "--codecs", "failing:crashes,unloadable:exits,half", "--metrics", "level_db"]
    words += ["-o", str(out)]
    result = CliRunner().invoke(app, [*words, "--jobs", "1", "--json"])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("silk: Some measurements failed: ") and result.stderr.count("\n") == 1
    assert {path.name for path in out.iterdir()} == {"results.json", "report.md", "report.html", "rows.jsonl", "audio"}
    found = json.loads((out / "results.json").read_text())
    assert json.loads(result.stdout) == found
    assert found["codecs"]["failing:crashes"]["n_failed"] == 1
    assert any("SIGSEGV" in entry["reason"] for entry in found["left_out"])
    assert "exited with code 3" in found["codecs"]["unloadable:exits"]["failed"]
    half = found["codecs"]["half"]
    assert half["n_failed"] == 0 and half["peak_memory_mb"] > 20 and half["timed_with_jobs"] == 1


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
def test_a_killed_run_loses_at_most_the_current_clip(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, hanging = tmp_path / "out", tmp_path / "hanging"
    hanging.touch()
    monkeypatch.setenv("FAKE_HANGS", str(hanging))
    words = ["compare", str(corpus), "--split", "valid", "--codecs", "failing:hangs", "--metrics", "level_db"]
    command = [sys.executable, "-c", "from silkcodec.cli import main; main()", *words, "-o", str(out), "--jobs", "1"]
    # v/1.wav is short enough, also for the measurement of memory. The codec hangs at v/2.wav.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        rows = out / "rows.jsonl"
        wait_until(lambda: process.poll() is not None or (rows.exists() and b"v/1.wav" in rows.read_bytes()))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        hanging.unlink()
    result = measure(corpus, ["failing:hangs"], out, metric_names=["level_db"])
    assert result["codecs"]["failing:hangs"]["n_failed"] == 0
    assert fakecodecs.ENCODED["failing:hangs"] == 3  # all but v/1.wav


@pytest.mark.skipif(
    importlib.util.find_spec("opuslib") is None or find_library("opus") is None,
    reason="needs opuslib ([classical]) and libopus",
)
def test_processes_give_the_same_result(corpus: Path) -> None:
    given = RunOptions(metric_names=METRICS, split="valid", jobs=2)
    apart = compare([corpus], ["opus:6k"], None, given)
    here = compare([corpus], ["opus:6k"], None, given, isolate=False)
    for key in ("means", "groups", "left_out", "clips"):
        assert apart[key] == here[key]


# --- the report --------------------------------------------------------------------------------------------


def test_the_report_has_complete_tables(corpus: Path) -> None:
    text = report.to_markdown(measure(corpus, ["half", "scales"]))
    assert "| half | none | 100.0 | 1 x 4 | 100.0 | 200 | 200 | 250 ms |" in text
    assert "| scales | none | 50.0..100.0 | 1 x 4 + 1 x 8 | 150.0 | 400 | 300 | - |" in text
    assert "| scales, 2 | 8 | 100.00 | 552 | 4 (50 %) | 4.0 | 2.00 |" in text
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block


def test_another_file_is_not_a_result(tmp_path: Path) -> None:
    for content in ("{}", "[1]", "no JSON", '{"kind": "silk compare", "format": 1}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ArgumentError, match="silk compare"):
            report.load_result(tmp_path / "x.json")


def test_weights_folders_are_named_without_their_path(tmp_path: Path) -> None:
    from silkcodec.evaluate.compare import _labels

    for name in ("one", "two/one"):
        (tmp_path / name).mkdir(parents=True)
    one, other = f"{tmp_path}/one", f"{tmp_path}/two/one"
    assert list(_labels([one, f"same:a@{one}", "same@hub/name"]).values()) == ["one", "same:a@one", "same@hub/name"]
    assert list(_labels([one, other]).values()) == [one, other]  # unless the names would be equal
    (tmp_path / "reference").mkdir()
    reserved = str(tmp_path / "reference")
    assert list(_labels([reserved]).values()) == [reserved]  # the name of the originals in the report
    assert run.LISTEN == 3
