"""Define options and arguments shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sounds = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Audio files, folders, quoted patterns, or - for standard input.")
]
Silks = Annotated[
    list[str], typer.Argument(metavar="IN...", help=".silk files, folders, quoted patterns, or - for standard input.")
]
Out = Annotated[
    str | None,
    typer.Option("-o", "--output", help="File, folder, or - for standard output. Default: next to the input."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
ForceReport = Annotated[bool, typer.Option("--force", help="Replace the report. Stored measurements are reused.")]
Skip = Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose output already exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object per line.")]
Entropy = Annotated[bool, typer.Option("--entropy", help="Range-code the .silk files (requires the [entropy] extra).")]
Channel = Annotated[
    int | None,
    typer.Option("--channel", min=0, help="Channel to encode, counted from 0. Default: average all channels."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads. Default: up to 4.")]
Provider = Annotated[str, typer.Option("--provider", help="Execution provider: cpu or cuda.")]
Rescale = Annotated[bool, typer.Option("--rescale", help="Scale recordings down if they would clip.")]
Normalize = Annotated[
    bool, typer.Option("--normalize", help="Remove DC and normalize the level. Decoding restores the level.")
]
Subtype = Annotated[str, typer.Option("--subtype", help="Sample type of the output: 16, 24 or float.")]
Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Audio files, folders or manifests, e.g. 'INDEX.tsv:language=en|zh*'.",
    ),
]
Report = Annotated[Path, typer.Option("-o", "--output", help="Folder for the report.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Metrics, separated by commas. Default: all available.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="KEY=MODEL", help="Metric model, e.g. whisper=base. Repeatable.")
]
Split = Annotated[str | None, typer.Option("--split", help="Use only manifest rows with this split.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use at most N randomly selected clips.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for --limit.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="Base folder for manifest paths. Default: the manifest's folder.")
]
By = Annotated[str | None, typer.Option("--by", help="Manifest columns to group results by, separated by commas.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Number of processes. To measure speed, use 1.")]
Listen = Annotated[int, typer.Option("--listen", min=0, help="Embed at most N clips in the report.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="Weights folder written by silk export.")]
