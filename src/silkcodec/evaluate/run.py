"""The run: every codec on every clip, one row each, kept on disk as they come.

    clip -audio.read-> reference [T] at 24 kHz -codec-> tokens -codec-> output -align-> Pair -metrics-> row

Resumable: rows go to `<out>.rows.jsonl` one line at a time, and a row is used again only where the codec
(the hash of its weights), the clip (the hash of its bytes), the metrics and their version are the same. So an
interrupted run goes on where it stopped, new weights measure only the new model, and a run with one codec
more measures only that one.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import silkcodec
from silkcodec import audio
from silkcodec.codec import Codec, load
from silkcodec.codec import codecs as codec_names
from silkcodec.errors import ArgumentError, OutputError, SilkError
from silkcodec.evaluate import align, metrics, summary
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.output import check_output, replacing

FORMAT = 1  # of the result's JSON
ROW_VERSION = 1  # raise it when a metric or the alignment changes: older rows are then measured anew
DEFAULT_BY = ("speaker_seen", "language_seen")

Row = dict[str, Any]
Result = dict[str, Any]
Progress = Callable[[int, int, str], None]  # rows done, rows in all, the clip just done


def evaluate(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk",),
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    metric_names: Sequence[str] | None = None,
    by: Sequence[str] = DEFAULT_BY,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Measures codecs on the same clips.

    Args:
        inputs: audio files, folders, or an INDEX.tsv.
        codecs: names as `silkcodec.load` takes them; differences are taken against the first.
        split, limit, seed: which clips, see `clips.find_clips`; the seed is also the bootstrap's.
        metric_names: of `metrics.METRICS`; None: all.
        by: columns of the index to split the means by.
        jobs: processes; None: as many as there are cores; 1: this one. Measure speed with 1.
        out: JSON file for the result; the rows are kept beside it, and what they hold is not measured again.
        overwrite: replace `out` if it exists.
        fresh: measure everything anew, whatever rows there are.
        progress: called after each row.

    Returns:
        What `out` holds: settings, rates, means with intervals, differences, groups, what was left out.

    Raises:
        ArgumentError, AudioError: the arguments or the clips, before anything is measured.
        MissingExtraError: a metric's or a codec's package, likewise before.
        OutputError: `out` exists or cannot be written.
    """
    names = list(dict.fromkeys(codecs))
    if not names:
        raise ArgumentError("evaluate needs one codec at least; got none.")
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"jobs must be at least 1; got {jobs}.")
    if out is not None:
        check_output(out, overwrite=overwrite)
    clips = find_clips(inputs, split=split, limit=limit, seed=seed)
    found = metrics.find_metrics(metric_names)
    for metric in found if metric_names is not None else []:
        metric.require()
    measured = [metric.name for metric in found if metric.missing() is None]
    ids = {name: codec_id(_codec(name)) for name in names}

    rows_path = None if out is None else rows_file(out)
    keys = {(clip.name, name): _row_key(clip, ids[name], measured) for clip in clips for name in names}
    known = {} if fresh or rows_path is None else _read_rows(rows_path)
    rows = {pair: known[key] for pair, key in keys.items() if key in known}
    tasks = []
    for clip in clips:
        missing = [name for name in names if (clip.name, name) not in rows]
        if missing:
            tasks.append((clip, {name: keys[clip.name, name] for name in missing}, measured))
    done, total = len(rows), len(keys)
    for clip_rows in _work(tasks, jobs or os.cpu_count() or 1):
        if rows_path is not None:
            _append_rows(rows_path, clip_rows)
        for row in clip_rows:
            rows[row["clip"], row["codec"]] = row
            done += 1
            if progress is not None:
                progress(done, total, row["clip"])

    settings = {"codecs": names, "split": split, "limit": limit, "seed": seed, "by": list(by), "jobs": jobs}
    # The index may have been edited since a row was measured: its columns are taken as they are now.
    ordered = [{**rows[clip.name, name], "columns": clip.columns} for clip in clips for name in names]
    result = _result(ordered, clips, settings, measured)
    if out is not None:
        with replacing(out, overwrite=overwrite) as file:
            file.write((json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    return result


def codec_id(codec: Codec) -> str:
    """A codec's name and weights' hash, as its tokens carry it: encodes a tenth of a second to learn it."""
    return codec.encode(np.zeros(codec.sample_rate // 10, dtype=np.float32), codec.sample_rate).codec


def rows_file(out: str | os.PathLike[str]) -> Path:
    """Where the rows of a result lie: `quality.json` -> `quality.rows.jsonl`."""
    return Path(out).with_suffix(".rows.jsonl")


def measure(codec: Codec, wave: metrics.Wave, metric_list: list[metrics.Metric]) -> Row:
    """One codec on one reference, float32 [T] at 24 kHz: the part of a row that is measured.

    A SilkError of the codec is a row with the status "failed", not the end of the run.
    """
    try:
        started = time.perf_counter()
        tokens = codec.encode(wave, metrics.SAMPLE_RATE)
        encoded = time.perf_counter()
        decoded = codec.decode(tokens)
        finished = time.perf_counter()
        output = audio.as_wave(decoded, codec.sample_rate, metrics.SAMPLE_RATE)
    except SilkError as error:
        return {"status": "failed", "error": str(error)}
    delay = align.find_delay(wave, output, metrics.SAMPLE_RATE)
    pair = metrics.Pair(wave, align.shifted(output, delay.n_samples, len(wave)))
    values, undefined, _ = metrics.measure_all(pair, metric_list)
    return {
        "status": "ok",
        "codec_id": tokens.codec,
        "n_tokens": tokens.n_tokens,
        "tokens_per_second": tokens.tokens_per_second,
        "bits_per_second": tokens.bits_per_second,
        "frame_rates": list(tokens.frame_rates),
        "codebook_sizes": list(tokens.codebook_sizes),
        "encode_s": encoded - started,
        "decode_s": finished - encoded,
        "delay_s": delay.n_samples / metrics.SAMPLE_RATE,
        "delay_by": delay.method,
        "length_error_samples": len(output) - len(wave),
        "metrics": values,
        "undefined": undefined,
    }


@cache
def _codec(name: str, threads: int | None = None) -> Codec:
    """Loaded once per process. Only Silk takes `threads`; the classical codecs have none."""
    is_silk = name.partition(":")[0] not in set(codec_names()) - {"silk"}
    return load(name, threads=threads) if is_silk and threads is not None else load(name)


def _measure_clip(
    clip: Clip, keys: dict[str, str], metric_names: list[str], threads: int | None = None
) -> list[Row]:
    """All missing rows of one clip: the unit of work, so that a reference is read once."""
    metric_list = metrics.find_metrics(metric_names)
    try:
        wave = audio.read(clip.path, metrics.SAMPLE_RATE)
    except SilkError as error:
        # By its name: where a clip lies on this machine is nothing that a result should carry.
        failed = {"status": "failed", "error": str(error).replace(str(clip.path), clip.name)}
        return [_row(clip, name, key, 0.0, failed) for name, key in keys.items()]
    duration_s = len(wave) / metrics.SAMPLE_RATE
    return [
        _row(clip, name, key, duration_s, measure(_codec(name, threads), wave, metric_list))
        for name, key in keys.items()
    ]


def _row(clip: Clip, codec: str, key: str, duration_s: float, measured: Row) -> Row:
    return {
        "key": key,
        "clip": clip.name,
        "codec": codec,
        "duration_s": duration_s,
        "columns": clip.columns,
        **measured,
    }


def _work(tasks: list[tuple[Clip, dict[str, str], list[str]]], jobs: int) -> Iterator[list[Row]]:
    """Rows of each task as they are done, in this process or in several."""
    if jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            yield _measure_clip(*task)
        return
    # Spawned, not forked: a fork copies the thread pools of a loaded model in an unusable state.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)  # each process: together no more than there are cores
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context) as pool:
        futures = [pool.submit(_measure_clip, *task, threads) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise SilkError(
                "every worker process must live to the end of its clip; one was killed, perhaps for lack of"
                " memory; run the same command again to go on, with fewer --jobs."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _row_key(clip: Clip, identity: str, metric_names: list[str]) -> str:
    """What a row depends on, as 16 hex digits."""
    try:
        content = hashlib.sha256(clip.path.read_bytes()).hexdigest()
    except OSError:
        content = "unreadable"  # audio.read will say why, in the row
    parts = [ROW_VERSION, identity, clip.name, content, *metric_names]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read_rows(path: Path) -> dict[str, Row]:
    """Rows of an earlier run by key, the last of equal ones; without failed ones, which are tried again."""
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the line that a killed run was writing: measured again
        if isinstance(row, dict) and row.get("status") == "ok" and "key" in row:
            rows[row["key"]] = row
    return rows


def _append_rows(path: Path, rows: list[Row]) -> None:
    """One line per row, on disk before the next clip begins.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            # A killed run may have left half a line: it must not swallow the next row.
            file.seek(0, os.SEEK_END)
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    lines = "\n" + lines
            file.write(lines.encode())
    except OSError as error:
        raise OutputError(f"rows must be written beside the result; '{path}': {error.strerror}.") from error


def _result(rows: list[Row], clips: list[Clip], settings: dict[str, Any], metric_names: list[str]) -> Result:
    seconds = {row["clip"]: row["duration_s"] for row in rows}
    described = {name: metrics.METRICS[name] for name in metric_names}
    return {
        "kind": "silk evaluate",
        "format": FORMAT,
        "version": silkcodec.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings,
        "clips": {"n": len(clips), "duration_s": sum(seconds.values())},
        "metrics": {
            name: {"label": metric.label, "unit": metric.unit, "better": metric.better}
            for name, metric in described.items()
        },
        **summary.summarize(rows, settings["codecs"], metric_names, settings["by"], settings["seed"]),
    }
