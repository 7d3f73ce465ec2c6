"""Print results and errors in the terminal.

Results go to standard output, and all other messages go to standard error.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

from silkcodec.errors import MissingExtraError, SilkError, WeightsError
from silkcodec.progress import SoundProgress, seconds, sound_progress

if TYPE_CHECKING:  # `silk codecs` does not need these slow imports.
    from silkcodec.cli.paths import Job
    from silkcodec.container import Contents
    from silkcodec.files import Coding
    from silkcodec.files.roundtrip import Roundtrip

CONSOLE_METRICS = ("pesq_wb", "stoi", "wer", "mel_distance", "si_sdr_db")  # most important metrics, shown first
PIPE_COLUMNS = 120  # width of a table if standard output is not a terminal


def fail(error: BaseException, about: str = "") -> None:
    """Print an error to standard error, prefixed with `about`."""
    text = " ".join(str(error).split())
    print(f"silk: {about}{text}", file=sys.stderr)


def show_json(value: Any, file: TextIO | None = None) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), file=file or sys.stdout, flush=True)


def results_file(jobs: Sequence[Job]) -> TextIO:
    """Return standard error if an output is written to standard output, and standard output otherwise."""
    from silkcodec.cli.paths import STANDARD

    return sys.stderr if jobs[0].target == STANDARD else sys.stdout  # Only a single job can have this target.


def run_jobs(jobs: Sequence[Job], what: str, work: Callable[[Job, SoundProgress], None]) -> int:
    """Run all jobs. If a job fails, print the error and continue.

    Args:
        jobs: pairs of input and output paths.
        what: name of the operation for the progress bar.
        work: function that runs a job.

    Returns:
        The number of failed jobs.

    Raises:
        WeightsError: the weights cannot be loaded.
    """
    failed = 0
    with sound_progress([job.source for job in jobs], what) as counted:
        for job in jobs:
            counted.begin(job.source)
            try:
                work(job, counted)
            except WeightsError:
                raise
            except SilkError as error:
                failed += 1
                fail(error, f"{job.source}: " if len(jobs) > 1 and job.source not in str(error) else "")
    return failed


def table_width(rows: Sequence[dict[str, str]]) -> int:
    """Return the width of the table that `show_table` prints, in terminal cells."""
    from rich.cells import cell_len

    return sum(max(len(key), *(cell_len(row[key]) for row in rows)) + 3 for key in rows[0]) + 2


def show_table(rows: Sequence[dict[str, str]], file: TextIO | None = None, text: Sequence[str] = ()) -> None:
    """Print rows as a table, or with one value per line if the terminal is too narrow.

    Args:
        rows: values keyed by column name. All rows have the same columns.
        file: output stream. The default is standard output.
        text: names of left-aligned columns. The first column is always left-aligned.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    file = file or sys.stdout
    needed = table_width(rows)
    console = Console(file=file, highlight=False)
    if not file.isatty():
        console.width = max(needed, 80)  # Lines in files and pipes are not wrapped.
    if needed <= console.width:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i, key in enumerate(rows[0]):
            table.add_column(key, justify="left" if i == 0 or key in text else "right", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row.values()))  # Text shows brackets in names, which are markup in strings.
        console.print(table)
        return
    for row in rows:
        for key, value in row.items():
            print(f"{key:<16} {value}", file=file)
        print(file=file)


def show_coding(coding: Coding, as_json: bool, jobs: Sequence[Job]) -> None:
    """Print the result of encoding or decoding a file, and any warnings."""
    file = results_file(jobs)
    show_level(coding)
    show_clipping(coding.target, coding.n_clipped, coding.peak)
    show_warning(coding)
    if as_json:
        show_json(coding_json(coding), file)
        return
    print(
        f"{coding.source} -> {coding.target}   {seconds(coding.duration_s)}, {coding.n_tokens:,} tokens,"
        f" {coding.file_bytes:,} bytes, in {coding.wall_s:.2f} s ({coding.x_realtime:.0f} x real time)",
        file=file,
        flush=True,
    )
    if coding.damage:
        print(f"silk: warning: only the part before the damage was decoded: {coding.damage}", file=sys.stderr)


def show_level(coding: Coding) -> None:
    """Print a warning if a recording should be normalized."""
    if coding.level is None or coding.gain != 1 or not (coding.level.is_quiet or coding.level.is_offset):
        return
    what = f"is quiet ({coding.level.dbfs:.0f} dBFS)" if coding.level.is_quiet else ""
    offset = f"has a DC offset of {coding.level.offset:.2f}" if coding.level.is_offset else ""
    both = " and ".join(filter(None, (what, offset)))
    fail(SilkError(f"the recording {both}, which reduces quality. Use --normalize."), f"warning: {coding.source}: ")


def show_clipping(target: str, n_clipped: int | None, peak: float | None) -> None:
    """Print a warning if samples of a decoded file were clipped."""
    if n_clipped and peak:
        samples = "1 sample was" if n_clipped == 1 else f"{n_clipped:,} samples were"
        what = f"{samples} clipped by up to {20 * math.log10(peak):.1f} dB"
        fail(SilkError(f"{what}. To avoid this, use --rescale or --subtype float."), f"warning: {target}: ")


def show_warning(coding: Coding) -> None:
    """Print the warning about a recording, if there is one."""
    if coding.warning:
        print(f"silk: warning: {coding.warning}", file=sys.stderr)


