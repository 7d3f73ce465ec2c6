"""Define the `silk lab coverage` command."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec.errors import ArgumentError
from silkcodec_lab.command_options import Codecs, Force, Output, Results, Runs, Seed, run_experiment, split_names


def coverage(
    train: Annotated[
        str,
        typer.Option("--train", metavar="PATH[:FILTER]", help="Training speech, e.g. INDEX.tsv:language=en."),
    ],
    tests: Annotated[list[str], typer.Option("--test", metavar="NAME=PATH[:FILTER]", help="Test group. Repeatable.")],
    output: Output,
    hold_out: Annotated[
        str, typer.Option("--hold-out", help="Form the control group by holding out speakers or sources.")
    ] = "speaker",
    folds: Annotated[int, typer.Option("--folds", help="Number of cross-validation folds.")] = 4,
    limit_hz: Annotated[float, typer.Option("--limit-hz", help="Highest frequency to use, in Hz.")] = 7_000.0,
    seconds: Annotated[float, typer.Option("--seconds", help="At most N seconds per speaker.")] = 60.0,
    speakers: Annotated[int, typer.Option("--speakers", min=1, help="At most N speakers per group.")] = 64,
    vectors: Annotated[
        str, typer.Option("--vectors", help="mel: log-mel patches; latents: output of Silk's encoder.")
    ] = "mel",
    sounds: Annotated[
        bool, typer.Option("--sounds/--no-sounds", help="Also measure coverage by tone, Arabic sound and pitch.")
    ] = True,
    rebuild: Annotated[int, typer.Option("--rebuild", min=0, help="Number of speakers per group to resynthesize.")] = 8,
    codecs: Codecs = "silk",
    runs: Runs = None,
    name: Annotated[str, typer.Option("--name", help="Name of the result, e.g. coverage_latents.")] = "coverage",
    seed: Seed = 0,
    results: Results = None,
    force: Force = False,
) -> None:
    """Measure how well codebooks cover unseen languages.

    The command fits codebooks to the training speech. It compares the coverage of test groups with that of unseen
    speakers of the training language.

    FILTER selects rows of a manifest, e.g. language=zh*,source=a|b.
    """
    from silkcodec_lab import pages
    from silkcodec_lab.coverage import experiment
    from silkcodec_lab.coverage.speech import Patches

    patches = Patches(of=vectors, limit_hz=limit_hz, seconds=seconds, speakers=speakers)
    plan = experiment.CoveragePlan(hold_out=hold_out, folds=folds, seed=seed, patches=patches, sounds=sounds)
    resynthesis = (
        experiment.ResynthesisSettings(rebuild, codecs=tuple(split_names(codecs)), runs=tuple(runs or ()))
        if rebuild
        else None
    )
    groups = _named(tests)
    run_experiment(
        pages.check_name(name, "coverage"),
        lambda progress: experiment.coverage(
            train, groups, plan=plan, name=name, resynthesis=resynthesis, progress=progress
        ),
        output,
        results,
        force,
    )


def _named(texts: list[str]) -> dict[str, str]:
    """Return the paths in NAME=PATH arguments, keyed by name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise ArgumentError(f"--test must be NAME=PATH with a different name for each group; got '{text}'.")
        found[name] = path
    return found
