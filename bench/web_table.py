"""Build the table of web/README.md from web.json, which web/measure.py writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings

from silkcodec.evaluate.markdown import number, table

MISSING = "Not measured yet: `python web/measure.py bench/web.json`."
ROWS = (
    ("first content", "first_content_s", "s", 1, 2),
    ("recorded stages shown", "recorded_stages_s", "s", 1, 1),
    ("model ready", "model_ready_s", "s", 1, 1),
    ("encode", "encode_times_real_time", "x real time", 1, 0),
    ("decode", "decode_times_real_time", "x real time", 1, 0),
    ("transfer, all", "transfer_bytes", "MB", 1e6, 1),
    ("... the model", "model_bytes", "MB", 1e6, 2),
    ("... ONNX Runtime", "runtime_bytes", "MB", 1e6, 1),
)  # label, key in the JSON, unit, divisor, digits


def web(bench: Path) -> str:
    """Return the table of loading times, codec speed and transferred bytes of the page."""
    result = findings.read_result(bench / "web.json", "silk web")
    if result is None:
        return MISSING
    targets = findings.targets(bench)["web"]
    rows = []
    for what, name, unit, divisor, digits in ROWS:
        value = result["median"][name] / divisor
        cells = findings.judged(value, targets.get(name, {}), unit)
        rows.append([what, f"{number(value, digits)} {unit}", *cells])
    found = result["conditions"]
    conditions = (
        f"Medians of {result['runs']} runs over localhost in Chromium {result['chromium']}, {result['threads']} thread "
        f"of the model; {found['cores']} cores, {found['cpu']}; {result['created'][:10]}."
    )
    return "\n\n".join(
        (table(["what", "measured", "target", "met"], rows), " ".join((conditions, *findings.warnings(result))))
    )


TABLES: dict[str, Callable[[Path], str]] = {"web": web}
