"""Options and steps that the verbs of `silk lab` share. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.errors import ArgumentError
from silkcodec.output import check_output

Inputs = Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the result, its page and its figure.")]
Results = Annotated[Path | None, typer.Option("--results", help="File for the result, instead of in the folder.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything drawn at random.")]
Split = Annotated[str | None, typer.Option("--split", help="Only these rows of an index, e.g. valid.")]
Splits = Annotated[
    str | None,
    typer.Option("--splits", help="Of an index, e.g. train,valid. Default: hold out every tenth clip."),
]
Clips = Annotated[int | None, typer.Option("--clips", min=1, help="At most N clips, drawn at random.")]
Codecs = Annotated[str, typer.Option("--codecs", help="Codec names, separated by commas.")]
Runs = Annotated[list[Path] | None, typer.Option("--run", help="A training run whose model is measured. Repeatable.")]
HeldOut = Annotated[float, typer.Option("--held-out-minutes", help="At most N minutes of speech to score.")]


def run(
    name: str, measure: Callable[[Any], Any], output: Path, results: Path | None, force: bool, title: str | None = None
) -> None:
    """Check the outputs, measure with a progress bar, and write result, page and figure.

    Args:
        name: of the result, as its files are called.
        measure: called with a progress callback.
        title: of the progress bar. Default: the name.

    Raises:
        OutputError: a file exists or cannot be written; checked before anything is measured.
    """
    from silkcodec.progress import counting
    from silkcodec_lab import pages

    results = results or output / f"{name}.json"
    check_output(results, overwrite=force)
    pages.targets(name, output, overwrite=force)
    with counting(title or name) as progress:
        result = measure(progress)
    pages.write_json(result, results, overwrite=force)
    for path in (results, *pages.write(pages.load_result(results), output, overwrite=force)):
        print(path)


def listed(text: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pair_of_splits(text: str | None) -> tuple[str, str] | None:
    """Return the two names of --splits. Raises ArgumentError."""
    if text is None:
        return None
    names = listed(text)
    if len(names) != 2:
        raise ArgumentError(f"--splits must be two names, to train on and to hold out: train,valid; got '{text}'.")
    return names[0], names[1]
