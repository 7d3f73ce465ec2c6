"""Test that a flipped bit in a shard either raises an error or does not change any value."""

from __future__ import annotations

import json
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import corpuscodecs
from silkcodec.cli import app
from silkcodec.corpus import Options, check, read, tokenize
from silkcodec.corpus.detokenizing import detokenize
from silkcodec.corpus.plan import Facts
from silkcodec.corpus.rows import SUFFIXES, WRITERS, checksum, sealed
from silkcodec.errors import ArgumentError, OutputError
from silkcodec.tokens import Tokens

pytest.importorskip("pyarrow", reason="needs [corpus]")
OPTIONS = Options("peaks", workers=1, shard_items=1)
FACTS = Facts("made-up@0123456789ab", 24_000, (2_097_152, 64), (2.5, 2.5), True)


def shard(folder: Path, file_format: str, n_rows: int = 6) -> Path:
    """Write a corpus with one shard, and return the path of the shard."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    path = folder / f"tokens-00000-of-00001{SUFFIXES[file_format]}"
    with open(path, "wb") as file:
        writer = WRITERS[file_format](file, FACTS)
        for i in range(n_rows):
            codes = tuple(rng.integers(0, size, 4 + i) for size in FACTS.codebook_sizes)
            tokens = Tokens(codes, FACTS.codebook_sizes, FACTS.frame_rates, 24_000, 9_600 * (4 + i) - i, FACTS.codec)
            writer.add(sealed(f"a/{i}", f"a/{i}.flac", i / 3, tokens, {"text": f"word {i}"} if i % 2 else {}))
        writer.close()
    return path


def seen(folder: Path) -> list[Any]:
    return [(row.id, row.path, row.start, row.tokens, json.dumps(dict(row.meta))) for row in read(folder)]


def flips(path: Path, n: int, seed: int = 1) -> dict[str, int]:
    """Flip n bits, one at a time, and count the outcomes of reading the shard."""
    whole, draw = path.read_bytes(), random.Random(seed)
    good = seen(path.parent)
    counts = {"error": 0, "same": 0, "silent": 0}
    for _ in range(n):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            counts["same" if seen(path.parent) == good else "silent"] += 1
        except ArgumentError:
            counts["error"] += 1
    path.write_bytes(whole)
    return counts


@pytest.mark.parametrize("file_format", SUFFIXES)
def test_every_flipped_bit_is_detected(tmp_path: Path, file_format: str) -> None:
    counts = flips(shard(tmp_path / "c", file_format), 250)
    assert counts["silent"] == 0 and counts["error"] > 60


def test_the_checksum_covers_every_field() -> None:
    tokens = Tokens((np.arange(4), np.arange(4)), FACTS.codebook_sizes, FACTS.frame_rates, 24_000, 38_400, FACTS.codec)
    row = sealed("a", "a.flac", 0.5, tokens, {"text": "x"})
    others = [replace(row, id="b"), replace(row, path="b.flac"), replace(row, start=0.25), replace(row, meta={})]
    changed: list[dict[str, Any]] = [{"codec": "other@0"}, {"sample_rate": 16_000}, {"n_samples": 38_399}]
    changed += [{"frame_rates": (5.0, 5.0)}, {"codebook_sizes": (2_097_152, 128)}]
    changed += [{"codes": (np.arange(4), np.array([0, 1, 2, 4]))}]
    for fields in changed:
        same = {"codes": tokens.codes, "codebook_sizes": tokens.codebook_sizes, "frame_rates": tokens.frame_rates}
        same |= {"sample_rate": 24_000, "n_samples": 38_400, "codec": tokens.codec}
        others.append(replace(row, tokens=Tokens(**{**same, **fields})))
    assert len({checksum(other) for other in [row, *others]}) == 1 + len(others)


def test_a_sparse_member_of_a_shard_is_refused(tmp_path: Path) -> None:
    file = shard(tmp_path / "c", "webdataset")
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("000000.json")
        member.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(member)
    with pytest.raises(ArgumentError, match="is not a regular file"):
        list(read(tmp_path / "c"))


def test_shards_of_another_format_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from silkcodec.corpus import rows

    with monkeypatch.context() as patch:
        patch.setattr(rows, "FORMAT", 1)
        files = [shard(tmp_path / kind, kind) for kind in SUFFIXES]
    for file in files:
        with pytest.raises(ArgumentError, match="its format version must be 2; got 1"):
            list(read(file.parent))


@pytest.fixture
def made(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a corpus with three shards, and its input."""
    corpuscodecs.install(tmp_path_factory.mktemp("plugin"), monkeypatch)
    corpuscodecs.clips(tmp_path / "in", 3)
    tokenize([tmp_path / "in"], tmp_path / "out", OPTIONS)
    return tmp_path


def test_check_and_resumption_find_a_damaged_shard(made: Path) -> None:
    out = made / "out"
    assert check(out) == {"shards": 3, "rows": 3, "problems": []}
    result = CliRunner().invoke(app, ["tokenize", "--check", "-o", str(out)])
    assert result.exit_code == 0 and "3 rows in 3 complete shards" in result.stdout
    path = out / "tokens-00001-of-00003.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    (out / "tokens-00002-of-00003.parquet").unlink()
    result = CliRunner().invoke(app, ["tokenize", "--check", "-o", str(out)])
    assert result.exit_code == 2 and "2 of 3" in result.stderr
    assert "tokens-00001-of-00003.parquet: its SHA-256" in result.stdout
    assert tokenize([made / "in"], out, OPTIONS)["this_run"]["shards"] == 2
    assert path.read_bytes() == whole and not check(out)["problems"]


def test_a_recording_that_is_replaced_during_a_run_is_detected(made: Path) -> None:
    def replace_last(begun: int, total: int, text: str) -> None:
        if begun == 1:
            corpuscodecs.clips(made / "in2", 3)
            os.replace(made / "in2" / "clip001.wav", made / "in" / "clip002.wav")

    report = tokenize([made / "in"], made / "again", OPTIONS, progress=replace_last)
    assert report["quarantined_by_reason"] == {"changed": 1} and report["rows"] == 2
    for out in ("out", "again"):
        with pytest.raises(OutputError, match=r"the first changed recording is 'clip002\.wav'"):
            tokenize([made / "in"], made / out, OPTIONS)


def test_a_corpus_does_not_decide_which_code_is_loaded(made: Path) -> None:
    plan = made / "out" / "plan.json"
    header = json.loads(plan.read_text())
    for load in ("./weights", "mimi:8@someone/else", "//server/share", "snac:24k@x", "silk\n", "peaks"):
        plan.write_text(json.dumps({**header, "load": load}))
        with pytest.raises(ArgumentError, match="pass it with --codec"):
            detokenize(made / "out", made / "x.wav", numbers=[0])
    assert detokenize(made / "out", made / "x.wav", numbers=[0], codec="peaks")
