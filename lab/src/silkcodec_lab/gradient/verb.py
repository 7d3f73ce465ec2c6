"""`silk lab gradient`."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.verbs import Clips, Force, Inputs, Output, Results, Runs, Seed, Split, run


def gradient(
    inputs: Inputs,
    output: Output,
    runs: Runs = None,
    split: Split = None,
    clips: Clips = None,
    directions: Annotated[int, typer.Option("--directions", min=2, help="Random steps of each smoothed size.")] = 40,
    seconds: Annotated[float, typer.Option("--seconds", help="Seconds of each clip, from its beginning.")] = 10.0,
    usage_minutes: Annotated[
        float, typer.Option("--usage-minutes", help="Minutes of speech to count codes on.")
    ] = 20.0,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Compare the straight-through gradient with the true change of the loss, for each quantizer.

    Without runs, tiny models are trained on IN first, one for each quantizer.
    """
    from silkcodec.train.allocator import keep_freed_pages
    from silkcodec_lab.gradient import measure

    keep_freed_pages()
    plan = measure.Plan(
        directions=min(12, directions),
        smoothed_directions=directions,
        clip_s=seconds,
        usage_minutes=usage_minutes,
        seed=seed,
    )
    run(
        "gradient",
        lambda progress: measure.gradient(
            inputs, runs=runs or (), split=split, clips=clips, plan=plan, progress=progress
        ),
        output,
        results,
        force,
    )
