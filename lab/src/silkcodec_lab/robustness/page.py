"""Write the page and draw the figure of the robustness experiment. All numbers come from the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.metric_tables import matching, metric_cells, metric_headers, significance_table
from silkcodec_lab.pages import Result, provenance

FEW_CLIPS = 10  # With fewer clips, the page says that the run is a trial run.
STOI_TOLERANCE = 0.02
STYLES = {"silence": "--", "interpolated": ":", "concealed": "-"}

TITLE = "Bit errors and lost frames"

QUESTION = (
    "Radio links, lost packets and damaged files can damage tokens. How do bit errors and lost frames affect quality? "
    "How much does concealment help, and how long does the effect of one error last?"
)

FIGURE = (
    "Above: bit errors, with one color per codec. Below: lost frames of Silk, with one color per kind of loss. "
    "Horizontal dotted lines: undamaged output. Bands: intervals of the solid lines."
)

LIMITATIONS = (
    "**Error protection.** There is none. A transport that detects errors turns bit errors into lost frames. Error "
    "correction needs extra bits.",
    "**Training.** Silk's decoder was not trained with bit errors or lost frames. Such training would need no extra "
    "bits.",
    "**Frame duration.** Silk loses 400 ms at a time, while a codec with short frames loses 20 or 40 ms. With the same "
    "share of lost time, short gaps are easier to conceal. Interleaving Silk's groups over several frames would "
    "shorten the gaps at the cost of latency.",
    "**Listening.** PESQ, STOI and the mel distance compare the output with the original. They do not measure whether "
    "concealment is less annoying than a gap.",
    "**Other speech.** The intervals are for these clips only. Clips of the same speaker count as independent.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the section on the method."""
    settings, speech = result["settings"], result["speech"]
    bits = ", ".join(f"`{name}` {found['bits_per_second']:.0f} bit/s" for name, found in result["codecs"].items())
    parts = [
        f"**Speech.** {speech['n_clips']} clips of at most {settings['clip_s']:g} s, {speech['duration_s']:.0f} s in "
        f"total. Each damage is drawn {settings['n_seeds']} times per clip (seed {settings['seed']}), with the same "
        "draws for all methods. The value of a clip is the mean of its draws. Intervals are 95 % bootstrap intervals "
        "over clips. Quality is measured against the original, not against the undamaged output."
        + (
            " **This is a trial run**: there are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        f"**Bit errors.** {bits}. Each bit of the tokens is flipped with the given probability, independently of the "
        "others. The decoder cannot detect it. For Silk, a bit error changes one of the 128 numbers of a frame by 1, 2 "
        "or 4 of 8 levels. For a residual codebook, it selects another entry. For a classical codec, it changes a "
        "parameter.",
    ]
    if result["losses"]:
        parts += [
            "**Lost frames.** Frames of Silk (400 ms each) are lost independently or in bursts (Gilbert's model with "
            "two states). The decoder receives the positions of lost frames. Replacements:",
            "- *silence*: zeros. The state of the decoder is kept.\n"
            "- *repeated*: the levels of the last frame, decoded again.\n"
            "- *interpolated*: levels between those of the last and the next frame. This delays the output until the "
            "next frame is received.\n"
            "- *concealed*: `StreamDecoder.conceal`, which decodes middle levels from the current state and fades to "
            "silence.",
            "**Recovery.** One frame is damaged. The table shows the mel distance of this frame and the next ones from "
            "the undamaged output.",
        ]
    return parts


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the section on the result."""
    parts = [FIGURE, "### Bit errors", _flips(result), _flips_note(result), *_against(result)]
    if result["losses"]:
        parts += ["### Lost frames", _losses(result), _losses_note(result), _gains(result)]
    if result["recovery"]:
        parts += ["### Recovery", _recovery(result)]
    return parts


def _flips(result: Result) -> str:
    rows = []
    for codec in result["codecs"]:
        for entry in matching(result["clean"], codec=codec):
            rows.append([codec, "0", "0", *metric_cells(result, entry["metrics"])])
        for entry in matching(result["flips"], codec=codec):
            flipped = f"{entry['n_flipped']:,} of {entry['n_bits']:,}"
            rows.append([codec, f"{entry['rate']:g}", flipped, *metric_cells(result, entry["metrics"])])
    return table(["codec", "rate", "bit errors", *metric_headers(result)], rows)


def _flips_note(result: Result) -> str:
    """Return, for every codec, the highest rate at which STOI falls by less than the tolerance."""
    lines = []
    for codec in result["codecs"]:
        clean = next(matching(result["clean"], codec=codec))["metrics"].get("stoi")
        entries = [entry for entry in matching(result["flips"], codec=codec) if "stoi" in entry["metrics"]]
        if clean is None or not entries:
            continue
        changes = {entry["rate"]: clean["mean"] - entry["metrics"]["stoi"]["mean"] for entry in entries}
        tolerated = [rate for rate, change in changes.items() if change < STOI_TOLERANCE]
        limit = f"up to a rate of {max(tolerated):g}" if tolerated else "at none of the rates"
        highest = entries[-1]["rate"]
        lines.append(f"- `{codec}`: less than {STOI_TOLERANCE:g} {limit}; {changes[highest]:.3f} at {highest:g}.")
    return "Loss of STOI by bit errors:\n\n" + "\n".join(lines) if lines else ""


def _against(result: Result) -> Iterator[str]:
    """Yield the change of each run by bit errors, minus that of the first run, paired by clip."""
    rows: list[list[str]] = []
    differences: dict[str, list[Any]] = {}
    for entry in result["flips"]:
        for other, difference in entry.get("against", {}).items():
            rows.append(
                [f"{entry['codec']} - {other}", f"{entry['rate']:g}", *metric_cells(result, difference, signed=True)]
            )
            differences.setdefault(f"{entry['codec']} - {other}", []).append(difference)
    if rows:
        yield (
            "The runs differ only in the quantizer. The table shows the change of each metric by bit errors, minus the "
            "change of another run:"
        )
        yield table(["paired difference of the change", "rate", *metric_headers(result)], rows)
        yield "Number of rates with a significant difference:"
        yield significance_table(result, "paired difference of the change", differences)


def _losses(result: Result) -> str:
    rows = []
    for entry in result["losses"]:
        lost = f"{entry['n_lost']} of {entry['n_frames']}"
        mean = f"{entry['n_lost'] / entry['n_runs']:.2f}" if entry["n_runs"] else "-"
        rows.append(
            [
                f"{entry['rate']:g}",
                _burst(entry["burst"]),
                lost,
                mean,
                entry["method"],
                *metric_cells(result, entry["metrics"]),
            ]
        )
    return table(["rate", "losses", "lost frames", "mean run", "replacement", *metric_headers(result)], rows)


def _gains(result: Result) -> str:
    """Return a table of concealment minus every other replacement, paired by clip."""
    rows = []
    for entry in result["losses"]:
        for other, gain in entry.get("gain", {}).items():
            if entry["n_lost"]:
                values = metric_cells(result, gain, signed=True)
                rows.append([f"concealed - {other}", f"{entry['rate']:g}", _burst(entry["burst"]), *values])
    return table(["paired difference", "rate", "losses", *metric_headers(result)], rows)


def _burst(burst: float) -> str:
    return "independent" if burst == 0 else f"bursts of {burst:g}"


def _losses_note(result: Result) -> str:
    """Return how often concealment differs significantly from the other replacements."""
    comparisons = {
        f"concealed - {other}": [e["gain"][other] for e in result["losses"] if "gain" in e and e["rate"]]
        for other in next(entry["gain"] for entry in result["losses"] if "gain" in entry)
    }
    return "Number of conditions with a significant difference:\n\n" + significance_table(
        result, "paired difference", comparisons
    )


def _recovery(result: Result) -> str:
    frames = sorted({entry["frame"] for entry in result["recovery"]})
    rows = []
    for disturbance in dict.fromkeys(entry["disturbance"] for entry in result["recovery"]):
        by_frame = {entry["frame"]: entry["metrics"] for entry in matching(result["recovery"], disturbance=disturbance)}
        means = [by_frame[frame]["mel_distance"]["mean"] if frame in by_frame else None for frame in frames]
        rows.append([disturbance, *(number(mean, 3) for mean in means)])
    return table(["mel distance from the undamaged output", "damaged frame", *(f"+{f}" for f in frames[1:])], rows)


def figure(result: Result) -> bytes:
    """Draw quality by bit error rate above and by share of lost frames below, with one column per metric.

    Returns:
        A PNG.
    """
    n_rows = 1 + bool(result["losses"])
    drawing = new_figure(11, 3.6 * n_rows)
    axes = drawing.subplots(n_rows, len(result["metrics"]), squeeze=False)
    for column, (name, metric) in enumerate(result["metrics"].items()):
        label = f"{metric['label']} ({'higher' if metric['better'] == 'higher' else 'lower'} is better)"
        _draw_flips(axes[0, column], result, name)
        axes[0, column].set(title=label, xlabel="bit error rate", xscale="log")
        if result["losses"]:
            _draw_losses(axes[1, column], result, name)
            axes[1, column].set(title=label, xlabel="share of frames lost")
        for row in axes[:, column]:
            row.grid(alpha=0.3)
    for row in axes:
        row[0].legend(fontsize=8, frameon=False)
    return to_png(drawing)


def _draw_flips(axes: Any, result: Result, name: str) -> None:
    for index, codec in enumerate(result["codecs"]):
        entries = [
            entry for entry in matching(result["flips"], codec=codec) if name in entry["metrics"] and entry["rate"]
        ]
        _line(axes, [entry["rate"] for entry in entries], [entry["metrics"][name] for entry in entries], index, codec)
        for clean in matching(result["clean"], codec=codec):
            if name in clean["metrics"]:
                axes.axhline(clean["metrics"][name]["mean"], color=f"C{index}", linestyle=":", linewidth=1)


def _draw_losses(axes: Any, result: Result, name: str) -> None:
    conditions = dict.fromkeys((entry["burst"], entry["method"]) for entry in result["losses"])
    bursts = list(dict.fromkeys(burst for burst, _ in conditions))
    for burst, method in conditions:
        if method not in STYLES:
            continue  # The table shows these; their lines would overlap the others.
        entries = [e for e in matching(result["losses"], burst=burst, method=method) if name in e["metrics"]]
        _line(
            axes,
            [entry["rate"] for entry in entries],
            [entry["metrics"][name] for entry in entries],
            bursts.index(burst),
            f"{_burst(burst)}, {method}",
            STYLES[method],
        )
    for clean in matching(result["clean"], codec="silk"):
        if name in clean["metrics"]:
            axes.axhline(clean["metrics"][name]["mean"], color="0.4", linestyle=":", linewidth=1)


def _line(axes: Any, x: list[float], entries: list[Any], color: int, label: str, style: str = "-") -> None:
    if not x:
        return
    axes.plot(x, [entry["mean"] for entry in entries], style, color=f"C{color}", marker="o", markersize=3, label=label)
    if entries[0]["n"] > 1 and style == "-":  # The bands of all lines would overlap.
        low, high = [entry["low"] for entry in entries], [entry["high"] for entry in entries]
        axes.fill_between(x, low, high, color=f"C{color}", alpha=0.12, linewidth=0)


def reproduce(result: Result) -> str:
    """Return the command, the version and the machine of a result."""
    settings = result["settings"]
    command = [f"silk lab robustness SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += [f"--seeds {settings['n_seeds']} --seconds {settings['clip_s']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in result["codecs"].values()}))
    return f"`{' '.join(command)}`\n\n{provenance(result)} Codec ids: {ids}."
