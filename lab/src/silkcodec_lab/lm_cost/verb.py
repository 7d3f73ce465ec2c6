"""`silk lab lm-cost`."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.verbs import Force, HeldOut, Inputs, Output, Results, Seed, Splits, listed, pair_of_splits, run


def lm_cost(
    inputs: Inputs,
    output: Output,
    codecs: Annotated[
        str, typer.Option("--codecs", help="Codec names, separated by commas; silk/4: Silk, 4 dimensions a token.")
    ] = "silk,silk/4",
    cost_only: Annotated[
        str, typer.Option("--cost-only", help="Codecs with random weights: lengths and times, no bits.")
    ] = "",
    splits: Splits = None,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of speech to train on.")] = 60.0,
    held_out_minutes: HeldOut = 10.0,
    passes: Annotated[float, typer.Option("--passes", help="Passes over the training speech.")] = 3.0,
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure what a codec's tokens cost a language model.

    Trains the same tiny model on each codec's tokens of the same speech. Reports bits per second, steps and seconds.
    """
    from silkcodec.train.allocator import keep_freed_pages
    from silkcodec_lab.lm_cost import measure
    from silkcodec_lab.lm_cost.training import Plan

    keep_freed_pages()
    run(
        "lm-cost",
        lambda progress: measure.lm_cost(
            inputs,
            listed(codecs),
            cost_only=listed(cost_only),
            splits=pair_of_splits(splits),
            train_minutes=minutes,
            held_out_minutes=held_out_minutes,
            plan=Plan(passes=passes, seed=seed, threads=threads),
            progress=progress,
        ),
        output,
        results,
        force,
    )
