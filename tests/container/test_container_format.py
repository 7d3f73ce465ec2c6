"""Test that files match docs/format.md, and that the bytes do not change between machines and versions."""

from __future__ import annotations

import io
import re
import sys
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from repository import DOCS
from silkcodec import container
from silkcodec.container import payload
from silkcodec.errors import MissingExtraError
from silkcodec.tokens import Tokens
from silkfiles import (
    CODEC,
    from_bytes,
    to_bytes,
    tokens_of,
)

FORMAT = DOCS / "format.md"


# docs/format.md


def fields_of(section: str) -> list[tuple[str, str, str]]:
    """Return the rows (bytes, type, field) of the table in a section."""
    text = FORMAT.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \|", text, re.MULTILINE)
    return [row for row in rows if row != ("bytes", "type", "field")]


def parse(file: BinaryIO, fields: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Read a record as described by a table in docs/format.md."""
    got: dict[str, Any] = {}
    for n, kind, name in fields:
        data = file.read(int(n) if n.isdigit() else got[n])
        assert kind == "bytes" or int(kind[1:]) == 8 * len(data)
        got[name] = data if kind == "bytes" else int.from_bytes(data, "little")
    return got


def range_decode(data: bytes, n_frames: int) -> list[list[int]]:
    """Decode with the algorithm in docs/format.md, which uses only integers."""
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    more = iter([*words, *[0] * (128 * n_frames + 2)])
    seen, shared = [[1] * 8 for _ in range(128)], [16] * 8
    low, size, point = 0, 2**64 - 1, (next(more) << 32) + next(more)
    frames = []
    for f in range(n_frames):
        frame = []
        for d in range(128):
            mixed = [seen[d][s] * sum(shared) + 48 * shared[s] for s in range(8)]
            table = [1 + m * (2**24 - 8) // sum(mixed) for m in mixed]
            table[7] += 2**24 - sum(table)
            scale = size // 2**24
            q = (point - low) % 2**64 // scale
            s = next(s for s in range(8) if q < sum(table[: s + 1]))
            low, size = (low + scale * sum(table[:s])) % 2**64, scale * table[s]
            if size < 2**32:
                low, size, point = (low << 32) % 2**64, size << 32, (point << 32) % 2**64 + next(more)
            frame.append(s)
        for d, s in enumerate(frame):
            seen[d][s] += 3
            shared[s] += 1
            for neighbor in {s - 1, s + 1} & set(range(8)) if f < 16 else ():
                seen[d][neighbor] += 1
        frames.append(frame)
    return frames


@pytest.mark.parametrize("entropy", [False, True])
def test_files_match_the_specification(entropy: bool) -> None:
    tokens = tokens_of(45, cut=77)
    file = io.BytesIO(to_bytes(tokens, entropy=entropy, chunk_frames=21))
    header = parse(file, fields_of("Header"))
    assert header["magic"] == bytes.fromhex("89 53 49 4C 4B 0D 0A 1A")
    assert header["crc"] == zlib.crc32(file.getvalue()[: header["header_bytes"] - 4])
    assert file.tell() == header["header_bytes"]
    crc, levels, kinds = header["crc"], [], []
    while True:
        start = file.tell()
        chunk = parse(file, fields_of("Chunk"))
        crc = zlib.crc32(chunk["payload"], zlib.crc32(file.getvalue()[start : start + 12], crc))
        assert chunk["crc"] == crc
        kinds.append(chunk["kind"])
        if chunk["kind"] == b"END ":
            break
        if chunk["kind"] == b"CODE":
            levels += range_decode(chunk["payload"], chunk["n_frames"])
            continue
        for i in range(chunk["n_frames"]):
            number = int.from_bytes(chunk["payload"][48 * i : 48 * i + 48], "little")
            levels.append([number // 8**d % 8 for d in range(128)])
    assert kinds == [b"CODE" if entropy else b"RAW "] * 3 + [b"END "]
    assert int.from_bytes(chunk["payload"], "little") == header["n_samples"] == tokens.n_samples
    assert not file.read()
    assert tokens == Tokens.from_levels(
        levels,
        n_samples=header["n_samples"],
        codec=header["codec"].decode(),
        dims_per_token=header["dims_per_token"],
    )


# Range coding


def test_range_coding_shrinks_nonuniform_levels() -> None:
    tokens = tokens_of(75)
    raw, coded = len(to_bytes(tokens)), len(to_bytes(tokens, entropy=True))
    counts = np.stack([(tokens.to_levels() == s).sum(axis=0) for s in range(8)]) / 75
    bits = -np.where(
        counts > 0, counts * np.log2(np.maximum(counts, 1e-9)), 0
    ).sum()  # bits per frame, if the distributions were known
    assert bits / 8 * 75 < coded < 0.9 * raw


def test_range_coding_does_not_enlarge_files() -> None:
    levels = np.random.default_rng(0).integers(0, 8, (60, 128))
    tokens = Tokens.from_levels(levels, n_samples=60 * 9600, codec=CODEC)
    assert to_bytes(tokens, entropy=True, chunk_frames=25) == to_bytes(tokens)


def test_silence_takes_one_byte_per_frame() -> None:
    silence = np.full((2000, 128), 3, np.uint8)
    coded = payload.encode(silence)
    assert len(coded) == 2000
    np.testing.assert_array_equal(payload.decode(coded, 2000), silence)


def test_probabilities_are_exact_integers_in_the_longest_chunk() -> None:
    model = payload._Model()
    for frame in (0, 4096):
        for _ in range(frame):
            model.learn(np.full(128, 7, np.uint8))
        table = model.table()
        assert (table >= 1).all() and (table.sum(axis=1) == 2**24).all()
        exact = [
            1
            + (int(s) * sum(map(int, model.shared)) + 48 * int(h))
            * (2**24 - 8)
            // sum(int(a) * sum(map(int, model.shared)) + 48 * int(b) for a, b in zip(seen, model.shared, strict=True))
            for seen in model.seen[:1]
            for s, h in zip(seen, model.shared, strict=True)
        ]
        assert table[0, :7].tolist() == exact[:7]
        np.testing.assert_array_equal(model.weights().astype(np.int64), table - 1)


def test_the_coded_bytes_do_not_change() -> None:
    """If this test fails, the format has changed and requires a new version."""
    levels = (np.arange(20 * 128).reshape(20, 128) // 5 % 3 + 2).astype(np.uint8)
    assert (len(payload.encode(levels)), zlib.crc32(payload.encode(levels))) == PINNED
    np.testing.assert_array_equal(payload.decode(payload.encode(levels), 20), levels)


PINNED = (620, 1844788454)  # bytes, CRC-32


def test_the_error_without_constriction_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coded = to_bytes(tokens_of(60), entropy=True)
    monkeypatch.setitem(sys.modules, "constriction", None)
    for call in (
        lambda: container.write(tokens_of(3), tmp_path / "a.silk", entropy=True),
        lambda: from_bytes(coded),
        lambda: from_bytes(coded, recover=True),
    ):
        with pytest.raises(MissingExtraError, match=re.escape("pip install 'silkcodec[entropy]'")):
            call()
    assert not list(tmp_path.iterdir())
    assert from_bytes(to_bytes(tokens_of(3))) == tokens_of(3)  # Raw files can be read without constriction.
