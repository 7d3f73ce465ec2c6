"""Create a result with everything that a report can show."""

from __future__ import annotations

from typing import Any

import numpy as np

import silkcodec
from repository import SAMPLES
from silkcodec import audio
from silkcodec.evaluate import align, codebooks, statistics
from silkcodec.evaluate.listening import REFERENCE, Listening
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics, measure_all

CODECS = ("silk", "codec2:1200", "codec2:3200", "opus:6k", "opus:12k")
FAILED = "nonesuch"
METRICS = ("stoi", "estoi", "mel_distance", "si_sdr_db", "level_db")
NEEDS = "The metric ViSQOL needs a package that is not installed; run: pip install 'silkcodec[nonesuch]'."


def make(codecs: tuple[str, ...] = CODECS, seconds: float = 2.0) -> tuple[dict[str, Any], list[Listening]]:
    """Return a result and the audio to listen to, for codecs on two samples, including a failed codec."""
    loaded = {name: silkcodec.load(name) for name in codecs}
    rows: list[dict[str, Any]] = []
    listening = []
    for clip in ("english.flac", "mandarin.flac"):
        wave = audio.read(SAMPLES / clip, SAMPLE_RATE)[: round(seconds * SAMPLE_RATE)]
        waves = {REFERENCE: wave}
        for name, codec in loaded.items():
            tokens = codec.encode(wave, SAMPLE_RATE)
            output = audio.as_wave(codec.decode(tokens), codec.sample_rate, SAMPLE_RATE)
            delay = align.find_delay(wave, output, SAMPLE_RATE)
            waves[name] = align.shifted(output, delay.n_samples, len(wave))
            values, _, _ = measure_all(Pair(wave, waves[name]), find_metrics(list(METRICS)))
            rows.append({"codec": name, "clip": clip, "tokens": tokens, "metrics": values})
        listening.append(Listening(clip, SAMPLE_RATE, waves))
    return _result(list(codecs), rows, loaded, 2 * seconds), listening


def _result(codecs: list[str], rows: list[dict[str, Any]], loaded: dict[str, Any], duration_s: float) -> dict[str, Any]:
    values = {
        name: {key: np.array([row["metrics"][key] for row in rows if row["codec"] == name]) for key in METRICS}
        for name in codecs
    }
    means = {name: {key: statistics.bootstrap(values[name][key]) for key in METRICS} for name in codecs}
    minus = {
        name: {key: statistics.bootstrap(values[codecs[0]][key] - values[name][key]) for key in METRICS}
        for name in codecs[1:]
    }
    metrics = {
        metric.name: {"label": metric.label, "unit": metric.unit, "better": metric.better}
        for metric in find_metrics(list(METRICS))
    }
    metrics["visqol"] = {"label": "ViSQOL", "unit": "MOS-LQO", "better": "higher", "missing": NEEDS}
    rates = {name: _rates([row["tokens"] for row in rows if row["codec"] == name], loaded[name]) for name in codecs}
    rates[FAILED] = {"n_clips": 2, "n_failed": 2, "failed": "Unknown codec: 'nonesuch'."}
    groups = {value: {"n_clips": 1, "codecs": means} for value in ("english", "mandarin")}
    reason = "STOI needs at least 384 ms of speech; the reference has less."
    return {
        "kind": "silk compare",
        "format": 2,
        "version": silkcodec.__version__,
        "created": "2026-11-23T12:00:00+00:00",
        "settings": {"codecs": [*codecs, FAILED], "split": None, "seed": 0, "by": ["language"], "metrics": None},
        "clips": {"n": 2, "duration_s": duration_s},
        "metrics": metrics,
        "codecs": rates,
        "means": means,
        "differences": {"of": codecs[0], "minus": minus},
        "groups": {"language": groups},
        "left_out": [
            {"clip": "short.flac", "codec": name, "metric": "stoi", "reason": reason, "failed": False}
            for name in codecs
        ],
    }


def _rates(tokens: list[Any], codec: Any) -> dict[str, Any]:
    rows = [
        {
            "codebook_sizes": list(one.codebook_sizes),
            "frame_rates": list(one.frame_rates),
            "codes": codebooks.histogram(one),
            "dims_per_token": one.dims_per_token,
        }
        for one in tokens
    ]
    latency_s = getattr(codec, "latency_s", None)
    return {
        "n_clips": len(tokens),
        "n_failed": 0,
        "frame_rate_hz": min(tokens[0].frame_rates),
        "n_codebooks": len(tokens[0].frame_rates),
        "tokens_per_second": float(np.mean([one.tokens_per_second for one in tokens])),
        "bits_per_second": float(np.mean([one.bits_per_second for one in tokens])),
        "quantizer": getattr(codec, "quantizer", ""),
        "latency_ms": None if latency_s is None else 1000 * latency_s,
        **codebooks.statistics(rows),
    }
