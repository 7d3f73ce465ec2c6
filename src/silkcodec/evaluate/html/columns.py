"""Build the columns of the results table and mark the best cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from silkcodec.evaluate.markdown import digits
from silkcodec.evaluate.metrics import registered

Result = dict[str, Any]
Entry = dict[str, Any]  # {"mean", "low", "high", "n"}, as returned by `statistics.bootstrap`

RATES, QUALITY, COST = "Rates", "Quality", "Cost"
DIRECTIONS = {
    "higher": "(higher is better)",
    "lower": "(lower is better)",
    "zero": "(closer to 0 is better)",
    "original": "(closer to the original is better)",
}

# key in result["codecs"][name], group, label, unit, direction of better values, digits, description
_MEASURED: tuple[tuple[str, str, str, str, str, int | None, str], ...] = (
    ("frame_rate_hz", RATES, "Frames", "Hz", "lower", None, "Frames per second of the slowest codebook."),
    ("n_codebooks", RATES, "Codebooks", "", "", 0, "Number of parallel token streams."),
    ("tokens_per_second", RATES, "Tokens", "per s", "lower", None, "Tokens of all codebooks per second of speech."),
    ("bits_per_second", RATES, "Bits", "per s", "lower", 0, "Each token has log2(codebook size) bits."),
    (
        "entropy_bits_per_second",
        RATES,
        "Entropy",
        "bits per s",
        "",
        0,
        "Order-0 entropy times frame rate, summed over codebooks. It is underestimated if a codebook is large compared"
        " with the number of tokens.",
    ),
    (
        "latency_ms",
        COST,
        "Latency",
        "ms",
        "lower",
        0,
        "Algorithmic latency: one frame plus the look-ahead of the encoder and the decoder. A dash means that the codec"
        " cannot stream or does not report its latency.",
    ),
    ("encode_times_real_time", COST, "Encode", "x real time", "higher", 0, "Seconds of speech encoded per second."),
    ("decode_times_real_time", COST, "Decode", "x real time", "higher", 0, "Seconds of speech decoded per second."),
    (
        "peak_memory_mb",
        COST,
        "Memory",
        "MB",
        "lower",
        0,
        "Peak memory of a new process that loads the codec, then encodes and decodes one clip.",
    ),
)


@dataclass(frozen=True)
class Cell:
    """A value in the results table and the bounds of its interval. Missing numbers are None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    difference: Entry | None = None  # the first codec minus this one


@dataclass(frozen=True)
class Column:
    """A column of the results table.

    `missing` states why a metric was not measured and how to enable it.
    """

    key: str
    group: str
    label: str
    unit: str
    better: str  # as `Metric.better`, or ""
    n_digits: int | None  # None: as many as needed, up to 2
    what: str
    cells: dict[str, Cell]
    missing: str | None = None
    best: str | None = None
    tied: frozenset[str] = frozenset()  # includes the best cell

    @property
    def title(self) -> str:
        """Return the tooltip of the column."""
        return " ".join(text for text in (self.what, DIRECTIONS.get(self.better)) if text)

    def at(self, value: float | None) -> str:
        """Return the horizontal position of a value in the plot inside its table cell, from "4.0%" to "96.0%"."""
        bottom = min(cell.low for cell in self.cells.values() if cell.low is not None)
        width = (max(cell.high for cell in self.cells.values() if cell.high is not None) - bottom) or 1.0
        return f"{4 + 92 * ((value or 0.0) - bottom) / width:.1f}%"

    def verdict(self, difference: Entry) -> str:
        """Return the CSS class for the difference between the first codec and another one.

        The class is "same" (not significant), "ahead" (the first codec is better), "behind" (the first codec is
        worse), or "different" (significant, but it is unknown which codec is better).
        """
        if difference["low"] <= 0 <= difference["high"]:
            return "same"
        if self.better not in ("higher", "lower"):
            return "different"
        return "ahead" if (difference["mean"] > 0) == (self.better == "higher") else "behind"

    def spelled(self, first: str, name: str) -> str | None:
        """Format the difference between two codecs, or return None if it is unknown."""
        entry = self.cells[name].difference
        if entry is None:
            return None
        mean, low, high = (signed(entry[key], self.n_digits) for key in ("mean", "low", "high"))
        return f"{first} minus {name}: {mean} [{low}, {high}], paired over {entry['n']} clips"


