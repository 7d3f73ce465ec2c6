"""Format numbers and tables as Markdown for reports, model cards and documentation pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ARROWS = {"higher": "↑", "lower": "↓", "zero": "→ 0", "original": "→ original"}
"""Symbol in a column heading for each value of `Metric.better`."""


def number(value: float | None, n_digits: int) -> str:
    """Format a number with `n_digits` digits after the decimal point, or return a dash for None.

    >>> number(-0.04, 1)
    '0.0'
    """
    return "-" if value is None else f"{value:z.{n_digits}f}"


def interval(entry: Mapping[str, Any], n_digits: int) -> str:
    """Format a mean and its 95 % confidence interval, such as `2.02 [1.95, 2.10]`. Without a mean, return a dash."""
    if entry["mean"] is None:
        return "-"
    low, high = number(entry["low"], n_digits), number(entry["high"], n_digits)
    return f"{number(entry['mean'], n_digits)} [{low}, {high}]"


def digits(metric: str) -> int:
    """Return the number of digits to show after the decimal point for a metric."""
    if metric.endswith("_cents"):
        return 0
    return 1 if metric.endswith(("_db", "_percent")) else 3 if "stoi" in metric else 2


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool | Sequence[bool] = True) -> str:
    """Format a Markdown table.

    Args:
        header: titles of the columns.
        rows: cells of each row.
        numeric: whether columns are right-aligned, either one value per column or a single value for all columns
            except the first, which is then left-aligned.
    """
    right = [False, *[numeric] * (len(header) - 1)] if isinstance(numeric, bool) else numeric
    rule = ["---:" if is_right else "---" for is_right in right]
    return "\n".join(_row(cells) for cells in [header, rule, *rows])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
