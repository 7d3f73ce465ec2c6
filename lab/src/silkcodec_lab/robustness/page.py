"""Write the page and draw the figure for the robustness experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import draw_band, new_figure, to_png
from silkcodec_lab.metric_tables import ABOUT_METRICS, estimate, joined, matching, significance_table, trial_note
from silkcodec_lab.pages import Description, Result, reproduction, weights

SHOWN_BIT_ERROR_RATE, SHOWN_LOSS_RATE = 0.01, 0.1  # The answer shows the measured rates nearest to these.
RECOVERED = 0.01  # mel distance below which the output counts as recovered
NAMES = {"silence": "silence", "repeated": "repetition of the last frame", "interpolated": "interpolation"}
BIT, CONCEALED = "one bit flipped", "frame lost, concealed"  # disturbances in a result
STYLES = {"silence": "--", "interpolated": ":", "concealed": "-"}

TITLE = "Bit errors and lost frames"

QUESTION = (
    "Tokens can be damaged or lost on radio links, in networks and in files. How do bit errors and lost frames affect "
    "quality? How much does concealment help, and how long does the effect of an error last?"
)

CAPTION = (
    "The first row shows quality by bit error rate, and the second row shows quality by share of lost Silk frames. "
    "Bands are 95 % intervals over clips. Horizontal dotted lines show the quality of the undamaged output."
)

LIMITATIONS = (
    "The tokens have no error protection. If the transport detects errors, bit errors become lost frames.",
    "Silk's decoder was not trained with bit errors or lost frames.",
    "A lost Silk frame leaves a gap of 400 ms. In codecs with short frames, a lost frame leaves a gap of only 20 or "
    "40 ms, which is easier to conceal.",
    "The metrics compare the output with the original. They do not measure whether concealment is less annoying than a "
    "gap.",
    "The intervals apply only to these clips. Clips from the same speaker are treated as independent.",
)


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    texts = []
    rates = {entry["rate"] for entry in result["flips"]} - {0}
    rate = min(rates, key=lambda rate: abs(rate - SHOWN_BIT_ERROR_RATE), default=0)
    flips = [e for e in matching(result["flips"], rate=rate) if rate and "stoi" in e["metrics"]]
    if flips:
        clean = {entry["codec"]: entry["metrics"]["stoi"]["mean"] for entry in result["clean"]}
        lost = [f"{clean[e['codec']] - e['metrics']['stoi']['mean']:.3f} for `{e['codec']}`" for e in flips]
        texts.append(f"At a bit error rate of {rate:g}, STOI (estimated intelligibility) decreases by {joined(lost)}.")
    for entry in flips:
        for other, change in entry.get("against", {}).items():
            more = estimate(change["stoi"], 3, scale=-1)
            texts.append(
                f"STOI decreases by {more} more for `{entry['codec']}` than for `{other}`. These models differ only in "
                "the quantizer."
            )
    losses = [e for e in result["losses"] if e["rate"] and "stoi" in next(iter(e.get("gain", {}).values()), {})]
    if losses:
        entry = min(losses, key=lambda entry: (abs(entry["rate"] - SHOWN_LOSS_RATE), entry["burst"]))
        gains = [f"{estimate(gain['stoi'], 3)} compared with {NAMES[name]}" for name, gain in entry["gain"].items()]
        how = f"in {_burst(entry['burst'])}" if entry["burst"] else "independently"
        texts.append(
            f"If {100 * entry['rate']:g} % of Silk's frames are lost {how}, concealment increases STOI by "
            f"{joined(gains)}."
        )
    if result["recovery"]:
        texts.append(
            "The mel distance (difference between log-mel spectrograms) from the undamaged output falls below "
            f"{RECOVERED:g} within {_recovered(result, BIT)} of a bit error, and within "
            f"{_recovered(result, CONCEALED)} of a lost frame that is concealed."
        )
    return " ".join(texts)


def _recovered(result: Result, disturbance: str) -> str:
    """Format the number of frames after which the output has recovered from a disturbance, e.g. `2 frames`."""
    entries = matching(result["recovery"], disturbance=disturbance)
    found = [entry["frame"] for entry in entries if entry["metrics"]["mel_distance"]["mean"] < RECOVERED]
    n = min(found, default=None)
    return "more frames than were measured" if n is None else f"{n} frame{'s' * (n != 1)}"


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, speech = result["settings"], result["speech"]
    times = {1: "once", 2: "twice"}.get(settings["n_seeds"], f"{settings['n_seeds']} times")
    bits = joined([f"`{name}` ({found['bits_per_second']:.0f} bit/s)" for name, found in result["codecs"].items()])
    parts = [
        f"**Speech.** The speech consists of {speech['n_clips']} clips of at most {settings['clip_s']:g} s, "
        f"{speech['duration_s']:.0f} s in total. Errors are drawn at random {times} per clip (seed "
        f"{settings['seed']}). All codecs use the same draws. Square brackets contain 95 % bootstrap "
        "intervals over clips. Differences are paired by clip." + trial_note(speech["n_clips"]),
        f"{ABOUT_METRICS} Except under *Recovery*, all metrics compare the output with the original.",
        f"**Bit errors.** The effect of bit errors is measured for {bits}. The `run:*` models are small and differ "
        "only in the quantizer. Each bit of the tokens is flipped with the same probability (bit error rate). "
        "The decoder does not know which bits are wrong.",
    ]
    if result["losses"]:
        parts += [
            "**Lost frames.** Silk frames (400 ms) are lost independently or in bursts. The decoder knows which frames "
            "are lost and replaces them in one of four ways. *Silence* outputs zeros. *Repeated* decodes the last "
            "received frame again. *Interpolated* decodes levels (quantized values) between those of the last and the "
            "next received frame, which increases latency. *Concealed* is `StreamDecoder.conceal`, which decodes "
            "middle levels and fades to silence. All four replacements are applied to the same lost frames.",
            "**Recovery.** In each clip, one bit in one frame is flipped, or the frame is lost. The output is compared "
            "with the undamaged output frame by frame.",
        ]
    return parts


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    parts = ["### STOI by bit error rate", _flips(result)]
    if result["losses"]:
        gains = {
            f"concealed - {other}": [
                entry["gain"][other] for entry in result["losses"] if "gain" in entry and entry["rate"]
            ]
            for other in next(entry["gain"] for entry in result["losses"] if "gain" in entry)
        }
        parts += [
            "### STOI by share of lost frames",
            _losses(result),
            "For each metric, the next table counts the conditions in which concealment is significantly better or "
            "worse than another replacement:",
            significance_table(result, "difference", gains),
        ]
    if result["recovery"]:
        parts += [
            "### Recovery",
            "The table shows the mel distance from the undamaged output in the damaged frame and in the following "
            "frames:",
            _recovery(result),
        ]
    return parts


def _flips(result: Result) -> str:
    rows = []
    for rate in sorted({0.0, *(entry["rate"] for entry in result["flips"])}):
        entries = matching(result["flips"], rate=rate) if rate else result["clean"]
        found = {entry["codec"]: estimate(entry["metrics"].get("stoi"), 3) for entry in entries}
        rows.append([f"{rate:g}", *(found.get(codec, "-") for codec in result["codecs"])])
    return table(["bit error rate", *result["codecs"]], rows)


def _losses(result: Result) -> str:
    methods = list(dict.fromkeys(entry["method"] for entry in result["losses"]))
    rows: dict[tuple[float, float], list[str]] = {}
    for entry in result["losses"]:
        row = rows.setdefault((entry["burst"], entry["rate"]), [_burst(entry["burst"]), f"{entry['rate']:g}"])
        row.append(estimate(entry["metrics"].get("stoi"), 3))
    return table(["losses", "share of lost frames", *methods], list(rows.values()))


def _burst(burst: float) -> str:
    return "independent" if burst == 0 else f"bursts of {burst:g}"


def _recovery(result: Result) -> str:
    frames = sorted({entry["frame"] for entry in result["recovery"]})
    rows = []
    for disturbance in dict.fromkeys(entry["disturbance"] for entry in result["recovery"]):
        by_frame = {entry["frame"]: entry["metrics"] for entry in matching(result["recovery"], disturbance=disturbance)}
        means = [by_frame[frame]["mel_distance"]["mean"] if frame in by_frame else None for frame in frames]
        rows.append([disturbance, *(number(mean, 3) for mean in means)])
    return table(["disturbance", "damaged frame", *(f"+{f}" for f in frames[1:])], rows)


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
    if style == "-":  # Bands for all lines would overlap.
        draw_band(axes, x, entries, f"C{color}")


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    command = [f"silk lab robustness SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += [f"--seeds {settings['n_seeds']} --seconds {settings['clip_s']:g} --seed {settings['seed']} -o FOLDER"]
    return reproduction(result, command, note=weights(found["codec_id"] for found in result["codecs"].values()))
