"""Compute quality metrics. Each metric takes a reference and the output of a codec, and returns one number.

Both waveforms of a `Pair` are mono float32 at 24 kHz, aligned and of equal length. `align.py` aligns them once for all
metrics. `Pair.at` resamples both waveforms and caches the results.

    base.py       `Pair`, `Metric` and `UndefinedMetric`
    signal.py     PESQ, STOI, ESTOI, mel distance, SI-SDR and level
    visqol.py     ViSQOL
    pitch.py      F0 and voicing
    texture.py    fine structure, bandwidth and flatness of noise-like sounds
    words.py      word and character error rates with Whisper
    moonshine.py  word error rate with Moonshine
    dnsmos.py     opinion score, predicted from the output alone
    foreign.py    helpers for third-party packages and model files

Other distributions can add metrics through the `silkcodec.metrics` entry point group. Speaker similarity and DistillMOS
are in silkcodec-torch.

If a metric's package or model is not installed, `Metric.missing` reports this and the other metrics still run.
Large packages are imported only when a metric needs them. docs/metrics.md lists the metrics and their limitations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

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
from silkcodec.evaluate.metrics.dnsmos import DNSMOS_METRICS
from silkcodec.evaluate.metrics.moonshine import MOONSHINE_METRICS
from silkcodec.evaluate.metrics.pitch import PITCH_METRICS
from silkcodec.evaluate.metrics.signal import SIGNAL_METRICS
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
    "registered",
    "rms_dbfs",
]

GROUP = "silkcodec.metrics"
"""The entry point group in which other distributions register metrics, as name = "module:attribute"."""

INSTALL_TORCH = "pip install ./pytorch"


def _not_measured(*_: Any) -> NoReturn:
    raise NotImplementedError  # `Metric.missing` reports that the metric is unavailable.


def _unavailable(name: str, label: str, reason: str, unit: str = "", model_key: str | None = None) -> Metric:
    """Return a metric that is unavailable for the given reason."""
    return Metric(name, label, unit, "higher", _not_measured, model_key=model_key, lacks=lambda model: reason)


def _from_torch(name: str, label: str, unit: str, model_key: str | None = None) -> Metric:
    """Return a placeholder for a silkcodec-torch metric, for use if this distribution is not installed."""
    reason = f"{label} needs 'silkcodec-torch', which is not installed. In a checkout of Silk, run: {INSTALL_TORCH}"
    return _unavailable(name, label, reason, unit, model_key)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *SIGNAL_METRICS,
        *VISQOL_METRICS,
        *TEXTURE_METRICS,
        *PITCH_METRICS,
        _from_torch("speaker_similarity", "Speaker similarity", "cosine", "speaker"),
        *WORD_METRICS,
        *MOONSHINE_METRICS,
        *DNSMOS_METRICS,
        _from_torch("distillmos", "DistillMOS", "MOS"),
    )
}
"""The metrics of this project by name, in the order of the report. `registered` returns those of other projects too."""


def registered() -> dict[str, Metric]:
    """Return all metrics by name, in the order of the report, including those registered by other packages."""
    added = {entry.name: _load(entry) for entry in entry_points(group=GROUP)}
    own = {name: metric for name, metric in METRICS.items() if metric.measure is not _not_measured}
    return METRICS | added | own


def _load(entry: EntryPoint) -> Metric:
    try:
        metric: Metric = entry.load()
    except Exception as error:  # Importing another distribution can raise any exception.
        source = entry.dist.name if entry.dist else entry.value
        reason = f"{type(error).__name__}: {str(error).rstrip('.')}. Reinstall '{source}'."
        return _unavailable(entry.name, entry.name, f"Cannot load the metric '{entry.name}': {reason}")
    return metric


def find_metrics(names: Sequence[str] | None = None, models: Mapping[str, str] | None = None) -> list[Metric]:
    """Return the metrics with the given names, including metrics that are not available.

    Args:
        names: names from `registered()`. None returns all metrics.
        models: model names or paths, keyed by `Metric.model_key`, e.g. {"whisper": "base"}.

    Raises:
        ArgumentError: `names` is empty, or a metric name or a model key is unknown.
    """
    if names is not None and not names:
        raise ArgumentError("Name at least one metric, or omit the metrics to use all.")
    known = registered()
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise ArgumentError(f"Unknown metric: '{unknown[0]}'. Use one of: {', '.join(known)}.")
    keys = list(dict.fromkeys(metric.model_key for metric in known.values() if metric.model_key is not None))
    for key in models or {}:
        if key not in keys:
            raise ArgumentError(f"Unknown model key: '{key}'. Use one of: {', '.join(keys)}.")
    return [
        replace(known[name], model=(models or {}).get(known[name].model_key or ""))
        for name in (names if names is not None else known)
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
        MissingExtraError: the package that a metric needs is not installed.
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
