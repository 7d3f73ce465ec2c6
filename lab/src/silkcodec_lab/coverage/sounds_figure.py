"""Draw the bottom row of the coverage figure: coverage by sound and F0, and the quality of resynthesized speech."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.metrics import METRICS
from silkcodec_lab.coverage.about import NO_QUANTIZER
from silkcodec_lab.coverage.intervals import in_order
from silkcodec_lab.pages import Result


def draw(panels: Any, result: Result, color: Any, label: Any) -> None:
    """Draw three plots: coverage by F0 movement, coverage by sound, and the F0 error of resynthesized speech."""
    left, middle, right = panels
    found = result.get("sounds")
    name = next(iter(found)) if found else ""
    one = found[name] if found else {}
    _classes(left, one.get("movement", {}), color)
    _classes(middle, {**{f"tone {k}": v for k, v in one.get("tone", {}).items()}, **one.get("sound", {})}, color)
    for axes, title in ((left, "by F0 movement"), (middle, "by tone or Arabic sound")):
        axes.set(title=f"{title}: {label(name)}" if found else title)
    left.set_ylabel("coverage relative to other vectors:\ncodebook minus grid, percentage points")
    if result.get("rebuilt"):
        _pitch_error(right, result["rebuilt"], color, label)
    for axes in panels:
        if not axes.has_data():
            axes.set_axis_off()


def _classes(axes: Any, classes: dict[str, Any], color: Any) -> None:
    groups = in_order(group for found in classes.values() for group in found)
    for index, group in enumerate(groups):
        shift = 0.12 * (index - (len(groups) - 1) / 2)
        for place, found in enumerate(classes.values()):
            if group in found:
                _bar(axes, place + shift, found[group]["beyond_grid"], 100, color(group))
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xticks(range(len(classes)), [word.replace(" ", "\n") for word in classes], fontsize=7)
    axes.grid(axis="y", alpha=0.3)


def _pitch_error(axes: Any, found: dict[str, Any], color: Any, label: Any) -> None:
    metric = "f0_rmse_cents"
    names = [name for name in found["of"] if name not in found["codecs"]]
    groups = in_order(group for name in names for group in found["of"][name][metric])
    for index, group in enumerate(groups):
        shift = 0.12 * (index - (len(groups) - 1) / 2)
        for place, name in enumerate(names):
            if group in found["of"][name][metric]:
                _bar(axes, place + shift, found["of"][name][metric][group]["mean"], 1, color(group))
    labels = ["no\nquantizer" if name == NO_QUANTIZER else label(name).replace(" ", "\n", 1) for name in names]
    axes.set_xticks(range(len(names)), labels, fontsize=8)
    axes.set(title="F0 error after resynthesis", ylabel=f"{METRICS[metric].label}, cents", ylim=(0, None))
    axes.grid(axis="y", alpha=0.3)


def _bar(axes: Any, place: float, entry: dict[str, Any], scale: float, color: str) -> None:
    mean = entry["mean"]
    error_bars = None if entry["low"] is None else [[scale * (mean - entry["low"])], [scale * (entry["high"] - mean)]]
    axes.errorbar([place], [scale * mean], yerr=error_bars, fmt="o", markersize=4, capsize=2, linewidth=1, color=color)
