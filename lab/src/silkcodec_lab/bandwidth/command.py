"""Define the `silk lab bandwidth` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.command_options import (
    Clips,
    Codecs,
    Force,
    Inputs,
    Output,
    Results,
    Runs,
    Seed,
    Split,
    run_experiment,
    split_names,
)


def bandwidth(
    inputs: Inputs,
    output: Output,
    codecs: Codecs = "silk,codec2:1200,opus:6k",
    runs: Runs = None,
    split: Split = None,
    order_split: Annotated[
        str, typer.Option("--order-split", help="Split for ordering Silk's codebooks by importance.")
    ] = "train",
    clips: Clips = None,
    seconds: Annotated[float, typer.Option("--seconds", help="At most N seconds of each clip.")] = 8.0,
    points: Annotated[int, typer.Option("--points", help="At most N values of n_codebooks per codec.")] = 8,
    listen: Annotated[
        Path | None, typer.Option("--listen", help="Recording for the audio examples. Default: the first clip.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes. Default: one per core.")] = None,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure quality with fewer codebooks.

    The command also writes audio examples. If several runs are given, the others are compared with the first one.
    """
    from silkcodec_lab.bandwidth import experiment

    plan = experiment.BandwidthPlan(points=points, clip_s=seconds, listen=listen, jobs=jobs, seed=seed)
    run_experiment(
        "bandwidth",
        lambda progress: experiment.bandwidth(
            inputs,
            split_names(codecs),
            folder=output / "bandwidth_audio",
            runs=runs or (),
            split=split,
            order_split=order_split,
            limit=clips,
            plan=plan,
            overwrite=force,
            progress=progress,
        ),
        output,
        results,
        force,
    )
