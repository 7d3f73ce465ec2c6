"""Draw the figure for the coverage experiment."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.about import VIEWS, group_label, headline, label
from silkcodec_lab.coverage.intervals import SEEN, UNSEEN
from silkcodec_lab.coverage.sounds_figure import draw
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.pages import Result


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    The figure shows the coverage of speech by codebooks and by scalar grids, and the error distribution of the largest
    VQ codebook. It also shows coverage by sound and the F0 error of resynthesized speech, if available.
    """
    more = bool(result.get("sounds") or result.get("rebuilt"))
    n_rows = len(VIEWS) + more
    drawing = new_figure(14, 4 * n_rows)
    panels = drawing.subplots(n_rows, 3)
    if more:
        known = list(next(iter(result["views"]["level"]["quantizers"].values()))["groups"])
        draw(panels[-1], result, lambda group: _color(group, known), label)
    for view, (left, middle, right) in zip(VIEWS, panels[: len(VIEWS)], strict=True):
        found = result["views"][view]
        _draw_covered(left, found, fsq=False)
        _draw_covered(middle, found, fsq=True)
        low = min(left.get_ylim()[0], middle.get_ylim()[0])
        for axes in (left, middle):
            axes.set_ylim(low, 101)
        left.set(ylabel=f"{VIEWS[view]}:\ncovered vectors, %", title="codebooks")
        middle.set(title="scalar grids (FSQ) with the same number of bits")
        _draw_errors(right, found)
    handles, labels = panels[0][0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return to_png(drawing)


def _draw_covered(axes: Any, found: dict[str, Any], *, fsq: bool) -> None:
    chosen = sorted(
        ((name, one) for name, one in found["quantizers"].items() if (one["kind"] == "fsq") == fsq),
        key=lambda item: item[1]["bits"],
    )
    groups = list(chosen[0][1]["groups"])
    for index, group in enumerate(groups):
        shift = 0.12 * (index - (len(groups) - 1) / 2)
        entries = [one["groups"][group]["inside"] for _, one in chosen]
        means = [100 * entry["mean"] for entry in entries]
        error_bars = [
            [100 * (e["mean"] - e["low"]) if e["low"] is not None else 0 for e in entries],
            [100 * (e["high"] - e["mean"]) if e["low"] is not None else 0 for e in entries],
        ]
        places = [place + shift for place in range(len(chosen))]
        axes.errorbar(
            places, means, yerr=error_bars, fmt="o", markersize=4, capsize=2, linewidth=1, color=_color(group, groups),
            label=group_label(group),
        )  # fmt: skip
    labels = [
        f"{one['bits']} bit" if fsq else f"{label(name).replace(' ', chr(10), 1)}\n{one['bits']} bit"
        for name, one in chosen
    ]
    axes.set_xticks(range(len(chosen)), labels, fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _draw_errors(axes: Any, found: dict[str, Any]) -> None:
    name = headline(found)
    groups = found["quantizers"][name]["groups"]
    for group, entry in groups.items():
        share = [100 * value for value in entry["histogram"]]
        middles = [(index + 0.5) * 3 / len(share) for index in range(len(share))]
        axes.plot(middles, share, color=_color(group, list(groups)), linewidth=1.4)
    axes.axvline(1, color="black", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 2), ylim=(0, None), xlabel="error, radii", ylabel="vectors, %", title=f"errors of {label(name)}")
    axes.grid(alpha=0.3)


def _color(group: str, groups: list[str]) -> str:
    fixed = {SEEN: "0.6", UNSEEN: "black"}
    others = [name for name in groups if name not in fixed]
    return fixed[group] if group in fixed else f"C{others.index(group) % 10}"
