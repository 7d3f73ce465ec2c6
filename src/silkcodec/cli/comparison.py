"""Define the `compare` and `score` commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.cli.options import (
    By,
    Clips,
    ForceReport,
    Jobs,
    Json,
    Limit,
    Listen,
    Metrics,
    Models,
    Report,
    Root,
    Seed,
    Split,
)
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.progress import counting


def compare(
    inputs: Clips,
    codecs: Annotated[
        str, typer.Option("--codecs", help="Codecs, separated by commas. 'original': the clips themselves.")
    ] = "silk",
    output: Report = Path("comparison"),
    metrics: Metrics = None,
    models: Models = None,
    split: Split = None,
    root: Root = None,
    limit: Limit = None,
    seed: Seed = 0,
    by: By = None,
    jobs: Jobs = None,
    listen: Listen = 3,
    force: ForceReport = False,
    as_json: Json = False,
) -> None:
    """Measure codecs on the same clips and write a report.

    To resume an interrupted run, run the same command again. To add a codec or a metric later, pass --force: only the
    missing results are computed. Most metrics require the [eval] extra.
    """
    from silkcodec.evaluate.compare import compare

    options = _options(metrics, models, split, limit, seed, by, jobs, listen, force, root)
    _report(lambda progress: compare(inputs, _listed(codecs), output, options, progress=progress), output, as_json)


def score(
    reference: Annotated[str, typer.Argument(metavar="REF", help="Folder, manifest or file with the originals.")],
    degraded: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]FOLDER...", help="Folders of decoded files with the same names as in REF."),
    ],
    output: Report = Path("scores"),
    metrics: Metrics = None,
    models: Models = None,
    split: Split = None,
    root: Root = None,
    limit: Limit = None,
    seed: Seed = 0,
    by: By = None,
    jobs: Jobs = None,
    listen: Listen = 3,
    force: ForceReport = False,
    as_json: Json = False,
) -> None:
    """Measure the quality of files decoded by another program, and write a report."""
    from silkcodec.evaluate.score import score

    options = _options(metrics, models, split, limit, seed, by, jobs, listen, force, root)
    _report(lambda progress: score(reference, degraded, output, options, progress=progress), output, as_json)


def _options(
    metrics: str | None,
    models: list[str] | None,
    split: str | None,
    limit: int | None,
    seed: int,
    by: str | None,
    jobs: int | None,
    listen: int,
    force: bool,
    root: Path | None,
) -> Any:
    """Return the options that `compare` and `score` have in common."""
    from silkcodec.evaluate.run import RunOptions

    given = {}
    for text in models or []:
        key, equals, model = text.partition("=")
        if not (key and equals and model):
            raise ArgumentError(f"--model must be KEY=NAME_OR_PATH; got '{text}'.")
        given[key] = model
    names, columns = (None if text is None else _listed(text) for text in (metrics, by))
    return RunOptions(names, given, split, limit, seed, columns, jobs, listen, force, root)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _report(work: Callable[[Any], dict[str, Any]], folder: Path, as_json: bool) -> None:
    """Run a measurement and print its result.

    Raises:
        SilkError: some measurements failed.
    """
    from silkcodec.cli import console
    from silkcodec.evaluate.report import failures

    with counting("measure") as progress:
        result = work(progress)
    if as_json:
        console.show_json(result)
    else:
        console.show_comparison(result, folder)
    failed = failures(result)
    if failed:
        more = f" ({len(failed) - 1} more in the report)" if len(failed) > 1 else ""
        raise SilkError(f"Some measurements failed: {failed[0]}{more}")
