"""Format a result of `silk compare` or `silk score` as a Markdown report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError
from silkcodec.evaluate.markdown import ARROWS, digits, interval, number, table

FORMAT = 2  # version of the result's JSON
KINDS = ("silk compare", "silk score")
MAX_METRICS_PER_TABLE = 6  # wider tables are hard to read

Result = dict[str, Any]


def load_result(path: str | os.PathLike[str]) -> Result:
    """Load a result written by `silk compare` or `silk score`.

    Raises:
        ArgumentError: the file cannot be read or does not contain such a result.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"Cannot read '{path}': {error}. Pass a results.json from 'silk compare' or 'silk score'."
        ) from error
    if not isinstance(result, dict) or result.get("kind") not in KINDS or result.get("format") != FORMAT:
        raise ArgumentError(
            f"'{path}' must be a result of 'silk compare' or 'silk score' and have format {FORMAT}. "
            "Pass a results.json written by this version of silk."
        )
    return result


def failures(result: Result) -> list[str]:
    """Return one sentence for each codec or metric that failed or was not available."""
    found = [f"{name} could not be used: {c['failed']}" for name, c in result["codecs"].items() if "failed" in c]
    for name, codec in result["codecs"].items():
        if "failed" not in codec and codec["n_failed"]:
            reason = next(e["reason"] for e in result["left_out"] if e["codec"] == name and e["metric"] == "all")
            found.append(f"{name} failed on {codec['n_failed']} of {codec['n_clips']} clips: {reason}")
    for metric in result["metrics"]:
        broken = [e for e in result["left_out"] if e["metric"] == metric and e["failed"]]
        if broken:
            rows = "1 row" if len(broken) == 1 else f"{len(broken)} rows"
            found.append(f"{metric} failed on {rows}: {broken[0]['reason']}")
    for metric in result["settings"]["metrics"] or ():
        if "missing" in result["metrics"][metric]:
            found.append(f"{metric} was not measured: {result['metrics'][metric]['missing']}")
    return found


