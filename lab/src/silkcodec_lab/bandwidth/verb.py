"""`silk lab bandwidth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.verbs import Clips, Codecs, Force, Inputs, Output, Results, Runs, Seed, Split, listed, run


def bandwidth(
    inputs: Inputs,
    output: Output,
    codecs: Codecs = "silk,codec2:1200,opus:6k",
    runs: Runs = None,
    split: Split = None,
    order_split: Annotated[
        str, typer.Option("--order-split", help="Rows of an index on which Silk's groups are ordered.")
    ] = "train",
    clips: Clips = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Seconds of each clip, from its beginning.")] = 8.0,
    points: Annotated[int, typer.Option("--points", help="At most N numbers of codebooks per codec.")] = 8,
    listen: Annotated[
        Path | None, typer.Option("--listen", help="Recording for the audio examples. Default: the first clip.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes. Default: one for each core.")] = None,
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure quality with fewer and fewer codebooks, by tokens and bits per second, and write audio examples.

    With several runs, the others are compared with the first.
    """
    from silkcodec_lab.bandwidth import measure

    plan = measure.Plan(points=points, clip_s=seconds, listen=listen, jobs=jobs, seed=seed)
    run(
        "bandwidth",
        lambda progress: measure.bandwidth(
            inputs,
            listed(codecs),
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
