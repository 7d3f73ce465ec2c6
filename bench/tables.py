"""Write the Markdown tables in README.md, docs/, bench/ and web/ from the JSON files in bench/.

    python bench/tables.py          # write every table between its markers
    python bench/tables.py --check  # write nothing; exit with 1 if a table does not match its JSON file
    python bench/tables.py --keep   # first copy bench/quality/results.json to bench/history/, for the `progress` table

The program also draws docs/levels.png. `--check` does not compare this file, because its pixels depend on fonts.

In a document, a table is between two markers, each on its own line:

    <!-- bench:speed -->
    <!-- /bench:speed -->

If targets.json contains a target for a figure, the table shows the target and whether it is met.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import choose_table
import codec_tables
import corpus_table
import findings
import lab_table
import lm_table
import loudness_table
import program
import quality_tables
import server_table
import web_table
from findings import TableError

from silkcodec.evaluate.markdown import number, table

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/*.md", "bench/README.md", "web/README.md")
MARKER = re.compile(r"^<!-- (/?)bench:([a-z0-9-]+) -->$")

Figures = dict[str, Any]

SPEED_ROWS = (  # label, key in speed.json, digits, unit
    ("encode in Python", "library.encode_times_real_time", 0, "x real time"),
    ("decode in Python", "library.decode_times_real_time", 0, "x real time"),
    ("encode in Python, 1 thread", "library_one_thread.encode_times_real_time", 0, "x real time"),
    ("decode in Python, 1 thread", "library_one_thread.decode_times_real_time", 0, "x real time"),
    ("encode a batch of {batch.n_clips} clips", "batch.encode_times_real_time", 0, "x real time"),
    ("decode a batch of {batch.n_clips} clips", "batch.decode_times_real_time", 0, "x real time"),
    ("`silk encode`, {short} of audio", "command.encode_times_real_time", 0, "x real time"),
    ("`silk decode`, {short} of audio", "command.decode_times_real_time", 0, "x real time"),
    ("encode a frame of a stream, median", "stream.encode.p50_ms", 1, "ms"),
    ("encode a frame of a stream, 99th percentile", "stream.encode.p99_ms", 1, "ms"),
    ("decode a frame of a stream, median", "stream.decode.p50_ms", 1, "ms"),
    ("decode a frame of a stream, 99th percentile", "stream.decode.p99_ms", 1, "ms"),
    ("peak memory of `silk encode`, {long} of audio", "memory.encode.long_mb", 0, "MB"),
    ("increase in peak memory of `silk encode` from {short} to {long} of audio", "memory.encode.growth_mb", 1, "MB"),
    ("peak memory of `silk decode`, {long} of audio", "memory.decode.long_mb", 0, "MB"),
    ("increase in peak memory of `silk decode` from {short} to {long} of audio", "memory.decode.growth_mb", 1, "MB"),
    ("run `silk --help`", "start.help.median_s", 2, "s"),
    ("start `silk encode` and encode 10 s", "start.encode_10_s.median_s", 2, "s"),
    ("`import silkcodec`", "start.import.median_s", 4, "s"),
    ("import, then load the encoder and the decoder", "start.load.median_s", 2, "s"),
    ("token rate", "library.tokens_per_second", 1, "tokens/s"),
    ("bit rate", "library.bits_per_second", 0, "bit/s"),
    ("reduction in file size with `--entropy`", "size.entropy_gain_percent", 1, "%"),
)


def speed(bench: Path) -> str:
    """Return a table of the figures in speed.json with their targets."""
    result = findings.read_result(bench / "speed.json", "silk speed")
    if result is None:
        return "Not measured yet. Run `make bench`."
    targets = findings.targets(bench)["speed"]
    names = {
        "short": findings.duration(result["memory"]["short_s"]),
        "long": findings.duration(result["memory"]["long_s"]),
        "batch.n_clips": str(result["batch"]["n_clips"]),
    }
    rows = []
    for label, path, n_digits, unit in SPEED_ROWS:
        value = _at(result, path)
        for name, text in names.items():
            label = label.replace(f"{{{name}}}", text)
        figure = f"{number(value, n_digits)} {unit}" if value is not None else "-"
        rows.append([label, figure, *findings.target_cells(value, targets.get(path, {}), unit)])
    return f"{table(['measurement', 'result', 'target', 'target met'], rows)}\n\n{_conditions(bench, result)}"


def _conditions(bench: Path, result: Figures) -> str:
    found = result["conditions"]
    files = result["size"]["files"]
    fewest_runs = min(start["n_runs"] for start in result["start"].values())
    sentences = [
        f"The input consists of the {len(files)} recordings in `samples/`, repeated to fill {_lengths(result)}. The "
        "file size was measured on the recordings without repetition "
        f"({sum(file['duration_s'] for file in files):.0f} s). Startup times are "
        f"medians of at least {fewest_runs} runs with a warm disk cache.",
        f"Conditions: {found['codec']}{findings.not_embedded(bench, found['codec'], times=True)}; {found['threads']} "
        f"threads, {found['cores']} cores, {found['cpu']}, {found['system']}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)


def _lengths(result: Figures) -> str:
    return f"{findings.duration(result['memory']['short_s'])} or {findings.duration(result['memory']['long_s'])}"


TABLES: dict[str, Callable[[Path], str]] = {
    "speed": speed,
    **choose_table.TABLES,
    **quality_tables.TABLES,
    **codec_tables.TABLES,
    **lab_table.TABLES,
    **lm_table.TABLES,
    **loudness_table.TABLES,
    **corpus_table.TABLES,
    **server_table.TABLES,
    **web_table.TABLES,
}


def fill(text: str, bench: Path, name: str = "a document") -> str:
    """Update all tables in the text of a document.

    Args:
        text: text of the document.
        bench: folder of the results.
        name: name of the document for error messages.

    Returns:
        The updated text.

    Raises:
        TableError: a marker has no counterpart, is inside another pair, or has an unknown name.
    """
    lines: list[str] = []
    inside: str | None = None
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        marker = None if fenced else MARKER.match(line)
        if marker is None:
            if inside is None:
                lines.append(line)
            continue
        closes, table = bool(marker[1]), marker[2]
        if table not in TABLES:
            raise TableError(f"The table in a marker must be one of {', '.join(TABLES)}; {name} contains '{table}'.")
        if closes != (inside is not None) or (closes and table != inside):
            raise TableError(f"Markers must come in pairs with the same name; {name} has a misplaced '{line}'.")
        # Without blank lines around the table, Markdown treats it as a part of the comment.
        lines += ["", TABLES[table](bench), "", line] if closes else [line]
        inside = None if closes else table
    if inside is not None:
        raise TableError(f"Markers must come in pairs; {name} has no '<!-- /bench:{inside} -->'.")
    return "\n".join(lines) + "\n"


def stale(root: Path, bench: Path) -> dict[Path, str]:
    """Return the correct contents of all documents and packaged rates that are out of date, keyed by path."""
    documents = sorted({path for pattern in DOCUMENTS for path in root.glob(pattern)})
    found = codec_tables.stale(root, bench)
    for path in documents:
        text = path.read_text(encoding="utf-8")
        if "<!-- bench:" not in text and "<!-- /bench:" not in text:
            continue
        filled = fill(text, bench, path.relative_to(root).as_posix())
        if filled != text:
            found[path] = filled
    return found


def _at(result: Figures, path: str) -> float | None:
    value: Any = result
    for key in path.split("."):
        value = value[key]
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tables of measurements into the documents.")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a table is out of date")
    modes.add_argument("--keep", action="store_true", help="first copy the quality result to bench/history/")
    options = parser.parse_args()
    bench = ROOT / "bench"
    if options.keep:
        print(f"kept {quality_tables.keep(bench).relative_to(ROOT)}")
    found = stale(ROOT, bench)
    if not options.check and (picture := quality_tables.draw_levels(bench)) is not None:
        (ROOT / quality_tables.LEVELS_FIGURE).write_bytes(picture)
    for path, text in found.items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        print(f"{'stale' if options.check else 'wrote'} {path.relative_to(ROOT)}")
    if found and options.check:
        sys.exit("tables: run: python bench/tables.py")


if __name__ == "__main__":
    program.run(main)
