"""Create Matplotlib figures without a display and convert them to PNG."""

from __future__ import annotations

import io
from typing import Any


def new_figure(width_in: float, height_in: float) -> Any:
    """Return an empty Matplotlib figure of the given size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Any, dpi: int = 110) -> bytes:
    """Convert a Matplotlib figure to PNG."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=dpi, metadata={"Software": None})
    return image.getvalue()
