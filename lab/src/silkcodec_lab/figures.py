"""Create Matplotlib figures without a display and convert them to PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any


def new_figure(width_in: float, height_in: float) -> Any:
    """Return an empty Matplotlib figure of the given size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_band(axes: Any, x: Sequence[float], entries: Sequence[dict[str, Any]], color: str) -> None:
    """Draw the intervals of means at `x` as a band or, for a single point, as a line, if there are several clips."""
    if not entries or entries[0]["n"] < 2:
        return
    low, high = ([entry[side] for entry in entries] for side in ("low", "high"))
    if len(x) == 1:
        axes.vlines(x, low, high, color=color, alpha=0.5)
    else:
        axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)


def to_png(figure: Any, dpi: int = 110) -> bytes:
    """Convert a Matplotlib figure to PNG."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=dpi, metadata={"Software": None})
    return image.getvalue()
