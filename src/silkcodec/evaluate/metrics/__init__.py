"""Compute quality metrics. Each metric takes a reference and the output of a codec, and returns one number.

Both waveforms of a `Pair` are mono float32 at 24 kHz, aligned and of equal length. `align.py` aligns them once for all
metrics. `Pair.at` resamples both waveforms and caches the results.

    base.py       `Pair`, `Metric` and `UndefinedMetric`
    signal.py     PESQ, STOI, ESTOI, mel distance, SI-SDR and level
    visqol.py     ViSQOL
    pitch.py      F0 and voicing
    texture.py    fine structure, bandwidth and flatness of noise-like sounds
    speaker.py    speaker similarity
    words.py      word and character error rates with Whisper
    moonshine.py  word error rate with Moonshine
    mos.py        opinion scores, predicted from the output alone
    foreign.py    helpers for third-party packages and model files

If a metric's package or model is not installed, `Metric.missing` reports this and the other metrics still run.
Large packages are imported only when a metric needs them. docs/metrics.md lists the metrics and their limitations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from silkcodec.errors import ArgumentError
from silkcodec.evaluate.metrics.base import (
    SAMPLE_RATE,
    Metric,
    Pair,
    UndefinedMetric,
    Wave,
    Weighted,
    is_silent,
    rms_dbfs,
)
from silkcodec.evaluate.metrics.moonshine import MOONSHINE_METRICS
from silkcodec.evaluate.metrics.mos import MOS_METRICS
from silkcodec.evaluate.metrics.pitch import PITCH_METRICS
from silkcodec.evaluate.metrics.signal import SIGNAL_METRICS
from silkcodec.evaluate.metrics.speaker import SPEAKER_METRICS
from silkcodec.evaluate.metrics.texture import TEXTURE_METRICS
from silkcodec.evaluate.metrics.visqol import VISQOL_METRICS
from silkcodec.evaluate.metrics.words import WORD_METRICS

__all__ = [
    "METRICS",
    "SAMPLE_RATE",
    "Metric",
    "Pair",
    "UndefinedMetric",
    "Wave",
    "Weighted",
    "find_metrics",
    "is_silent",
    "measure_all",
    "rms_dbfs",
]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *SIGNAL_METRICS,
        *VISQOL_METRICS,
        *TEXTURE_METRICS,
        *PITCH_METRICS,
        *SPEAKER_METRICS,
        *WORD_METRICS,
        *MOONSHINE_METRICS,
        *MOS_METRICS,
    )
}
"""All metrics by name, in the order of the report. To add a metric, write a function and add an entry in its file."""


def find_metrics(names: Sequence[str] | None = None, models: Mapping[str, str] | None = None) -> list[Metric]:
    """Return the metrics with the given names, including metrics that are not available.

    Args:
        names: names from `METRICS`. None returns all metrics.
        models: model names or paths, keyed by `Metric.model_key`, e.g. {"whisper": "base"}.

    Raises:
        ArgumentError: a metric name or a model key is unknown.
    """
    unknown = [name for name in names or [] if name not in METRICS]
    if unknown:
        raise ArgumentError(f"Unknown metric: '{unknown[0]}'. Use one of: {', '.join(METRICS)}.")
    keys = list(dict.fromkeys(metric.model_key for metric in METRICS.values() if metric.model_key is not None))
    for key in models or {}:
        if key not in keys:
            raise ArgumentError(f"Unknown model key: '{key}'. Use one of: {', '.join(keys)}.")
    return [
        replace(METRICS[name], model=(models or {}).get(METRICS[name].model_key or ""))
        for name in (names if names is not None else METRICS)
    ]


def measure_all(
    pair: Pair, metrics: Sequence[Metric]
) -> tuple[dict[str, float | None], dict[str, str], dict[str, float]]:
    """Compute metrics for a pair.

    Args:
        pair: reference and output.
        metrics: metrics to compute.

    Returns:
        Three dictionaries, keyed by metric name: the values (None if a metric is undefined), the reasons why metrics
        are undefined, and the weights of the values in a mean. Only error rates have a weight.

    Raises:
        MissingExtraError: the package of a metric is not installed.
        ArgumentError: another requirement of a metric is missing.
    """
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    weights: dict[str, float] = {}
    for metric in metrics:
        metric.require()
        try:
            measured = metric.weigh(pair)
        except UndefinedMetric as error:
            values[metric.name] = None
            undefined[metric.name] = str(error)
            continue
        values[metric.name] = measured.value
        if metric.weighted_by:
            weights[metric.name] = measured.weight
    return values, undefined, weights
