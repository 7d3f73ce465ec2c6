"""Manifests: tables of recordings. INDEX.tsv, .csv or .jsonl -> rows, each with a `path` and what else is known of it.

    path            speaker  language  text                  a .tsv or .csv: a header line, then a line per clip
    v/one.flac      ann      en        hello there

    {"audio_filepath": "v/one.flac", "text": "hello there"}  a .jsonl (or .json): one object a line

Any of them may be compressed (.jsonl.gz). Paths are relative to the manifest's own folder, or absolute.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from silkcodec.errors import ArgumentError

INDEX_NAME = "INDEX.tsv"  # a folder's own manifest
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
PATH_KEYS = ("path", "audio_filepath")  # the second is NeMo's; rows have it as "path"

MAX_LINE = 1 << 24  # characters: a few bytes of .gz can hold a line of gigabytes

Row = dict[str, str]


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one, by its name."""
    return _suffix(Path(path)) in SUFFIXES


def read(file: str | os.PathLike[str]) -> list[Row]:
    """All rows of a manifest. Empty and missing values are left out; whatever is no text is as JSON writes it.

    Raises:
        ArgumentError: it cannot be read, is damaged, or has a row without a path; says which line.
    """
    rows: list[Row] = []
    for number, columns in records(file):
        row = as_row(columns)
        if row is None:
            raise ArgumentError(f"Line {number} of '{file}' must have a {' or '.join(PATH_KEYS)}; it has none.")
        rows.append(row)
    return rows


def as_row(columns: dict[str, Any]) -> Row | None:
    """What stands in one line, as text, its path as "path"; None where it has none."""
    row = {key: text for key, value in columns.items() if (text := _text(value))}
    path = next((row.pop(key) for key in PATH_KEYS if key in row), None)
    return None if path is None else {"path": path, **row}


def records(file: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, what stands there) of each line of a manifest, one at a time: JSON objects as they are.

    Raises:
        ArgumentError: it cannot be read, is damaged, or has no line; says which line.
    """
    file = Path(file)
    empty = True
    try:
        with _opened(file) as handle:
            found = _objects(handle, file) if _suffix(file) in (".jsonl", ".json") else _table(handle, file)
            for number, columns in found:
                empty = False
                yield number, columns
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"A manifest must be a table or JSON lines in UTF-8; '{file}': {reason}.") from error
    if empty:
        raise ArgumentError(f"A manifest must have rows, one per recording; '{file}' has none.")


def _suffix(file: Path) -> str:
    """".jsonl", of "x.jsonl.gz" too."""
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix == ".gz" else suffix


def _opened(file: Path) -> TextIO:
    # -sig: spreadsheets write a byte order mark
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return open(file, encoding="utf-8-sig", newline="")


def _lines(handle: TextIO, file: Path) -> Iterator[str]:
    """Lines of a length that fits the memory."""
    for number, line in enumerate(iter(lambda: handle.readline(MAX_LINE), ""), start=1):
        if len(line) == MAX_LINE:
            raise ArgumentError(f"Line {number} of '{file}' must be shorter than {MAX_LINE:,} characters; it is not.")
        yield line


def _table(handle: TextIO, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and rows of a table. Tabs need no quotes, and speech has many: in a .tsv they are text."""
    lines = _lines(handle, file)
    comma = _suffix(file) == ".csv"
    reader = csv.DictReader(lines) if comma else csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if reader.fieldnames is not None and not set(PATH_KEYS) & set(reader.fieldnames):
        named = ", ".join(reader.fieldnames)[:200]
        raise ArgumentError(f"A manifest must have a column {' or '.join(PATH_KEYS)}; '{file}' has: {named}.")
    for row in reader:
        yield reader.line_num, {key: value for key, value in row.items() if key}  # None: surplus fields


def _objects(handle: TextIO, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(handle, file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            shown = line.strip()[:60]
            raise ArgumentError(f"Line {number} of '{file}' must be a JSON object; got {shown!r}.")
        yield number, row


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