def columns(result: Result) -> list[Column]:
    """Return the columns of the results table. Columns for rates and costs are omitted if they have no values."""
    measured = [_measured(result, *described) for described in _MEASURED]
    there = [column for column in measured if any(cell.value is not None for cell in column.cells.values())]
    descriptions = {key: metric.what for key, metric in registered().items()}
    metrics = [_metric(result, key, descriptions.get(key, "")) for key in result["metrics"]]
    found = [
        *(column for column in there if column.group == RATES),
        *sorted(metrics, key=lambda column: column.missing is not None),
        *(column for column in there if column.group == COST),
    ]
    return [_with_best(column, first(result)) for column in found]


def names(result: Result) -> list[str]:
    """Return the names of the codecs in the order of the report."""
    return list(result["codecs"])


def first(result: Result) -> str:
    """Return the name of the first usable codec, with which all others are compared."""
    return str(result["differences"]["of"])


def number(value: float, n_digits: int | None) -> str:
    """Format a number, e.g. `1,234` or `47.5`."""
    text = f"{value:,.2f}".rstrip("0").rstrip(".") if n_digits is None else f"{value:,.{n_digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def signed(value: float, n_digits: int | None) -> str:
    """Format a number with a plus or minus sign."""
    text = number(value, n_digits)
    return f"+{text}" if value > 0 and any(c in "123456789" for c in text) else text


def _measured(
    result: Result, key: str, group: str, label: str, unit: str, better: str, n_digits: int | None, what: str
) -> Column:
    cells = {name: Cell(rates.get(key)) for name, rates in result["codecs"].items()}
    return Column(key, group, label, unit, better, n_digits, what, cells)


def _metric(result: Result, key: str, what: str) -> Column:
    described = result["metrics"][key]
    minus = result["differences"]["minus"]
    cells = {}
    for name in names(result):
        entry = result["means"].get(name, {}).get(key) or {}
        difference = minus.get(name, {}).get(key)
        known = difference is not None and difference.get("mean") is not None
        cells[name] = Cell(
            entry.get("mean"), entry.get("low"), entry.get("high"), difference=difference if known else None
        )
    label, unit, better = described["label"], described["unit"], described["better"]
    return Column(key, QUALITY, label, unit, better, digits(key), what, cells, described.get("missing"))


def _with_best(column: Column, first: str) -> Column:
    """Mark the best cell and the cells that do not differ significantly from it.

    Differences from the first codec are significant if their interval excludes 0. Differences between two other codecs
    are significant if the intervals of their values do not overlap.
    """
    known = {name: cell for name, cell in column.cells.items() if cell.value is not None}
    if column.better in ("", "original") or len(known) < 2:
        return column
    best = min(known, key=lambda name: badness(column.better, known[name].value or 0.0))
    tied = frozenset(name for name in known if name == best or _tied(column, known, name, best, first))
    if len(tied) == len(known):
        return column  # Marking every cell is not informative.
    return replace(column, best=best, tied=tied)


def badness(better: str, value: float) -> float:
    """Return a sort key for a metric value. Better values have lower keys."""
    return -value if better == "higher" else abs(value) if better == "zero" else value


def _tied(column: Column, cells: dict[str, Cell], a: str, b: str, first: str) -> bool:
    one, two = cells[a], cells[b]
    if one.low is None or one.high is None or two.low is None or two.high is None:
        digits = column.n_digits
        return number(one.value or 0.0, digits) == number(two.value or 0.0, digits)
    if column.better == "zero":  # A signed difference does not show which value is closer to 0.
        return _nearest(one.low, one.high) <= _farthest(two) and _nearest(two.low, two.high) <= _farthest(one)
    if first in (a, b):
        paired = cells[b if a == first else a].difference
        if paired is not None:
            return bool(paired["low"] <= 0 <= paired["high"])
    return one.low <= two.high and two.low <= one.high


def _nearest(low: float, high: float) -> float:
    return 0.0 if low <= 0 <= high else min(abs(low), abs(high))


def _farthest(cell: Cell) -> float:
    return max(abs(cell.low or 0.0), abs(cell.high or 0.0))
