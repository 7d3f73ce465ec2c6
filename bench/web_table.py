"""Build the table of web page measurements in web/README.md."""

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
    ("time until the model is ready, slow network", "slow_network_s", "s", 1, 1),
    ("longest task while playing, slow CPU", "slow_cpu_s", "s", 1, 2),
    ("total transfer until the model is ready", "transfer_bytes", "MB", 1e6, 1),
    ("size of the model", "model_bytes", "MB", 1e6, 2),
    ("transfer of the model", "model_transfer_bytes", "MB", 1e6, 1),
    ("transfer of ONNX Runtime", "runtime_bytes", "MB", 1e6, 1),
)


def web(bench: Path) -> str:
    """Return a table of the page's loading times, codec speed and transferred bytes."""
    result = findings.read_result(bench / "web.json", "silk web")
    if result is None:
        return MISSING
    targets = findings.targets(bench)["web"]
    network, cpu = result["slow_network"], result["slow_cpu"]
    slow_times = {"slow_network_s": network["median"]["model_ready_s"], "slow_cpu_s": cpu["longest_task_s"]}
    measured = {**result["median"], **slow_times}
    slow = (
        f"The slow network has {network['bits_per_second'] / 1e6:g} Mbit/s and {network['latency_ms']} ms of "
        f"latency, and the slow CPU is throttled by a factor of {cpu['slowdown']}. Chromium emulates both, in "
        f"{network['runs']} runs each."
    )
    rows = []
    for what, name, unit, divisor, digits in ROWS:
        if name in measured:
            value = measured[name] / divisor
            cells = findings.target_cells(value, targets.get(name, {}), unit)
            rows.append([what, f"{number(value, digits)} {unit}", *cells])
    found = result["conditions"]
    conditions = (
        f"The figures are medians of {result['runs']} runs over localhost. Conditions: Chromium {result['chromium']}, "
        f"the model on {result['threads']} thread; {found['cores']} cores, {found['cpu']}; {result['created'][:10]}."
    )
    notes = " ".join((conditions, slow, *findings.warnings(result)))
    return "\n\n".join((table(["measurement", "result", "target", "target met"], rows), notes))


TABLES: dict[str, Callable[[Path], str]] = {"web": web}
