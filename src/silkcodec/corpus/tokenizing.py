"""Encode recordings into a corpus of tokens. To resume an interrupted run, start it again.

OUT/plan.json plan.jsonl      recordings in each shard (plan.py)
OUT/tokens-00003-of-00010...  shards (shard.py, rows.py)
OUT/ledger.jsonl              result for each shard (ledger.py)
OUT/quarantine.jsonl          one line per excluded recording, with the reason
OUT/report.json               hours, tokens, bits, failures by reason, speed
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from silkcodec import __version__
from silkcodec.audio import manifest
from silkcodec.corpus import arrow, local, sources
from silkcodec.corpus import plan as planning
from silkcodec.corpus.ledger import Ledger, Record, locked
from silkcodec.corpus.plan import CorpusSettings, Plan
from silkcodec.corpus.rows import SUFFIXES
from silkcodec.corpus.shard import ShardJob, absolute_codec, facts_of, load_codec
from silkcodec.errors import ArgumentError
from silkcodec.output import replacing
from silkcodec.parallel.cores import available_cores

ENGINES = ("local", "ray")
# Maximum duration of a recording in hours, keyed by whether the codec streams. Other codecs need the whole recording in
# memory.
MAX_HOURS = {True: 10.0, False: 1.0}
Progress = Callable[[int, int, str], None]
"""Progress callback, which receives the number of started recordings, the total number, and a description."""


@dataclass(frozen=True)
class Options:
    """The options of `tokenize`.

    Attributes:
        codec: codec name, as accepted by `load`.
        file_format: "parquet" or "webdataset".
        engine: "local" or "ray".
        workers: number of processes, each with one thread. None starts one per core.
        shard_items, max_segment_s, provider, allow_outside: see `plan.CorpusSettings`.
        max_hours: maximum duration of a recording in hours. None means 10, or 1 for codecs that need a whole recording
            in memory.
        address: address of a Ray cluster, or "auto". None starts Ray on this machine.
        gpus: number of GPUs per Ray worker.
        root: base folder for the paths in manifests. None uses the folder of each manifest.
        columns: column names in the manifests, e.g. "path=wav_filename".
        separator, encoding: format of the manifests; see `manifest.Dialect`.
    """

    codec: str = "silk"
    file_format: str = "parquet"
    engine: str = "local"
    workers: int | None = None
    shard_items: int = 256
    max_segment_s: float | None = None
    max_hours: float | None = None
    provider: str = "cpu"
    allow_outside: bool = False
    address: str | None = None
    gpus: float = 0.0
    root: str | None = None
    columns: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str = "utf-8"


def tokenize(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: Options | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Encode recordings and write their tokens to a folder. Existing shards are kept.

    Args:
        inputs: folders, manifests, tars, datasets or audio files.
        output: folder that does not exist, is empty, or contains an earlier run with the same inputs and settings.
        options: options for the run. None uses the defaults.
        progress: progress callback; see `Progress`.

    Returns:
        The report, as in report.json.

    Raises:
        ArgumentError, AudioError: an input or option is invalid.
        OutputError: the folder contains unrelated files or a different corpus, another run is using it, or the disk is
            full.
        MissingExtraError: a required extra is not installed.
        WeightsError, ProviderError: the codec cannot be loaded.
    """
    started = time.perf_counter()
    options = options or Options()
    _check(options)
    found = sources.roots(inputs, output, below=options.root, dialect=_dialect(options))
    name = absolute_codec(options.codec)
    facts = facts_of(load_codec(name, options.provider))
    settings = CorpusSettings(
        facts=facts,
        file_format=options.file_format,
        shard_items=options.shard_items,
        max_segment_s=options.max_segment_s,
        max_hours=options.max_hours or MAX_HOURS[facts.streams or options.max_segment_s is not None],
        provider=options.provider,
        allow_outside=options.allow_outside,
    )
    folder = planning.folder_for(output)
    with locked(folder):
        _clean(folder)
        extra = {"load": name, "inputs": [os.fspath(path) for path in inputs], "version": __version__}
        plan = planning.make(folder, sources.items(found, options.allow_outside), settings, extra)
        job = ShardJob(
            settings, name, tuple(root.folder for root in found), str(folder.resolve()), plan.hash, plan.n_shards
        )
        with Ledger(folder, plan.hash) as ledger:
            before = set(ledger.records)
            _work(job, plan, ledger, options, progress)
            report = _report(plan, ledger, before, options, settings, time.perf_counter() - started)
            _write_quarantine(folder, plan, ledger.records)
        with replacing(folder / "report.json", overwrite=True) as file:
            file.write((json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    return report


def _dialect(options: Options) -> manifest.Dialect:
    pairs = [column.partition("=") for column in options.columns]
    for name, equals, column in pairs:
        if not (name and equals and column):
            raise ArgumentError(f"--column must be NAME=COLUMN, e.g. path=wav_filename; got '{name}{equals}{column}'.")
    separator = "\t" if options.separator in ("tab", "\\t") else options.separator
    return manifest.Dialect(tuple((name, column) for name, _, column in pairs), separator, options.encoding)


def _check(options: Options) -> None:
    for value, known, what in (
        (options.file_format, tuple(SUFFIXES), "--format"),
        (options.engine, ENGINES, "--engine"),
    ):
        if value not in known:
            raise ArgumentError(f"{what} must be {' or '.join(known)}; got '{value}'.")
    positive = {
        "--workers": options.workers,
        "--shard-items": options.shard_items,
        "--max-segment-s": options.max_segment_s,
        "--max-hours-per-file": options.max_hours,
    }
    for what, number in positive.items():
        if number is not None and not (number > 0 and math.isfinite(number)):
            raise ArgumentError(f"{what} must be finite and above 0; got {number}.")
    if options.max_segment_s is not None and options.max_segment_s < 0.1:
        raise ArgumentError(f"--max-segment-s must be at least 0.1; got {options.max_segment_s}.")
    if options.file_format == "parquet":
        arrow.require("The shard format parquet (the alternative is --format webdataset)")
    if options.engine == "ray":
        from silkcodec.corpus import ray

        ray.require()
    elif options.address is not None or options.gpus:
        raise ArgumentError("--address and --gpus require --engine ray.")


def _clean(folder: Path) -> None:
    """Remove the incomplete files left by interrupted runs."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _work(job: ShardJob, plan: Plan, ledger: Ledger, options: Options, progress: Progress | None) -> None:
    todo = [index for index in range(plan.n_shards) if index not in ledger.records]
    begun = sum(plan.counts) - sum(plan.counts[index] for index in todo)
    done_s, since = 0.0, time.perf_counter()

    def starts(n: int) -> None:
        nonlocal begun
        begun += n
        if progress is not None:
            speed = done_s / (time.perf_counter() - since)
            progress(
                min(begun, plan.n_items), plan.n_items, f"{done_s / 3600:.2f} h in this run, {speed:.0f} x real time"
            )

    starts(0)
    if not todo:
        return
    n_workers = options.workers or available_cores()
    if options.engine == "ray":
        from silkcodec.corpus import ray

        records = ray.tokenize(job, plan, todo, n_workers, starts, address=options.address, gpus=options.gpus)
    else:
        records = local.tokenize(job, plan, todo, n_workers, starts)
    for record in records:
        ledger.add({**record, "engine": options.engine})
        done_s += record["samples"] / job.settings.facts.sample_rate


def _report(
    plan: Plan, ledger: Ledger, before: set[int], options: Options, settings: CorpusSettings, wall_s: float
) -> dict[str, Any]:
    records = [ledger.records[index] for index in range(plan.n_shards)]
    now = [record for record in records if record["shard"] not in before]
    quarantined = [entry["reason"] for record in records for entry in record["quarantined"]]
    quarantined += [entry.reason for entry in plan.refused()]
    rate = settings.facts.sample_rate
    done_s = sum(record["samples"] for record in now) / rate
    return {
        "kind": "silk corpus report",
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "codec": settings.facts.codec,
        "plan": plan.hash,
        "settings": asdict(settings),
        "recordings": plan.n_items + plan.n_refused,
        "rows": sum(record["rows"] for record in records),
        "hours": sum(record["samples"] for record in records) / rate / 3600,
        "tokens": sum(record["tokens"] for record in records),
        "bits": math.fsum(record["bits"] for record in records),
        "bytes": sum(record["bytes"] for record in records),
        "shards": plan.n_shards,
        "quarantined": len(quarantined),
        "quarantined_by_reason": dict(sorted(Counter(quarantined).items())),
        "ids_renamed": plan.n_renamed,
        "this_run": {
            "engine": options.engine,
            "workers": options.workers or available_cores(),
            "shards": len(now),
            "hours": done_s / 3600,
            "wall_s": wall_s,
            "x_realtime": done_s / wall_s,
            "x_realtime_per_worker": done_s / max(1e-9, sum(record["wall_s"] for record in now)),
            "peak_mb_per_worker": max((record["peak_mb"] or 0.0 for record in now), default=0.0),
        },
    }


def _write_quarantine(folder: Path, plan: Plan, records: dict[int, Record]) -> None:
    in_shards = (entry for index in range(plan.n_shards) for entry in records[index]["quarantined"])
    lines: Iterable[dict[str, Any]] = chain((entry.to_json() for entry in plan.refused()), in_shards)
    with replacing(folder / "quarantine.jsonl", overwrite=True) as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
