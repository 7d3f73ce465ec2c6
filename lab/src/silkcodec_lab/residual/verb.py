"""`silk lab residual`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.verbs import Force, Output, Results, Seed, run


def residual(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")],
    at: Annotated[float, typer.Option("--at", metavar="SECONDS", help="The moment, from the beginning of FILE.")],
    output: Output,
    speech: Annotated[
        list[str] | None,
        typer.Option("--speech", metavar="IN", help="Speech to fit to. Repeatable. Default: the rest of FILE."),
    ] = None,
    codebooks: Annotated[int, typer.Option("--codebooks", help="Codebooks of the chain, 1 to 32.")] = 32,
    entries: Annotated[int, typer.Option("--entries", help="Entries of each codebook.")] = 64,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of --speech.")] = 10.0,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Show the residual chain at one moment: the nearest entry of each codebook, and the error after it."""
    from silkcodec_lab.residual import measure

    run(
        "residual",
        lambda progress: measure.residual(
            file, at, speech=speech or (), n_codebooks=codebooks, entries=entries, minutes=minutes, seed=seed
        ),
        output,
        results,
        force,
    )
