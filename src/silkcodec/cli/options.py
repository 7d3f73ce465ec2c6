"""Options and arguments that several verbs share."""

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
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Skip = Annotated[bool, typer.Option("--skip-existing", help="Skip files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]
Entropy = Annotated[bool, typer.Option("--entropy", help="Smaller files by range coding (extra [entropy]).")]
Channel = Annotated[
    int | None, typer.Option("--channel", min=0, help="Encode this channel, counted from 0. Default: the mean of all.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
Provider = Annotated[str, typer.Option("--provider", help="cpu or cuda.")]
Rescale = Annotated[bool, typer.Option("--rescale", help="Scale a wave that would clip down to full scale.")]
Normalize = Annotated[
    bool, typer.Option("--normalize", help="Remove DC and encode at the best level; decoding restores it.")
]
Subtype = Annotated[str, typer.Option("--subtype", help="Sample type of the wave: 16, 24 or float.")]
Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Sound files, folders, or manifests: .tsv, .csv, .jsonl; some rows of one: 'INDEX.tsv:language=en|zh*'.",
    ),
]
Report = Annotated[Path, typer.Option("-o", "--output", help="Folder of the report; an interrupted run resumes there.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Only these, with commas. Default: all that can be.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="KEY=MODEL", help="Metric model, e.g. whisper=base. Repeatable.")
]
Split = Annotated[str | None, typer.Option("--split", help="Only these rows of a manifest.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most N clips, drawn at random.")]
Seed = Annotated[int, typer.Option("--seed", help="Random seed for --limit.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the paths in a manifest, if not its own.")]
By = Annotated[str | None, typer.Option("--by", help="Columns of a manifest to split the result by.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; 1 to measure speed.")]
Listen = Annotated[int, typer.Option("--listen", min=0, help="At most N clips to listen to in the report.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="A folder of weights made by silk export.")]
