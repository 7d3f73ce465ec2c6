"""A result of `run.evaluate` (or its JSON) -> Markdown tables. Nothing is measured or typed here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError

Result = dict[str, Any]


def load_result(path: str | os.PathLike[str]) -> Result:
    """A result that `evaluate` wrote.

    Raises:
        ArgumentError: the file cannot be read or is no such result.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"a result must be JSON of 'silk evaluate'; '{path}' cannot be read: {error}."
        ) from error
    if not isinstance(result, dict) or result.get("kind") != "silk evaluate" or result.get("format") != 1:
        raise ArgumentError(f"a result must be JSON of 'silk evaluate', format 1; '{path}' is not.")
    return result


def to_markdown(result: Result) -> str:
    """The whole report: what was measured, the table, differences, groups, and what was left out."""
    parts = [_heading(result), _main_table(result)]
    if len(result["settings"]["codecs"]) > 1:
        parts.append(_differences(result))
    parts += [_group(result, column) for column, values in result["groups"].items() if values]
    parts.append(_left_out(result))
    return "\n\n".join(parts) + "\n"


def number(value: float | None, n_digits: int) -> str:
    """A figure of a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{n_digits}f}"


def interval(entry: dict[str, Any], n_digits: int) -> str:
    """A mean with its 95 % interval: `2.02 [1.95, 2.10]`."""
    if entry["mean"] is None:
        return "-"
    low, high = number(entry["low"], n_digits), number(entry["high"], n_digits)
    return f"{number(entry['mean'], n_digits)} [{low}, {high}]"


def digits(metric: str) -> int:
    """How many digits after the point a metric is worth, by its name."""
    return 1 if metric.endswith("_db") else 3 if "stoi" in metric else 2


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. The first column is names; figures are read from the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(_row(cells) for cells in [header, rule, *rows])


def _metric_header(result: Result) -> list[str]:
    arrows = {"higher": "↑", "lower": "↓", "zero": "→ 0"}
    cells = []
    for metric in result["metrics"].values():
        unit = f" ({metric['unit']})" if metric["unit"] else ""
        cells.append(f"{metric['label']}{unit} {arrows[metric['better']]}")
    return cells


def _heading(result: Result) -> str:
    clips, settings = result["clips"], result["settings"]
    split = f" of the split '{settings['split']}'" if settings["split"] else ""
    drawn = f", drawn with seed {settings['seed']}" if settings["limit"] else ""
    return (
        f"{clips['n']} clips{split}{drawn}, {clips['duration_s'] / 60:.1f} min; "
        "every codec on the same clips, aligned. Mean [95 % bootstrap interval over clips]. "
        f"Measured by silkcodec {result['version']} on {result['created'][:10]}."
    )


def _main_table(result: Result) -> str:
    rates_header = ["frames/s", "codebooks", "tokens/s", "bit/s"]
    header = ["codec", *rates_header, *_metric_header(result), "encode", "decode", "clips"]
    rows = []
    for codec in result["settings"]["codecs"]:
        rates = result["codecs"][codec]
        rows.append(
            [
                codec,
                number(rates.get("frame_rate_hz"), 1),
                number(rates.get("n_codebooks"), 0),
                number(rates.get("tokens_per_second"), 1),
                number(rates.get("bits_per_second"), 0),
                *(
                    interval(result["means"][codec][name], digits(name))
                    for name in result["metrics"]
                ),
                *(_speed(rates.get(f"{what}_times_real_time")) for what in ("encode", "decode")),
                f"{rates['n_clips'] - rates['n_failed']}/{rates['n_clips']}",
            ]
        )
    return table(header, rows) + "\n\nEncode and decode: times real time, one process of the run."


def _speed(times: float | None) -> str:
    return "-" if times is None else f"{times:.0f}x"


def _differences(result: Result) -> str:
    differences = result["differences"]
    rows = [
        [f"minus {codec}", *(interval(entries[name], digits(name)) for name in result["metrics"])]
        for codec, entries in differences["minus"].items()
    ]
    note = "An interval without 0 in it is a difference that does not hang on the choice of clips."
    compared = table(["", *_metric_header(result)], rows)
    return f"### {differences['of']}, clip by clip\n\n{compared}\n\n{note}"


def _group(result: Result, column: str) -> str:
    rows = []
    for value, group in result["groups"][column].items():
        for codec in result["settings"]["codecs"]:
            means = group["codecs"][codec]
            figures = [interval(means[name], digits(name)) for name in result["metrics"]]
            rows.append([value, codec, str(group["n_clips"]), *figures])
    return f"### By {column}\n\n" + table([column, "codec", "clips", *_metric_header(result)], rows)


def _left_out(result: Result) -> str:
    missing = result["left_out"]
    if not missing:
        return "Nothing was left out: every codec has every figure on every clip."
    counts: dict[tuple[str, str, str], set[str]] = {}
    for entry in missing:
        counts.setdefault((entry["metric"], entry["codec"], entry["reason"]), set()).add(entry["clip"])
    rows = [[codec, metric, str(len(clips)), reason] for (metric, codec, reason), clips in counts.items()]
    note = "A metric's mean is over the clips where every codec has a figure; these have none:"
    return f"### Left out\n\n{note}\n\n" + table(["codec", "metric", "clips", "why"], rows)
