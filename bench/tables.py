"""JSON of measurements -> the Markdown tables in README.md, docs/ and bench/. No figure is typed by hand.

    python bench/tables.py          # write every table between its markers
    python bench/tables.py --check  # write nothing; exit 1 if a table is not what the JSON says (a test runs this)
    python bench/tables.py --keep   # first keep bench/quality/results.json in bench/history/, for the table `progress`

A document asks for a table by its name in a pair of markers, each alone on its line:

    <!-- bench:speed -->
    <!-- /bench:speed -->

A target that was missed says so: targets.json holds what was promised, and each table puts it beside the figure.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import codec_tables
import corpus_table
import findings
import lab_table
import lm_table
import server_table
import web_table
from findings import TableError

from silkcodec.evaluate.report import digits, interval, load_result, measured, number, side_by_side, table

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/*.md", "bench/README.md", "web/README.md")
MARKER = re.compile(r"^<!-- (/?)bench:([a-z0-9-]+) -->$")

QUALITY = "quality/results.json"  # of silk compare

Figures = dict[str, Any]

SPEED_ROWS = (  # what, where in speed.json, digits, unit
    ("encode, library", "library.encode_times_real_time", 0, "x real time"),
    ("decode, library", "library.decode_times_real_time", 0, "x real time"),
    ("encode, library, 1 thread", "library_one_thread.encode_times_real_time", 0, "x real time"),
    ("decode, library, 1 thread", "library_one_thread.decode_times_real_time", 0, "x real time"),
    ("encode, {batch.n_clips} clips at once", "batch.encode_times_real_time", 0, "x real time"),
    ("decode, {batch.n_clips} clips at once", "batch.decode_times_real_time", 0, "x real time"),
    ("`silk encode`, {short}", "command.encode_times_real_time", 0, "x real time"),
    ("`silk decode`, {short}", "command.decode_times_real_time", 0, "x real time"),
    ("stream, encode a 400 ms frame, median", "stream.encode.p50_ms", 1, "ms"),
    ("stream, encode a 400 ms frame, 99 %", "stream.encode.p99_ms", 1, "ms"),
    ("stream, decode a 400 ms frame, median", "stream.decode.p50_ms", 1, "ms"),
    ("stream, decode a 400 ms frame, 99 %", "stream.decode.p99_ms", 1, "ms"),
    ("peak memory, `silk encode`, {long}", "memory.encode.long_mb", 0, "MB"),
    ("... more than for {short}", "memory.encode.growth_mb", 1, "MB"),
    ("peak memory, `silk decode`, {long}", "memory.decode.long_mb", 0, "MB"),
    ("... more than for {short}", "memory.decode.growth_mb", 1, "MB"),
    ("`silk --help`", "start.help.median_s", 2, "s"),
    ("`silk encode` of 10 s from a cold start", "start.encode_10_s.median_s", 2, "s"),
    ("`import silkcodec`", "start.import.median_s", 4, "s"),
    ("import and load, both ways", "start.load.median_s", 2, "s"),
    ("tokens", "library.tokens_per_second", 1, "per second"),
    ("bits of the tokens", "library.bits_per_second", 0, "per second"),
    ("`--entropy` saves of the samples' files", "size.entropy_gain_percent", 1, "%"),
)


def speed(bench: Path) -> str:
    """Every figure of speed.json beside its target, and the conditions it was measured in."""
    result = findings.read_result(bench / "speed.json", "silk speed")
    if result is None:
        return "Not measured yet: `make bench`."
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
        rows.append([label, figure, *findings.judged(value, targets.get(path, {}), unit)])
    return f"{table(['what', 'measured', 'target', 'met'], rows)}\n\n{_conditions(bench, result)}"


def _conditions(bench: Path, result: Figures) -> str:
    found = result["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    sentences = [
        f"{found['codec']}{findings.not_embedded(bench, found['codec'])}; {found['threads']} threads, "
        f"{found['cores']} cores, {found['cpu']}, {found['system']}; {versions}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    files = result["size"]["files"]
    sentences.append(
        f"Speech: {len(files)} samples in turn, repeated to {_lengths(result)}; file sizes are of the samples "
        f"themselves, {sum(file['duration_s'] for file in files):.0f} s. Medians of start-up are over "
        f"{result['start']['help']['n_runs']} and {result['start']['encode_10_s']['n_runs']} runs, disk cache warm."
    )
    return " ".join(sentences)


def _lengths(result: Figures) -> str:
    return f"{findings.duration(result['memory']['short_s'])} and {findings.duration(result['memory']['long_s'])}"


def quality(bench: Path) -> str:
    """Every codec of that result on the same clips, and Silk's targets. No times: the run shared its machine."""
    path = bench / QUALITY
    if not path.exists():
        return "Not measured yet: `make quality`."
    result = load_result(path)
    codecs, means = result["settings"]["codecs"], result["means"]
    parts = []
    for shown in side_by_side(measured(result)):
        rows = []
        for codec in codecs:
            rates = result["codecs"][codec]
            figures = [interval(means[codec][name], digits(name)) for name in shown]
            rates_cells = [number(rates.get("tokens_per_second"), 1), number(rates.get("bits_per_second"), 0)]
            rows.append([codec, *rates_cells, *figures])
        parts.append(table(["codec", "tokens/s", "bit/s", *_metric_headers(result, shown)], rows))
    judged = table(["silk's target", "measured", "target", "met"], _quality_targets(bench, result))
    if findings.targets(bench)["quality"]["codec"] in codecs:
        parts.append(judged)
    return "\n\n".join([*parts, _clips_note(bench, result)])


