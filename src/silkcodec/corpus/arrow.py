"""Read Hugging Face datasets from Parquet files and from Arrow files written by `Dataset.save_to_disk`.

The files have an Audio column, which is a struct with `bytes` and `path` fields.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from silkcodec.corpus.items import Item, Refusal, Refused, below, find, meta, printable, refused
from silkcodec.errors import ArgumentError, import_extra

SOUND = object()  # key of the audio in a row, which no column has
STATE, SPLITS = "state.json", "dataset_dict.json"  # index files of a single dataset and of a dataset with splits


def require(what: str) -> Any:
    """Import pyarrow, or raise MissingExtraError with a message that starts with `what`."""
    return import_extra("pyarrow", what, "corpus")


def is_dataset(folder: Path) -> bool:
    """Return whether a folder contains a dataset from Hugging Face's `save_to_disk`."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def items(folder: str, label: str, root: int, allow_outside: bool) -> Iterator[Item | Refused]:
    """Yield the recordings in all splits of a dataset.

    Args:
        folder: folder of the dataset.
        label: prefix for the paths of the recordings, "" or "name/".
        root: index of the input that the dataset belongs to.
        allow_outside: allow audio files outside the folder.

    Raises:
        ArgumentError: the dataset is damaged, or has no Audio column.
        MissingExtraError: pyarrow is not installed.
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
            for batch_number, batch in enumerate(record_batches(file, os.stat(file).st_mtime_ns)):
                for row_number, row in enumerate(_rows(batch, file)):
                    usual = f"{split or 'row'}-{number:08d}"
                    number += 1
                    at = (batch_number, row_number)
                    yield _item(row, usual, f"{label}{place}#{number - 1}", root, place, at, folder, allow_outside)


def _item(
    row: dict[Any, Any], usual: str, path: str, root: int, place: str, at: tuple[int, int], folder: str, outside: bool
) -> Item | Refused:
    sound, columns = row.pop(SOUND), row
    named = columns.pop("id", None)
    id = str(named) if isinstance(named, (str, int)) and str(named) else usual
    try:
        if not isinstance(sound["path"], str | None):
            raise Refusal("row", f"The path in an Audio column must be text; got {type(sound['path']).__name__}.")
        if sound["path"]:
            columns.setdefault("file", sound["path"])
        if sound["has_bytes"]:
            return Item(id, path, root, place, "arrow", at, meta=meta(columns))
        if not sound["path"]:
            raise Refusal("row", "A row must have bytes or a path in its Audio column; this row has neither.")
        return Item(id, path, root, below(sound["path"], folder, outside), meta=meta(columns))
    except Refusal as refusal:
        return refused(id, path, refusal)


def _strings(folder: str, name: str, key: str, inner: str | None, allow_outside: bool) -> list[str]:
    """Read split or file names from a JSON file of a dataset. Raises ArgumentError if the file is damaged."""
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
    raise ArgumentError(
        f"Cannot read the dataset: '{file}' is missing or damaged. Save the dataset again with save_to_disk."
    )


@lru_cache(maxsize=2)
def record_batches(file: str, modified_ns: int) -> list[Any]:
    """Memory-map an Arrow file, last modified at the given time, and return its record batches."""
    pyarrow = require("A Hugging Face dataset")
    try:
        with pyarrow.ipc.open_stream(pyarrow.memory_map(file)) as reader:
            batches = list(reader)
        for batch in batches:
            batch.validate(full=True)  # Otherwise, a forged offset could read arbitrary memory.
            _audio_column(batch.schema)  # The names of columns and fields can be invalid UTF-8.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            f"Cannot read '{file}' as an Arrow file from save_to_disk: {reason.rstrip('.')}."
        ) from error
    return batches


def _rows(batch: Any, file: str) -> Iterator[dict[Any, Any]]:
    """Yield each row of a record batch as a dict of its text and number columns.

    The value of the SOUND key is a dict {"has_bytes", "path"}, which describes the audio.
    """
    column = _audio_column(batch.schema)
    if column is None:
        raise ArgumentError(
            "A dataset must have an Audio column (a struct with the fields bytes and path); got the columns"
            f" {batch.schema.names} in '{file}'."
        )
    plain = _plain_columns(batch.schema)
    sounds = batch.column(column)
    has_bytes, paths = sounds.field("bytes").is_valid().to_pylist(), sounds.field("path").to_pylist()
    is_valid = sounds.is_valid().to_pylist()
    values = {name: batch.column(name).to_pylist() for name in plain}
    for i in range(batch.num_rows):
        row: dict[Any, Any] = _filled({name: values[name][i] for name in plain})
        row[SOUND] = {"has_bytes": is_valid[i] and has_bytes[i], "path": paths[i] if is_valid[i] else None}
        yield row


def _plain_columns(schema: Any) -> list[str]:
    types = require("A Hugging Face dataset").types
    kinds = zip(schema.names, schema.types, strict=True)
    return [
        name for name, kind in kinds if types.is_string(kind) or types.is_large_string(kind) or types.is_primitive(kind)
    ]


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a row except None and NaN. Dates and decimals become strings."""
    given = {name: value for name, value in row.items() if value is not None and value == value}
    return {name: value if isinstance(value, (str, int, float)) else str(value) for name, value in given.items()}


