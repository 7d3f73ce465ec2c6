"""Define the rows of a corpus and their two file formats. A row stores the tokens of a recording and their origin.

Parquet: one file per shard. docs/corpus.md describes the columns. The "silkcodec" metadata key stores the values that
all rows share, e.g. the codebook sizes, as JSON.

WebDataset: one tar per shard. Each row consists of NUMBER.json and NUMBER.codes.npy with the codes [K, F]. For
multi-scale codecs, each codebook has its own file: NUMBER.codes.0.npy, NUMBER.codes.1.npy, ...

In both formats, the same rows always produce the same bytes. The checksum of a row covers all of its fields.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.corpus.arrow import require
from silkcodec.corpus.plan import Facts
from silkcodec.tokens import Tokens

METADATA_KEY = b"silkcodec"
ROWS_KEY = b"silkcodec.rows"  # key of the number of rows in the footer
FORMAT = 2
GROUP_TOKENS = 1 << 20  # approximate size of a Parquet row group in tokens; readers and writers buffer one (4 MiB)
GROUP_ROWS = 512
SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}


@dataclass(frozen=True)
class Row:
    """The tokens of a recording, or of a part of a recording.

    Attributes:
        id: id of the row, which is unique in the corpus.
        path: path of the recording, relative to its input.
        start: start of the row's audio in the recording, in seconds.
        tokens: tokens of the row; see `Tokens`.
        meta: metadata of the recording, such as text and speaker.
        checksum: stored checksum of the row.
    """

    id: str
    path: str
    start: float
    tokens: Tokens
    meta: Mapping[str, Any]
    checksum: str


def sealed(id: str, path: str, start: float, tokens: Tokens, meta: Mapping[str, Any]) -> Row:
    """Create a row with its checksum."""
    row = Row(id, path, start, tokens, meta, "")
    return replace(row, checksum=checksum(row))


def checksum(row: Row) -> str:
    """Compute the checksum of a row: the first 16 hex digits of a SHA-256."""
    tokens = row.tokens
    digest = hashlib.sha256(f"{tokens.codec} {tokens.sample_rate} {tokens.n_samples}".encode())
    rates = [float(rate) for rate in tokens.frame_rates]
    fields = [FORMAT, row.id, row.path, float(row.start), _meta(row), list(tokens.codebook_sizes), rates]
    digest.update(json.dumps(fields).encode())
    for codes in tokens.codes:
        digest.update(f" {len(codes)} ".encode())
        digest.update(codes.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def code_type(codebook_sizes: Sequence[int]) -> str:
    """Return the smallest integer type that can store all codes, "int32" or "int64"."""
    return "int32" if max(codebook_sizes) <= 2**31 else "int64"


def schema(facts: Facts) -> Any:
    """Return the Arrow schema of a Parquet shard."""
    pa = require("The shard format parquet")
    codes = pa.int32() if code_type(facts.codebook_sizes) == "int32" else pa.int64()
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),
        pa.field("n_samples", pa.int64(), nullable=False),
        pa.field("sample_rate", pa.int32(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("codes", pa.list_(pa.list_(codes)), nullable=False),
        pa.field("meta", pa.string()),
        pa.field("checksum", pa.string(), nullable=False),
    ]
    return pa.schema(fields, {METADATA_KEY: json.dumps(_shared(facts), sort_keys=True)})


def _shared(facts: Facts) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "codec": facts.codec,
        "sample_rate": facts.sample_rate,
        "codebook_sizes": list(facts.codebook_sizes),
        "frame_rates": list(facts.frame_rates),
    }


class ParquetWriter:
    """Write rows to a Parquet file.

    Args:
        file: binary file, open for writing.
        facts: properties of the codec.
    """

    def __init__(self, file: Any, facts: Facts) -> None:
        require("The shard format parquet")
        from pyarrow import parquet  # type: ignore[import-untyped]

        self._schema = schema(facts)
        self._type = np.dtype(code_type(facts.codebook_sizes))
        column = "codes.list.element.list.element"
        self._writer = parquet.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=["codec", "path"],
            column_encoding={column: "DELTA_BINARY_PACKED"},  # stores only the bits that the codes need
            write_statistics=["id", "path", "start", "n_samples"],
            write_page_checksum=True,
        )
        self._n_rows = 0
        self._rows: list[Row] = []
        self._n_tokens = 0

    def add(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)
        self._n_rows += 1
        self._n_tokens += row.tokens.n_tokens
        if len(self._rows) == GROUP_ROWS or self._n_tokens >= GROUP_TOKENS:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows and the footer."""
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({ROWS_KEY: str(self._n_rows)})
        self._writer.close()

    def _flush(self) -> None:
        pa = require("The shard format parquet")
        rows, self._rows, self._n_tokens = self._rows, [], 0
        arrays_of_codes = [codes for row in rows for codes in row.tokens.codes]
        values = pa.array(np.concatenate(arrays_of_codes).astype(self._type))
        inner = pa.ListArray.from_arrays(_offsets([len(codes) for codes in arrays_of_codes]), values)
        outer = pa.ListArray.from_arrays(_offsets([len(row.tokens.codes) for row in rows]), inner)
        columns = [
            [row.id for row in rows],
            [row.path for row in rows],
            [row.start for row in rows],
            [row.tokens.n_samples for row in rows],
            [row.tokens.sample_rate for row in rows],
            [row.tokens.codec for row in rows],
            outer,
            [_meta(row) for row in rows],
            [row.checksum for row in rows],
        ]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


class TarWriter:
    """Write rows to a WebDataset tar.

    Args:
        file: binary file, open for writing.
        facts: properties of the codec.
    """

    def __init__(self, file: Any, facts: Facts) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - see close()
        self._shared = _shared(facts)
        self._type = np.dtype(code_type(facts.codebook_sizes)).newbyteorder("<")
        self._n_rows = 0

    def add(self, row: Row) -> None:
        """Add a row."""
        values = {
            "id": row.id,
            "path": row.path,
            "start": row.start,
            "n_samples": row.tokens.n_samples,
            **self._shared,
            "meta": _meta(row),
            "checksum": row.checksum,
        }
        name = f"{self._n_rows:06d}"
        self._put(f"{name}.json", json.dumps(values, ensure_ascii=False).encode())
        codes = [column.astype(self._type) for column in row.tokens.codes]
        if len({len(column) for column in codes}) == 1:
            self._put(f"{name}.codes.npy", _npy(np.stack(codes)))
        else:
            for k, column in enumerate(codes):
                self._put(f"{name}.codes.{k}.npy", _npy(column))
        self._n_rows += 1
        self._tar.members.clear()  # type: ignore[attr-defined]  # Otherwise, tarfile keeps every member in memory.

    def _put(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)  # has no time and owner, so that the bytes are reproducible
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


WRITERS: dict[str, Any] = {"parquet": ParquetWriter, "webdataset": TarWriter}


def _meta(row: Row) -> str | None:
    return json.dumps(dict(row.meta), ensure_ascii=False, sort_keys=True) if row.meta else None


def _offsets(lengths: Sequence[int]) -> NDArray[np.int32]:
    return np.cumsum([0, *lengths]).astype(np.int32)


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