def _quality_targets(bench: Path, result: Figures) -> list[list[str]]:
    """A row per promise. "Above" is judged on the means of the same clips; the interval is of the difference."""
    targets = findings.targets(bench)["quality"]
    codec, differences = targets["codec"], result["differences"]
    rows = []
    for metric, target in targets["means"].items():
        entry = result["means"].get(codec, {}).get(metric, {"mean": None})
        label = result["metrics"][metric]["label"]
        cells = findings.judged(entry["mean"], target, "", digits(metric))
        rows.append([label, interval(entry, digits(metric)), *cells])
    for metric, others in targets["above"].items():
        label = result["metrics"][metric]["label"]
        for other in others:
            measured = differences["minus"].get(other) if differences["of"] == codec else None
            entry = measured[metric] if measured else {"mean": None}
            cells = findings.judged(entry["mean"], {"above": 0}, "")
            rows.append([f"{label}, minus that of {other}", interval(entry, digits(metric)), *cells])
    return rows


def _clips_note(bench: Path, result: Figures) -> str:
    clips, settings = result["clips"], result["settings"]
    split = f" of the split '{settings['split']}'" if settings["split"] else ""
    drawn = f", drawn with seed {settings['seed']}" if settings["limit"] else ""
    silk = result["codecs"].get("silk", {}).get("codec_id")
    weights = f" {silk}{findings.not_embedded(bench, silk)}." if silk else ""
    failed = sum(rates["n_failed"] for rates in result["codecs"].values())
    left_out = len({(entry["clip"], entry["metric"]) for entry in result["left_out"]})
    notes = f" {failed} runs of a codec failed." if failed else ""
    if left_out:
        notes += f" {left_out} figures are missing where a clip allows none, and those clips for all codecs."
    return (
        f"{clips['n']} clips{split}{drawn}, {clips['duration_s'] / 3600:.2f} h, the same for every codec, aligned. "
        f"Mean [95 % bootstrap interval over clips].{weights} silkcodec {result['version']}, "
        f"{result['created'][:10]}.{notes}"
    )


def quality_groups(bench: Path) -> str:
    """The same means, split by what training had heard: its speakers, its languages."""
    path = bench / QUALITY
    if not path.exists():
        return "Not measured yet: `make quality`."
    result = load_result(path)
    shown = [name for name in ("pesq_wb", "stoi", "mel_distance") if name in result["metrics"]]
    rows = []
    for column, values in result["groups"].items():
        for value, group in values.items():
            for codec in result["settings"]["codecs"]:
                figures = [interval(group["codecs"][codec][name], digits(name)) for name in shown]
                rows.append([f"{column.replace('_', ' ')}: {value}", codec, str(group["n_clips"]), *figures])
    return table(["clips whose", "codec", "clips", *_metric_headers(result, shown)], rows)


