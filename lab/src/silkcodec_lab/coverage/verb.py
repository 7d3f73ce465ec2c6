"""`silk lab coverage`."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec.errors import ArgumentError
from silkcodec_lab.verbs import Codecs, Force, Output, Results, Runs, Seed, listed, run


def coverage(
    train: Annotated[
        str,
        typer.Option("--train", metavar="PATH[:FILTER]", help="Speech to fit to: a folder, or INDEX.tsv:language=en."),
    ],
    tests: Annotated[
        list[str], typer.Option("--test", metavar="NAME=PATH[:FILTER]", help="A group to test. Repeatable.")
    ],
    output: Output,
    hold_out: Annotated[
        str, typer.Option("--hold-out", help="The control group has other speakers, or other sources: speaker, source.")
    ] = "speaker",
    folds: Annotated[int, typer.Option("--folds", help="Fits, each without one part of the speakers.")] = 4,
    limit_hz: Annotated[float, typer.Option("--limit-hz", help="Highest frequency that is used.")] = 7_000.0,
    seconds: Annotated[float, typer.Option("--seconds", help="At most N seconds of each speaker.")] = 60.0,
    speakers: Annotated[int, typer.Option("--speakers", min=1, help="At most N speakers of each group.")] = 64,
    vectors: Annotated[
        str, typer.Option("--vectors", help="mel: patches of the log-mel; latents: of Silk's encoder.")
    ] = "mel",
    sounds: Annotated[
        bool, typer.Option("--sounds/--no-sounds", help="Also measure single tones, Arabic sounds and pitches.")
    ] = True,
    rebuild: Annotated[
        int, typer.Option("--rebuild", min=0, help="Speakers of each group to resynthesize; 0: none.")
    ] = 8,
    codecs: Codecs = "silk",
    runs: Runs = None,
    name: Annotated[str, typer.Option("--name", help="Name of the result and its page: coverage_WORD.")] = "coverage",
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure whether a codebook covers a language that is not in its training set.

    Fits codebooks to one group's speech and measures other groups, relative to unseen speakers of the first and to FSQ.

    FILTER is column=value, separated by commas: language=zh*,source=a|b.
    """
    from silkcodec_lab import pages
    from silkcodec_lab.coverage import measure
    from silkcodec_lab.coverage.speech import Patches

    patches = Patches(of=vectors, limit_hz=limit_hz, seconds=seconds, speakers=speakers)
    plan = measure.Plan(hold_out=hold_out, folds=folds, seed=seed, patches=patches, sounds=sounds)
    rebuilding = measure.Rebuilding(rebuild, codecs=tuple(listed(codecs)), runs=tuple(runs or ())) if rebuild else None
    groups = _named(tests)
    run(
        pages.check_name(name, "coverage"),
        lambda progress: measure.coverage(
            train, groups, plan=plan, name=name, rebuilding=rebuilding, progress=progress
        ),
        output,
        results,
        force,
    )


def _named(texts: list[str]) -> dict[str, str]:
    """Return PATH by name of NAME=PATH texts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise ArgumentError(f"--test must be NAME=PATH, each name once; got '{text}'.")
        found[name] = path
    return found
