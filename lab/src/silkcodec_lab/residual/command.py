"""Define the `silk lab residual` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.command_options import Force, Output, Results, Seed, run_experiment


def residual(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recording.")],
    at: Annotated[float, typer.Option("--at", metavar="SECONDS", help="Moment to quantize, from the start of FILE.")],
    output: Output,
    speech: Annotated[
        list[str] | None,
        typer.Option("--speech", metavar="IN", help="Training speech. Repeatable. Default: the rest of FILE."),
    ] = None,
    codebooks: Annotated[int, typer.Option("--codebooks", help="Number of codebooks, 1 to 32.")] = 32,
    entries: Annotated[int, typer.Option("--entries", help="Entries per codebook.")] = 64,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of --speech.")] = 10.0,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure the error after each residual codebook.

    The command quantizes one moment in a recording with residual codebooks that are fitted to other speech.
    """
    from silkcodec_lab.residual import experiment

    run_experiment(
        "residual",
        lambda progress: experiment.residual(
            file, at, speech=speech or (), n_codebooks=codebooks, entries=entries, minutes=minutes, seed=seed,
            progress=progress,
        ),
        output,
        results,
        force,
    )  # fmt: skip
