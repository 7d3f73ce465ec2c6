"""Define the `silk lab gradient` command."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.command_options import Clips, Force, Inputs, Output, Results, Runs, Seed, Split, run_experiment


def gradient(
    inputs: Inputs,
    output: Output,
    runs: Runs = None,
    split: Split = None,
    clips: Clips = None,
    directions: Annotated[int, typer.Option("--directions", min=2, help="Random steps for smoothed gradients.")] = 40,
    seconds: Annotated[float, typer.Option("--seconds", help="At most N seconds of each clip.")] = 10.0,
    usage_minutes: Annotated[
        float, typer.Option("--usage-minutes", help="At most N minutes of speech in which to count codes.")
    ] = 20.0,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure the accuracy of straight-through gradients.

    The command compares predicted and actual changes in the loss for each quantizer. If no runs are given, it first
    trains a tiny model with each quantizer on the inputs.
    """
    from silkcodec_lab.gradient import experiment
    from silkcodec_torch.train.allocator import keep_freed_pages

    keep_freed_pages()
    plan = experiment.GradientPlan(
        directions=min(12, directions),
        smoothed_directions=directions,
        clip_s=seconds,
        usage_minutes=usage_minutes,
        seed=seed,
    )
    run_experiment(
        "gradient",
        lambda progress: experiment.gradient(
            inputs, runs=runs or (), split=split, clips=clips, plan=plan, progress=progress
        ),
        output,
        results,
        force,
    )
