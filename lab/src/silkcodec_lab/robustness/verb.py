"""`silk lab robustness`."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec_lab.verbs import Clips, Codecs, Force, Inputs, Output, Results, Runs, Seed, Split, listed, run


def robustness(
    inputs: Inputs,
    output: Output,
    codecs: Codecs = "silk,codec2:1200",
    runs: Runs = None,
    split: Split = None,
    clips: Clips = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Seconds of each clip, from its beginning.")] = 20.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Random draws of each damage for each clip.")] = 2,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure what flipped bits and lost frames do to the speech, with and without concealment."""
    from silkcodec_lab.robustness import measure

    plan = measure.Plan(n_seeds=seeds, seed=seed, clip_s=seconds)
    run(
        "robustness",
        lambda progress: measure.robustness(
            inputs, listed(codecs), runs=runs or (), split=split, limit=clips, plan=plan, progress=progress
        ),
        output,
        results,
        force,
    )
