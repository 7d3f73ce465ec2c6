"""Measure one codec on one clip, and return the result as a row (a dict).

    clip -audio.read-> reference [T] at 24 kHz -codec-> tokens -codec-> output -align-> Pair -metrics-> row

For `silk score`, the output is read from a file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silkcodec import audio
from silkcodec.codec import Codec, is_silk, load
from silkcodec.errors import AudioError, SilkError
from silkcodec.evaluate import align, codebooks, metrics
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.listening import REFERENCE, keep
from silkcodec.evaluate.stored_rows import Row, metric_identity

RATE = metrics.SAMPLE_RATE
WARM_UP_S = 0.5


@dataclass(frozen=True)
class Task:
    """A measurement of one codec on one clip.

    Attributes:
        clip: clip that serves as the reference.
        codec: name of the codec in the result.
        source: codec name to pass to `load`, or path of an audio file with the output.
        key: key of the resulting row; see `stored_rows.row_key`.
        metrics: names of the metrics to measure.
        audio: folder in which to store the audio for listening. If None, no audio is stored.
    """

    clip: Clip
    codec: str
    source: str | Path
    key: str
    metrics: tuple[str, ...]
    audio: Path | None = None


class Measurer:
    """Run measurement tasks.

    Args:
        metric_names: names of the metrics; see `metrics.find_metrics`.
        models: models of the metrics; see `metrics.find_metrics`.
        threads: number of CPU threads for Silk. None uses Silk's default.
    """

    def __init__(self, metric_names: Sequence[str], models: Mapping[str, str], threads: int | None = None) -> None:
        self._metrics = {metric.name: metric for metric in metrics.find_metrics(metric_names, models)}
        self._threads = threads
        self._codecs: dict[str, Codec] = {}
        self._unusable: dict[str, str] = {}  # metric -> why its model cannot be loaded
        self._clip: Clip | None = None
        self._wave: metrics.Wave
        self._shared: dict[str, Any] = {}

    def __call__(self, task: Task) -> Row:
        """Run a task and return its row, which also records errors raised by the codec and the metrics."""
        row: Row = {"key": task.key, "clip": task.clip.name, "codec": task.codec, "columns": task.clip.columns}
        try:
            self._open(task.clip)
        except SilkError as error:
            # Results must not contain local paths, so the message names the clip instead.
            return row | failure(str(error).replace(str(task.clip.path), task.clip.name))
        row["duration_s"] = len(self._wave) / RATE
        try:
            facts, output = self._made(task)
        except SilkError as error:
            return row | failure(str(error).replace(str(task.source), task.codec))
        except Exception as error:  # A baseline codec may raise any exception. The row records it.
            return row | failure(f"{type(error).__name__}: {error}")
        return row | facts | self._measured(task, output)

    def _open(self, clip: Clip) -> None:
        if clip != self._clip:
            self._clip, self._shared = None, {}
            self._wave = audio.read(clip.path, RATE)
            self._clip = clip

    def _made(self, task: Task) -> tuple[Row, metrics.Wave]:
        """Return the result row without metrics, and the output (float32 [T2] at 24 kHz)."""
        if isinstance(task.source, Path):
            return {}, audio.read(task.source, RATE)
        codec = self._codec(task.source)
        started = time.perf_counter()
        tokens = codec.encode(self._wave, RATE)
        encoded = time.perf_counter()
        decoded = codec.decode(tokens)
        finished = time.perf_counter()
        facts = {
            "codec_id": tokens.codec,
            "n_tokens": tokens.n_tokens,
            "tokens_per_second": tokens.tokens_per_second,
            "bits_per_second": tokens.bits_per_second,
            "frame_rates": list(tokens.frame_rates),
            "codebook_sizes": list(tokens.codebook_sizes),
            "dims_per_token": tokens.dims_per_token,
            "codes": codebooks.histogram(tokens),
            "encode_s": encoded - started,
            "decode_s": finished - encoded,
        }
        return facts, audio.as_wave(decoded, codec.sample_rate, RATE)

    def _codec(self, name: str) -> Codec:
        """Return a loaded codec. Codecs are run once after loading, because the first run of a network is slow."""
        if name not in self._codecs:
            threads = {} if self._threads is None or not is_silk(name) else {"threads": self._threads}
            codec = load(name, **threads)
            codec.decode(codec.encode(self._wave[: int(WARM_UP_S * RATE)], RATE))
            self._codecs[name] = codec
        return self._codecs[name]

    def _measured(self, task: Task, output: metrics.Wave) -> Row:
        delay = align.find_delay(self._wave, output, RATE)
        aligned = align.shifted(output, delay.n_samples, len(self._wave))
        pair = metrics.Pair(self._wave, aligned, task.clip.columns, self._shared)
        row: Row = {
            "status": "ok",
            "delay_s": delay.n_samples / RATE,
            "delay_by": delay.method,
            "length_error_samples": len(output) - len(self._wave),
            **{part: {} for part in ("metrics", "undefined", "weights", "measured_with", "broken")},
        }
        for name in task.metrics:
            metric = self._metrics[name]
            if name in self._unusable:
                row["broken"][name] = self._unusable[name]
                continue
            try:
                values, undefined, weights = metrics.measure_all(pair, [metric])
            except SilkError as error:
                row["broken"][name] = metric.without_path(str(error))
                if not isinstance(error, AudioError):  # The clip is not the cause, so all other clips would fail too.
                    self._unusable[name] = row["broken"][name]
                continue
            except Exception as error:  # A third-party package may raise any exception. The next run tries again.
                row["broken"][name] = f"{type(error).__name__}: {error}"
                continue
            row["metrics"] |= values
            row["undefined"] |= undefined
            row["weights"] |= weights
            row["measured_with"][name] = metric_identity(metric, task.clip)
        if task.audio is not None:
            keep(task.audio, REFERENCE, self._wave)
            keep(task.audio, task.codec, aligned)
        return row


def failure(reason: str) -> Row:
    """Return the fields of a result row that record a failure."""
    return {"status": "failed", "error": " ".join(reason.split())}
