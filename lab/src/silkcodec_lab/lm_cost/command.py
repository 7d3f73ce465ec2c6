"""Define the `silk lab lm-cost` command."""

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
    split_names,
)


def lm_cost(
    inputs: Inputs,
    output: Output,
    codecs: Annotated[
        str, typer.Option("--codecs", help="Codec names, separated by commas. silk/4: 4 dimensions per token.")
    ] = "silk,silk/4",
    cost_only: Annotated[
        str, typer.Option("--cost-only", help="Codecs to load with random weights. Bits are not measured.")
    ] = "",
    splits: Splits = None,
    minutes: Annotated[float, typer.Option("--minutes", help="At most N minutes of training speech.")] = 60.0,
    held_out_minutes: HeldOut = 10.0,
    passes: Annotated[float, typer.Option("--passes", help="Passes over the training speech.")] = 3.0,
    seed: Seed = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads in training. Default: all cores.")
    ] = None,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure the cost of tokens for a language model.

    The command trains one tiny language model per codec, with the same settings, and reports bits, steps and times.
    """
    from silkcodec_lab.lm_cost import experiment
    from silkcodec_lab.lm_cost.lm_training import TrainingPlan
    from silkcodec_torch.train.allocator import keep_freed_pages

    keep_freed_pages()
    run_experiment(
        "lm-cost",
        lambda progress: experiment.lm_cost(
            inputs,
            split_names(codecs),
            cost_only=split_names(cost_only),
            splits=pair_of_splits(splits),
            train_minutes=minutes,
            held_out_minutes=held_out_minutes,
            plan=TrainingPlan(passes=passes, seed=seed, threads=threads),
            progress=progress,
        ),
        output,
        results,
        force,
    )