def coding_json(coding: Coding) -> dict[str, Any]:
    """Convert the result of encoding or decoding a file to a JSON object."""
    counts = ("duration_s", "n_samples", "n_frames", "n_tokens", "tokens_per_second", "bits_per_second", "file_bytes")
    values = {name: getattr(coding, name) for name in ("source", "target", *counts, "wall_s", "x_realtime")}
    if coding.level is not None:
        values |= {"level_dbfs": coding.level.dbfs, "offset": coding.level.offset}
    values["gain"] = coding.gain
    if coding.peak is not None:
        values |= {"peak": coding.peak, "n_clipped": coding.n_clipped}
    found = {"damage": coding.damage, "warning": coding.warning}
    return values | {key: value for key, value in found.items() if value}


def roundtrip_json(trip: Roundtrip) -> dict[str, Any]:
    """Convert the result of `silk roundtrip` for one file to a JSON object."""
    encoding, decoding = trip.encoding, trip.decoding
    return {
        **{key: value for key, value in coding_json(encoding).items() if key not in ("wall_s", "x_realtime")},
        "wave": decoding.target,
        "picture": trip.picture,
        "encode_s": encoding.wall_s,
        "encode_x_realtime": encoding.x_realtime,
        "decode_s": decoding.wall_s,
        "decode_x_realtime": decoding.x_realtime,
        "peak": decoding.peak,
        "n_clipped": decoding.n_clipped,
        "mel_distance": trip.mel_distance,
    }


def show_roundtrips(done: Sequence[Roundtrip], file: TextIO) -> None:
    """Print the `silk roundtrip` table and the paths of its output files."""
    rows = []
    for trip in done:
        encoding, decoding = trip.encoding, trip.decoding
        rows.append(
            {
                "file": os.path.basename(encoding.source),
                "duration": seconds(encoding.duration_s),
                "tokens": f"{encoding.n_tokens:,}",
                "tokens/s": f"{encoding.tokens_per_second:g}",
                "bit/s": f"{encoding.bits_per_second:g}",
                "bytes": f"{encoding.file_bytes:,}",
                "encode": f"{encoding.wall_s:.2f} s = {encoding.x_realtime:.0f}x",
                "decode": f"{decoding.wall_s:.2f} s = {decoding.x_realtime:.0f}x",
                "mel distance": f"{trip.mel_distance:.2f}",
            }
        )
    show_table(rows, file)
    for trip in done:
        print(f"{trip.decoding.target}  {trip.decoding.source}  {trip.picture}", file=file)


def show_comparison(result: dict[str, Any], folder: os.PathLike[str]) -> None:
    """Print the `silk compare` or `silk score` table, and the paths of the reports."""
    from silkcodec.evaluate import report

    some = [
        name
        for name in report.measured(result)
        if any(means[name]["mean"] is not None for means in result["means"].values())
    ]
    metrics = [name for name in CONSOLE_METRICS if name in some]
    metrics += [name for name in some if name not in metrics]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    while table_width(rows := _comparison_rows(result, metrics)) > width and len(metrics) > 1:
        metrics.pop()
    show_table(rows)
    base = os.fspath(folder)
    files = [os.path.join(base, name) for name in ("report.html", "report.md", "results.json")]
    print("  ".join(file for file in files if os.path.exists(file)))
    if find_spec("jinja2") is None:
        fail(MissingExtraError("The HTML report", "jinja2", "eval"))


def _comparison_rows(result: dict[str, Any], metrics: Sequence[str]) -> list[dict[str, str]]:
    from silkcodec.evaluate import markdown, report

    rows = []
    for name in result["settings"]["codecs"]:
        codec, means = result["codecs"][name], result["means"][name]
        row = {"codec": name}
        if result["kind"] == "silk compare":
            row["frames/s"] = report.frame_rates(codec)
            row["tokens/s"] = markdown.number(codec.get("tokens_per_second"), 1)
            row["bit/s"] = markdown.number(codec.get("bits_per_second"), 0)
        for metric in metrics:
            row[result["metrics"][metric]["label"]] = markdown.number(means[metric]["mean"], markdown.digits(metric))
        for way in ("encode", "decode") if result["kind"] == "silk compare" else ():
            speed = codec.get(f"{way}_times_real_time")
            row[way] = "-" if speed is None else f"{speed:.0f}x"
        rows.append(row)
    return rows


def show_contents(source: str, contents: Contents, as_json: bool) -> None:
    """Print the contents of a file for `silk info`.

    Raises:
        ContainerError: the file is damaged.
    """
    header, n_codebooks = contents.header, len(contents.header.codebook_sizes)
    n_samples = contents.n_samples or contents.n_frames * header.frame_samples
    values: dict[str, Any] = {
        "source": source,
        "codec": header.codec,
        "format_version": header.version,
        "gain": header.gain,
        "sample_rate": header.sample_rate,
        "n_samples": n_samples,
        "duration_s": n_samples / header.sample_rate,
        "n_frames": contents.n_frames,
        "codebooks": n_codebooks,
        "n_tokens": contents.n_frames * n_codebooks,
        "tokens_per_second": n_codebooks * header.sample_rate / header.frame_samples,
        "payload_bps": contents.payload_bps,
        "file_bps": contents.file_bps,
        "file_bytes": contents.n_bytes,
        "chunks": len(contents.chunks),
        "range_coded_chunks": sum(chunk.coded for chunk in contents.chunks),
        "damage": str(contents.damage) if contents.damage else None,
    }
    if as_json:
        show_json(values)
    else:
        for key, value in values.items():
            if value is not None:
                print(f"{key:<20} {value:,.6g}" if isinstance(value, float) else f"{key:<20} {value}")
        print()
    if contents.damage:
        raise contents.damage
