"""Read results and compare figures with their targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from silkcodec.evaluate.markdown import number

Figures = dict[str, Any]

QUIET_CORES = 0.1  # If other processes use more cores than this during a measurement, times are unreliable.
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("at least", lambda value, bound: value >= bound),
    "at_most": ("at most", lambda value, bound: value <= bound),
    "above": ("above", lambda value, bound: value > bound),
    "below": ("below", lambda value, bound: value < bound),
    "exactly": ("", lambda value, bound: abs(value - bound) <= 1e-9 * abs(bound)),
}


class TableError(Exception):
    """Raised for invalid markers in a document and for invalid result files."""


def read_result(path: Path, kind: str) -> Figures | None:
    """Return the result in a file, or None if the file does not exist.

    Raises:
        TableError: the file is not JSON, or the result has an unexpected kind or format.
    """
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"Cannot read '{path.name}': {error}. Rerun the measurement.") from error
    if result.get("kind") != kind or result.get("format") != 1:
        raise TableError(
            f"'{path.name}' must have the kind '{kind}' and format 1; got '{result.get('kind')}' and format "
            f"{result.get('format')}. Rerun the measurement."
        )
    return result


def targets(bench: Path) -> Figures:
    return json.loads((bench / "targets.json").read_text(encoding="utf-8"))


def target_cells(value: float | None, target: Figures, unit: str, digits: int | None = None) -> list[str]:
    """Return two table cells: the target, and whether the value meets it."""
    if not target:
        return ["", ""]
    bounds = []
    for kind, bound in target.items():
        figure = f"{bound:g}" if digits is None else number(bound, digits)
        bounds.append(" ".join(part for part in (COMPARISONS[kind][0], figure, unit) if part))
    met = value is not None and all(COMPARISONS[kind][1](value, bound) for kind, bound in target.items())
    return [", ".join(bounds), "yes" if met else "not measured" if value is None else "**no**"]


def embedded(bench: Path) -> Figures | None:
    """Return the config of the weights that ship with the package, or None if it has no weights."""
    config = bench.parent / "src" / "silkcodec" / "silk" / "weights" / "config.json"
    found: Figures | None = json.loads(config.read_text(encoding="utf-8")) if config.exists() else None
    return found


def network(config: Figures) -> str:
    """Return an ID of the network with the given weights config."""
    states = [config[graph]["states"] for graph in ("encoder", "decoder")]
    return hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()[:12]


def not_embedded(bench: Path, codec_id: str, *, times: bool = False) -> str:
    """Return a remark if the measured weights are not those that ship with the package, or else an empty string.

    Args:
        bench: folder of the results.
        codec_id: ID of the measured weights.
        times: whether only speed and memory were measured.
    """
    config = embedded(bench)
    if config is None or codec_id == f"silk@{config['weights_hash']}":
        return ""
    if times and network(config) in _networks(bench, codec_id):
        return " (earlier weights of the same network; their speed is the same)"
    return " (**not the embedded weights**)"


def _networks(bench: Path, codec_id: str) -> list[str]:
    """Return the network IDs in history/ for the given weights."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (bench / "history").glob("*.json")]
    return [one["network"] for one in kept if one["codecs"]["silk"]["codec_id"] == codec_id and "network" in one]


def duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def warnings(result: Figures) -> list[str]:
    """Return a sentence for each reason why the times in a result may be unreliable."""
    sentences = []
    others = result["conditions"]["others_cores"]
    if others is None:
        sentences.append("The load from other processes was not recorded.")
    elif others > QUIET_CORES:
        used = number(others, 1)
        sentences.append(
            f"**The machine was not idle**: other processes used {used} cores, so the times are overestimates."
        )
    if result["quick"]:
        sentences.append("**Measured with --quick**, which uses files that are too short for reliable results.")
    return sentences