def progress(bench: Path) -> str:
    """Silk's quality by weights, oldest first: what was kept in history/, and the present."""
    results = [load_result(path) for path in sorted((bench / "history").glob("*.json"))]
    if (bench / QUALITY).exists():
        results.append(load_result(bench / QUALITY))
    latest = {  # one row per weights and set of clips: the last measurement
        (result["codecs"]["silk"]["codec_id"], result["clips"]["n"]): result
        for result in sorted(results, key=lambda result: result["created"])
        if result["codecs"].get("silk", {}).get("codec_id")
    }
    if not latest:
        return "Not measured yet: `make quality`."
    shown = ("pesq_wb", "stoi", "estoi", "mel_distance")
    rows = []
    for (weights, n_clips), result in sorted(latest.items(), key=lambda item: item[1]["created"]):
        means = result["means"]["silk"]
        figures = [interval(means[name], digits(name)) if name in means else "-" for name in shown]
        rows.append([result["created"][:10], weights, str(n_clips), *figures])
    return table(["measured", "weights", "clips", *_metric_headers(result, shown)], rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "speed": speed,
    "quality": quality,
    "quality-groups": quality_groups,
    "progress": progress,
    **codec_tables.TABLES,
    **lab_table.TABLES,
    **lm_table.TABLES,
    **corpus_table.TABLES,
    **server_table.TABLES,
    **web_table.TABLES,
}


def fill(text: str, bench: Path, name: str = "a document") -> str:
    """A document with every table between its markers made anew.

    Raises:
        TableError: a marker without its other half, inside another pair, or of no table.
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
            raise TableError(f"A table must be one of {', '.join(TABLES)}; {name} asks for '{table}'.")
        if closes != (inside is not None) or (closes and table != inside):
            raise TableError(f"Markers must come in pairs of one name; {name} has '{line}' out of place.")
        # Blank lines around the table: without them Markdown takes it for part of the comment.
        lines += ["", TABLES[table](bench), "", line] if closes else [line]
        inside = None if closes else table
    if inside is not None:
        raise TableError(f"Markers must come in pairs; {name} has no '<!-- /bench:{inside} -->'.")
    return "\n".join(lines) + "\n"


def stale(root: Path, bench: Path) -> dict[Path, str]:
    """Documents whose tables, and packaged rates, that are not what the JSON says -> what they should hold."""
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


def keep(bench: Path) -> Path:
    """A copy of the quality in history/, named by its day and weights. Raises TableError without Silk in it."""
    result = load_result(bench / QUALITY)
    codec_id = result["codecs"].get("silk", {}).get("codec_id")
    if codec_id is None:
        raise TableError(f"A result that is kept must be of silk; bench/{QUALITY} has no figures of it.")
    kept = {**result, "groups": {}, "left_out": []}  # history draws a curve; the rest would be bulk
    path = bench / "history" / f"{result['created'][:10]}-{codec_id.partition('@')[2]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return path


def _metric_headers(result: Figures, names: Sequence[str]) -> list[str]:
    arrows = {"higher": "↑", "lower": "↓", "zero": "→ 0"}
    cells = []
    for name in names:
        metric = result["metrics"].get(name)
        cells.append(f"{metric['label']} {arrows[metric['better']]}" if metric else name)
    return cells


def _at(result: Figures, path: str) -> float | None:
    value: Any = result
    for key in path.split("."):
        value = value[key]
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tables of measurements into the documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is stale")
    parser.add_argument("--keep", action="store_true", help="first keep the quality in bench/history/")
    options = parser.parse_args()
    bench = ROOT / "bench"
    try:
        if options.keep and not options.check:
            print(f"kept {keep(bench).relative_to(ROOT)}")
        found = stale(ROOT, bench)
    except TableError as error:
        sys.exit(f"tables: {error}")
    for path, text in found.items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        print(f"{'stale' if options.check else 'wrote'} {path.relative_to(ROOT)}")
    if found and options.check:
        sys.exit("tables: run: python bench/tables.py")


if __name__ == "__main__":
    main()
