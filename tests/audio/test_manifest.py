"""Test that all kinds of manifests give the same rows, and that damaged manifests give one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silkcodec.audio import manifest
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


def test_a_separator_requires_a_table(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "a"}\n')
    with pytest.raises(ArgumentError, match=r"--separator requires a \.csv or \.tsv manifest"):
        list(manifest.records(tmp_path / "m.jsonl", manifest.Dialect(separator=";")))


def test_values_are_text_and_empty_values_are_omitted(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "a", "duration": 1.5, "tags": ["x"], "note": null, "more": ""}\n\n')
    assert manifest.read(tmp_path / "m.jsonl") == [{"path": "a", "duration": "1.5", "tags": '["x"]'}]
    (tmp_path / "m.tsv").write_text("path\tnote\tspeaker\na\t\tann\t\nb\n")
    assert manifest.read(tmp_path / "m.tsv") == [{"path": "a", "speaker": "ann"}, {"path": "b"}]


HOSTILE = {
    "empty.tsv": (b"", "must have at least one row"),
    "header.csv": (b"path,text\n", "must have at least one row"),
    "comma.csv": (b"path,text\na.wav,hello, world\n", "must have at most 2 values; got 3"),
    "twice.csv": (b"path,text,text\na.wav,hello,world\n", "more than one column 'text'"),
    "control.csv": (b"path,\x01,\x01\na.wav,x,y\n", r"more than one column '\\x01'"),
    "column.tsv": (b"file\ttext\na\tb\n", "must have a column named path or audio_filepath"),
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


def good_and_bad(file: Path, dialect: manifest.Dialect = manifest.USUAL) -> list[str]:
    return [
        "bad" if isinstance(row, ArgumentError) else str(row.get("path")) for _, row in manifest.records(file, dialect)
    ]


BAD_LINES = {
    "wide.csv": b"path,text\na,x\nb," + b"y" * 131_073 + b"\nc,z\n",
    "quotes.csv": b'path,text\na,x\nb,"y" z\nc,z\n',
    "wide.tsv": b"path\ttext\na\tx\nb\t" + b"y" * 131_073 + b"\nc\tz\n",
    "list.jsonl": b'{"path": "a"}\n["b"]\n{"path": "c"}\n',
    "torn.jsonl": b'{"path": "a"}\n{"path":\n{"path": "c"}\n',
    "long.jsonl": b'{"path": "a"}\n"' + b"x" * (1 << 24) + b'"\n{"path": "c"}\n',
    "long.tsv": b"path\ttext\na\tx\n" + b"\t" * (1 << 24) + b"\nc\tz\n",
    "wav.scp": b"1 a\n2 sph2pipe x.sph |\n3 c\n",
    "ark.scp": b"1\ta\n2\tx.ark:57\n3\tc\n",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_does_not_affect_other_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_LINES[name])
    assert good_and_bad(tmp_path / name) == ["a", "bad", "c"]


def test_an_unclosed_quote_does_not_hide_rows(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path,text\na,x\nb,"y\nc,z\nd,z\n')
    *_, (line, problem) = manifest.records(tmp_path / "m.csv")
    assert line == 3 and "lines 3 to 5" in str(problem)


def test_other_columns_separators_and_encodings(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("wav_filename;transcript;path\n\xfc.wav;so, so;9\n".encode("latin-1"))
    dialect = manifest.Dialect((("path", "wav_filename"), ("text", "transcript")), ";", "latin-1")
    ((_, row),) = manifest.records(tmp_path / "m.csv", dialect)
    assert row == {"path": "\xfc.wav", "text": "so, so"}
    (tmp_path / "u.tsv").write_bytes("path\ttext\na\tb\n".encode("utf-16"))
    assert good_and_bad(tmp_path / "u.tsv", manifest.Dialect(encoding="utf-16")) == ["a"]
    for wrong in ({"encoding": "klingon"}, {"encoding": "hex"}, {"separator": ";;"}, {"separator": ""}):
        with pytest.raises(ArgumentError, match=r"The (encoding|separator) must be"):
            manifest.Dialect(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="--encoding"):
        list(manifest.records(tmp_path / "u.tsv"))
    with pytest.raises(ArgumentError, match="must have a 'file' column;"):
        list(manifest.records(tmp_path / "m.csv", manifest.Dialect((("path", "file"),), ";", "latin-1")))
