"""Test common formats of speech datasets. Bad rows must be quarantined, and nothing may be skipped silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_corpus_sources import found, rows, tar, tokens_of

import corpuscodecs
from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.corpus import sources
from silkcodec.corpus.items import Item, Refused
from silkcodec.errors import ArgumentError, AudioError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return corpuscodecs.clips(tmp_path / "in", 3)


def test_one_bad_row_is_quarantined(tmp_path: Path, clips: Path) -> None:
    long = json.dumps({"path": "in/clip000.wav", "id": "long", "text": "x" * 200_000})
    lines = ['{"audio_filepath": "in/clip000.wav"}', '{"text": "no path"}', "[1]", long, '{"path": "in/clip001.wav"}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    made, refused = rows(tmp_path / "out", tmp_path / "m.jsonl")
    assert [row.id for row in made] == ["in/clip000", "in/clip001"]
    assert refused == {"line 2": "row", "line 3": "row", "long": "row"}
    (tmp_path / "m.csv").write_text("path,text\nin/clip000.wav,a\n,b\nin/clip001.wav," + "x" * 140_000 + "\n")
    made, refused = rows(tmp_path / "out2", tmp_path / "m.csv")
    assert [row.id for row in made] == ["in/clip000"] and refused == {"line 3": "row", "line 4": "row"}


def test_common_voice(tmp_path: Path, clips: Path) -> None:
    """Check a table whose paths are relative to a folder next to it."""
    table = tmp_path / "cv" / "train.tsv"
    table.parent.mkdir()
    table.write_text("client_id\tpath\tsentence\nann\tclip000.wav\tso\nbob\t../secret.wav\tno\n")
    dialect = manifest.Dialect((("text", "sentence"),))
    items = list(sources.items(sources.roots([table], below=clips, dialect=dialect), False))
    assert isinstance(items[0], Item) and (items[0].path, items[0].root) == ("clip000.wav", 0)
    assert json.loads(items[0].meta or "") == {"client_id": "ann", "text": "so"}
    assert isinstance(items[1], Refused) and items[1].reason == "outside"
    with pytest.raises(ArgumentError, match="require a manifest"):
        sources.roots([clips], below=clips)
    with pytest.raises(AudioError, match="--root must be a folder"):
        sources.roots([table], below=tmp_path / "nowhere")


def test_options_of_the_command(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from silkcodec.cli import app

    corpuscodecs.install(tmp_path / "plugin", monkeypatch)
    (tmp_path / "m.csv").write_text("file;satz\nclip000.wav;a\n")
    command = ["tokenize", str(tmp_path / "m.csv"), "-o", str(tmp_path / "out"), "--codec", "peaks", "--workers", "1"]
    command += ["--root", str(clips), "--separator", ";", "--column", "path=file", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and json.loads(result.stdout)["rows"] == 1, result.output
    result = CliRunner().invoke(app, [*command, "--column", "path"])
    assert result.exit_code == 2 and "--column must be NAME=COLUMN" in result.stderr


def test_kaldi(tmp_path: Path, clips: Path) -> None:
    (tmp_path / "wav.scp").write_text("one in/clip000.wav\ntwo sph2pipe -f wav in/x.sph |\n")
    made, refused = rows(tmp_path / "out", tmp_path / "wav.scp")
    assert [row.id for row in made] == ["one"] and refused == {"line 2": "row"}


def test_audio_folder(tmp_path: Path, clips: Path) -> None:
    corpuscodecs.clips(clips / "b", 1)
    (clips / "metadata.csv").write_text("file_name,text\nclip000.wav,eins\nb/clip000.wav,zwei\ngone.wav,drei\n,vier\n")
    made, refused = rows(tmp_path / "out", clips)
    assert [(row.id, row.meta.get("text")) for row in made] == [
        ("b/clip000", "zwei"), ("clip000", "eins"), ("clip001", None), ("clip002", None)
    ]  # fmt: skip
    assert refused == {"metadata.csv, line 4": "missing", "metadata.csv, line 5": "row"}
    (clips / "metadata.csv").write_text("LJ001-0001|Printing, in the only sense|x\n")
    assert len(found(clips)) == 4, "a file with that name can belong to something else"
    (clips / "metadata.csv").unlink()
    (tmp_path / "secret.csv").write_text("file_name,text\nclip000.wav,secret\n")
    (clips / "metadata.csv").symlink_to(tmp_path / "secret.csv")
    items = found(clips)
    assert "secret" not in repr(items[:-1]) and getattr(items[-1], "reason", "") == "outside"


def test_parquet_of_the_hub(tmp_path: Path, clips: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs [corpus]")
    from pyarrow import parquet

    sounds: list[Any] = [{"bytes": (clips / f"clip00{i}.wav").read_bytes(), "path": f"{i}.wav"} for i in range(3)]
    sounds.append({"bytes": None, "path": "clip001.wav"})
    table = pyarrow.table({"audio": sounds, "text": ["a", "b", "c", "d"]})
    parquet.write_table(table, clips / "train-00000-of-00001.parquet", row_group_size=2)
    parquet.write_table(pyarrow.table({"text": ["no sound"]}), clips / "words.parquet")
    made, refused = rows(tmp_path / "out", clips / "train-00000-of-00001.parquet")
    assert refused == {"train-00000-of-00001-00000003": "row"}, "a row without bytes is quarantined"
    assert [row.meta["text"] for row in made] == ["a", "b", "c"]
    assert [row.tokens for row in made] == [tokens_of(clips / f"clip00{i}.wav") for i in range(3)]
    assert made[2].path == "train-00000-of-00001.parquet#2" and made[2].id == "train-00000-of-00001-00000002"
    assert len(found(clips)) == 7, "a folder can contain Parquet files"
    with pytest.raises(ArgumentError, match="must have an Audio column"):
        found(clips / "words.parquet")
    (clips / "words.parquet").write_bytes(b"PAR1" + b"x" * 100)
    assert [getattr(item, "reason", "used") for item in found(clips)] == ["used"] * 7 + ["unreadable"]


def test_lhotse_recordings_and_resampled_cuts(tmp_path: Path, clips: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="a development requirement")
    recording = lhotse.Recording.from_file(clips / "clip000.wav")
    lhotse.RecordingSet.from_recordings([recording]).to_file(tmp_path / "recordings.jsonl.gz")
    made, refused = rows(tmp_path / "out", tmp_path / "recordings.jsonl.gz")
    assert refused == {} and [row.tokens for row in made] == [tokens_of(clips / "clip000.wav")]
    cuts = [recording.to_cut().resample(16_000).with_id("resampled"), recording.perturb_volume(2.0).to_cut()]
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    made, refused = rows(tmp_path / "out2", tmp_path / "cuts.jsonl")
    assert [row.id for row in made] == ["resampled"] and set(refused.values()) == {"row"}
    assert made[0].tokens == tokens_of(clips / "clip000.wav")


def test_files_that_need_ffmpeg_are_not_skipped_silently(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from silkcodec.audio import ffmpeg

    monkeypatch.setattr(ffmpeg, "command", lambda: None)
    head = b"\0\0\0\x18ftypM4A " + bytes(200)
    for suffix in (".m4a", ".webm", ".wma", ".amr"):
        (clips / f"x{suffix}").write_bytes(head)
    tar(clips / "y.tar", {"a.m4a": head, "b.wav": (clips / "clip000.wav").read_bytes()})
    _, refused = rows(tmp_path / "out", clips)
    assert set(refused.values()) == {"unreadable"} and set(refused) == {"x", "x~2", "x~3", "x~4", "a"}


def test_nist_and_rf64_files(tmp_path: Path, clips: Path) -> None:
    import soundfile

    wave = audio.read(clips / "clip000.wav")
    soundfile.write(clips / "a.sph", wave, 24_000, format="NIST", subtype="PCM_16")
    soundfile.write(clips / "b.rf64", wave, 24_000, format="RF64", subtype="PCM_16")
    made, refused = rows(tmp_path / "out", clips)
    assert refused == {} and [row.path for row in made][:2] == ["a.sph", "b.rf64"]
    assert [row.tokens for row in made[:2]] == [tokens_of(clips / "clip000.wav")] * 2
