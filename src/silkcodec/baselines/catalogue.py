"""List all codecs and presets, with their rates, for `silk codecs`.

The rates are read from `rates.json`, which is written by `make bench-codecs`, so no codec is loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from silkcodec import codec

MANY = 10  # If a codec has more presets than this, the table shows only some of them.

Rates = Mapping[str, Mapping[str, Any] | None]
Row = dict[str, Any]


def measured() -> dict[str, dict[str, Any] | None]:
    """Return the measured rates of the built-in codecs and presets, keyed by name.

    `tokens_per_second` and `bits_per_second` are computed from the total duration of the frames.
    `counted_tokens_per_second` is computed from the duration of the recording, `counted_s`, and is higher if the last
    frame is padded. `listed` is false for presets that `silk codecs` omits.
    """
    content = (Path(__file__).parent / "rates.json").read_text(encoding="utf-8")
    codecs: dict[str, dict[str, Any] | None] = json.loads(content)["codecs"]
    return codecs


def rows(measured: Rates, registry: Mapping[str, str]) -> list[Row]:
    """Return one table row for each codec and preset.

    Args:
        measured: rates keyed by codec name, as returned by `measured`.
        registry: "module:factory" strings keyed by codec name, as returned by `silkcodec.codec.codecs`.

    Returns:
        Dictionaries with the keys "name", "module" and "needs", and the measured rates if there are any. "needs" is the
        command that installs missing packages, or "" if all are installed.
    """
    order = list(dict.fromkeys(codec.parse(name)[0] for name in measured))
    found = []
    for base in sorted(registry, key=lambda base: order.index(base) if base in order else len(order)):
        common = {"module": registry[base].partition(":")[0], "needs": codec.missing(base) or ""}
        names = [name for name in measured if codec.parse(name)[0] == base] or [base]
        found += [{"name": name, **common, **(measured.get(name) or {})} for name in names]
    return found


def short(found: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows to show in the `silk codecs` table, and the names of the omitted presets."""
    shown: list[Row] = []
    left_out: list[str] = []
    for _, group in groupby(found, key=lambda row: codec.parse(row["name"])[0]):
        presets = list(group)
        for row in presets:
            if len(presets) <= MANY or row.get("listed", True):
                shown.append(row)
            else:
                left_out.append(row["name"])
    return shown, left_out


def notes(found: Sequence[Row], left_out: Sequence[str]) -> list[str]:
    """Return the notes to print below the `silk codecs` table, e.g. about omitted presets and missing packages."""
    known = {row["name"]: row for row in found if "tokens_per_second" in row}
    lines = []
    for base, n_presets in Counter(codec.parse(name)[0] for name in left_out).items():
        lines.append(f"Not shown: {n_presets} more presets of {base}. Use --json to list them.")
    if known:
        lines.append("Rates were measured on speech as the number of tokens divided by the duration of their frames.")
    filled = [known[name] for name in ("dac:44k", "snac:24k") if name in known]
    if filled:
        counts = " and ".join(f"{row['counted_tokens_per_second']:.1f} for {row['name']}" for row in filled)
        lines.append(
            "The last frame of a recording is padded. If this padding is included, the tokens per second for"
            f" {filled[0]['counted_s']:g} s of speech are {counts}."
        )
    if "snac:24k" in known:
        row = known["snac:24k"]
        lines.append(
            f"SNAC: {row['tokens_per_second']:.1f} = {' + '.join(f'{rate:.5g}' for rate in row['frame_rates_hz'])}."
            " The frequently cited rate of 82.5 with 4 codebooks does not match any published model."
        )
    for needs, group in groupby(sorted(found, key=lambda row: row["needs"]), key=lambda row: row["needs"]):
        if needs:
            bases = dict.fromkeys(codec.parse(row["name"])[0] for row in group)
            lines.append(f"Not installed: {', '.join(bases)}. Run: {needs}")
    return lines


def frame_rates(rates_hz: Sequence[float]) -> str:
    """Format a frame rate in Hz, or a range of frame rates, e.g. `11.72..46.88`."""
    slowest, fastest = min(rates_hz), max(rates_hz)
    return f"{slowest:.4g}" if slowest == fastest else f"{slowest:.4g}..{fastest:.4g}"


def codebooks(sizes: Sequence[int]) -> str:
    """Format codebook sizes, e.g. `8 x 1,024` or `18 x 2,097,152 + 64`."""
    runs = [(len(list(run)), size) for size, run in groupby(sizes)]
    return " + ".join(f"{n} x {size:,}" if n > 1 else f"{size:,}" for n, size in runs)


def cells(row: Row) -> dict[str, str]:
    """Return the cells of a table row, keyed by column heading."""
    known = "tokens_per_second" in row
    return {
        "codec": row["name"],
        "tokens/s": f"{row['tokens_per_second']:.1f}" if known else "not measured",
        "bit/s": f"{row['bits_per_second']:.0f}" if known else "",
        "frames/s": frame_rates(row["frame_rates_hz"]) if known else "",
        "codebooks": codebooks(row["codebook_sizes"]) if known else "",
        "quantizer": row.get("quantizer") or "",
        "installed": "no" if row["needs"] else "yes",
    }
