"""Test that the commands in docs/corpus.md run and that rows are read as they were written."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import corpuscodecs
from repository import DOCS
from silkcodec import audio
from silkcodec.cli import app
from silkcodec.corpus import items, read
from silkcodec.corpus.plan import Facts
from silkcodec.corpus.rows import ParquetWriter, Row, schema, sealed
from silkcodec.errors import ArgumentError
from silkcodec.tokens import Tokens

pytest.importorskip("pyarrow", reason="needs [corpus]")
PAGE = (DOCS / "corpus.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the commands on the page in a folder with three clips in `speech`, and return the folder."""
    folder = tmp_path_factory.mktemp("page")
    corpuscodecs.clips(folder / "speech", 3)
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in block.splitlines():
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            assert result.exit_code == 0, (line, result.output, result.exception)
    assert len(audio.read(folder / "clip000.wav")) == 12_000
    assert len(list((folder / "listen").glob("*.wav"))) == 2
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("library", ["for row in corpus.read", "torch.utils", "datasets", "webdataset", "Options"])
def test_the_snippets_of_the_page_run(
    folder: Path, library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if library in ("torch.utils", "datasets", "webdataset"):
        pytest.importorskip(library.split(".")[0], reason="a development requirement")
    (snippet,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S) if library in code]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/corpus.md", "exec"), names)
    rows = list(read("out", verify=True))
    if library == "torch.utils":
        got = [row for batch in names["loader"] for row in batch]
        assert sorted(row.id for row in got) == ["clip000", "clip001", "clip002"]
        assert all(row.tokens == next(r for r in rows if r.id == row.id).tokens for row in got)
    if library == "datasets":
        assert names["rows"].column_names == list(schema_of(rows[0]).names) and len(names["rows"]) == 3
        assert np.array_equal(np.asarray(names["codes"]), np.stack(rows[0].tokens.codes))
    if library == "webdataset":
        assert np.array_equal(names["codes"], np.stack(rows[-1].tokens.codes))
        assert names["sample"]["json"]["id"] == "clip002"
    if library.startswith("for row"):
        assert "clip000 Tokens('silk@" in capsys.readouterr().out
    if library == "Options":
        assert names["report"]["rows"] == 3


def schema_of(row: Row) -> Any:
    tokens = row.tokens
    return schema(Facts(tokens.codec, tokens.sample_rate, tokens.codebook_sizes, tokens.frame_rates, True))


def test_the_page_lists_the_schema_and_the_reasons(folder: Path) -> None:
    table = PAGE.partition("<!-- schema -->")[2].partition("<!-- /schema -->")[0]
    told = re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.M)
    found = schema_of(next(iter(read(folder / "out"))))
    assert told == [(field.name, str(field.type).replace("element: ", "").replace("item: ", "")) for field in found]
    table = PAGE.partition("<!-- reasons -->")[2].partition("<!-- /reasons -->")[0]
    assert dict(re.findall(r"^\| `([\w ]+)` \| (.*) \|$", table, re.M)) == items.REASONS


def rows_of(n: int) -> tuple[Facts, list[Row]]:
    rng = np.random.default_rng(0)
    facts = Facts("big@0123456789ab", 48_000, (2**31, 2**40), (10.0, 5.0), False)
    rows = []
    for i in range(n):
        codes = tuple(rng.integers(0, size, k) for size, k in zip(facts.codebook_sizes, (4 + i % 3, 2), strict=True))
        tokens = Tokens(codes, facts.codebook_sizes, facts.frame_rates, 48_000, 9_600 + i, facts.codec)
        rows.append(sealed(f"r{i}", f"{i}.wav", i / 7, tokens, {"text": f"ü {i}"} if i % 2 else {}))
    return facts, rows


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    facts, rows = rows_of(1_100)
    for shard, part in enumerate((rows[:1_050], rows[1_050:])):
        with open(tmp_path / f"tokens-{shard:05d}-of-00002.parquet", "wb") as file:
            writer = ParquetWriter(file, facts)
            for row in part:
                writer.add(row)
            writer.close()
    corpus = read(tmp_path, verify=True)
    assert list(corpus) == rows and len(corpus) == 1_100
    assert [corpus[i].id for i in (0, 511, 512, 1_049, 1_050, -1)] == ["r0", "r511", "r512", "r1049", "r1050", "r1099"]
    assert list(corpus.find(["r1099", "r3"])) == ["r1099", "r3"]
    halves = [row.id for part in (0, 1) for row in read(tmp_path, part=part, parts=2)]
    assert halves == [row.id for row in rows]
    for number in (1_100, -1_101):
        with pytest.raises(IndexError, match=f"between -1100 and 1099; got {number}"):
            corpus[number]
    with pytest.raises(ArgumentError, match="part must be between 0 and 1 for 2 parts"):
        read(tmp_path, part=2, parts=2)


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    facts, rows = rows_of(3)
    tokens = rows[1].tokens
    rows[1] = Row("r1", "1.wav", 0.0, tokens, {}, "0" * 16)
    path = tmp_path / "tokens-00000-of-00001.parquet"
    with open(path, "wb") as file:
        writer = ParquetWriter(file, facts)
        for row in rows:
            writer.add(row)
        writer.close()
    assert len(list(read(tmp_path, verify=False))) == 3
    with pytest.raises(ArgumentError, match=r"'r1' .* is damaged: its checksum is wrong"):
        list(read(tmp_path))
    whole = path.read_bytes()
    for content in (b"", whole[:-20], hashlib.sha256().digest() * 50):
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match="as a Parquet shard"):
            list(read(tmp_path))
    path.rename(tmp_path / "tokens-00000-of-00001.tar")
    with pytest.raises(ArgumentError, match="as a tar shard"):
        list(read(tmp_path))
