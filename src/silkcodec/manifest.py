"""Manifests: tables of recordings. INDEX.tsv, .csv or .jsonl -> rows, each with a `path` and what else is known of it.

    path            speaker  language  text                  a .tsv or .csv: a header line, then a line per clip
    v/one.flac      ann      en        hello there

    {"audio_filepath": "v/one.flac", "text": "hello there"}  a .jsonl (or .json): one object a line

Paths are relative to the manifest's own folder, or absolute.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError

INDEX_NAME = "INDEX.tsv"  # a folder's own manifest
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
PATH_KEYS = ("path", "audio_filepath")  # the second is NeMo's; rows have it as "path"

Row = dict[str, str]


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one, by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def read(file: str | os.PathLike[str]) -> list[Row]:
    """All rows of a manifest. Empty and missing values are left out; whatever is no text is as JSON writes it.

    Raises:
        ArgumentError: it cannot be read, is damaged, or has a row without a path; says which line.
    """
    file = Path(file)
    rows: list[Row] = []
    try:
        with open(file, encoding="utf-8-sig", newline="") as handle:  # -sig: spreadsheets write a byte order mark
            found = _objects(handle, file) if file.suffix.lower() in (".jsonl", ".json") else _table(handle, file)
            for number, columns in found:
                row = {key: text for key, value in columns.items() if (text := _text(value))}
                path = next((row.pop(key) for key in PATH_KEYS if key in row), None)
                if path is None:
                    raise ArgumentError(f"Line {number} of '{file}' must have a {' or '.join(PATH_KEYS)}; it has none.")
                rows.append({"path": path, **row})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"A manifest must be a table or JSON lines in UTF-8; '{file}': {reason}.") from error
    if not rows:
        raise ArgumentError(f"A manifest must have rows, one per recording; '{file}' has none.")
    return rows


def _table(handle: Any, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and rows of a table. Tabs need no quotes, and speech has many: in a .tsv they are text."""
    comma = file.suffix.lower() == ".csv"
    reader = (
        csv.DictReader(handle) if comma else csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    if reader.fieldnames is not None and not set(PATH_KEYS) & set(reader.fieldnames):
        named = ", ".join(reader.fieldnames)[:200]
        raise ArgumentError(f"A manifest must have a column {' or '.join(PATH_KEYS)}; '{file}' has: {named}.")
    for row in reader:
        yield reader.line_num, {key: value for key, value in row.items() if key}  # None: surplus fields


def _objects(handle: Any, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(handle, start=1):
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
