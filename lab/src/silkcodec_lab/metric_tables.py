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
FEW_CLIPS = 10  # With fewer clips, a page warns that this is a trial run.
QUANTIZERS = {"fsq": "FSQ", "vq": "VQ", "rvq": "RVQ", "multiscale": "multi-scale RVQ"}

Metrics = dict[str, Any]  # {"mean", "low", "high", "n"}, keyed by metric name


def quantizer_label(name: str) -> str:
    """Return the display name of the quantizer of a training run.

    >>> quantizer_label("rvq"), quantizer_label("run:multiscale")
    ('RVQ', 'multi-scale RVQ')
    """
    quantizer = name.removeprefix("run:")
    return QUANTIZERS.get(quantizer, quantizer)


def trial_note(n_clips: int) -> str:
    """Return a warning that starts with a space if there are too few clips, or an empty string."""
    warning = " **This is a trial run.** There are too few clips for useful intervals."
    return warning if n_clips < FEW_CLIPS else ""


def estimate(entry: Mapping[str, Any] | None, n_digits: int, *, scale: float = 1, signed: bool = False) -> str:
    """Format a mean with its interval or, if it is a single value, without an interval. Without a mean, return a dash.

    Args:
        entry: Dictionary with the keys "mean", "low", "high" and "n", or None.
        n_digits: Number of digits after the decimal point.
        scale: Factor for the mean and its interval, e.g. 100 for percentages. It can be negative.
        signed: Whether to write a plus sign before a positive mean.

    >>> estimate({"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}, 0, scale=100, signed=True)
    '+50 [40, 60]'
    """
    if entry is None or entry["mean"] is None:
        return "-"
    mean = scale * entry["mean"]
    if entry["n"] > 1:
        low, high = sorted(scale * entry[side] for side in ("low", "high"))
        text = interval({"mean": mean, "low": low, "high": high}, n_digits)
    else:
        text = number(mean, n_digits)
    return f"+{text}" if signed and mean > 0 else text


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
        yield estimate(metrics.get(name), digits(name), signed=signed)


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
