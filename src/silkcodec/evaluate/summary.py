"""Rows -> means with 95 % intervals, over all clips, by group, and as paired differences.

Every codec is judged on the same clips: a metric's mean is over the clips where *every* codec has a value.
What that leaves out is counted and listed. A codec without any value does not shrink the others' set.

The interval is the percentile bootstrap over clips (Efron 1979): 2,000 draws of as many clips with
replacement, the same draws for all codecs. It tells how much the mean depends on which clips were taken, no
more: clips of one speaker count as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]

N_DRAWS = 2_000


def bootstrap(values: Sequence[float], seed: int = 0, n_draws: int = N_DRAWS) -> dict[str, Any]:
    """Mean of [n] values and the 2.5 % and 97.5 % percentiles of the means of `n_draws` resamples.

    Returns:
        {"mean", "low", "high", "n"}; the first three None where n is 0.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return {"mean": None, "low": None, "high": None, "n": 0}
    draws = np.random.default_rng(seed).integers(0, array.size, size=(n_draws, array.size))
    low, high = np.percentile(array[draws].mean(axis=1), [2.5, 97.5])
    return {"mean": float(array.mean()), "low": float(low), "high": float(high), "n": int(array.size)}


def summarize(
    rows: list[Row], codecs: list[str], metrics: list[str], by: Sequence[str], seed: int
) -> dict[str, Any]:
    """All tables of a result.

    Args:
        rows: as `run.py` makes them, one per codec and clip.
        codecs: names in the order of the report; the first is the one that the differences are taken against.
        metrics: names.
        by: columns to split by; rows without the column are left out of that split.
        seed: of the bootstrap.
    """
    table = _table(rows, metrics)
    grouped: dict[str, dict[str, Any]] = {}
    for column in by:
        values = sorted({row["columns"][column] for row in rows if column in row["columns"]})
        grouped[column] = {}
        for value in values:
            part = _table([row for row in rows if row["columns"].get(column) == value], metrics)
            names = {clip for codec in part.values() for clip in codec}
            grouped[column][value] = {"n_clips": len(names), "codecs": _means(part, codecs, metrics, seed)}
    return {
        "codecs": {codec: _rates([row for row in rows if row["codec"] == codec]) for codec in codecs},
        "means": _means(table, codecs, metrics, seed),
        "differences": _differences(table, codecs, metrics, seed),
        "groups": grouped,
        "left_out": _left_out(rows, metrics),
    }


def _table(rows: list[Row], metrics: list[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """codec -> clip -> metric -> value; None where it failed or is undefined."""
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in rows:
        values = row.get("metrics", {})
        table.setdefault(row["codec"], {})[row["clip"]] = {metric: values.get(metric) for metric in metrics}
    return table


def _paired(table: dict[str, Any], codecs: list[str], metric: str) -> dict[str, NDArray[np.float64]]:
    """codec -> [n] values on the clips that all codecs share (codecs without any value: [0])."""
    values = {
        codec: {clip: row[metric] for clip, row in table.get(codec, {}).items() if row[metric] is not None}
        for codec in codecs
    }
    measured = [set(by_clip) for by_clip in values.values() if by_clip]
    common = sorted(set.intersection(*measured)) if measured else []
    return {
        codec: np.array([by_clip[clip] for clip in common] if by_clip else [], dtype=np.float64)
        for codec, by_clip in values.items()
    }


def _means(
    table: dict[str, Any], codecs: list[str], metrics: list[str], seed: int
) -> dict[str, dict[str, Any]]:
    return _each(table, codecs, metrics, lambda values, _first: bootstrap(list(values), seed))


def _differences(table: dict[str, Any], codecs: list[str], metrics: list[str], seed: int) -> dict[str, Any]:
    """The first codec minus each other one, clip by clip: an interval that excludes 0 is a difference."""

    def difference(values: NDArray[np.float64], first: NDArray[np.float64]) -> dict[str, Any]:
        return bootstrap(list(first - values) if len(first) == len(values) else [], seed)

    compared = _each(table, codecs, metrics, difference)
    compared.pop(codecs[0], None)
    return {"of": codecs[0], "minus": compared}


def _each(
    table: dict[str, Any],
    codecs: list[str],
    metrics: list[str],
    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {codec: {} for codec in codecs}
    for metric in metrics:
        values = _paired(table, codecs, metric)
        for codec in codecs:
            result[codec][metric] = measure(values[codec], values[codecs[0]])
    return result


def _rates(rows: list[Row]) -> dict[str, Any]:
    """What the produced tokens of one codec tell: rates and speed, over all clips that went through."""
    done = [row for row in rows if row["status"] == "ok"]
    rates: dict[str, Any] = {"n_clips": len(rows), "n_failed": len(rows) - len(done)}
    if not done:
        return rates
    duration_s = sum(row["duration_s"] for row in done)
    rates |= {
        "codec_id": done[0]["codec_id"],
        "frame_rate_hz": min(done[0]["frame_rates"]),
        "n_codebooks": len(done[0]["frame_rates"]),
        "tokens_per_second": float(np.mean([row["tokens_per_second"] for row in done])),
        "bits_per_second": float(np.mean([row["bits_per_second"] for row in done])),
        "duration_s": duration_s,
        "encode_times_real_time": duration_s / max(sum(row["encode_s"] for row in done), 1e-9),
        "decode_times_real_time": duration_s / max(sum(row["decode_s"] for row in done), 1e-9),
        "delay_ms_largest": max((1000.0 * row["delay_s"] for row in done), key=abs),
    }
    return rates


def _left_out(rows: list[Row], metrics: list[str]) -> list[dict[str, str]]:
    """Every value that is missing, and why: failed codecs and references that a metric cannot measure."""
    missing = []
    for row in rows:
        if row["status"] != "ok":
            missing.append(
                {"clip": row["clip"], "codec": row["codec"], "metric": "all", "reason": row["error"]}
            )
            continue
        for metric in metrics:
            if metric in row["undefined"]:
                reason = row["undefined"][metric]
                missing.append(
                    {"clip": row["clip"], "codec": row["codec"], "metric": metric, "reason": reason}
                )
    return missing
