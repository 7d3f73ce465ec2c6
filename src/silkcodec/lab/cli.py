"""`silk lab`: a verb an experiment. Nothing heavy is imported up here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.errors import ArgumentError, MissingExtraError
from silkcodec.output import check_output

lab = typer.Typer(
    help="The experiments behind the claims (extra [lab]).", no_args_is_help=True, rich_markup_mode=None
)

Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


@lab.command()
def burden(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for burden.json, burden.md, burden.png.")],
    codecs: Annotated[
        str, typer.Option("--codecs", help="Names with commas; silk/4 is Silk in tokens of 4 dimensions.")
    ] = "silk,silk/4",
    cost_only: Annotated[
        str, typer.Option("--cost-only", help="More names, whose weights are random: lengths and times, no bits.")
    ] = "",
    splits: Annotated[
        str | None, typer.Option("--splits", help="Of an index: train,valid. Default: every tenth clip is held out.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Of speech to train on, at most.")] = 60.0,
    held_out_minutes: Annotated[float, typer.Option("--held-out-minutes", help="Of speech to score.")] = 10.0,
    passes: Annotated[float, typer.Option("--passes", help="How often training goes through the speech.")] = 3.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips, model and windows.")] = 0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for burden.json.")] = None,
    force: Force = False,
) -> None:
    """What a codec's tokens cost a language model.

    Trains the same tiny model on each codec's tokens of the same speech; bits per second, steps, seconds.
    """
    from silkcodec import console

    experiment, page = _load("burden"), import_module("silkcodec.lab.page")
    results = results or output / "burden.json"
    check_output(results, overwrite=force)
    page.targets("burden", output, overwrite=force)
    plan = import_module("silkcodec.lab.burden_train").Plan(passes=passes, seed=seed, threads=threads)
    import_module("silkcodec.train.memory").keep_freed_pages()
    with console.counting("burden") as progress:
        result = experiment.burden(
            inputs,
            _names(codecs),
            cost_only=_names(cost_only),
            splits=_splits(splits),
            train_minutes=minutes,
            held_out_minutes=held_out_minutes,
            plan=plan,
            progress=progress,
        )
    page.write_json(result, results, overwrite=force)
    for path in (results, *page.write(page.load_result(results), output, overwrite=force)):
        print(path)


@lab.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(metavar="JSON...", help="What an experiment measured.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pages and figures.")],
    force: Force = False,
) -> None:
    """The pages of results, again."""
    page = import_module("silkcodec.lab.page")
    _require("matplotlib")
    loaded = [page.load_result(path) for path in results]
    for result in loaded:
        for path in page.write(result, output, overwrite=force):
            print(path)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _splits(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    names = _names(text)
    if len(names) != 2:
        raise ArgumentError(f"--splits must be two names, to train on and to hold out: train,valid; got '{text}'.")
    return names[0], names[1]


def _load(experiment: str) -> Any:
    """The module of an experiment. Raises MissingExtraError."""
    for package in ("torch", "matplotlib"):
        _require(package)
    return import_module(f"silkcodec.lab.{experiment}")


def _require(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtraError("The laboratory", package, "lab")
