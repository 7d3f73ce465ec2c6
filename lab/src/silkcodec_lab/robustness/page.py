"""Write the page and draw the figure of the robustness experiment from its JSON result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.metric_tables import joined, matching, metric_cells, metric_headers, significance_table
from silkcodec_lab.pages import Result, provenance

FEW_CLIPS = 10  # With fewer clips, the page warns that this is a trial run.
STOI_TOLERANCE = 0.02
STYLES = {"silence": "--", "interpolated": ":", "concealed": "-"}

TITLE = "Bit errors and lost frames"

QUESTION = (
    "Tokens can be lost or damaged on radio links, in networks and in files. How do bit errors and lost frames "
    "affect quality? How much does concealment help, and how long does the effect of one error last?"
)

FIGURE = (
    "The upper part shows bit errors, with one color per codec. The lower part shows lost frames of Silk, with one "
    "color per kind of loss. Horizontal dotted lines show the quality of the undamaged output. Bands show the "
    "intervals of the solid lines."
)

LIMITATIONS = (
    "**Error protection.** The tokens have no error protection. If a transport detects errors, bit errors become lost "
    "frames. Error correction needs additional bits.",
    "**Training.** Silk's decoder was not trained with bit errors or lost frames. Training with them would not require "
    "additional bits.",
    "**Frame duration.** Silk loses 400 ms at a time, while codecs with short frames lose 20 or 40 ms. For the same "
    "share of lost time, short gaps are easier to conceal. Interleaving the tokens of several frames would shorten "
    "the gaps, but it would increase latency.",
    "**Listening.** PESQ, STOI and the mel distance compare the output with the original. They do not measure whether "
    "concealment is less annoying than a gap.",
    "**Other speech.** The intervals apply only to these clips. Clips of the same speaker are treated as independent.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, speech = result["settings"], result["speech"]
    bits = joined([f"`{name}` ({found['bits_per_second']:.0f} bit/s)" for name, found in result["codecs"].items()])
    parts = [
        f"**Speech.** The speech consists of {speech['n_clips']} clips of at most {settings['clip_s']:g} s, "
        f"{speech['duration_s']:.0f} s in total. Errors are drawn at random {settings['n_seeds']} times per clip "
        f"(seed {settings['seed']}). All codecs and replacement methods use the same draws. The value of a clip is the "
        "mean over its draws. Intervals are 95 % bootstrap intervals over clips. The damaged output is compared with "
        "the original, not with the undamaged output."
        + (
            " **This is a trial run.** There are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        f"**Bit errors.** Bit errors are measured for {bits}. Each bit of the tokens is flipped with the probability "
        "in the column *rate*, independently of the others. The decoder cannot detect flipped bits. In Silk, a bit "
        "error changes one of the 128 numbers of a frame, which have 8 levels, by 1, 2 or 4 levels. In a residual "
        "codebook, it selects a different entry. In a classical codec, it changes a parameter.",
    ]
    if result["losses"]:
        parts += [
            "**Lost frames.** Silk's frames of 400 ms are lost independently or in bursts (Gilbert's model with two "
            "states). The decoder knows the positions of lost frames. Lost frames are replaced in one of four ways:",
            "- *silence*: the output consists of zeros. The decoder keeps its state.\n"
            "- *repeated*: the levels of the last received frame are decoded again.\n"
            "- *interpolated*: the levels are interpolated between the last and the next received frame. This delays "
            "the output until the next frame arrives.\n"
            "- *concealed*: `StreamDecoder.conceal` decodes middle levels from the current state and fades to silence.",
            "**Recovery.** To measure how long an error affects the output, one frame is damaged. The table shows the "
            "mel distance from the undamaged output for this frame and the following frames.",
        ]
    return parts


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
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
    """Return a text with the highest bit error rate at which STOI is still within the tolerance, for each codec."""
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
        lines.append(f"- `{codec}`: less than {STOI_TOLERANCE:g} {limit}, and {changes[highest]:.3f} at {highest:g}.")
    return "Bit errors decrease STOI by:\n\n" + "\n".join(lines) if lines else ""


def _against(result: Result) -> Iterator[str]:
    """Yield texts and tables that compare the effect of bit errors on each run with that on the first run."""
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
            "The runs differ only in the quantizer. The table compares how much bit errors change each metric. Each "
            "value is the change in the first run minus the change in the second run:"
        )
        yield table(["paired difference in the change", "rate", *metric_headers(result)], rows)
        yield "The next table counts the rates with significant differences:"
        yield significance_table(result, "paired difference in the change", differences)


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
    return table(["rate", "losses", "lost frames", "mean run length", "replacement", *metric_headers(result)], rows)


def _gains(result: Result) -> str:
    """Return a table of paired differences between concealment and each other replacement for lost frames."""
    rows = []
    for entry in result["losses"]:
        for other, gain in entry.get("gain", {}).items():
            if entry["n_lost"]:
                values = metric_cells(result, gain, signed=True)
                rows.append([f"concealed - {other}", f"{entry['rate']:g}", _burst(entry["burst"]), *values])
    header = ["paired difference", "rate", "losses", *metric_headers(result)]
    return f"These are the differences in each condition:\n\n{table(header, rows)}"


def _burst(burst: float) -> str:
    return "independent" if burst == 0 else f"bursts of {burst:g}"


def _losses_note(result: Result) -> str:
    """Return a table that counts significant differences between concealment and other replacements for lost frames."""
    comparisons = {
        f"concealed - {other}": [e["gain"][other] for e in result["losses"] if "gain" in e and e["rate"]]
        for other in next(entry["gain"] for entry in result["losses"] if "gain" in entry)
    }
    return "The next table counts the conditions with significant differences:\n\n" + significance_table(
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
    """Return the figure as PNG. It shows each metric against the bit error rate and the share of lost frames."""
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
            continue  # The table shows this method. Its line would overlap the others.
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
    if entries[0]["n"] > 1 and style == "-":  # Bands for all lines would overlap.
        low, high = [entry["low"] for entry in entries], [entry["high"] for entry in entries]
        axes.fill_between(x, low, high, color=f"C{color}", alpha=0.12, linewidth=0)


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    settings = result["settings"]
    command = [f"silk lab robustness SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += [f"--seeds {settings['n_seeds']} --seconds {settings['clip_s']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in result["codecs"].values()}))
    return f"`{' '.join(command)}`\n\n{provenance(result)} Codec IDs: {ids}."
