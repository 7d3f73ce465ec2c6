"""Define options and arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sounds = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Sound files, folders, 'patterns', or - for a pipe.")
]
Silks = Annotated[list[str], typer.Argument(metavar="IN...", help=".silk files, folders, 'patterns', or - for a pipe.")]
Out = Annotated[
    str | None,
    typer.Option("-o", "--output", help="A file, a folder, or -. Default: beside each input."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Skip = Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose output exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object per line.")]
Entropy = Annotated[bool, typer.Option("--entropy", help="Range-code the files (extra [entropy]).")]
Channel = Annotated[
    int | None, typer.Option("--channel", min=0, help="Channel to encode, from 0. Default: the mean of all channels.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: up to 4.")]
Provider = Annotated[str, typer.Option("--provider", help="Execution provider: cpu or cuda.")]
Rescale = Annotated[bool, typer.Option("--rescale", help="Scale a wave down if it would clip.")]
Normalize = Annotated[
    bool, typer.Option("--normalize", help="Remove DC and encode at the best level; decode restores it.")
]
Subtype = Annotated[str, typer.Option("--subtype", help="Sample type of the wave: 16, 24 or float.")]
Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Sound files, folders or manifests, e.g. 'INDEX.tsv:language=en|zh*'.",
    ),
]
Report = Annotated[Path, typer.Option("-o", "--output", help="Folder of the report; an interrupted run resumes.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Metrics, separated by commas. Default: all available.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="KEY=MODEL", help="Metric model, e.g. whisper=base. Repeatable.")
]
Split = Annotated[str | None, typer.Option("--split", help="Use only rows of this split of a manifest.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most N clips, drawn at random.")]
Seed = Annotated[int, typer.Option("--seed", help="Random seed for --limit.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="Base folder of a manifest's paths. Default: its own folder.")
]
By = Annotated[str | None, typer.Option("--by", help="Manifest columns to group the results by, separated by commas.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; use 1 to measure speed.")]
Listen = Annotated[int, typer.Option("--listen", min=0, help="Embed at most N clips in the report.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="Weights folder that silk export wrote.")]
