"""`silk codecs`: every codec and preset, what it makes of a second of speech, and whether it can be used here.

Nothing is loaded: rates were measured, and a package is only looked for. Codecs that other packages brought are listed
without rates. `rates.json` holds the part of bench/codecs.json that is the same on every machine; `make bench-codecs`
writes both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from silkcodec import codec

MANY = 10  # presets of one codec; of more, the table shows those that stand for it

Rates = Mapping[str, Mapping[str, Any] | None]
Row = dict[str, Any]


def measured() -> dict[str, dict[str, Any] | None]:
    """Return the rates of every built-in codec and preset, or None where they could not be measured.

    tokens_per_second and bits_per_second are of the codec's clock; counted_tokens_per_second is of counted_s of
    speech, the last frame filled up. `listed`: one of those that stand for their codec in a short list.
    """
    content = (Path(__file__).parent / "rates.json").read_text(encoding="utf-8")
    codecs: dict[str, dict[str, Any] | None] = json.loads(content)["codecs"]
    return codecs


def rows(measured: Rates, registry: Mapping[str, str]) -> list[Row]:
    """One per codec and preset: name, module, what it needs here ("" if nothing), rates (none if not measured)."""
    order = list(dict.fromkeys(codec.parse(name)[0] for name in measured))
    found = []
    for base in sorted(registry, key=lambda base: order.index(base) if base in order else len(order)):
        common = {"module": registry[base].partition(":")[0], "needs": codec.missing(base) or ""}
        names = [name for name in measured if codec.parse(name)[0] == base] or [base]
        found += [{"name": name, **common, **(measured.get(name) or {})} for name in names]
    return found


def short(found: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of a table that can be read, and the names it leaves out."""
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
    """What the table does not say."""
    known = {row["name"]: row for row in found if "tokens_per_second" in row}
    lines = []
    for base, n_presets in Counter(codec.parse(name)[0] for name in left_out).items():
        lines.append(f"Not shown: {n_presets} more presets of {base}; --json has them.")
    if known:
        lines.append("Measured: the codes that each codec made of speech, over the time that its frames span.")
    filled = [known[name] for name in ("dac:44k", "snac:24k") if name in known]
    if filled:
        counts = " and ".join(f"{row['counted_tokens_per_second']:.1f} of {row['name']}" for row in filled)
        lines.append(
            "A recording ends inside a frame, and the rest of it is filled up: counted over"
            f" {filled[0]['counted_s']:g} s of speech, that makes {counts}."
        )
    if "snac:24k" in known:
        row = known["snac:24k"]
        lines.append(
            f"SNAC: {row['tokens_per_second']:.1f} = {' + '.join(f'{rate:.5g}' for rate in row['frame_rates_hz'])}."
            " The 82.5 with 4 codebooks that is often quoted is none of its published models."
        )
    for needs, group in groupby(sorted(found, key=lambda row: row["needs"]), key=lambda row: row["needs"]):
        if needs:
            bases = dict.fromkeys(codec.parse(row["name"])[0] for row in group)
            lines.append(f"Not installed: {', '.join(bases)}; run: {needs}")
    return lines


def frame_rates(rates_hz: Sequence[float]) -> str:
    """Hz, of a multi-scale codec the slowest and the fastest: `11.72..46.88`."""
    slowest, fastest = min(rates_hz), max(rates_hz)
    return f"{slowest:.4g}" if slowest == fastest else f"{slowest:.4g}..{fastest:.4g}"


def codebooks(sizes: Sequence[int]) -> str:
    """Equal neighbours counted: `8 x 1,024`, `18 x 2,097,152 + 64`."""
    runs = [(len(list(run)), size) for size, run in groupby(sizes)]
    return " + ".join(f"{n} x {size:,}" if n > 1 else f"{size:,}" for n, size in runs)


def cells(row: Row) -> dict[str, str]:
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
