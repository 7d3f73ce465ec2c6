"""Draw a Mermaid flowchart that contains only arrows (`a --> b`) as SVG.

The length of the longest path to a node determines its layer. The stylesheet defines the colors (`.silk-drawing`).
"""

from __future__ import annotations

import html
import re
from itertools import pairwise

LAYER, HEIGHT, LETTER, PADDING, GAP = 62, 30, 7.4, 22, 26  # pixels
PASSING = 10  # width reserved for an arrow that passes a layer


def svg(chart: str) -> str:
    """Return the SVG of a flowchart. Each line of `chart` after the first is an arrow."""
    arrows = re.findall(r"^ +(\S+) --> (\S+)$", chart, re.MULTILINE)
    layers, paths = _layers(arrows)
    width_of: dict[object, float] = {
        node: len(node) * LETTER + PADDING if isinstance(node, str) else PASSING for row in layers for node in row
    }
    wide = max(sum(width_of[node] + GAP for node in row) for row in layers)
    x: dict[object, float] = {}
    for row in layers:
        at = (wide - sum(width_of[node] + GAP for node in row)) / 2 + GAP / 2
        for node in row:
            x[node] = at + width_of[node] / 2
            at += width_of[node] + GAP
    y = {node: i * LAYER + HEIGHT / 2 + 2 for i, row in enumerate(layers) for node in row}
    lines = []
    for path in paths:
        first, last = path[0], path[-1]
        parts = [f"M{x[first]:.0f} {y[first] + HEIGHT / 2:.0f}"]
        for upper, lower in pairwise(path):
            top = y[upper] + (HEIGHT / 2 if upper == first else 0)
            bottom = y[lower] - (HEIGHT / 2 + 4 if lower == last else 0)
            middle = (top + bottom) / 2
            parts.append(f"C{x[upper]:.0f} {middle:.0f} {x[lower]:.0f} {middle:.0f} {x[lower]:.0f} {bottom:.0f}")
        lines.append(f'<path d="{" ".join(parts)}" marker-end="url(#silk-arrow)"/>')
    boxes = [
        f'<rect x="{x[node] - width_of[node] / 2:.0f}" y="{y[node] - HEIGHT / 2:.0f}" width="{width_of[node]:.0f}" '
        f'height="{HEIGHT}" rx="5"/><text x="{x[node]:.0f}" y="{y[node] + 4:.0f}">{html.escape(node)}</text>'
        for row in layers
        for node in row
        if isinstance(node, str)
    ]
    title = "Diagram with these arrows: " + ", ".join(f"{upper} to {lower}" for upper, lower in arrows)
    tall = (len(layers) - 1) * LAYER + HEIGHT + 4
    arrow = (
        '<defs><marker id="silk-arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    return (
        f'<div class="silk-drawing"><svg viewBox="0 0 {wide:.0f} {tall}" width="{wide:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">{arrow}{"".join(lines)}{"".join(boxes)}</svg></div>'
    )


def _layers(arrows: list[tuple[str, str]]) -> tuple[list[list[object]], list[list[object]]]:
    """Return the nodes of each layer from left to right, and the places of each arrow in its layers."""
    depth = {node: 0 for arrow in arrows for node in arrow}
    for _ in depth:
        for upper, lower in arrows:
            depth[lower] = max(depth[lower], depth[upper] + 1)
    layers: list[list[object]] = [[] for _ in range(max(depth.values()) + 1)]
    for node, at in depth.items():
        layers[at].append(node)
    paths: list[list[object]] = []
    for upper, lower in arrows:
        passing: list[object] = [(upper, lower, at) for at in range(depth[upper] + 1, depth[lower])]
        for place in passing:
            layers[place[2]].append(place)  # type: ignore[index]
        paths.append([upper, *passing, lower])
    above: dict[object, list[object]] = {}
    below: dict[object, list[object]] = {}
    for path in paths:
        for upper_place, lower_place in pairwise(path):
            above.setdefault(lower_place, []).append(upper_place)
            below.setdefault(upper_place, []).append(lower_place)
    for _ in range(8):  # Sort each layer by the mean position of its neighbors, alternately from above and from below.
        for rows, neighbors in ((layers, above), (layers[::-1], below)):
            for row, other in zip(rows[1:], rows, strict=False):
                place = {node: i / max(1, len(other) - 1) for i, node in enumerate(other)}
                old = {node: i / max(1, len(row) - 1) for i, node in enumerate(row)}
                mean = {}
                for node in row:
                    found = [place[near] for near in neighbors.get(node, []) if near in place]
                    mean[node] = sum(found) / len(found) if found else old[node]
                row.sort(key=mean.__getitem__)
    return layers, paths
