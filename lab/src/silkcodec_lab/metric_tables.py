"""Format the metrics of a result as table cells and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from silkcodec.evaluate.markdown import ARROWS, digits, interval, number, table
from silkcodec_lab.pages import Result

ABOUT_METRICS = (
    "**Metrics.** PESQ-WB (1 to 4.64) estimates perceived quality. STOI (at most 1) estimates intelligibility. The mel "
    "distance is the mean absolute difference between log-mel spectrograms."
)
TRIAL = " **This is a trial run.** There are too few clips for useful intervals."

Metrics = dict[str, Any]  # {"mean", "low", "high", "n"}, keyed by metric name


def joined(texts: Sequence[str]) -> str:
    """Return the texts, separated by commas and a final "and", e.g. `VQ, RVQ and FSQ`."""
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]


def metric_headers(result: Result) -> list[str]:
    """Return a column header for each metric, with an arrow that shows whether higher or lower is better."""
    return [f"{metric['label']} {ARROWS[metric['better']]}" for metric in result["metrics"].values()]


def metric_cells(result: Result, metrics: Metrics, *, signed: bool = False) -> Iterator[str]:
    """Yield a table cell for each metric, with its mean and, if there are several clips, its interval.

    Args:
        result: Result of an experiment, which lists the metrics.
        metrics: Means and intervals, keyed by metric name.
        signed: Whether to write a plus sign before positive means.
    """
    for name in result["metrics"]:
        entry = metrics.get(name)
        if entry is None or entry["mean"] is None:
            yield "-"
            continue
        text = interval(entry, digits(name)) if entry["n"] > 1 else number(entry["mean"], digits(name))
        yield f"+{text}" if signed and entry["mean"] > 0 else text


def significance_table(result: Result, title: str, comparisons: Mapping[str, Sequence[Metrics]]) -> str:
    """Return a table that counts the significant improvements and deteriorations in each metric.

    Args:
        result: Result of an experiment, which lists the metrics.
        title: Header of the first column.
        comparisons: Lists of differences with their intervals, keyed by row label.
    """
    rows = []
    for label, differences in comparisons.items():
        counts = []
        for name, metric in result["metrics"].items():
            sign = 1 if metric["better"] == "higher" else -1
            found = [entry[name] for entry in differences if name in entry]
            better = sum(min(sign * entry["low"], sign * entry["high"]) > 0 for entry in found)
            worse = sum(max(sign * entry["low"], sign * entry["high"]) < 0 for entry in found)
            counts.append(f"{better} better, {worse} worse" if found else "-")
        rows.append([label, str(len(differences)), *counts])
    labels = [metric["label"] for metric in result["metrics"].values()]
    return table([title, "comparisons", *labels], rows)


def matching(entries: Iterable[dict[str, Any]], **fields: Any) -> Iterator[dict[str, Any]]:
    """Yield the entries whose fields have the given values."""
    return (entry for entry in entries if all(entry[key] == value for key, value in fields.items()))
