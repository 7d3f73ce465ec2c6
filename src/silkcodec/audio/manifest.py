"""Read manifests, which are tables of recordings. Each row has a `path` and can have other columns.

    path            speaker  language  text                  .tsv or .csv: a header line, then one line per clip
    v/one.flac      ann      en        hello there

    {"audio_filepath": "v/one.flac", "text": "hello there"}  .jsonl or .json: one object per line

    one v/one.flac                                           Kaldi's wav.scp: an id and a path per line

Manifests can be compressed with gzip, e.g. .jsonl.gz. Paths are absolute or relative to the manifest's folder. A filter
after the path of a manifest selects some of its rows, e.g. `INDEX.tsv:language=zh*,source=a|b`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TextIO

from silkcodec.errors import ArgumentError

INDEX_NAME = "INDEX.tsv"  # manifest that describes the files in its folder
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".scp")
PATH_KEYS = ("path", "audio_filepath", "file_name")  # NeMo uses the second name, AudioFolder the third.

MAX_LINE = 1 << 24  # Characters. Without a limit, a small .gz file could expand to a line of several gigabytes.

Row = dict[str, str]


@dataclass(frozen=True)
class Dialect:
    """The column names, separator and encoding of a manifest.

    Attributes:
        columns: (standard, used) pairs: a column's standard name, e.g. "path" or "text", and its name in the manifest.
        separator: field separator. None means a comma for .csv and a tab for .tsv.
        encoding: text encoding, e.g. "latin-1".

    Raises:
        ArgumentError: the encoding is unknown, or the separator is not one character.
    """

    columns: tuple[tuple[str, str], ...] = ()
    separator: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise ArgumentError(
                f"The encoding must be one that Python supports, e.g. latin-1; got {self.encoding!r}."
            ) from None
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise ArgumentError(f"The separator must be a single character, e.g. ';'; got {self.separator!r}.")


USUAL = Dialect()


class HeaderError(ArgumentError):
    """Raised if the header of a manifest cannot be read or lacks a required column."""


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Return whether a file name has a manifest suffix."""
    return _suffix(Path(path)) in SUFFIXES


def read(file: str | os.PathLike[str]) -> list[Row]:
    """Return the rows of a manifest as dictionaries of strings. Empty values are omitted.

    Raises:
        ArgumentError: the file cannot be read, is damaged, or has a row without a path.
    """
    rows: list[Row] = []
    for number, columns in records(file):
        if isinstance(columns, ArgumentError):
            raise columns
        row = as_row(columns)
        if row is None:
            raise ArgumentError(f"Line {number} of '{file}' has no path. Add a value for {' or '.join(PATH_KEYS)}.")
        rows.append(row)
    return rows


def split_filter(text: str) -> tuple[Path, str]:
    """Split an input into its path and the filter after it, e.g. `:language=zh*`, or "" if there is none."""
    path, colon, conditions = text.rpartition(":")
    if colon and "=" in conditions and not os.path.exists(text):
        return Path(path), colon + conditions
    return Path(text), ""


def filtered(rows: list[Row], conditions: str, file: str | os.PathLike[str]) -> list[Row]:
    """Return the rows that match a filter.

    Args:
        rows: rows of a manifest.
        conditions: filter with its colon, as returned by `split_filter`, or "" for all rows.
        file: path of the manifest, for error messages.

    Raises:
        ArgumentError: a condition is not of the form column=value, or no row matches it.
    """
    for condition in conditions[1:].split(",") if conditions else ():
        column, equals, wanted = condition.partition("=")
        if not equals:
            raise ArgumentError(f"A filter must have the form column=value; got '{condition}' for '{file}'.")
        kept = [row for row in rows if any(fnmatchcase(row.get(column, ""), one) for one in wanted.split("|"))]
        if not kept:
            known = ", ".join(sorted({row.get(column, "") for row in rows})[:12])
            raise ArgumentError(
                f"The filter '{condition}' does not match any row of '{file}'. Values of '{column}': {known}."
            )
        rows = kept
    return rows


def as_row(columns: dict[str, Any]) -> Row | None:
    """Convert the values of a row to strings and store its path as "path". Return None if the row has no path."""
    row = {key: text for key, value in columns.items() if (text := _text(value))}
    path = next((row.pop(key) for key in PATH_KEYS if key in row), None)
    return None if path is None else {"path": path, **row}


def records(
    file: str | os.PathLike[str], dialect: Dialect = USUAL
) -> Iterator[tuple[int, dict[str, Any] | ArgumentError]]:
    """Yield the line number and the values, keyed by column name, for each row of a manifest.

    For a line that is not a valid row, yield an ArgumentError instead of the values.

    Raises:
        ArgumentError: the file cannot be read, is not text in the given encoding, has no path column, repeats a column
            name, or has no rows.
    """
    file = Path(file)
    empty = True
    try:
        with _opened(file, dialect) as handle:
            lines = _Lines(handle, file)
            suffix = _suffix(file)
            if dialect.separator and suffix not in (".csv", ".tsv"):
                raise ArgumentError(f"--separator requires a .csv or .tsv manifest; got '{file}'.")
            if suffix in (".jsonl", ".json"):
                found = _objects(lines, file)
            else:
                found = _scp(lines, file) if suffix == ".scp" else _table(lines, file, dialect)
            for number, columns in found:
                empty = False
                yield number, columns if isinstance(columns, ArgumentError) else _renamed(columns, dialect)
    except UnicodeError as error:
        raise ArgumentError(
            f"Cannot read manifest '{file}' as {dialect.encoding} text: {error}. Convert it to UTF-8, or pass its"
            " encoding to silk tokenize with --encoding."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"Cannot read manifest '{file}': {reason}.") from error
    if empty:
        raise ArgumentError(f"A manifest must have at least one row; '{file}' has none.")


