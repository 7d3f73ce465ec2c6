"""Reading a corpus back: rows one after the other, by number, or by id.

    from silkcodec import corpus
    for row in corpus.read("out"):
        train(row.tokens, row.meta.get("text"))
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec.corpus.arrow import require
from silkcodec.corpus.rows import METADATA_KEY, Row, checksum
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.tokens import Tokens

NAME = re.compile(r"tokens-(\d+)-of-(\d+)\.(parquet|tar)")


class Corpus:
    """The rows of a folder of shards; what `read` gives.

    Iterating holds a row group in memory. `corpus[i]` and `len(corpus)` make it a map-style dataset of PyTorch, which
    a DataLoader can shuffle and share out to its workers; shuffled, every row costs the reading of its row group.

    Args:
        folder: with the shards. part, parts: only every parts-th shard, from the part-th on: (rank, world size), say.
        partial: take a corpus that is not finished yet for what is there.
        verify: hold every row to its checksum.

    Raises:
        ArgumentError: no shards, some are missing, or they are damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        part: int = 0,
        parts: int = 1,
        partial: bool = False,
        verify: bool = False,
    ) -> None:
        if not 0 <= part < parts:
            raise ArgumentError(f"part must be 0..{parts - 1} of {parts} parts; got {part}.")
        self.folder = Path(folder)
        self._verify = verify
        self._files = _shards(self.folder, partial)[part::parts]
        self._starts: list[int] | None = None  # the number of each shard's first row, and of the end
        self._held: tuple[tuple[str, int], list[Row]] | None = None  # the row group that was asked for last

    def __iter__(self) -> Iterator[Row]:
        for file in self._files:
            for group in _groups(file):
                yield from self._rows(file, group)

    def __len__(self) -> int:
        return self._first_rows()[-1]

    def __getitem__(self, number: int) -> Row:
        starts = self._first_rows()
        if number < 0:
            number += starts[-1]
        if not 0 <= number < starts[-1]:
            raise IndexError(f"row must be 0..{starts[-1] - 1}; got {number}")
        shard = int(np.searchsorted(starts, number, side="right")) - 1
        file, within = self._files[shard], number - starts[shard]
        for group, n_rows in enumerate(_group_rows(file)):
            if within < n_rows:
                if self._held is None or self._held[0] != (file, group):
                    self._held = (file, group), list(self._rows(file, group))
                return self._held[1][within]
            within -= n_rows
        raise ArgumentError(f"'{file}' must hold the rows that it promises; it does not.")

    def find(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows of these ids; of several, of a recording that was cut, write each: "a#0", "a#1".

        Raises:
            ArgumentError: one is not in the corpus.
        """
        missing, found = set(ids), {}
        for file in self._files:
            for group, n_rows in enumerate(_group_rows(file)):
                if not missing:
                    break
                names = _ids(file, group)
                if missing & set(names):
                    rows = list(self._rows(file, group))
                    assert len(rows) == n_rows == len(names)
                    found.update({row.id: row for row in rows if row.id in missing})
                    missing -= set(names)
        if missing:
            raise ArgumentError(f"An id must be of the corpus in '{self.folder}'; got '{sorted(missing)[0]}'.")
        return {id: found[id] for id in ids}

    def _rows(self, file: str, group: int) -> Iterator[Row]:
        for row in _read_tar(file) if file.endswith(".tar") else _read_parquet(file, group):
            if self._verify and checksum(row.tokens) != row.checksum:
                raise ArgumentError(f"Row '{row.id}' of '{file}' must have the checksum {row.checksum}; it is damaged.")
            yield row

    def _first_rows(self) -> list[int]:
        if self._starts is None:
            counts = [sum(_group_rows(file)) for file in self._files]
            self._starts = [0, *np.cumsum(counts).tolist()]
        return self._starts

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}  # what goes to a DataLoader's workers


def read(folder: str | os.PathLike[str], **options: Any) -> Corpus:
    """The rows of a corpus: iterate, index, `len`, `find`. Options and errors: see `Corpus`."""
    return Corpus(folder, **options)


def codec_of(folder: str | os.PathLike[str]) -> str | None:
    """The codec that made a corpus, as `load` takes it, by its plan; None where the plan did not come along."""
    from silkcodec.corpus.plan import read_header

    header = read_header(Path(folder))
    return str(header["load"]) if header and header.get("load") else None


def _shards(folder: Path, partial: bool) -> list[str]:
    names = sorted(name for name in (os.listdir(folder) if folder.is_dir() else []) if NAME.fullmatch(name))
    matches = [match for name in names if (match := NAME.fullmatch(name))]
    if not matches:
        raise ArgumentError(f"A corpus must have shards (tokens-00000-of-...); '{folder}' has none.")
    promised = {int(match[2]) for match in matches}
    if len(promised) > 1 or len({match[3] for match in matches}) > 1:
        raise ArgumentError(f"A folder must hold one corpus; '{folder}' has shards of several.")
    if len(names) < max(promised) and not partial:
        raise ArgumentError(
            f"A corpus must have all its shards; '{folder}' has {len(names)} of {max(promised)}: run silk tokenize"
            " again to finish it, or ask for what is there (partial=True, --partial)."
        )
    return [str(folder / name) for name in names]


def _parquet(file: str) -> Any:
    pyarrow = require("Reading Parquet")
    from pyarrow import parquet  # type: ignore[import-untyped]

    try:
        return parquet.ParquetFile(file, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise ArgumentError(f"A shard must be Parquet; '{file}': {str(error).splitlines()[0]}") from error


def _groups(file: str) -> range:
    return range(1) if file.endswith(".tar") else range(_parquet(file).num_row_groups)


def _group_rows(file: str) -> list[int]:
    """Rows in each row group; a tar is one group."""
    if file.endswith(".tar"):
        return [len(_ids(file, 0))]
    metadata = _parquet(file).metadata
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def _ids(file: str, group: int) -> list[str]:
    if file.endswith(".tar"):
        return [row.id for row in _read_tar(file)]
    return _parquet(file).read_row_group(group, columns=["id"]).column("id").to_pylist()


def _read_parquet(file: str, group: int) -> Iterator[Row]:
    pyarrow = require("Reading Parquet")
    opened = _parquet(file)
    try:
        shared = json.loads(opened.schema_arrow.metadata[METADATA_KEY])
        table = opened.read_row_group(group).combine_chunks()
        codes = table.column("codes").chunk(0)
        values = [table.column(name).to_pylist() for name in ("id", "path", "start", "n_samples", "meta", "checksum")]
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ArgumentError(f"A shard must be one of silk tokenize; '{file}': {str(error).splitlines()[0]}") from error
    for i, columns in enumerate(zip(*values, strict=True)):
        books = codes[i].values
        yield _row(shared, columns, [books[k].values.to_numpy(zero_copy_only=False) for k in range(len(books))], file)


def _read_tar(file: str) -> Iterator[Row]:
    """Rows of a tar of ours: nothing of it is trusted, and of no name in it is made a path."""
    try:
        with open(file, "rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            shared: dict[str, Any] = {}
            arrays: list[Any] = []
            for member in tar:
                content = tar.extractfile(member).read()  # type: ignore[union-attr]
                if member.name.endswith(".json"):
                    if shared:
                        yield _row(shared, _tar_columns(shared), arrays, file)
                    shared, arrays = json.loads(content), []
                else:
                    array = np.load(io.BytesIO(content), allow_pickle=False)
                    arrays += list(array) if array.ndim == 2 else [array]
            if shared:
                yield _row(shared, _tar_columns(shared), arrays, file)
    except (tarfile.TarError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArgumentError(f"A shard must be a tar of silk tokenize; '{file}': {error}") from error


def _tar_columns(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values[name] for name in ("id", "path", "start", "n_samples", "meta", "checksum"))


def _row(shared: dict[str, Any], columns: tuple[Any, ...], codes: list[Any], file: str) -> Row:
    id, path, start, n_samples, meta, written = columns
    sizes, rates = tuple(shared["codebook_sizes"]), tuple(shared["frame_rates"])
    try:
        tokens = Tokens(tuple(codes), sizes, rates, shared["sample_rate"], n_samples, shared["codec"])
    except TokensError as error:
        raise ArgumentError(f"Row '{id}' of '{file}' is damaged: {error}") from error
    return Row(id, path, start, tokens, json.loads(meta) if meta else {}, written)
