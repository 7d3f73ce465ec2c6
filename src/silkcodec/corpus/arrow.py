"""Hugging Face datasets saved on disk (`Dataset.save_to_disk`): Arrow files with an Audio column, bytes or paths.

Read through pyarrow, mapped into memory: `datasets` itself is not needed. Each file is checked whole, once, before
any of its offsets is trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from silkcodec.corpus.items import Item, Refusal, Refused, below, find, meta, refused
from silkcodec.errors import ArgumentError, MissingExtraError

STATE, SPLITS = "state.json", "dataset_dict.json"  # of one dataset, of several splits


def require(what: str) -> Any:
    """pyarrow. Raises MissingExtraError that names the pip command."""
    try:
        import pyarrow  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, "pyarrow", "corpus") from error
    return pyarrow


def is_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` made this folder."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def items(folder: str, label: str, root: int, allow_outside: bool) -> Iterator[Item | Refused]:
    """The recordings of a dataset, all splits.

    Args:
        label: what paths of rows begin with, "" or "name/".

    Raises:
        ArgumentError: it is damaged, or has no Audio column. MissingExtraError: pyarrow is not installed.
    """
    splits = [""]
    if os.path.isfile(os.path.join(folder, SPLITS)):
        splits = sorted(_strings(folder, SPLITS, "splits", None, allow_outside))
    for split in splits:
        state = f"{split}/{STATE}" if split else STATE
        number = 0
        for name in _strings(folder, below(state, folder, False), "_data_files", "filename", allow_outside):
            place = below(f"{split}/{name}" if split else name, folder, False)
            try:
                file, _ = find(place, folder, allow_outside, label + place)
            except Refusal as refusal:
                yield refused(label + place, label + place, refusal)
                continue
            for batch_number, batch in enumerate(_batches(file)):
                for row_number, row in enumerate(_rows(batch, file)):
                    usual = f"{split or 'row'}-{number:08d}"
                    number += 1
                    at = (batch_number, row_number)
                    yield _item(row, usual, f"{label}{place}#{number - 1}", root, place, at, folder, allow_outside)


def _item(
    row: dict[str, Any], usual: str, path: str, root: int, place: str, at: tuple[int, int], folder: str, outside: bool
) -> Item | Refused:
    sound, columns = row.pop("sound"), row
    named = columns.pop("id", None)
    id = str(named) if isinstance(named, (str, int)) and str(named) else usual
    try:
        if sound["path"]:
            columns.setdefault("file", sound["path"])
        if sound["has_bytes"]:
            return Item(id, path, root, place, "arrow", at, meta=meta(columns))
        if not sound["path"]:
            raise Refusal("row", "A row must have bytes or a path in its Audio column; this has neither.")
        return Item(id, path, root, below(sound["path"], folder, outside), meta=meta(columns))
    except Refusal as refusal:
        return refused(id, path, refusal)


def _strings(folder: str, name: str, key: str, inner: str | None, allow_outside: bool) -> list[str]:
    """A list of names in one of the dataset's JSON files."""
    file = os.path.join(folder, name)
    try:
        file, _ = find(name, folder, allow_outside, file)
        with open(file, encoding="utf-8") as handle:
            found = json.load(handle)[key]
        names = [entry[inner] if inner else entry for entry in found]
        if all(isinstance(entry, str) for entry in names):
            return names
    except (Refusal, OSError, ValueError, RecursionError, KeyError, TypeError):
        pass
    raise ArgumentError(f"A dataset must be as save_to_disk left it; '{file}' is missing or damaged.")


@lru_cache(maxsize=2)
def _batches(file: str) -> list[Any]:
    """The record batches of an Arrow file, mapped: nothing is in memory until it is asked for."""
    pyarrow = require("A Hugging Face dataset")
    try:
        with pyarrow.ipc.open_stream(pyarrow.memory_map(file)) as reader:
            batches = list(reader)
        for batch in batches:
            batch.validate(full=True)  # a forged offset would otherwise read anywhere in memory
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"A dataset must hold Arrow files of save_to_disk; '{file}': {reason}") from error
    return batches


def _rows(batch: Any, file: str) -> Iterator[dict[str, Any]]:
    """Each row of a batch as its plain columns, and "sound": the path, and whether bytes are there."""
    column = _audio_column(batch.schema)
    if column is None:
        raise ArgumentError(f"A dataset must have an Audio column (bytes, path); '{file}' has: {batch.schema.names}.")
    pyarrow = require("A Hugging Face dataset")
    types = pyarrow.types
    plain = [
        name
        for name, kind in zip(batch.schema.names, batch.schema.types, strict=True)
        if types.is_string(kind) or types.is_large_string(kind) or types.is_primitive(kind)
    ]
    sounds = batch.column(column)
    has_bytes, paths = sounds.field("bytes").is_valid().to_pylist(), sounds.field("path").to_pylist()
    there = sounds.is_valid().to_pylist()
    values = {name: batch.column(name).to_pylist() for name in plain}
    for i in range(batch.num_rows):
        row: dict[str, Any] = {name: _plain(values[name][i]) for name in plain if values[name][i] is not None}
        row["sound"] = {"has_bytes": there[i] and has_bytes[i], "path": paths[i] if there[i] else None}
        yield row


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else str(value)  # dates and decimals


def _audio_column(schema: Any) -> str | None:
    """The first column that is a struct of bytes and path."""
    for name, kind in zip(schema.names, schema.types, strict=True):
        if hasattr(kind, "num_fields") and {kind.field(i).name for i in range(kind.num_fields)} >= {"bytes", "path"}:
            return str(name)
    return None


def content(file: str, at: tuple[int, int]) -> bytes:
    """The bytes of a row's sound, by the numbers of its batch and its row. Raises Refusal where it is gone."""
    batches = _batches(file)
    if not (at[0] < len(batches) and at[1] < batches[at[0]].num_rows):
        raise Refusal("missing", f"'{file}' must have row {at[1]} in batch {at[0]}; the dataset has changed.")
    sounds = batches[at[0]].column(_audio_column(batches[at[0]].schema))
    return bytes(sounds.field("bytes")[at[1]].as_py())
