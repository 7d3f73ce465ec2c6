"""Test silk score: reconstructions are matched by name, with any sample rate, length and delay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, AudioError
from silkcodec.evaluate import report
from silkcodec.evaluate.run import RunOptions
from silkcodec.evaluate.score import score
from speechlike import speechlike

RATE = 24_000
METRICS = ["si_sdr_db", "mel_distance", "level_db"]


@pytest.fixture
def references(tmp_path: Path) -> Path:
    for seed, name in enumerate(("ann/1", "ann/2", "bob/1")):
        audio.write(tmp_path / f"speech/{name}.flac", speechlike(1.0 + seed / 2, seed=seed), RATE)
    return tmp_path / "speech"


def remade(references: Path, name: str, change: Any, *, rate: int = RATE, suffix: str = ".wav") -> Path:
    folder = references.parent / name
    for file in references.rglob("*.flac"):
        wave = change(audio.read(file))
        target = folder / file.relative_to(references).with_suffix(suffix)
        audio.write(target, audio.as_wave(wave, RATE, rate), rate, subtype="FLOAT" if suffix == ".wav" else None)
    return folder


def measure(references: Path, *degraded: Any, folder: Path | None = None, **options: Any) -> dict[str, Any]:
    given = RunOptions(**{"metric_names": METRICS, **options})
    return score(references, [str(path) for path in degraded], folder, given, isolate=False)


def test_systems_are_compared_on_the_same_clips(references: Path, tmp_path: Path) -> None:
    half = remade(references, "half", lambda wave: 0.5 * wave)
    noisy = remade(references, "noisy", lambda wave: wave + 0.01 * np.random.default_rng(0).normal(size=len(wave)))
    result = measure(references, half, f"hissing={noisy}", folder=tmp_path / "out")
    assert (result["kind"], result["format"], result["settings"]["codecs"]) == ("silk score", 2, ["half", "hissing"])
    assert result["means"]["half"]["level_db"]["mean"] == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert result["means"]["half"]["si_sdr_db"]["mean"] > 60 > 20 > result["means"]["hissing"]["si_sdr_db"]["mean"]
    assert result["differences"]["minus"]["hissing"]["si_sdr_db"]["low"] > 0
    assert not {"tokens_per_second", "encode_times_real_time", "codebooks"} & set(result["codecs"]["half"])
    assert report.load_result(tmp_path / "out/results.json") == result
    assert {path.name for path in tmp_path.glob("out/*")} >= {"report.html", "report.md", "results.json", "audio"}
    assert (tmp_path / "out/audio/ann/1.flac/hissing.flac").exists()


def test_rates_lengths_and_delays_may_differ(references: Path) -> None:
    late = remade(references, "late", lambda wave: np.pad(wave, (480, 720)), rate=44_100, suffix=".ogg")
    exact = remade(references, "exact", lambda wave: np.pad(wave, (480, 0)))
    result = measure(references, late, exact)
    codec = result["codecs"]["late"]
    assert codec["delay_ms_largest"] == pytest.approx(20, abs=0.1)
    assert codec["length_error_samples_largest"] == pytest.approx(1200, abs=1)
    assert result["codecs"]["exact"]["delay_ms_largest"] == 20.0
    assert result["means"]["exact"]["mel_distance"]["mean"] == pytest.approx(0, abs=1e-6)
    assert "| exact | 20.0 | 480 |" in report.to_markdown(result)


def test_a_flat_folder_matches_by_name_alone(tmp_path: Path, references: Path) -> None:
    (references / "bob/1.flac").rename(references / "bob/3.flac")
    for name in ("ann/1", "ann/2", "bob/3"):
        audio.write(tmp_path / f"flat/{Path(name).name}.wav", audio.read(references / f"{name}.flac"), RATE)
    assert measure(references, tmp_path / "flat")["means"]["flat"]["level_db"]["n"] == 3


def test_single_files_need_no_equal_names(references: Path, tmp_path: Path) -> None:
    half = remade(references, "half", lambda wave: 0.5 * wave)
    result = measure(references / "ann/1.flac", f"half={half / 'ann/1.wav'}")
    assert result["clips"]["n"] == 1
    assert result["means"]["half"]["level_db"]["mean"] == pytest.approx(-6.02, abs=0.01)


def test_columns_of_a_manifest_are_used(references: Path) -> None:
    half = remade(references, "half", lambda wave: 0.5 * wave)
    (references / "INDEX.csv").write_text("path,speaker\nann/1.flac,ann\nbob/1.flac,bob\n")
    groups = measure(references / "INDEX.csv", half, by=["speaker"])["groups"]
    assert {name: group["n_clips"] for name, group in groups["speaker"].items()} == {"ann": 1, "bob": 1}


def test_a_filter_selects_clips_like_a_split(references: Path) -> None:
    folder = remade(references, "out", lambda wave: wave)
    (references / "INDEX.csv").write_text("path,split\nann/1.flac,test\nann/2.flac,train\nbob/1.flac,test\n")
    by_split = measure(references / "INDEX.csv", folder, split="test")
    for reference in (f"{references}/INDEX.csv:split=test", f"{references / 'INDEX.csv'}:split=t*t"):
        assert measure(Path(reference), folder)["means"] == by_split["means"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ("less", ArgumentError, "must have a counterpart in .*; missing: bob/1"),
        ("more", ArgumentError, "must have a counterpart in .*; missing: ann/4"),
        ("twice", ArgumentError, "different suffixes"),
        ("empty", AudioError, "no audio files"),
        ("absent", AudioError, "not found: 'nowhere'"),
        ("names", ArgumentError, "different names"),
        ("file", ArgumentError, "is a file"),
    ],
)
def test_unmatched_files_are_refused(
    references: Path, tmp_path: Path, change: str, error: type[Exception], says: str
) -> None:
    folder = remade(references, "out", lambda wave: wave)
    given = [str(folder)]
    if change == "less":
        (folder / "bob/1.wav").unlink()
    elif change == "more":
        audio.write(folder / "ann/4.wav", speechlike(0.5), RATE)
    elif change == "twice":
        audio.write(folder / "ann/1.ogg", speechlike(0.5), RATE)
    elif change == "empty":
        (tmp_path / "empty").mkdir()
        given = [str(tmp_path / "empty")]
    elif change == "absent":
        given = ["x=nowhere"]
    elif change == "names":
        given *= 2
    else:
        given = [str(folder / "ann/1.wav")]
    with pytest.raises(error, match=says):
        measure(references, *given)


def test_unreadable_outputs_are_reported(references: Path) -> None:
    folder = remade(references, "out", lambda wave: wave)
    (folder / "ann/1.wav").write_text("no audio")
    audio.write(folder / "ann/2.wav", speechlike(1.0) * 0, RATE, overwrite=True)
    result = measure(references, folder)
    assert result["codecs"]["out"]["n_failed"] == 1
    assert result["means"]["out"]["si_sdr_db"]["low"] == -100.0  # silence is scored
    assert any("out failed on 1 of 3 clips" in sentence for sentence in report.failures(result))


def test_only_changed_files_are_measured_again(references: Path, tmp_path: Path) -> None:
    folder = remade(references, "made", lambda wave: wave)
    measure(references, folder, folder=tmp_path / "scores", listen=0)
    audio.write(folder / "ann/1.wav", 0.5 * audio.read(references / "ann/1.flac"), RATE, overwrite=True)
    result = measure(references, folder, folder=tmp_path / "scores", listen=0, overwrite=True)
    clips = [json.loads(line)["clip"] for line in (tmp_path / "scores/rows.jsonl").read_text().splitlines()]
    assert clips == ["ann/1.flac", "ann/2.flac", "bob/1.flac", "ann/1.flac"]
    assert result["means"]["made"]["level_db"]["low"] < -5


def test_equal_files_keep_the_names_of_their_systems(references: Path, tmp_path: Path) -> None:
    one = remade(references, "one", lambda wave: 0.5 * wave)
    other = remade(references, "other", lambda wave: 0.5 * wave)
    first = measure(references, f"a={one}", f"b={other}", folder=tmp_path / "run")
    again = measure(references, f"a={one}", f"b={other}", folder=tmp_path / "run", overwrite=True)
    assert again["means"] == first["means"] and set(first["means"]) == {"a", "b"}
    renamed = measure(references, f"ours={one}", folder=tmp_path / "run", overwrite=True)
    assert renamed["means"]["ours"] == first["means"]["a"]
    with pytest.raises(ArgumentError, match="The name 'reference' is reserved"):
        measure(references, f"reference={one}")


def test_without_jinja_there_is_no_html_report(
    references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = remade(references, "half", lambda wave: 0.5 * wave)
    for module in ("silkcodec.evaluate.run", "silkcodec.cli.console"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    words = ["score", str(references), f"half={folder}", "-o", str(tmp_path / "out"), "--metrics", "level_db"]
    result = CliRunner().invoke(app, [*words, "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "report.html" not in result.stdout and "jinja2" in result.stderr
    assert {path.name for path in tmp_path.glob("out/*.*")} == {"report.md", "results.json", "rows.jsonl"}


def test_the_command(references: Path, tmp_path: Path) -> None:
    folder = remade(references, "half", lambda wave: 0.5 * wave)
    words = ["score", str(references), f"half={folder}", "-o", str(tmp_path / "out"), "--metrics", "level_db"]
    result = CliRunner().invoke(app, [*words, "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "half" in result.stdout and "-6.0" in result.stdout and "report.html" in result.stdout
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2 and "--force" in again.stderr
