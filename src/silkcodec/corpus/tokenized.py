"""Read rows of a corpus in order, by number, or by id.

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
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from silkcodec.corpus import arrow, items
from silkcodec.corpus.rows import FORMAT, METADATA_KEY, ROWS_KEY, Row, checksum
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.tokens import Tokens

COLUMNS = ("id", "path", "start", "n_samples", "meta", "checksum")  # all columns except the codes
NAME = re.compile(r"tokens-(\d+)-of-(\d+)\.(parquet|tar)")


class Corpus:
    """The rows of a corpus. Supports iteration, `corpus[i]` and `len(corpus)`, like a map-style dataset in PyTorch.

    Args:
        folder: folder of the shards.
        part, parts: read only every `parts`-th shard, starting with shard `part`. In distributed training, pass the
            rank and the world size.
        partial: accept an unfinished corpus, and read its existing shards.
        verify: check the checksum of every row.

    Raises:
        ArgumentError: the folder contains no shards, a shard is missing, or a shard or row is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        part: int = 0,
        parts: int = 1,
        partial: bool = False,
        verify: bool = True,
    ) -> None:
        if not 0 <= part < parts:
            raise ArgumentError(f"part must be between 0 and {parts - 1} for {parts} parts; got {part}.")
        self.folder = Path(folder)
        self._verify = verify
        self._files = _shards(self.folder, partial)[part::parts]
        self._starts: list[int] | None = None  # number of the first row in each shard, and the total
        self._held: tuple[tuple[str, int], list[Row]] | None = None  # the last row group that was read

    def __iter__(self) -> Iterator[Row]:
        for file in self._files:
            for group in _groups(file):
                yield from self._rows(file, group)

    def __len__(self) -> int:
        return self._first_rows()[-1]

    def __getitem__(self, number: int) -> Row:
        starts = self._first_rows()
        if not -starts[-1] <= number < starts[-1]:
            raise IndexError(f"The row number must be between {-starts[-1]} and {starts[-1] - 1}; got {number}.")
        number %= starts[-1]
        shard = int(np.searchsorted(starts, number, side="right")) - 1
        file, within = self._files[shard], number - starts[shard]
        # A tar is a single group, whose rows can only be counted by reading it.
        n_rows_of = [starts[shard + 1] - starts[shard]] if file.endswith(".tar") else _group_rows(file)
        for group, n_rows in enumerate(n_rows_of):
            if within < n_rows:
                held = self._held  # Another thread may replace it at any time.
                if held is None or held[0] != (file, group):
                    held = self._held = (file, group), list(self._rows(file, group))
                return held[1][within]
            within -= n_rows
        raise ArgumentError(f"'{file}' is damaged: it has fewer rows than its footer declares.")

    def find(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return the rows with the given ids, keyed by id.

        Args:
            ids: ids of rows. If the recording "a" was split into segments, its rows have the ids "a#0", "a#1", ...

        Raises:
            ArgumentError: an id is not in the corpus.
        """
        missing, found = set(ids), {}
        for file in self._files:
            if not missing:
                break
            for group, n_rows in enumerate(_group_rows(file)):
                names = self._ids(file, group)
                if missing & set(names):
                    rows = list(self._rows(file, group))
                    assert len(rows) == n_rows == len(names)
                    found.update({row.id: row for row in rows if row.id in missing})
                    missing -= set(names)
        if missing:
            raise ArgumentError(f"The id '{sorted(missing)[0]}' is not in the corpus '{self.folder}'.")
        return {id: found[id] for id in ids}

    def _rows(self, file: str, group: int) -> Iterator[Row]:
        return _group(file, group, self._verify)

    def _ids(self, file: str, group: int) -> list[str]:
        if file.endswith(".tar"):
            return [row.id for row in self._rows(file, group)]
        with _readable(file):
            return _parquet(file).read_row_group(group, columns=["id"]).column("id").to_pylist()

    def _first_rows(self) -> list[int]:
        if self._starts is None:
            counts = [sum(_group_rows(file)) for file in self._files]
            self._starts = [0, *np.cumsum(counts).tolist()]
        return self._starts

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}  # keeps the cached rows out of pickles for the workers of a DataLoader


def read(folder: str | os.PathLike[str], **options: Any) -> Corpus:
    """Open a corpus.

    Args:
        folder: folder of the corpus.
        options: keyword arguments for `Corpus`.

    Returns:
        The corpus.

    Raises:
        ArgumentError: see `Corpus`.
    """
    return Corpus(folder, **options)


def shard_rows(file: str) -> Iterator[Row]:
    """Yield the rows of a shard. Raises ArgumentError if a row is damaged."""
    for group in _groups(file):
        yield from _group(file, group, True)


def _group(file: str, group: int, verify: bool) -> Iterator[Row]:
    for row in _read_tar(file) if file.endswith(".tar") else _read_parquet(file, group):
        if verify and checksum(row) != row.checksum:
            raise ArgumentError(f"Row {row.id!r} of '{file}' is damaged: its checksum is wrong.")
        yield row


def codec_of(folder: str | os.PathLike[str]) -> str | None:
    """Return the name of the codec that encoded a corpus, or None if the folder has no plan."""
    from silkcodec.corpus.plan import read_header

    header = read_header(Path(folder))
    return str(header["load"]) if header and header.get("load") else None


def _shards(folder: Path, partial: bool) -> list[str]:
    names = sorted(name for name in (os.listdir(folder) if folder.is_dir() else []) if NAME.fullmatch(name))
    matches = [match for name in names if (match := NAME.fullmatch(name))]
    if not matches:
        raise ArgumentError(f"There are no shards (tokens-00000-of-...) in '{folder}'.")
    declared = {int(match[2]) for match in matches}
    if len(declared) > 1 or len({match[3] for match in matches}) > 1:
        raise ArgumentError(f"A folder must contain only one corpus; '{folder}' has shards from several corpora.")
    if len(names) < max(declared) and not partial:
        raise ArgumentError(
            f"The corpus in '{folder}' must be complete; it has {len(names)} of {max(declared)} shards. Run"
            " silk tokenize again to finish it, or read the existing shards with --partial (partial=True)."
        )
    return [str(folder / name) for name in names]


def _parquet(file: str) -> Any:
    """Open a Parquet shard, and check its number of rows.

    Raises:
        ArgumentError: the shard is damaged.
    """
    with _readable(file):
        opened = arrow.parquet(file)
        _check_version(_shared(opened))
        footer = opened.metadata
        n_rows = sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
        if int(footer.metadata[ROWS_KEY]) != n_rows:
            raise ValueError(f"it contains {n_rows} rows, but its footer declares {int(footer.metadata[ROWS_KEY])}")
        return opened


def _readable(file: str) -> AbstractContextManager[None]:
    return arrow.readable(f"Cannot read '{file}' as a Parquet shard")


def _shared(opened: Any) -> dict[str, Any]:
    return json.loads(opened.schema_arrow.metadata[METADATA_KEY])


def _check_version(shared: dict[str, Any]) -> None:
    """Raise ValueError if the format version of a shard is not supported."""
    if shared["format"] != FORMAT:
        raise ValueError(f"its format version must be {FORMAT}; got {str(shared['format'])[:20]}")


def _groups(file: str) -> range:
    return range(1) if file.endswith(".tar") else range(_parquet(file).num_row_groups)


def _group_rows(file: str) -> list[int]:
    """Return the number of rows in each row group of a shard. A tar counts as one group."""
    if file.endswith(".tar"):
        return [sum(1 for _ in _read_tar(file))]
    metadata = _parquet(file).metadata
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def _read_parquet(file: str, group: int) -> Iterator[Row]:
    """Yield the rows in a row group of a Parquet shard."""
    opened = _parquet(file)
    with _readable(file):
        shared = _shared(opened)
        table = opened.read_row_group(group).combine_chunks()
        if table.num_rows != opened.metadata.row_group(group).num_rows:
            raise ValueError("a row group does not contain the number of rows declared in the footer")
        codes = table.column("codes").chunk(0)
        values = [table.column(name).to_pylist() for name in COLUMNS]
        books = [[book.values.to_numpy(zero_copy_only=False) for book in row] for row in codes]
        columns = list(zip(*values, books, strict=True))
    for *row, arrays in columns:
        yield _row(shared, tuple(row), arrays, file)


def _read_tar(file: str) -> Iterator[Row]:
    """Yield the rows of a tar shard."""
    try:
        with open(file, "rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            shared: dict[str, Any] = {}
            arrays: list[Any] = []
            n_rows = 0
            for name, content in _tar_members(tar, raw):
                if name == f"{n_rows:06d}.json":
                    if shared:
                        yield _row(shared, tuple(shared[name] for name in COLUMNS), arrays, file)
                    shared, arrays, n_rows = json.loads(content), [], n_rows + 1
                    _check_version(shared)
                elif shared and name.startswith(f"{n_rows - 1:06d}.codes."):
                    array = _npy(content)
                    arrays += list(array) if array.ndim == 2 else [array]
                else:
                    raise ValueError(f"the member '{name[:40]}' does not belong to a row")
            if shared:
                yield _row(shared, tuple(shared[name] for name in COLUMNS), arrays, file)
    except (tarfile.TarError, OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ArgumentError(f"Cannot read '{file}' as a tar shard: {items.printable(str(error))}.") from error


def _tar_members(tar: tarfile.TarFile, raw: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the contents of each member of a tar. Raises TarError if the tar is truncated or damaged."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # Otherwise, tarfile keeps every member in memory.
        if not member.isreg() or member.issparse():  # A sparse member can be much larger than the file.
            raise tarfile.ReadError(f"'{member.name}' is not a regular file")
        content = tar.extractfile(member).read()  # type: ignore[union-attr]
        if len(content) != member.size:
            raise tarfile.ReadError(f"'{member.name}' is truncated")
        yield member.name, content
    raw.seek(tar.offset)
    n_bytes = 0
    while block := raw.read(1 << 16):
        n_bytes += len(block)
        if block.strip(b"\0"):
            raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged")
    if n_bytes < 2 * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end marker is missing")


def _npy(content: bytes) -> Any:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy uses Python's parser, which can raise many exceptions.
        raise ValueError(f"an array is damaged: {error}") from error


def _row(shared: dict[str, Any], columns: tuple[Any, ...], codes: list[Any], file: str) -> Row:
    id, path, start, n_samples, meta, written = columns
    try:
        sizes, rates = tuple(shared["codebook_sizes"]), tuple(shared["frame_rates"])
        tokens = Tokens(tuple(codes), sizes, rates, shared["sample_rate"], n_samples, shared["codec"])
        known = json.loads(meta) if meta else {}
        if not (isinstance(id, str) and isinstance(path, str) and isinstance(start, float) and isinstance(known, dict)):
            raise ValueError("a field has the wrong type")
        return Row(id, path, start, tokens, known, written)
    except TokensError as error:
        raise ArgumentError(f"Row {str(id)[:60]!r} of '{file}' is damaged: {error}") from error
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArgumentError(f"Row {str(id)[:60]!r} of '{file}' is damaged: {str(error).rstrip('.')}.") from error
