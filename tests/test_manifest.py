"""Manifests of every kind give the same rows, and a damaged one is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silkcodec import manifest
from silkcodec.cli import app
from silkcodec.errors import ArgumentError

ROWS = [
    {"path": "a.wav", "speaker": "ann", "text": 'she said "so", twice'},
    {"path": "b/ü.wav", "speaker": "bob", "text": "it's 5, not 6"},
]


def write(folder: Path, name: str) -> Path:
    file = folder / name
    if file.suffix == ".tsv":
        lines = ["\t".join(ROWS[0]), *("\t".join(row.values()) for row in ROWS)]
    elif file.suffix == ".csv":
        quoted = [['"' + value.replace('"', '""') + '"' for value in row.values()] for row in ROWS]
        lines = [",".join(ROWS[0]), *(",".join(row) for row in quoted)]
    else:
        lines = [json.dumps({"audio_filepath": row["path"], **row, "path": None}) for row in ROWS]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if file.suffix == ".csv" else "utf-8")
    return file


@pytest.mark.parametrize("name", ["INDEX.tsv", "list.csv", "list.jsonl", "list.JSON"])
def test_every_kind_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    assert manifest.read(write(tmp_path, name)) == ROWS
    assert manifest.is_manifest(name) and not manifest.is_manifest("speech.wav")


def test_values_are_text_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "a", "duration": 1.5, "tags": ["x"], "note": null, "more": ""}\n\n')
    assert manifest.read(tmp_path / "m.jsonl") == [{"path": "a", "duration": "1.5", "tags": '["x"]'}]
    (tmp_path / "m.tsv").write_text("path\tnote\tspeaker\na\t\tann\tsurplus\nb\n")
    assert manifest.read(tmp_path / "m.tsv") == [{"path": "a", "speaker": "ann"}, {"path": "b"}]


HOSTILE = {
    "empty.tsv": (b"", "must have rows"),
    "header.csv": (b"path,text\n", "must have rows"),
    "column.tsv": (b"file\ttext\na\tb\n", "must have a column path or audio_filepath"),
    "hole.csv": (b"path,text\na.wav,x\n,y\n", "Line 3"),
    "bad.jsonl": (b'{"path": "a.wav"}\n{"path": \n', "Line 2"),
    "list.json": (b'["a.wav"]', "must be a JSON object"),
    "deep.jsonl": (b"[" * 100_000, "must be a JSON object"),
    "latin.csv": (b"path\n\xfc.wav\n", "UTF-8"),
    "binary.tsv": (bytes(range(256)) * 8, "manifest"),
    "huge.csv": (b"path\n" + b"x" * 200_000, "field larger"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, says = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArgumentError, match=says):
        manifest.read(tmp_path / name)


def test_the_command_refuses_them_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").write_text('{"path": "gone.wav"}\n')
    (tmp_path / "bad.jsonl").write_text("no JSON\n")
    (tmp_path / "text.wav").write_text("no audio\n")
    (tmp_path / "empty").mkdir()
    for name in ("gone.jsonl", "bad.jsonl", "text.wav", "empty", "nowhere.tsv"):
        result = CliRunner().invoke(app, ["compare", str(tmp_path / name), "-o", str(tmp_path / "out")])
        assert result.exit_code == 2 and result.stderr.count("\n") == 1 and name in result.stderr, name
        assert result.stderr.startswith("silk: ") and not (tmp_path / "out").exists()
