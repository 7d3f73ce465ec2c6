"""What the tables of this folder share: results read and checked, figures compared with their targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from silkcodec.evaluate.markdown import number

Figures = dict[str, Any]

QUIET_CORES = 0.1  # that other processes may use meanwhile; above it, times are not to be trusted
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("at least", lambda value, bound: value >= bound),
    "at_most": ("at most", lambda value, bound: value <= bound),
    "above": ("above", lambda value, bound: value > bound),
    "below": ("below", lambda value, bound: value < bound),
    "exactly": ("", lambda value, bound: abs(value - bound) <= 1e-9 * abs(bound)),
}


class TableError(Exception):
    """A document's markers or a measurement's file are not what this script can work with."""


def read_result(path: Path, kind: str) -> Figures | None:
    """A result of ours; None where there is none yet."""
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    if result.get("kind") != kind or result.get("format") != 1:
        raise TableError(f"'{path.name}' must be JSON of the kind '{kind}', format 1; it is not: measure again.")
    return result


def targets(bench: Path) -> Figures:
    return json.loads((bench / "targets.json").read_text(encoding="utf-8"))


def judged(value: float | None, target: Figures, unit: str, digits: int | None = None) -> list[str]:
    """The cells `target` and `met`: every bound, and whether all hold."""
    if not target:
        return ["", ""]
    bounds = []
    for kind, bound in target.items():
        figure = f"{bound:g}" if digits is None else number(bound, digits)
        bounds.append(" ".join(part for part in (COMPARISONS[kind][0], figure, unit) if part))
    met = value is not None and all(COMPARISONS[kind][1](value, bound) for kind, bound in target.items())
    return [", ".join(bounds), "yes" if met else "not measured" if value is None else "**no**"]


def embedded(bench: Path) -> Figures | None:
    """The config of the weights that the package holds."""
    config = bench.parent / "src" / "silkcodec" / "silk" / "weights" / "config.json"
    found: Figures | None = json.loads(config.read_text(encoding="utf-8")) if config.exists() else None
    return found


def network(config: Figures) -> str:
    """A name for the network behind some weights: alike where all states that it carries are alike."""
    states = [config[graph]["states"] for graph in ("encoder", "decoder")]
    return hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()[:12]


def not_embedded(bench: Path, codec_id: str, *, times: bool = False) -> str:
    """A remark where the measured weights are no longer those that the package holds.

    `times`: only speed and memory were measured, which stay the same while the network does.
    """
    config = embedded(bench)
    if config is None or codec_id == f"silk@{config['weights_hash']}":
        return ""
    if times and network(config) in _networks(bench, codec_id):
        return " (earlier weights of the same network, which times do not depend on)"
    return f" (**not the embedded weights**, {config['weights_hash']}: measure again)"


def _networks(bench: Path, codec_id: str) -> list[str]:
    """What history/ knows of the network of some weights."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (bench / "history").glob("*.json")]
    return [one["network"] for one in kept if one["codecs"]["silk"]["codec_id"] == codec_id and "network" in one]


def duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def warnings(result: Figures) -> list[str]:
    """A sentence for everything that makes the times of a measurement doubtful."""
    sentences = []
    others = result["conditions"]["others_cores"]
    if others is None:
        sentences.append("Whether other processes ran meanwhile is not known.")
    elif others > QUIET_CORES:
        used = number(others, 1)
        sentences.append(
            f"**The machine was not idle**: other processes used {used} cores meanwhile; times are too long."
        )
    if result["quick"]:
        sentences.append("**Measured with --quick**, on files too short to tell.")
    return sentences
