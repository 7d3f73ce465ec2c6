"""Build the table on quiet recordings and DC offset in docs/results.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import findings

from silkcodec.evaluate.markdown import number, table

MISSING = "Not measured yet. Run `python bench/loudness.py --out bench/loudness.json`."
CHANGES = (("level_dbfs", "{:g} dBFS"), ("offset", "DC offset of {:g}"))  # field of a row -> label


def loudness(bench: Path) -> str:
    """Return a table of STOI by level and by offset, with and without normalization."""
    result = findings.read_result(bench / "loudness.json", "silk loudness")
    if result is None:
        return MISSING
    files = list(dict.fromkeys(row["file"] for row in result["rows"]))
    rows = []
    for field, text in CHANGES:
        for value in dict.fromkeys(row[field] for row in result["rows"] if field in row):
            found = {row["file"]: row for row in result["rows"] if row.get(field) == value}
            rows.append([text.format(value), *(_cell(found[name]) for name in files)])
    heads = ["input", *(name.partition(".")[0].capitalize() for name in files)]
    remark = findings.not_embedded(bench, result["codec"])
    return (
        f"{table(heads, rows)}\n\nThe value before each arrow is the STOI without `--normalize`, and the value after it"
        " is the STOI with this option. The inputs are the files in `samples/`. They were either scaled to the stated"
        " RMS level and rounded to 16 bits, or shifted by the stated offset."
        f" Conditions: {result['codec']}{remark}; {result['created'][:10]}."
    )


def _cell(row: dict[str, Any]) -> str:
    return f"{number(row['plain'], 3)} -> {number(row['normalized'], 3)}"


TABLES: dict[str, Callable[[Path], str]] = {"loudness": loudness}
