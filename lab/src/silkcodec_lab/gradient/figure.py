"""Draw the figure for the gradient experiment."""

from __future__ import annotations

import math
from typing import Any

from silkcodec_lab.figures import draw_band, new_figure, to_png
from silkcodec_lab.metric_tables import quantizer_label
from silkcodec_lab.pages import Result

COLORS = {"vq": "#0b6fa4", "rvq": "#7cb518", "multiscale": "#f0a202", "fsq": "#d1495b"}
LOWEST_KEPT = -1.0  # lower limit of the axis; the table contains all values


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    It shows training curves, code usage, and the accuracy of the predicted changes in the loss.
    """
    drawing = new_figure(14, 8)
    (frame, alone, kept), (still, loss, used) = drawing.subplots(2, 3)
    for name, found in result["models"].items():
        steps_of, color = found["steps_of"], COLORS[name]
        _line(frame, steps_of["frame"], "correlation", color, "-", label=quantizer_label(name))
        _line(frame, steps_of["frame, control"], "correlation", color, ":")
        _line(alone, steps_of["number"], "correlation", color, "-")
        _line(alone, steps_of.get("vector", []), "correlation", color, "--")
        _line(kept, steps_of["descent"], "kept", color, "-")
        _line(kept, steps_of["descent, control"], "kept", color, ":")
        _line(still, steps_of["number"], "no_effect", color, "-")
        _line(still, steps_of.get("vector", []), "no_effect", color, "--")
        steps, losses = ([line[of] for line in found["curves"]] for of in ("step", "loss"))
        loss.plot(steps, losses, color=color, marker="o", markersize=4, linewidth=1.5)
    frame.set(
        title="random steps that change a whole frame",
        ylabel="correlation of predicted and actual change",
        ylim=(-0.25, 1.02),
    )
    alone.set(
        title="steps that change one number, or one vector (dashed)",
        ylabel="correlation of predicted and actual change",
        ylim=(-0.25, 1.02),
    )
    kept.set(title="steps against the gradient", ylabel="decrease in loss / predicted decrease")
    kept.set_ylim(LOWEST_KEPT, 1.5)
    still.set(title="steps that change no code: one number, one vector (dashed)", ylabel="share", ylim=(-0.02, 1.02))
    loss.set(title="training", xlabel="step", ylabel="mean training loss")
    loss.grid(alpha=0.3)
    for axes in (frame, alone, kept, still):
        steps = [entry["step"] for entry in next(iter(result["models"].values()))["steps_of"]["frame"]]
        axes.set(xscale="log", xlabel="step size, cells")
        axes.set_xticks(steps, [f"{step:g}" for step in steps])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.axhline(0, color="black", linewidth=0.8)
    _use(used, result)
    handles, labels = frame.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return to_png(drawing)


def _line(axes: Any, entries: list[dict[str, Any]], of: str, color: str, style: str, label: str = "") -> None:
    defined = [entry for entry in entries if entry[of]["mean"] is not None]
    if not defined:
        return
    steps = [entry["step"] for entry in defined]
    marker = "" if style == ":" else "o"
    axes.plot(
        steps, [entry[of]["mean"] for entry in defined], style, color=color, marker=marker, markersize=4,
        linewidth=1.5 if style == "-" else 1.1, label=label or None,
    )  # fmt: skip
    if style == "-":  # Bands for all lines would overlap.
        draw_band(axes, steps, [entry[of] for entry in defined], color)


def _use(axes: Any, result: Result) -> None:
    """Draw one bar per codebook, showing its entropy as a share of the maximum."""
    names, place = [], 0.0
    for name, found in result["models"].items():
        begin = place
        for book in found["usage"]:
            bits = math.log2(book["entries"])
            axes.bar(place, book["bits"] / bits, width=0.8, color=COLORS[name])
            even = book["bits_if_even"] / bits
            axes.plot([place - 0.4, place + 0.4], [even, even], color="black", linewidth=1.5)
            place += 1
        names.append(((begin + place - 1) / 2, quantizer_label(name).replace("multi-scale RVQ", "multi-scale")))
        place += 0.8
    axes.set(title="use of each codebook", ylabel="entropy of a code / bits of a code", ylim=(0, 1.05))
    axes.set_xticks([at for at, _ in names], [label for _, label in names])
    axes.grid(axis="y", alpha=0.3)
