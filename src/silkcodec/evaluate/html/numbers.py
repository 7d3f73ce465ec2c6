"""Format text and numbers for the report templates."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2
from typing import Any

from silkcodec.evaluate.html.columns import Result, number

__all__ = ["about", "bits_per_s", "composition", "few_tokens", "log2", "span", "used"]


def about(rates: dict[str, Any]) -> str:
    """Return the text below a codec's name: its quantizer and the number of clips on which it failed."""
    if rates.get("failed"):
        return "could not be used"
    failed = f"failed on {rates['n_failed']} of {rates['n_clips']}" if rates.get("n_failed") else ""
    return ", ".join(part for part in (rates.get("quantizer"), failed) if part)


def rated(result: Result) -> list[str]:
    """Return the names of the codecs with a known token rate, sorted by this rate."""
    found = {name: rates.get("tokens_per_second") for name, rates in result["codecs"].items()}
    return sorted((name for name, rate in found.items() if rate), key=found.__getitem__)


def composition(rates: dict[str, Any]) -> str:
    """Format the frame rates and the number of codebooks, e.g. `2.5 Hz x 19` or `12 + 23 + 47 Hz`."""
    books = rates.get("codebooks") or []
    hertz = [book["frame_rate_hz"] for book in books] or [rates["frame_rate_hz"]]
    if len(set(hertz)) > 1:
        return " + ".join(number(hz, None) for hz in hertz) + " Hz"
    n = rates.get("n_codebooks") or len(books)
    return f"{number(hertz[0], None)} Hz \N{MULTIPLICATION SIGN} {n}"


def bits_per_s(books: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the entropy of all codebooks and its maximum, both in bits per second."""
    measured = sum(book["entropy_bits"] * book["frame_rate_hz"] for book in books)
    return measured, sum(log2(book["size"]) * book["frame_rate_hz"] for book in books)


def few_tokens(books: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the codebooks with fewer measured tokens than entries."""
    return [book for book in books if book["n_tokens"] < book["size"]]


def used(books: list[dict[str, Any]]) -> str:
    """Format the lowest and the highest share of used entries among codebooks, e.g. `0.4 to 32.8 %`."""
    shares = [book["n_used"] / book["size"] for book in books]
    least, most = (f"{100 * share:.1f}" if share >= 0.0005 else "<0.1" for share in (min(shares), max(shares)))
    return f"{least} %" if least == most else f"{least} to {most} %"


def span(values: Iterable[float], n_digits: int | None) -> str:
    """Format the range of some values, e.g. `1.5 to 7.2`."""
    known = list(values)
    low, high = number(min(known), n_digits), number(max(known), n_digits)
    return low if low == high else f"{low} to {high}"


def n_measured(result: Result, key: str, codecs: Iterable[str]) -> int:
    """Return the number of codecs that have a value for the `key` metric."""
    return sum((result["means"].get(name, {}).get(key) or {}).get("mean") is not None for name in codecs)


def is_plottable(result: Result) -> bool:
    """Return whether at least two codecs have a bit rate and a value for the same metric."""
    with_bits = [name for name, rates in result["codecs"].items() if rates.get("bits_per_second")]
    return any(n_measured(result, key, with_bits) > 1 for key in result["metrics"])


def lengths(result: Result) -> list[tuple[str, float, float]]:
    """Return the name, largest delay (ms) and largest length error (samples) of each codec that has both values."""
    keys = ("delay_ms_largest", "length_error_samples_largest")
    found = [(name, *(codec.get(key) for key in keys)) for name, codec in result["codecs"].items()]
    return [row for row in found if None not in row]
