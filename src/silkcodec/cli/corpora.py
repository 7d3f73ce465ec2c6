"""The verbs `silk tokenize` and `silk detokenize`: options, progress, what is printed at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.errors import SilkError

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", show_default=False, help="Folders, manifests, .tar, .parquet, saved datasets."),
]
Shards = Annotated[Path, typer.Argument(metavar="OUT", help="A folder that silk tokenize made.")]


def tokenize(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the shards; an interrupted run resumes.")],
    inputs: Inputs = None,
    codec: Annotated[str, typer.Option("--codec", help="As silk codecs lists them: mimi:8, or a folder.")] = "silk",
    file_format: Annotated[str, typer.Option("--format", help="parquet or webdataset.")] = "parquet",
    engine: Annotated[str, typer.Option("--engine", help="local: processes here; ray: a cluster.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Of one thread each. Default: cores.")] = None,
    shard_items: Annotated[int, typer.Option("--shard-items", min=1, help="Recordings in a shard.")] = 256,
    max_segment_s: Annotated[
        float | None, typer.Option("--max-segment-s", help="Cut longer recordings into rows of so many seconds.")
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option("--max-hours-per-file", help="Quarantine longer ones. Default: 10; whole waves: 1.")
    ] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Let manifests and links lead out of the input's folder.")
    ] = False,
    root: Annotated[
        str | None, typer.Option("--root", help="Folder of a manifest's paths. Default: the manifest's own.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Column of a manifest: path=wav_filename. Repeatable.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option("--separator", help="Field separator of manifests: ';', tab. Default: by suffix.")
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Text encoding of manifests: latin-1, utf-16.")] = "utf-8",
    provider: Annotated[str, typer.Option("--provider", help="cpu or cuda.")] = "cpu",
    address: Annotated[str | None, typer.Option("--address", help="A Ray cluster, or auto. Default: here.")] = None,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="Of each Ray worker.")] = 0.0,
    check: Annotated[
        bool, typer.Option("--check", help="Check the finished corpus in OUT instead; takes no INPUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Tokenise a corpus into shards (extra [corpus]).

    Shards are Parquet or WebDataset files. A cluster needs the extra [ray].

    The same command resumes after any interruption. Recordings that cannot be used are listed in
    OUT/quarantine.jsonl and do not stop the others. Exit code 0: every shard is there; 2: it could not be finished,
    no recording could be used, or --check found damage.
    """
    from silkcodec.cli import console
    from silkcodec.corpus.tokenizing import Options, tokenize

    if check:
        _check(inputs, output, as_json)
        return

    options = Options(
        codec,
        file_format,
        engine,
        workers,
        shard_items,
        max_segment_s,
        max_hours,
        provider,
        allow_outside,
        address,
        gpus,
        root,
        tuple(columns or ()),
        separator,
        encoding,
    )
    with console.counting("tokenize") as progress:
        report = tokenize(inputs or [], output, options, progress=progress)
    if as_json:
        console.show_json(report)
    else:
        _show(report, output)
    if not report["rows"]:
        raise SilkError(f"No recording could be used; '{output / 'quarantine.jsonl'}' says why.")


def _check(inputs: list[str] | None, output: Path, as_json: bool) -> None:
    from silkcodec.cli import console
    from silkcodec.corpus.checking import check

    if inputs:
        raise SilkError(f"--check takes no INPUT, only -o OUT; got '{inputs[0]}'.")
    report = check(output)
    problems = report["problems"]
    if as_json:
        console.show_json(report)
    else:
        print(f"{output}: {report['rows']:,} rows in {report['shards'] - len(problems):,} whole shards")
        for problem in problems:
            print(f"{problem['file']}: {problem['problem']}")
    if problems:
        raise SilkError(
            f"'{output}' has {len(problems):,} missing or damaged shards of {report['shards']:,}; run the silk"
            " tokenize command that made it again, which makes only those anew."
        )


def _show(report: dict[str, Any], output: Path) -> None:
    run = report["this_run"]
    print(
        f"{output}: {report['hours']:.2f} h, {report['rows']:,} rows in {report['shards']:,} shards,"
        f" {report['tokens']:,} tokens, {report['bits'] / 8e6:.1f} MB of codes in {report['bytes'] / 1e6:.1f} MB"
    )
    if run["shards"]:
        print(
            f"this run: {run['shards']:,} shards, {run['hours']:.2f} h in {run['wall_s']:.0f} s"
            f" = {run['x_realtime']:.0f} x real time with {run['workers']} workers"
        )
    else:
        print("this run: nothing to do, all shards are there")
    if report["quarantined"]:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in report["quarantined_by_reason"].items())
        print(
            f"silk: {report['quarantined']:,} of {report['recordings']:,} recordings are quarantined ({reasons});"
            f" see {output / 'quarantine.jsonl'}",
            file=sys.stderr,
        )


def detokenize(
    folder: Shards,
    output: Annotated[Path, typer.Option("-o", "--output", help="A sound file; for several rows a folder.")],
    ids: Annotated[list[str] | None, typer.Option("--id", help="A row by its id. Again for more.")] = None,
    rows: Annotated[list[int] | None, typer.Option("--row", help="A row by its number, from 0. Repeatable.")] = None,
    codec: Annotated[str | None, typer.Option("--codec", help="Default: the one that made the corpus.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Of a corpus that is not finished.")] = False,
    rescale: Annotated[bool, typer.Option("--rescale", help="Scale a wave that would clip.")] = False,
    subtype: Annotated[str, typer.Option("--subtype", help="Sample type of the waves: 16, 24 or float.")] = "",
) -> None:
    """Decode rows of a tokenised corpus to sound files."""
    from silkcodec.audio.writing import sample_type_of
    from silkcodec.cli import console
    from silkcodec.corpus.detokenizing import detokenize

    done = detokenize(
        folder,
        output,
        ids=ids or (),
        numbers=rows or (),
        codec=codec,
        overwrite=force,
        partial=partial,
        subtype=sample_type_of(subtype),
        rescale=rescale,
    )
    for row, target, file in done:
        console.show_clipping(target, file.n_clipped, file.peak)
        print(f"{row.id} -> {target}   {row.tokens.duration_s:.2f} s from {row.start:.2f} s of {row.path}")