def _renamed(columns: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    taken = {name: columns[column] for name, column in dialect.columns if column in columns}
    given = {column for _, column in dialect.columns}
    return {**{key: value for key, value in columns.items() if key not in given}, **taken}


def _suffix(file: Path) -> str:
    """Return the suffix of a file in lower case, ignoring ".gz"."""
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix == ".gz" else suffix


def _opened(file: Path, dialect: Dialect) -> TextIO:
    # Spreadsheet programs write a byte order mark, which "utf-8-sig" removes.
    encoding = "utf-8-sig" if codecs.lookup(dialect.encoding).name == "utf-8" else dialect.encoding
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding=encoding, newline="")
    return open(file, encoding=encoding, newline="")


class _Lines(Iterator[str]):
    """Iterate over the lines of a file, and raise ArgumentError for a line that is too long.

    After an error, iteration can continue with the next line.

    Attributes:
        number: number of the current line, counted from 1.
    """

    def __init__(self, handle: TextIO, file: Path) -> None:
        self._handle, self._file = handle, file
        self.number = 0

    def __next__(self) -> str:
        line = self._handle.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < MAX_LINE or line.endswith("\n"):
            return line
        while rest := self._handle.readline(MAX_LINE):
            if rest.endswith("\n"):
                break
        raise ArgumentError(f"Line {self.number} of '{self._file}' is too long; the limit is {MAX_LINE:,} characters.")


def _each(lines: Iterator[Any]) -> Iterator[Any]:
    """Yield each line, or the error raised while reading it."""
    while True:
        try:
            yield next(lines)
        except StopIteration:
            return
        except (ArgumentError, csv.Error) as error:
            yield error


def _table(lines: _Lines, file: Path, dialect: Dialect) -> Iterator[tuple[int, dict[str, Any] | ArgumentError]]:
    """Yield the line number and the values, keyed by column name, for each row of a .tsv or .csv table.

    Quotation marks have no special meaning in .tsv files.
    """
    comma = _suffix(file) == ".csv"
    separator = dialect.separator or ("," if comma else "\t")
    quoting: Any = csv.QUOTE_MINIMAL if comma else csv.QUOTE_NONE
    rows = _each(csv.reader(lines, delimiter=separator, quoting=quoting, strict=True))
    header: Any = next(rows, [])
    if isinstance(header, Exception):
        raise HeaderError(f"Cannot read line 1 of '{file}' as a header: {str(header).rstrip('.')}.")
    _check_header(header, file, dialect)
    first = lines.number + 1
    for values in rows:
        if isinstance(values, Exception):
            where = f"line {first}" if first >= lines.number else f"lines {first} to {lines.number}"
            yield first, ArgumentError(f"Cannot read {where} of '{file}' as a row: {str(values).rstrip('.')}.")
        elif any(values[len(header) :]):
            got = f"must have at most {len(header)} values; got {len(values)}"
            yield lines.number, ArgumentError(f"Line {lines.number} of '{file}' {got}.")
        elif values:
            yield lines.number, {key: value for key, value in zip(header, values, strict=False) if key}
        first = lines.number + 1


def _check_header(header: list[str], file: Path, dialect: Dialect) -> None:
    missing = [column for _, column in dialect.columns if column not in header]
    has_path = set(PATH_KEYS) & set(header) or "path" in dict(dialect.columns)
    if not header or (has_path and not missing):
        if repeated := [name for name in header if name and header.count(name) > 1]:
            raise ArgumentError(f"Column names must be unique; '{file}' has more than one column {repeated[0]!r}.")
        return
    wanted = f"a '{missing[0]}' column" if missing else f"a column named {' or '.join(PATH_KEYS)}"
    named = repr(", ".join(header)[:200])
    raise HeaderError(
        f"Manifest '{file}' must have {wanted}; got the header: {named}. For a different column name or separator,"
        " pass --column path=COLUMN or --separator to silk tokenize."
    )


def _objects(lines: _Lines, file: Path) -> Iterator[tuple[int, dict[str, Any] | ArgumentError]]:
    for line in _each(lines):
        if isinstance(line, Exception):
            yield lines.number, ArgumentError(str(line))
        elif line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                row = ArgumentError(
                    f"Line {lines.number} of '{file}' must be a JSON object; got {line.strip()[:60]!r}."
                )
            yield lines.number, row


def _scp(lines: _Lines, file: Path) -> Iterator[tuple[int, dict[str, Any] | ArgumentError]]:
    """Yield the line number, id and path for each line of a Kaldi wav.scp file.

    For a line that contains a shell command, yield an ArgumentError instead.
    """
    for line in _each(lines):
        where = f"Line {lines.number} of '{file}'"
        if isinstance(line, Exception):
            yield lines.number, ArgumentError(str(line))
            continue
        id, _, path = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        path = path.strip()
        if path.endswith("|"):
            advice = "is a command, which Silk does not run. Save the command's output as a file."
            yield lines.number, ArgumentError(f"{where} {advice}")
        elif re.search(r"\.ark:\d+$", path):
            advice = "refers to a Kaldi archive, which Silk cannot read. Convert it to audio files."
            yield lines.number, ArgumentError(f"{where} {advice}")
        elif id:
            yield lines.number, {"id": id, "path": path}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
