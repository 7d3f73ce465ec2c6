"""Draw the figure for the bandwidth experiment."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from silkcodec_lab.figures import draw_band, new_figure, to_png
from silkcodec_lab.pages import Result

HOW = {"first": "first groups", "random": "random groups", "best": "best groups"}
COLUMNS = 4  # number of spectrograms per row
ROW_HEIGHT, PICTURE_HEIGHT = 3.1, 2.0  # inches
MARKERS = "osD^vP*X<>hpd"


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    The figure plots each metric against the token rate, the bit rate and the number of Silk groups. It also shows
    spectrograms of the audio examples.
    """
    pictures = [entry for entry in result["audio"]["files"] if entry["spectrogram"] is not None]
    n_rows, n_pictures = len(result["metrics"]), -(-len(pictures) // COLUMNS)
    heights = [ROW_HEIGHT * n_rows + 0.6, PICTURE_HEIGHT * n_pictures + 0.3]
    drawing = new_figure(13, sum(heights))
    above, below = drawing.subfigures(2, 1, height_ratios=heights)
    ordered: bool = result["order"] is not None
    panels = above.subplots(n_rows, 2 + ordered, sharey="row", squeeze=False)
    for row, (name, metric) in zip(panels, result["metrics"].items(), strict=True):
        _curves(row[0], result, name, "tokens_per_second")
        _curves(row[1], result, name, "bits_per_second")
        row[0].set_ylabel(f"{metric['label']}\n({metric['better']} is better)")
        if ordered:
            _order(row[2], result, name)
    titles = ("by tokens per second", "by bits per second", "by selection of Silk's groups")
    for axes, title in zip(panels[0], titles, strict=False):
        axes.set_title(title)
    for axes, label in zip(panels[-1], ("tokens/s", "bit/s", "number of groups"), strict=False):
        axes.set_xlabel(label)
    handles, labels = panels[0][0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False)
    if ordered:
        panels[0][2].legend(fontsize=8, frameon=False)
    _pictures(below, result, pictures, n_pictures)
    return to_png(drawing, dpi=100)


def _curves(axes: Any, result: Result, metric: str, rate: str) -> None:
    for index, (family, codecs) in enumerate(families(result).items()):
        points = [
            point
            for point in result["points"]
            if point["codec"] in codecs and point["how"] == "first" and metric in point["metrics"]
        ]
        points.sort(key=lambda point: point[rate])
        x = [point[rate] for point in points]
        entries = [point["metrics"][metric] for point in points]
        color, cut = _color(index), len(codecs) == 1
        style = "-" if cut else ":"
        label = family if cut else f"{family} (several modes)"
        y = [entry["mean"] for entry in entries]
        axes.plot(x, y, style, color=color, marker=MARKERS[index % len(MARKERS)], markersize=4.5, label=label)
        draw_band(axes, x, entries, color)
    axes.set_xscale("log")
    ticks = [tick for tick in _TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)


_TICKS = [n * 10**power for power in range(5) for n in (1, 2, 5)]


def _order(axes: Any, result: Result, metric: str) -> None:
    """Plot quality against the number of Silk groups, for the first, random and best groups."""
    for how, color, style in (("first", "black", "-"), ("random", "C7", "--"), ("best", "C3", "-")):
        points = [p for p in result["points"] if p["codec"] == "silk" and metric in p["metrics"]]
        chosen = [p for p in points if p["how"] == how]
        if how != "first":
            chosen += [
                p for p in points if p["kept"] == max(p["kept"] for p in points)
            ]  # With all groups, the selections are equal.
        chosen.sort(key=lambda point: point["kept"])
        x = [point["kept"] for point in chosen]
        entries = [point["metrics"][metric] for point in chosen]
        y = [entry["mean"] for entry in entries]
        axes.plot(x, y, style, color=color, marker="o", markersize=4.5, label=HOW[how])
        draw_band(axes, x, entries, color)
    axes.set_xticks(range(1, result["codecs"]["silk"]["n_codebooks"] + 1, 3))
    axes.grid(alpha=0.3)


def families(result: Result) -> dict[str, list[str]]:
    """Return the codecs that each line of the plot connects, keyed by line label."""
    found: dict[str, list[str]] = {}
    for name, codec in result["codecs"].items():
        whole = len(codec["cuts"]) == 1 and not name.startswith("run:")
        found.setdefault(name.partition(":")[0] if whole else name, []).append(name)
    return {names[0] if len(names) == 1 else family: names for family, names in found.items()}


def _color(index: int) -> str:
    return "black" if index == 0 else f"C{(index - 1) % 10}"


def _pictures(below: Any, result: Result, pictures: list[dict[str, Any]], n_rows: int) -> None:
    duration_s = result["audio"]["duration_s"]
    grid = below.subplots(n_rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, entry in zip(grid.ravel(), pictures, strict=False):
        image = pixels(entry["spectrogram"])
        axes.imshow(
            image.T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=255,
            extent=(0, duration_s, 0, image.shape[1]), interpolation="nearest",
        )  # fmt: skip
        axes.set_title(_title(result, entry), fontsize=9)
        axes.set_yticks([])
    for axes in grid.ravel()[len(pictures) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("mel bands", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("seconds", fontsize=9)


def pixels(spectrogram: dict[str, Any]) -> Any:
    """Decode the data of a spectrogram into uint8 [columns, bands]."""
    flat = np.frombuffer(base64.b64decode(spectrogram["data"]), dtype=np.uint8)
    return flat.reshape(-1, spectrogram["bands"])


def _title(result: Result, entry: dict[str, Any]) -> str:
    if entry["codec"] is None:
        return "original"
    point = next(p for p in result["points"] if all(p[key] == entry[key] for key in ("codec", "kept", "how")))
    all_of = result["codecs"][entry["codec"]]["n_codebooks"]
    return f"{entry['codec']}, {entry['kept']} of {all_of}: {point['bits_per_second']:,.0f} bit/s"
