"""`silk lab`: a verb an experiment. Nothing heavy is imported up here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.errors import ArgumentError, MissingExtraError
from silkcodec.output import check_output

lab = typer.Typer(help="The experiments behind the claims (extra [lab]).", no_args_is_help=True, rich_markup_mode=None)

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

    experiment = _load("burden")
    results = _checked("burden", output, results, force)
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
    _save(result, results, output, force)


@lab.command()
def snap(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for snap.json, snap.md, snap.png.")],
    splits: Annotated[
        str | None, typer.Option("--splits", help="Of an index: train,valid. Default: every tenth clip is held out.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Of speech to fit to, at most.")] = 30.0,
    held_out_minutes: Annotated[float, typer.Option("--held-out-minutes", help="Of speech to score.")] = 10.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips and fits.")] = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Fits with different seeds, averaged.")] = 3,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for snap.json.")] = None,
    force: Force = False,
) -> None:
    """What snapping to a codebook costs: its size against error, VQ, RVQ and FSQ at equal bits, on held-out speech."""
    from silkcodec import console

    experiment = _load("snap")
    results = _checked("snap", output, results, force)
    with console.counting("snap") as progress:
        result = experiment.snap(
            inputs,
            splits=_splits(splits),
            train_minutes=minutes,
            held_out_minutes=held_out_minutes,
            seed=seed,
            n_seeds=seeds,
            progress=progress,
        )
    _save(result, results, output, force)


@lab.command()
def residual(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")],
    at: Annotated[float, typer.Option("--at", metavar="SECONDS", help="The moment, from its start.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for residual.json, .md and .png.")],
    speech: Annotated[
        list[str] | None,
        typer.Option("--speech", metavar="IN", help="To fit the codebooks to, repeatable. Default: the rest of FILE."),
    ] = None,
    codebooks: Annotated[int, typer.Option("--codebooks", help="Length of the chain, 1 to 32.")] = 32,
    entries: Annotated[int, typer.Option("--entries", help="Of each codebook.")] = 64,
    minutes: Annotated[float, typer.Option("--minutes", help="Of --speech, at most.")] = 10.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips and codebooks.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for residual.json.")] = None,
    force: Force = False,
) -> None:
    """The residual chain at a moment: the nearest entry of each codebook, and what is left after it."""
    experiment = _load("residual")
    results = _checked("residual", output, results, force)
    result = experiment.residual(
        file, at, speech=speech or (), n_codebooks=codebooks, entries=entries, minutes=minutes, seed=seed
    )
    _save(result, results, output, force)


@lab.command()
def coverage(
    train: Annotated[
        str,
        typer.Option("--train", metavar="PATH[:FILTER]", help="Speech to fit on: a folder, or INDEX.tsv:language=en."),
    ],
    tests: Annotated[
        list[str], typer.Option("--test", metavar="NAME=PATH[:FILTER]", help="A group to test; give it once each.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for NAME.json, .md and .png.")],
    hold_out: Annotated[
        str, typer.Option("--hold-out", help="What the control group shares nothing of with training: speaker, source.")
    ] = "speaker",
    folds: Annotated[int, typer.Option("--folds", help="Times to fit, each without one part of the speakers.")] = 4,
    limit_hz: Annotated[float, typer.Option("--limit-hz", help="Nothing above this frequency is heard.")] = 7_000.0,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each speaker, at most.")] = 60.0,
    speakers: Annotated[int, typer.Option("--speakers", min=1, help="Of each group, at most.")] = 64,
    vectors: Annotated[
        str, typer.Option("--vectors", help="mel: patches of the log-mel; latents: of Silk's encoder.")
    ] = "mel",
    sounds: Annotated[
        bool, typer.Option("--sounds/--no-sounds", help="Which tones, Arabic sounds and pitches fall far too.")
    ] = True,
    rebuild: Annotated[
        int, typer.Option("--rebuild", min=0, help="Speakers of each group that are made audible again; 0: none.")
    ] = 8,
    codecs: Annotated[str, typer.Option("--codecs", help="Whole codecs beside these, names with commas.")] = "silk",
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="A training run, whose model is such a codec too; once each.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Of the result, its page and figure: coverage_WORD.")
    ] = "coverage",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips, folds, codebooks and intervals.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for NAME.json.")] = None,
    force: Force = False,
) -> None:
    """Whether a codebook covers a language that it never heard.

    Fits codebooks on one group's speech and measures others, against new speakers of the first and against FSQ.

    FILTER is column=value with commas between: language=zh*,source=a|b.
    """
    from silkcodec import console

    experiment = _load("coverage")
    patches = import_module("silkcodec.lab.coverage_speech").Patches(
        of=vectors, limit_hz=limit_hz, seconds=seconds, speakers=speakers
    )
    plan = experiment.Plan(hold_out=hold_out, folds=folds, seed=seed, patches=patches, sounds=sounds)
    groups = _named(tests)
    heard = {"codecs": tuple(_names(codecs)), "runs": tuple(runs or ())}
    rebuilding = experiment.Rebuilding(rebuild, **heard) if rebuild else None
    results = _checked(import_module("silkcodec.lab.page").check_name(name, "coverage"), output, results, force)
    with console.counting("coverage") as progress:
        result = experiment.coverage(train, groups, plan=plan, name=name, rebuilding=rebuilding, progress=progress)
    _save(result, results, output, force)


@lab.command()
def robustness(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for robustness.json, .md, .png.")],
    codecs: Annotated[str, typer.Option("--codecs", help="Names with commas, to flip bits of.")] = "silk,codec2:1200",
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A training run, to flip bits of its model too; give it once each."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of an index: valid.")] = None,
    clips: Annotated[int | None, typer.Option("--clips", min=1, help="At most so many, drawn at random.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each clip, from its beginning.")] = 20.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often each damage is drawn for a clip.")] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips and damage.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for robustness.json.")] = None,
    force: Force = False,
) -> None:
    """What flipped bits and lost frames do to the speech, with and without concealment."""
    from silkcodec import console

    experiment = _load("robustness")
    results = _checked("robustness", output, results, force)
    plan = experiment.Plan(n_seeds=seeds, seed=seed, clip_s=seconds)
    with console.counting("robustness") as progress:
        result = experiment.robustness(
            inputs, _names(codecs), runs=runs or (), split=split, limit=clips, plan=plan, progress=progress
        )
    _save(result, results, output, force)


@lab.command()
def bandwidth(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for bandwidth.* and bandwidth_audio/.")],
    codecs: Annotated[str, typer.Option("--codecs", help="Names with commas.")] = "silk,codec2:1200,opus:6k",
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A training run; give it once each. The others are compared with the first."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of an index: valid.")] = None,
    order_split: Annotated[str, typer.Option("--order-split", help="Of an index, to order Silk's groups.")] = "train",
    clips: Annotated[int | None, typer.Option("--clips", min=1, help="At most so many, drawn at random.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each clip, from its beginning.")] = 8.0,
    points: Annotated[int, typer.Option("--points", help="Cuts of each codec, at most.")] = 8,
    listen: Annotated[Path | None, typer.Option("--listen", help="What to hear. Default: the first clip.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes. Default: one for each core.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips and draws.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for bandwidth.json.")] = None,
    force: Force = False,
) -> None:
    """Quality against tokens and bits per second: each codec with fewer and fewer codebooks; with audio."""
    from silkcodec import console

    experiment = _load("bandwidth")
    results = _checked("bandwidth", output, results, force)
    plan = experiment.Plan(points=points, clip_s=seconds, listen=listen, jobs=jobs, seed=seed)
    with console.counting("bandwidth") as progress:
        result = experiment.bandwidth(
            inputs,
            _names(codecs),
            folder=output / "bandwidth_audio",
            runs=runs or (),
            split=split,
            order_split=order_split,
            limit=clips,
            plan=plan,
            overwrite=force,
            progress=progress,
        )
    _save(result, results, output, force)


@lab.command()
def gradient(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Sound files, folders, or an INDEX.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for gradient.json, .md and .png.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A training run, one of each quantizer. Default: tiny models, trained on IN first."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of an index: valid.")] = None,
    clips: Annotated[int | None, typer.Option("--clips", min=1, help="At most so many, drawn at random.")] = None,
    directions: Annotated[int, typer.Option("--directions", min=2, help="Random steps of each smoothed size.")] = 40,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each clip, from its beginning.")] = 10.0,
    usage_minutes: Annotated[float, typer.Option("--usage-minutes", help="Of speech to count codes on.")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of clips, frames and directions.")] = 0,
    results: Annotated[Path | None, typer.Option("--results", help="Another place for gradient.json.")] = None,
    force: Force = False,
) -> None:
    """The straight-through estimator: what it promises of a step of the latent, what the step does, and training."""
    from silkcodec import console

    experiment = _load("gradient")
    results = _checked("gradient", output, results, force)
    plan = experiment.Plan(
        directions=min(12, directions),
        smoothed_directions=directions,
        clip_s=seconds,
        usage_minutes=usage_minutes,
        seed=seed,
    )
    import_module("silkcodec.train.memory").keep_freed_pages()
    with console.counting("gradient") as progress:
        result = experiment.gradient(inputs, runs=runs or (), split=split, clips=clips, plan=plan, progress=progress)
    _save(result, results, output, force)


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


def _checked(experiment: str, output: Path, results: Path | None, force: bool) -> Path:
    """Where its JSON goes, with the page's and the figure's places checked too, before anything is measured."""
    results = results or output / f"{experiment}.json"
    check_output(results, overwrite=force)
    import_module("silkcodec.lab.page").targets(experiment, output, overwrite=force)
    return results


def _save(result: Any, results: Path, output: Path, force: bool) -> None:
    """The JSON, and the page and the figure that are made of what it says."""
    page = import_module("silkcodec.lab.page")
    page.write_json(result, results, overwrite=force)
    for path in (results, *page.write(page.load_result(results), output, overwrite=force)):
        print(path)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _named(texts: list[str]) -> dict[str, str]:
    """NAME=PATH -> PATH by name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise ArgumentError(f"--test must be NAME=PATH, each name once; got '{text}'.")
        found[name] = path
    return found


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
