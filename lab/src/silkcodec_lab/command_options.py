"""Define options shared by the `silk lab` subcommands, and run an experiment.

`silk --help` imports this module, so large libraries are imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.errors import ArgumentError
from silkcodec.output import check_output

Inputs = Annotated[list[str], typer.Argument(metavar="IN...", help="Audio files, folders, or a manifest (.tsv).")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Output folder for the result, page and figure.")]
Results = Annotated[Path | None, typer.Option("--results", help="File for the result. Default: in the output folder.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed.")]
Split = Annotated[str | None, typer.Option("--split", help="Split of the manifest to use, e.g. valid.")]
Splits = Annotated[
    str | None,
    typer.Option("--splits", help="Splits, e.g. train,valid. Default: hold out one clip in ten."),
]
Clips = Annotated[int | None, typer.Option("--clips", min=1, help="At most N clips, selected at random.")]
Codecs = Annotated[str, typer.Option("--codecs", help="Codec names, separated by commas.")]
Runs = Annotated[list[Path] | None, typer.Option("--run", help="Folder of a training run. Repeatable.")]
HeldOut = Annotated[float, typer.Option("--held-out-minutes", help="At most N minutes of held-out speech.")]


def run_experiment(name: str, measure: Callable[[Any], Any], output: Path, results: Path | None, force: bool) -> None:
    """Run an experiment with a progress bar, and write its result, page and figure.

    Args:
        name: File name of the result, without the extension.
        measure: Function that takes a progress callback and returns the result.
        output: Folder for the page and the figure.
        results: File for the result. None: NAME.json in the output folder.
        force: Whether to overwrite existing files.

    Raises:
        OutputError: A file exists or cannot be written. This is checked before the measurement.
    """
    from silkcodec.progress import counting
    from silkcodec_lab import pages

    results = results or output / f"{name}.json"
    check_output(results, overwrite=force)
    pages.targets(name, output, overwrite=force)
    with counting(name) as progress:
        result = measure(progress)
    pages.write_json(result, results, overwrite=force)
    for path in (results, *pages.write(pages.load_result(results), output, overwrite=force)):
        print(path)


def split_names(text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pair_of_splits(text: str | None) -> tuple[str, str] | None:
    """Return the names of the training split and the held-out split in `--splits`, or None if the option is not set.

    Raises:
        ArgumentError: The value does not contain exactly two different names.
    """
    if text is None:
        return None
    names = split_names(text)
    if len(names) != 2 or names[0] == names[1]:
        raise ArgumentError(
            f"--splits must name a training split and another, held-out split, e.g. train,valid; got '{text}'."
        )
    return names[0], names[1]
