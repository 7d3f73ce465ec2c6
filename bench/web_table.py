"""Build the table in web/README.md from web.json, which web/measure.py writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings

from silkcodec.evaluate.markdown import number, table

MISSING = "Not measured yet. Run `python web/measure.py bench/web.json`."
ROWS = (  # label, key in the JSON, unit, divisor, digits
    ("time until the first content is visible", "first_content_s", "s", 1, 2),
    ("time until the recorded stages are visible", "recorded_stages_s", "s", 1, 1),
    ("time until the model is ready", "model_ready_s", "s", 1, 1),
    ("encoding speed", "encode_times_real_time", "x real time", 1, 0),
    ("decoding speed", "decode_times_real_time", "x real time", 1, 0),
    ("total transfer", "transfer_bytes", "MB", 1e6, 1),
    ("transfer of the model", "model_bytes", "MB", 1e6, 2),
    ("transfer of ONNX Runtime", "runtime_bytes", "MB", 1e6, 1),
)


def web(bench: Path) -> str:
    """Return a table of the page's loading times, codec speed and transferred bytes."""
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
        f"The figures are medians of {result['runs']} runs over localhost. Conditions: Chromium {result['chromium']}, "
        f"the model on {result['threads']} thread; {found['cores']} cores, {found['cpu']}; {result['created'][:10]}."
    )
    return "\n\n".join(
        (
            table(["measurement", "result", "target", "target met"], rows),
            " ".join((conditions, *findings.warnings(result))),
        )
    )


TABLES: dict[str, Callable[[Path], str]] = {"web": web}
