"""Measure codecs, or folders of decoded files, on clips, and write the result and the reports.

    FOLDER/rows.jsonl     measurements of each codec on each clip; see stored_rows.py
    FOLDER/audio/         a few clips to listen to; see listening.py
    FOLDER/results.json   the result
    FOLDER/report.md      the result as Markdown
    FOLDER/report.html    the result as an HTML page

A run measures only what is missing from rows.jsonl, so an interrupted run can be resumed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from silkcodec import audio
from silkcodec.errors import ArgumentError, AudioError, SilkError
from silkcodec.evaluate import listening, metrics, report, summary
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.evaluate.measure import Task
from silkcodec.evaluate.results import head, to_json
from silkcodec.evaluate.stored_rows import Row, RowsFile, content_hash, joined, only, row_key, still_good
from silkcodec.evaluate.workers import measure_here, measure_in_processes
from silkcodec.output import check_output, replacing
from silkcodec.parallel.cores import available_cores

DEFAULT_BY = ("speaker_seen", "language_seen")
"""Manifest columns by which means are grouped by default."""

LISTEN = 3
"""Default number of clips whose audio is stored."""

FILES = ("results.json", "report.md", "report.html")
"""Names of the result file and the reports that a run writes."""

Result = dict[str, Any]
"""Contents of results.json."""

Progress = Callable[[int, int, str], None]
"""Progress callback, which receives the number of finished rows, the total, and the name of the latest clip."""


@dataclass(frozen=True)
class RunOptions:
    """The options shared by `compare` and `score`.

    Attributes:
        metric_names: names from `metrics.registered()`. None selects all. Unavailable metrics are reported and skipped.
        models: model names or paths, keyed by model key, e.g. {"whisper": "base"}; see `metrics.find_metrics`.
        split: split of the manifest to measure; see `clips.find_clips`.
        limit: maximum number of clips; see `clips.find_clips`.
        seed: random seed for `limit` and the bootstrap.
        by: manifest columns to group the means by. None selects speaker_seen and language_seen if present.
        jobs: number of processes. None starts one per core. Use 1 to measure speeds reliably.
        listen: number of clips whose audio is included in the report.
        overwrite: whether to replace an earlier result and its reports. Stored rows and audio are reused in any case.
        root: folder that paths in manifests are relative to. None means the manifest's folder.
    """

    metric_names: Sequence[str] | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    limit: int | None = None
    seed: int = 0
    by: Sequence[str] | None = None
    jobs: int | None = None
    listen: int = LISTEN
    overwrite: bool = False
    root: str | os.PathLike[str] | None = None

    @property
    def processes(self) -> int:
        """Return the number of processes to use."""
        return self.jobs or available_cores()


@dataclass(frozen=True)
class Candidate:
    """A codec, or a folder of decoded files, in a comparison.

    Attributes:
        name: name in the result.
        source: codec name to pass to `load`, or the output files keyed by clip name.
        identity: identifier and layout of the codec; empty for files.
    """

    name: str
    source: str | Mapping[str, Path]
    identity: str = ""

    def task(self, clip: Clip, content: str, audio: Path | None) -> Task:
        """Return a task for this candidate and a clip, with an empty list of metrics.

        Args:
            clip: the reference clip.
            content: hash of the clip's content.
            audio: folder in which to store the audio for listening. If None, no audio is stored.
        """
        if isinstance(self.source, str):
            return Task(clip, self.name, self.source, row_key(clip, content, self.identity), (), audio)
        file = self.source[clip.name]
        return Task(clip, self.name, file, row_key(clip, content, content_hash(file)), (), audio)


def conclude(
    kind: str,
    clips: Sequence[Clip],
    facts: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Row],
    measured: Sequence[metrics.Metric],
    folder: str | os.PathLike[str] | None,
    options: RunOptions,
) -> Result:
    """Summarize a run, and write the result and its reports to a folder.

    Args:
        kind: "silk compare" or "silk score".
        clips: the reference clips.
        facts: additional fields of each codec, keyed by codec name, in the order of the report.
        rows: all rows of the run, one per clip and codec.
        measured: the metrics, including those that are not available.
        folder: output folder. If None, nothing is written.
        options: options of the run.

    Returns:
        The contents of results.json.

    Raises:
        OutputError: `folder` cannot be written to or already contains a result.
    """
    durations = {row["clip"]: row["duration_s"] for row in rows if "duration_s" in row}
    by = options.by if options.by is not None else [c for c in DEFAULT_BY if any(c in clip.columns for clip in clips)]
    settings = {
        "codecs": list(facts),
        "metrics": None if options.metric_names is None else list(options.metric_names),
        # A model can be a local folder, but results must not contain local paths.
        "models": {key: Path(model).name if Path(model).exists() else model for key, model in options.models.items()},
        **{key: getattr(options, key) for key in ("split", "limit", "seed", "jobs")},
        "by": list(by),
    }
    result = {
        **head(kind, report.FORMAT),
        "settings": settings,
        "clips": {"n": len(clips), "duration_s": sum(durations.values())},
        "metrics": {metric.name: _described(metric) for metric in measured},
        **summary.summarize(rows, facts, [metric.name for metric in measured], by, options.seed),
    }
    if folder is not None:
        stored = {clip.name: [row["codec"] for row in rows if row["clip"] == clip.name and row["status"] == "ok"]
                  for clip in clips[: options.listen]}  # fmt: skip
        write(result, Path(folder), listening.kept(Path(folder), stored), overwrite=options.overwrite)
    return result


def write(result: Result, folder: Path, examples: list[listening.Listening], *, overwrite: bool = False) -> None:
    """Write a result and its reports. report.html is skipped if Jinja2 is not installed.

    Args:
        result: result of a run.
        folder: output folder.
        examples: audio for the players of report.html.
        overwrite: whether to replace existing files.

    Raises:
        OutputError: `folder` cannot be written to, or a file exists and `overwrite` is False.
    """
    texts = {"results.json": to_json(result), "report.md": report.to_markdown(result)}
    if find_spec("jinja2") is not None:  # in the [eval] extra
        from silkcodec.evaluate.html import to_html

        texts["report.html"] = to_html(result, examples)
    for name, text in texts.items():
        with replacing(folder / name, overwrite=overwrite) as file:
            file.write(text.encode(errors="backslashreplace"))


def _described(metric: metrics.Metric) -> dict[str, Any]:
    missing = metric.missing()
    entry = {"label": metric.label, "unit": metric.unit, "better": metric.better}
    return entry | ({"missing": missing} if missing else {})


def prepare(
    inputs: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str] | None, options: RunOptions
) -> tuple[list[metrics.Metric], list[Clip]]:
    """Check the options and the output folder of a run, and find its metrics and clips.

    Args:
        inputs: audio files, folders or manifests.
        folder: output folder of the run, or None.
        options: options of the run.

    Returns:
        Two values: the metrics, including unavailable ones, and the clips.

    Raises:
        ArgumentError: an option or an input is invalid.
        AudioError: an input does not exist, or none of the clips can be read.
        OutputError: `folder` already contains a result and `options.overwrite` is False.
    """
    if options.jobs is not None and options.jobs < 1:
        raise ArgumentError(f"jobs must be at least 1; got {options.jobs}.")
    if min(options.listen, options.seed) < 0:
        raise ArgumentError(f"listen and seed must be at least 0; got {options.listen} and {options.seed}.")
    measured = metrics.find_metrics(options.metric_names, options.models)
    if folder is not None:
        if Path(folder).exists() and not Path(folder).is_dir():
            raise ArgumentError(f"The output must be a folder; got the file '{folder}'.")
        for name in FILES:
            check_output(Path(folder) / name, overwrite=options.overwrite)
    clips = find_clips(inputs, split=options.split, limit=options.limit, seed=options.seed, root=options.root)
    known = {column for clip in clips for column in clip.columns}
    for column in options.by or ():
        if column not in known:
            columns = ", ".join(sorted(known)) or "none"
            raise ArgumentError(
                f"Cannot group the results by '{column}', which is not a manifest column. Available columns: {columns}."
            )
    if all(reasons := [problem(clip) for clip in clips]):
        raise AudioError(str(reasons[0]))
    return measured, clips


def carry_out(
    clips: Sequence[Clip],
    candidates: Sequence[Candidate],
    measured: Sequence[metrics.Metric],
    folder: str | os.PathLike[str] | None,
    options: RunOptions,
    *,
    isolate: bool,
    progress: Progress | None,
) -> list[Row]:
    """Measure all candidates on all clips. Rows stored by earlier runs are reused.

    Args:
        clips: the reference clips.
        candidates: codecs or folders to measure.
        measured: the metrics. Unavailable metrics are skipped.
        folder: run folder. If None, rows are neither reused nor stored.
        options: options of the run.
        isolate: whether to measure in separate processes.
        progress: callback that receives the number of finished rows, the total, and the name of the latest clip.

    Returns:
        One row per clip and candidate, in the order of the clips.
    """
    available = [metric for metric in measured if metric.missing() is None]
    place = None if folder is None else Path(folder)
    file = None if place is None else RowsFile(place / "rows.jsonl")
    rows: dict[tuple[str, str], Row] = {}
    tasks: dict[tuple[str, str], Task] = {}
    for number, clip in enumerate(clips):
        audio_folder = listening.clip_folder(place, clip.name) if place and number < options.listen else None
        content = content_hash(clip.path)
        for candidate in candidates:
            task = candidate.task(clip, content, audio_folder)
            row = file.rows.get(task.key) if file else None
            if row is not None:
                rows[clip.name, candidate.name] = row
            wanted = tuple(metric.name for metric in available if not still_good(row, metric, clip))
            audio_missing = audio_folder is not None and file is not None and not _is_kept(file, task)
            if row is None or wanted or audio_missing:
                tasks[clip.name, candidate.name] = replace(
                    task, metrics=wanted, audio=audio_folder if audio_missing else None
                )
    done, total = len(clips) * len(candidates) - len(tasks), len(clips) * len(candidates)
    for row in _work(list(tasks.values()), [metric.name for metric in available], options, isolate):
        place_in = row["clip"], row["codec"]
        if file is not None:
            file.append(row)
            if row["status"] == "ok" and tasks[place_in].audio is not None:
                file.keep_audio(row)
        rows[place_in] = joined(rows.get(place_in), row)
        done += 1
        if progress is not None:
            progress(done, total, row["clip"])
    return [
        # The name of the codec and the manifest may have changed since the row was measured.
        only(rows[clip.name, candidate.name], [metric.name for metric in available])
        | {"codec": candidate.name, "columns": clip.columns}
        for clip in clips
        for candidate in candidates
    ]


def _work(tasks: Sequence[Task], names: Sequence[str], options: RunOptions, isolate: bool) -> Iterator[Row]:
    """Run tasks and yield their result rows."""
    groups = [list(group) for _, group in groupby(tasks, key=lambda task: task.clip.name)]
    jobs = min(options.processes, len(groups)) if isolate else 1
    rows = (
        measure_in_processes(groups, names, options.models, jobs)
        if isolate
        else measure_here(groups, names, options.models)
    )
    for row in rows:
        yield row | {"jobs": jobs}


def _is_kept(file: RowsFile, task: Task) -> bool:
    """Return whether the audio of a task is already stored."""
    assert task.audio is not None
    files = [listening.audio_file(task.audio, name) for name in (listening.REFERENCE, task.codec)]
    return file.audio.get((task.clip.name, task.codec)) == task.key and all(map(Path.exists, files))


def problem(clip: Clip) -> SilkError | None:
    """Return the error raised by reading the header of a clip, or None if the header can be read.

    Args:
        clip: clip to check.
    """
    try:
        audio.duration_s(clip.path)
    except SilkError as error:
        return error
    return None
