"""Compute means over clips and paired differences between codecs, with 95 % confidence intervals.

The mean of a metric includes only clips for which every codec has a value. Codecs without any value for the metric are
ignored. For error rates, each clip is weighted by the length of its reference text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silkcodec.evaluate import codebooks
from silkcodec.evaluate.statistics import Floats, bootstrap

Row = dict[str, Any]


def summarize(
    rows: Sequence[Row],
    codecs: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str],
    by: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Compute the tables of a result: codecs, means, differences, groups and missing values.

    Args:
        rows: rows from `run.py`, one per codec and clip.
        codecs: fields to include for each codec, keyed by codec name, in the order of the report. The first codec that
            succeeded on at least one clip is compared with each of the others.
        metrics: names of the metrics.
        by: manifest columns to group by.
        seed: random seed for the bootstrap.
    """
    n_clips = len({row["clip"] for row in rows})
    names = list(codecs)
    grouped: dict[str, dict[str, Any]] = {}
    for column in by:
        values = sorted({row["columns"][column] for row in rows if column in row["columns"]})
        grouped[column] = {}
        for value in values:
            part = [row for row in rows if row["columns"].get(column) == value]
            n_group = len({row["clip"] for row in part})
            grouped[column][value] = {"n_clips": n_group, "codecs": _means(part, names, metrics, seed)}
    return {
        "codecs": {
            name: _rates([row for row in rows if row["codec"] == name], dict(facts), n_clips)
            for name, facts in codecs.items()
        },
        "means": _means(rows, names, metrics, seed),
        "differences": _differences(rows, names, metrics, seed),
        "groups": grouped,
        "left_out": _left_out(rows, metrics),
    }


class _Paired:
    """The values of one metric on the clips for which every codec has a value.

    Attributes:
        values: values keyed by codec name, [n] each.
        weights: weights of the clips, [n], or None if the metric has no weights.
    """

    def __init__(self, rows: Sequence[Row], codecs: Sequence[str], metric: str) -> None:
        found: dict[str, dict[str, float]] = {codec: {} for codec in codecs}
        weights: dict[str, float] = {}
        for row in rows:
            value = row.get("metrics", {}).get(metric)
            if value is None:
                continue
            found[row["codec"]][row["clip"]] = value
            if metric in row["weights"]:
                # The weight is the number of words in the reference, so it should be the same for all codecs. If rows
                # differ, the largest weight is used.
                weights[row["clip"]] = max(row["weights"][metric], weights.get(row["clip"], 0.0))
        measured = [set(by_clip) for by_clip in found.values() if by_clip]
        common = sorted(set.intersection(*measured)) if measured else []
        self.values = {
            codec: np.array([by_clip[clip] for clip in common] if by_clip else [], dtype=np.float64)
            for codec, by_clip in found.items()
        }
        self.weights = np.array([weights.get(clip, 1.0) for clip in common]) if weights else None

    def mean(self, codec: str, seed: int) -> dict[str, Any]:
        return self._of(self.values[codec], seed)

    def difference(self, codec: str, other: str, seed: int) -> dict[str, Any]:
        a, b = self.values[codec], self.values[other]
        return self._of(a - b if len(a) == len(b) else a[:0], seed)

    def _of(self, values: Floats, seed: int) -> dict[str, Any]:
        weights = self.weights if self.weights is None or len(values) else self.weights[:0]
        return bootstrap(values, seed, weights=weights)


def _means(rows: Sequence[Row], codecs: Sequence[str], metrics: Sequence[str], seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {codec: {} for codec in codecs}
    for metric in metrics:
        paired = _Paired(rows, codecs, metric)
        for codec in codecs:
            result[codec][metric] = paired.mean(codec, seed)
    return result


def _differences(rows: Sequence[Row], codecs: Sequence[str], metrics: Sequence[str], seed: int) -> dict[str, Any]:
    """Compute the paired differences between the first usable codec and each of the other codecs."""
    usable = {row["codec"] for row in rows if row["status"] == "ok"}
    first = next((codec for codec in codecs if codec in usable), codecs[0])
    compared: dict[str, Any] = {codec: {} for codec in codecs if codec != first}
    for metric in metrics:
        paired = _Paired(rows, codecs, metric)
        for codec in compared:
            compared[codec][metric] = paired.difference(first, codec, seed)
    return {"of": first, "minus": compared}


def _rates(rows: Sequence[Row], facts: dict[str, Any], n_clips: int) -> dict[str, Any]:
    """Return the description, rates and speeds of one codec."""
    done = [row for row in rows if row["status"] == "ok"]
    rates: dict[str, Any] = {"n_clips": n_clips, "n_failed": n_clips - len(done), **facts}
    if not done:
        return rates
    duration_s = sum(row["duration_s"] for row in done)
    rates |= {
        "duration_s": duration_s,
        "delay_ms_largest": max((1000.0 * row["delay_s"] for row in done), key=abs),
        "length_error_samples_largest": max((row["length_error_samples"] for row in done), key=abs),
    }
    if "codes" not in done[0]:  # A folder of reconstructions has no codes.
        return rates
    return rates | {
        "codec_id": done[0]["codec_id"],
        "frame_rate_hz": min(done[0]["frame_rates"]),
        "n_codebooks": len(done[0]["frame_rates"]),
        "tokens_per_second": float(np.mean([row["tokens_per_second"] for row in done])),
        "bits_per_second": float(np.mean([row["bits_per_second"] for row in done])),
        "encode_times_real_time": duration_s / max(sum(row["encode_s"] for row in done), 1e-9),
        "decode_times_real_time": duration_s / max(sum(row["decode_s"] for row in done), 1e-9),
        "timed_with_jobs": max(row["jobs"] for row in done),
        **codebooks.statistics(done),
    }


def _left_out(rows: Sequence[Row], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the missing values and the reasons for them."""
    missing = []
    for row in rows:
        entry = {"clip": row["clip"], "codec": row["codec"]}
        if row["status"] != "ok":
            missing.append({**entry, "metric": "all", "reason": row["error"], "failed": True})
            continue
        for metric in metrics:
            if metric in row["broken"]:
                missing.append({**entry, "metric": metric, "reason": row["broken"][metric], "failed": True})
            elif metric in row["undefined"]:
                missing.append({**entry, "metric": metric, "reason": row["undefined"][metric], "failed": False})
    return missing
