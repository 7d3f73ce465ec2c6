"""Metrics of a result as cells and words of its page: what the pages of several experiments share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from silkcodec.evaluate.markdown import digits, interval, number
from silkcodec_lab.pages import Result

Metrics = dict[str, Any]  # by name: {"mean", "low", "high", "n"}


def heads(result: Result) -> list[str]:
    """A metric over its column, with which way is better."""
    arrows = {"higher": "↑", "lower": "↓"}
    return [f"{metric['label']} {arrows[metric['better']]}" for metric in result["metrics"].values()]


def cells(result: Result, metrics: Metrics, *, signed: bool = False) -> Iterator[str]:
    """A mean for each metric of the result, with its interval where there is more than one clip to take it from."""
    for name in result["metrics"]:
        entry = metrics.get(name)
        if entry is None or entry["mean"] is None:
            yield "-"
            continue
        text = interval(entry, digits(name)) if entry["n"] > 1 else number(entry["mean"], digits(name))
        yield f"+{text}" if signed and entry["mean"] > 0 else text


def verdict(result: Result, differences: Iterable[Metrics]) -> str:
    """How often, of some differences, each metric is better or worse beyond its interval."""
    entries, counts = list(differences), []
    for name, metric in result["metrics"].items():
        sign = 1 if metric["better"] == "higher" else -1
        found = [entry[name] for entry in entries if name in entry]
        better = sum(min(sign * entry["low"], sign * entry["high"]) > 0 for entry in found)
        worse = sum(max(sign * entry["low"], sign * entry["high"]) < 0 for entry in found)
        if found:
            counts.append(f"{metric['label']} better in {better} and worse in {worse} of {len(found)}")
    return ", ".join(counts)


def of(entries: Iterable[dict[str, Any]], **fields: Any) -> Iterator[dict[str, Any]]:
    """Those of a result's entries whose fields are these."""
    return (entry for entry in entries if all(entry[key] == value for key, value in fields.items()))
