"""Define the `tokenize` and `detokenize` commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from silkcodec.cli.options import Force, Provider, Rescale, Subtype
from silkcodec.errors import SilkError
from silkcodec.progress import counting

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...", show_default=False, help="Folders, manifests, .tar or .parquet files, or saved datasets."
    ),
]
Shards = Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by silk tokenize.")]


def tokenize(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the shards.")],
    inputs: Inputs = None,
    codec: Annotated[str, typer.Option("--codec", help="Codec, e.g. mimi:8, or a weights folder.")] = "silk",
    file_format: Annotated[str, typer.Option("--format", help="Shard format: parquet or webdataset.")] = "parquet",
    engine: Annotated[str, typer.Option("--engine", help="Engine: local, or ray for a cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes with one thread each. Default: one per core.")
    ] = None,
    shard_items: Annotated[int, typer.Option("--shard-items", min=1, help="Recordings per shard.")] = 256,
    max_segment_s: Annotated[
        float | None, typer.Option("--max-segment-s", help="Split recordings into rows of at most N seconds.")
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option("--max-hours-per-file", help="Quarantine longer recordings. Default: 10 for Silk, 1 for others."),
    ] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Allow paths and links that leave the input folder.")
    ] = False,
    root: Annotated[
        str | None, typer.Option("--root", help="Base folder for manifest paths. Default: the manifest's folder.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Manifest column, e.g. path=wav_filename. Repeatable.")
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option("--separator", help="Manifest separator, e.g. ';' or tab. Default: chosen by suffix."),
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Text encoding of manifests, e.g. latin-1.")] = "utf-8",
    provider: Provider = "cpu",
    address: Annotated[
        str | None, typer.Option("--address", help="Address of a Ray cluster, or auto. Default: this machine.")
    ] = None,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="GPUs per Ray worker.")] = 0.0,
    check: Annotated[bool, typer.Option("--check", help="Check the corpus in the output folder. Omit INPUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Tokenize a corpus into shards (requires the [corpus] extra).

    Shards are Parquet or WebDataset files. The ray engine requires the [ray] extra.

    To resume an interrupted run, run the same command again. Unusable recordings are skipped and listed in
    quarantine.jsonl in the output folder. The exit code is 0 if all shards are complete. It is 2 if the run failed, if
    no recording was usable, or if --check found missing or damaged shards.
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
    with counting("tokenize") as progress:
        report = tokenize(inputs or [], output, options, progress=progress)
    if as_json:
        console.show_json(report)
    else:
        _show(report, output)
    if not report["rows"]:
        raise SilkError(f"All recordings are unusable. For the reasons, see '{output / 'quarantine.jsonl'}'.")


def _check(inputs: list[str] | None, output: Path, as_json: bool) -> None:
    from silkcodec.cli import console
    from silkcodec.corpus.checking import check

    if inputs:
        raise SilkError(f"--check cannot be combined with INPUT; got '{inputs[0]}'.")
    report = check(output)
    problems = report["problems"]
    if as_json:
        console.show_json(report)
    else:
        print(f"{output}: {report['rows']:,} rows in {report['shards'] - len(problems):,} complete shards")
        for problem in problems:
            print(f"{problem['file']}: {problem['problem']}")
    if problems:
        raise SilkError(
            f"Missing or damaged shards in '{output}': {len(problems):,} of {report['shards']:,}. To restore them, run"
            " the same silk tokenize command again."
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
        print("this run: nothing to do; all shards are complete")
    if report["quarantined"]:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in report["quarantined_by_reason"].items())
        print(
            f"silk: quarantined {report['quarantined']:,} of {report['recordings']:,} recordings ({reasons});"
            f" see '{output / 'quarantine.jsonl'}'.",
            file=sys.stderr,
        )


def detokenize(
    folder: Shards,
    output: Annotated[Path, typer.Option("-o", "--output", help="Audio file, or folder for several rows.")],
    ids: Annotated[list[str] | None, typer.Option("--id", help="Id of a row to decode. Repeatable.")] = None,
    rows: Annotated[
        list[int] | None, typer.Option("--row", help="Number of a row to decode, counted from 0. Repeatable.")
    ] = None,
    codec: Annotated[str | None, typer.Option("--codec", help="Codec. Default: the codec of the corpus.")] = None,
    force: Force = False,
    partial: Annotated[bool, typer.Option("--partial", help="Accept an unfinished corpus.")] = False,
    rescale: Rescale = False,
    subtype: Subtype = "",
) -> None:
    """Decode rows of a tokenized corpus to audio files."""
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