def _audio_column(schema: Any) -> str | None:
    """Return the name of the Audio column, or None if there is none."""
    for name, kind in zip(schema.names, schema.types, strict=True):
        if hasattr(kind, "num_fields") and {kind.field(i).name for i in range(kind.num_fields)} >= {"bytes", "path"}:
            return str(name)
    return None


def has_audio(file: str) -> bool:
    """Return whether a Parquet file has an Audio column. Raises ArgumentError if the file is damaged."""
    with _readable(file):
        return _audio_column(parquet(file).schema_arrow) is not None


def parquet_items(
    file: str, place: str, shown: str, root: int, folder: str, allow_outside: bool
) -> Iterator[Item | Refused]:
    """Yield the recordings of a Parquet file without reading the audio.

    Args:
        file: path of the file to open.
        place, root: see `Item`.
        shown: prefix for the paths of the recordings.
        folder: folder of the input.
        allow_outside: allow audio files outside the folder.

    Raises:
        ArgumentError: the file is damaged, or has no Audio column.
    """
    with _readable(file):
        opened = parquet(file)
    audio = _audio_column(opened.schema_arrow)
    if audio is None:
        named = opened.schema_arrow.names
        raise ArgumentError(
            "A Parquet input must have an Audio column (a struct with the fields bytes and path); got the columns"
            f" {named} in '{shown}'."
        )
    plain, number = _plain_columns(opened.schema_arrow), 0
    stem = os.path.splitext(place)[0]
    with _readable(file):
        for group in range(opened.num_row_groups):
            values = opened.read_row_group(group, columns=[*plain, f"{audio}.path"]).to_pylist()
            for i, row in enumerate(values):
                path = (row.pop(audio) or {}).get("path")
                columns: dict[Any, Any] = _filled(row) | {SOUND: {"has_bytes": True, "path": path}}
                found = _item(
                    columns, f"{stem}-{number:08d}", f"{shown}#{number}", root, place, (group, i), folder, allow_outside
                )
                number += 1
                yield replace(found, kind="parquet") if isinstance(found, Item) else found


def parquet(file: str) -> Any:
    """Open a Parquet file and map it into memory."""
    require("A Parquet dataset")
    from pyarrow import parquet  # type: ignore[import-untyped]

    return parquet.ParquetFile(file, memory_map=True, page_checksum_verification=True)


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Raise ArgumentError if reading a Parquet file in the `with` block fails because the file is damaged.

    Args:
        message: start of the error message.

    Raises:
        ArgumentError: the file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    arrow = require("A Parquet dataset").ArrowException
    try:
        yield
    except (arrow, OSError, LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ArgumentError(f"{message}: {printable(reason)}.") from error


def _readable(file: str) -> AbstractContextManager[None]:
    return readable(f"Cannot read '{file}' as Parquet")


@lru_cache(maxsize=1)
def _group_sounds(file: str, group: int, _: int) -> Any:
    """Read the audio bytes of all rows in a row group of a Parquet file."""
    with _readable(file):
        opened = parquet(file)
        audio = _audio_column(opened.schema_arrow)
        return opened.read_row_group(group, columns=[f"{audio}.bytes"]).column(audio).combine_chunks().field("bytes")


def content(file: str, at: tuple[int, int], kind: str = "arrow") -> bytes:
    """Return the audio bytes of a row.

    Args:
        file: path of the Arrow or Parquet file.
        at: number of the record batch or row group, and number of the row in it.
        kind: "arrow" or "parquet".

    Raises:
        Refusal: the row has no audio bytes.
    """
    if kind == "parquet":
        sounds = _group_sounds(file, at[0], os.stat(file).st_mtime_ns)
        found = sounds[at[1]].as_py() if at[1] < len(sounds) else None
        if found is None:
            raise Refusal(
                "row",
                f"A row must have bytes in its Audio column; row {at[1]} of row group {at[0]} in '{file}' has none.",
            )
        return bytes(found)
    batches = record_batches(file, os.stat(file).st_mtime_ns)
    if not (at[0] < len(batches) and at[1] < batches[at[0]].num_rows):
        raise Refusal("missing", f"The dataset has changed: row {at[1]} of batch {at[0]} in '{file}' is missing.")
    sounds = batches[at[0]].column(_audio_column(batches[at[0]].schema))
    return bytes(sounds.field("bytes")[at[1]].as_py())