def to_markdown(result: Result) -> str:
    """Format a result as a Markdown report."""
    compared = result["kind"] == "silk compare"
    parts = [_heading(result), "\n".join(f"- **{sentence}**" for sentence in failures(result))]
    if compared:
        parts += ["## Rates", _rates(result)]
    parts += ["## Quality", *_quality(result), _missing(result)]
    if len(result["settings"]["codecs"]) > 1:
        parts += _differences(result)
    for column, values in result["groups"].items():
        parts += _group(result, column) if values else []
    if compared:
        parts += ["## Codebooks", *_codebooks(result), "## Speed and memory", _cost(result)]
    parts += ["## Delays and lengths", _lengths(result), "## Missing values", _left_out(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def frame_rates(codec: Mapping[str, Any]) -> str:
    """Format the frame rate of a codec, or the range of its frame rates, e.g. `12.0..47.0`."""
    slowest = codec.get("frame_rate_hz")
    fastest = max((book["frame_rate_hz"] for book in codec.get("codebooks") or ()), default=slowest)
    return number(slowest, 1) if slowest == fastest else f"{number(slowest, 1)}..{number(fastest, 1)}"


def measured(result: Result) -> list[str]:
    """Return the names of the measured metrics in the order of the report."""
    return [name for name, metric in result["metrics"].items() if "missing" not in metric]


def metric_heading(metric: Mapping[str, Any]) -> str:
    """Return the column heading of a metric with its unit and direction, e.g. `PESQ-WB (MOS-LQO) ↑`."""
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    return f"{metric['label']}{unit} {ARROWS[metric['better']]}"


def side_by_side(names: Sequence[str]) -> list[Sequence[str]]:
    """Split metrics into groups of similar size that each fit into one table."""
    n = -(-len(names) // MAX_METRICS_PER_TABLE)
    return [names[part * len(names) // n : (part + 1) * len(names) // n] for part in range(n)]


def metric_tables(
    result: Result, first: Sequence[str], rows: Sequence[tuple[Sequence[str], Mapping[str, Any]]]
) -> list[str]:
    """Format tables with one column per metric and at most six metrics each.

    Args:
        result: a result of `compare` or `score`.
        first: headings of the columns before the metrics.
        rows: for each table row, the cells of the columns before the metrics, and the means keyed by metric name.
    """
    tables = []
    for shown in side_by_side(measured(result)):
        header = [*first, *(metric_heading(result["metrics"][name]) for name in shown)]
        cells = [[*before, *(interval(entries[name], digits(name)) for name in shown)] for before, entries in rows]
        tables.append(table(header, cells))
    return tables


def _heading(result: Result) -> str:
    clips, settings = result["clips"], result["settings"]
    split = f" in the '{settings['split']}' split" if settings["split"] else ""
    drawn = f", drawn with seed {settings['seed']}" if settings["limit"] else ""
    what = "codecs" if result["kind"] == "silk compare" else "folders"
    return (
        f"# {', '.join(settings['codecs'])}\n\n"
        f"{clips['n']} clip{'' if clips['n'] == 1 else 's'}{split}{drawn}, {clips['duration_s'] / 60:.1f} min. "
        f"All {what} are measured on the same clips in mono at 24 kHz. Their audio is first aligned with the original. "
        "Values are means over clips with 95 % bootstrap intervals. "
        f"Measured by silkcodec {result['version']} on {result['created'][:10]}."
    )


def _codecs(result: Result) -> list[tuple[str, dict[str, Any]]]:
    return [(name, result["codecs"][name]) for name in result["settings"]["codecs"]]


def _rates(result: Result) -> str:
    header = ["codec", "quantizer", "frames/s", "codebooks", "tokens/s", "bit/s", "entropy, bit/s", "latency"]
    rows = []
    for name, codec in _codecs(result):
        latency = codec.get("latency_ms")
        rows.append(
            [
                name,
                codec.get("quantizer") or "-",
                frame_rates(codec),
                _sizes(codec),
                number(codec.get("tokens_per_second"), 1),
                number(codec.get("bits_per_second"), 0),
                number(codec.get("entropy_bits_per_second"), 0),
                "-" if latency is None else f"{number(latency, 0)} ms",
            ]
        )
    note = (
        "Rates are computed from the tokens of all clips and the duration of their frames. Entropy is estimated from "
        "individual codes; see Codebooks. Latency is the algorithmic latency: one frame plus the look-ahead of the "
        "encoder and the decoder. A dash means that the codec cannot stream or does not report its latency."
    )
    return f"{table(header, rows)}\n\n{note}"


def _sizes(codec: Mapping[str, Any]) -> str:
    """Format the codebook sizes of a codec, e.g. `8 x 1024` or `18 x 2097152 + 1 x 64`."""
    if not codec.get("codebooks"):
        return number(codec.get("n_codebooks"), 0)
    sizes = [book["size"] for book in codec["codebooks"]]
    return " + ".join(f"{sizes.count(size)} x {size}" for size in dict.fromkeys(sizes))


def _quality(result: Result) -> list[str]:
    rows = []
    for name, codec in _codecs(result):
        rows.append(([name, f"{codec['n_clips'] - codec['n_failed']}/{codec['n_clips']}"], result["means"][name]))
    return metric_tables(result, ["codec", "clips"], rows)


def _missing(result: Result) -> str:
    lines = [
        f"- {metric['label']}: {metric['missing']}" for metric in result["metrics"].values() if "missing" in metric
    ]
    return "Not measured:\n\n" + "\n".join(lines) if lines else ""


def _differences(result: Result) -> list[str]:
    differences = result["differences"]
    rows = [([f"minus {name}"], entries) for name, entries in differences["minus"].items()]
    note = "A difference is significant if its 95 % interval does not include 0."
    return [f"## Paired differences of {differences['of']}", *metric_tables(result, [""], rows), note]


def _group(result: Result, column: str) -> list[str]:
    rows = []
    for value, group in result["groups"][column].items():
        for name in result["settings"]["codecs"]:
            rows.append(([value, name, str(group["n_clips"])], group["codecs"][name]))
    return [f"## By {column}", *metric_tables(result, [column, "codec", "clips"], rows)]


def _codebooks(result: Result) -> list[str]:
    header = [
        "codec",
        "codebooks",
        "tokens in each",
        "codes used",
        "perplexity",
        "entropy, bit/token",
        "maximum entropy",
    ]
    rows, each = [], []
    for name, codec in _codecs(result):
        books = codec.get("codebooks")
        if not books:
            continue
        rows.append(
            [
                name,
                _sizes(codec),
                _span([book["n_tokens"] for book in books], 0),
                _span([book["n_used"] for book in books], 0),
                _span([book["perplexity"] for book in books], 1),
                _span([book["entropy_bits"] for book in books], 2),
                _span([math.log2(book["size"]) for book in books], 2),
            ]
        )
        levels = codec.get("dimensions")
        if levels:
            rows.append(
                [
                    f"{name}, dimensions",
                    f"{len(levels['n_used'])} x {levels['n_levels']}",
                    number(levels["n_frames"], 0),
                    _span(levels["n_used"], 0),
                    _span(levels["perplexity"], 1),
                    _span(levels["entropy_bits"], 2),
                    number(math.log2(levels["n_levels"]), 2),
                ]
            )
        each += [
            [
                f"{name}, {k}",
                str(book["size"]),
                number(book["frame_rate_hz"], 2),
                str(book["n_tokens"]),
                f"{book['n_used']} ({100 * book['n_used'] / book['size']:.3g} %)",
                number(book["perplexity"], 1),
                number(book["entropy_bits"], 2),
            ]
            for k, book in enumerate(books, start=1)
        ]
    if not rows:
        return ["Not measured."]
    note = (
        "A range gives the lowest and the highest value among a codec's codebooks. The number of codes used and the "
        "perplexity cannot exceed the number of tokens. If a codebook is large compared with the number of tokens, "
        "both depend mainly on the amount of data."
    )
    header_of_each = ["codec, codebook", "size", "frames/s", "tokens", "codes used", "perplexity", "entropy, bit/token"]
    details = f"<details><summary>Each codebook</summary>\n\n{table(header_of_each, each)}\n\n</details>"
    return [table(header, rows), note, details]


def _span(values: Sequence[float], n_digits: int) -> str:
    low, high = number(min(values), n_digits), number(max(values), n_digits)
    return low if low == high else f"{low}..{high}"


def _cost(result: Result) -> str:
    rows = []
    for name, codec in _codecs(result):
        speeds = [codec.get(f"{what}_times_real_time") for what in ("encode", "decode")]
        memory = codec.get("peak_memory_mb")
        rows.append(
            [
                name,
                *("-" if speed is None else f"{number(speed, 0 if speed >= 10 else 1)}x" for speed in speeds),
                "-" if memory is None else f"{number(memory, 0)} MB",
            ]
        )
    jobs = max((codec.get("timed_with_jobs") or 1 for _, codec in _codecs(result)), default=1)
    note = (
        "Speeds are multiples of real time. Memory is the peak memory of a process that loads the codec, then encodes "
        "and decodes the first minute of the first clip."
    )
    if jobs > 1:
        note += f" **{jobs} processes ran at the same time. For reliable speeds, use `--jobs 1` with a new folder.**"
    return f"{table(['codec', 'encode', 'decode', 'peak memory'], rows)}\n\n{note}"


def reasons(result: Result) -> list[tuple[list[str], list[str], list[str], str]]:
    """Group missing values by reason, and return the codecs, metrics, clips and reason for each group."""
    clips: dict[tuple[str, str, str], set[str]] = {}
    for entry in result["left_out"]:
        clips.setdefault((entry["reason"], entry["metric"], entry["codec"]), set()).add(entry["clip"])
    of_codecs: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (reason, metric, codec), names in clips.items():
        of_codecs.setdefault((reason, metric, tuple(sorted(names))), []).append(codec)
    of_metrics: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (reason, metric, group), codecs in of_codecs.items():
        of_metrics.setdefault((reason, tuple(codecs), group), []).append(metric)
    return [(list(codecs), metrics, list(group), reason) for (reason, codecs, group), metrics in of_metrics.items()]


def _lengths(result: Result) -> str:
    rows = [
        [
            name,
            number(codec.get("delay_ms_largest"), 1),
            number(codec.get("length_error_samples_largest"), 0),
        ]
        for name, codec in _codecs(result)
    ]
    note = (
        "Values are the largest over all clips. Delays are removed before the metrics are computed. The length error "
        "is the length of the output minus that of the clip, in samples at 24 kHz."
    )
    return f"{table(['codec', 'delay (ms)', 'length error (samples)'], rows)}\n\n{note}"


def _left_out(result: Result) -> str:
    missing = result["left_out"]
    if not missing:
        return "None: every metric was measured for every codec on every clip."
    rows = [
        [", ".join(codecs), ", ".join(metrics), str(len(clips)), reason]
        for codecs, metrics, clips, reason in reasons(result)
    ]
    note = "The mean of a metric includes only clips for which every codec has a value. These values are missing:"
    return f"{note}\n\n{table(['codec', 'metric', 'clips', 'reason'], rows)}"
