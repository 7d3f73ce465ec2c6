"""`silk lab quantization-error`."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.verbs import Force, HeldOut, Inputs, Output, Results, Seed, Splits, pair_of_splits, run


def quantization_error(
    inputs: Inputs,
    output: Output,
    splits: Splits = None,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of speech to fit to.")] = 30.0,
    held_out_minutes: HeldOut = 10.0,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Fits with different seeds, averaged.")] = 3,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure quantization error by codebook size: VQ, RVQ and FSQ at equal bits, on held-out speech."""
    from silkcodec_lab.quantization_error import measure

    run(
        "quantization-error",
        lambda progress: measure.quantization_error(
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
