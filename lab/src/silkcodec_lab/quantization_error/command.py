"""Define the `silk lab quantization-error` command."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.command_options import (
    Force,
    HeldOut,
    Inputs,
    Output,
    Results,
    Seed,
    Splits,
    pair_of_splits,
    run_experiment,
)


def quantization_error(
    inputs: Inputs,
    output: Output,
    splits: Splits = None,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of training speech.")] = 30.0,
    held_out_minutes: HeldOut = 10.0,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of fits to average.")] = 3,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure quantization error by codebook size.

    The command fits VQ, RVQ and FSQ to training speech, all with the same number of bits. It measures their errors on
    held-out speech.
    """
    from silkcodec_lab.quantization_error import experiment

    run_experiment(
        "quantization-error",
        lambda progress: experiment.quantization_error(
            inputs,
            splits=pair_of_splits(splits),
            train_minutes=minutes,
            held_out_minutes=held_out_minutes,
            seed=seed,
            n_seeds=seeds,
            progress=progress,
        ),
        output,
        results,
        force,
    )
