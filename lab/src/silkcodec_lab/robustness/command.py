"""Define the `silk lab robustness` command."""

from __future__ import annotations

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


def robustness(
    inputs: Inputs,
    output: Output,
    codecs: Codecs = "silk,codec2:1200",
    runs: Runs = None,
    split: Split = None,
    clips: Clips = None,
    seconds: Annotated[float, typer.Option("--seconds", help="At most N seconds of each clip.")] = 20.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Random draws of each condition per clip.")] = 2,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure the effect of bit errors and lost frames.

    The effect of lost frames is measured only for Silk, with concealment and with simpler replacements.
    """
    from silkcodec_lab.robustness import experiment

    plan = experiment.RobustnessPlan(n_seeds=seeds, seed=seed, clip_s=seconds)
    run_experiment(
        "robustness",
        lambda progress: experiment.robustness(
            inputs, split_names(codecs), runs=runs or (), split=split, limit=clips, plan=plan, progress=progress
        ),
        output,
        results,
        force,
    )
