"""The page and the figure of the robustness experiment. Every number is the JSON's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.cells import cells, heads, of, verdict
from silkcodec_lab.pages import Result, made

FEW_CLIPS = 10
STYLES = {"silence": "--", "interpolated": ":", "concealed": "-"}

TITLE = "What do flipped bits and lost frames do?"

QUESTION = (
    "Tokens can be damaged: by radio links, lost packets and damaged files. What does a flipped bit or a lost frame do "
    "to the speech, how much of the loss can the decoder conceal, and how long does the damage last?"
)

FIGURE = (
    "Above: flipped bits, one colour per codec. Below: lost frames of Silk, one colour per kind of loss. Dotted lines: "
    "undamaged. Bands: intervals of the solid lines."
)

WOULD_CHANGE = (
    "**Protection.** Nothing is protected here. A transport that detects damage turns flipped bits into lost frames; "
    "one that corrects errors needs bits that could be used for more tokens.",
    "**A decoder trained on damage.** Silk's was not. Training with flipped levels and lost frames would cost no bits.",
    "**Other lengths of a frame.** Silk loses 400 ms at once, a codec of short frames 20 or 40: at the same share of "
    "lost time its gaps are shorter and easier to fill. Interleaving Silk's groups over frames would trade latency for "
    "shorter gaps.",
    "**Listening.** PESQ, STOI and the mel distance compare with the original. They do not measure whether concealment "
    "is less annoying than a gap.",
    "**Other speech.** The intervals are for these clips only, and clips of one speaker count as independent.",
)


def method(result: Result) -> list[str]:
    settings, speech = result["settings"], result["speech"]
    bits = ", ".join(f"`{name}` {found['bits_per_second']:.0f} bit/s" for name, found in result["codecs"].items())
    parts = [
        f"**Speech.** {speech['n_clips']} clips, {speech['duration_s']:.0f} s, each at most {settings['clip_s']:g} s. "
        f"Everything is drawn {settings['n_seeds']} times for each clip, seed {settings['seed']}, the same draws for "
        "all methods; a clip's value is the mean of its draws, the interval the 95 % bootstrap over clips. Quality is "
        "measured against the original, not against the undamaged output."
        + (
            " **This is a trial run**: there are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        f"**Flipped bits.** {bits}. Each bit of the tokens is flipped with the given probability, independently of the "
        "others, without the decoder's knowledge. A code is written in binary. Each of Silk's levels has 3 bits, so "
        "one bit moves one of the 128 numbers of one frame by 1, 2 or 4 of 8 levels and affects no other number. In a "
        "residual codebook it selects another entry, in a classical codec another parameter.",
    ]
    if result["losses"]:
        parts += [
            "**Lost frames.** A share of Silk's frames (400 ms each) is lost, each by itself or in bursts (Gilbert's "
            "model of two states); the decoder knows which. *Silence* puts zeros in their place and keeps the "
            "state. *Repeated* decodes the last frame's levels again, *interpolated* those on the line "
            "between the last and the next frame, for which it has to wait. *Concealed* is `StreamDecoder.conceal`: "
            "the middle of all levels, decoded from the state as it is, fading to silence.",
            "**Recovery.** One frame is disturbed; how far each frame after it is from the undisturbed output, as mel "
            "distance.",
        ]
    return parts


def findings(result: Result) -> list[str]:
    parts = [FIGURE, "### Flipped bits", _flips(result), _flips_note(result), *_against(result)]
    if result["losses"]:
        parts += ["### Lost frames", _losses(result), _losses_note(result), _gains(result)]
    if result["recovery"]:
        parts += ["### Recovery", _recovery(result)]
    return parts


def _flips(result: Result) -> str:
    rows = []
    for codec in result["codecs"]:
        for entry in of(result["clean"], codec=codec):
            rows.append([codec, "0", "0", *cells(result, entry["metrics"])])
        for entry in of(result["flips"], codec=codec):
            flipped = f"{entry['n_flipped']:,} of {entry['n_bits']:,}"
            rows.append([codec, f"{entry['rate']:g}", flipped, *cells(result, entry["metrics"])])
    return table(["codec", "rate", "bits flipped", *heads(result)], rows)


def _flips_note(result: Result) -> str:
    """Return, for every codec, the highest rate at which STOI falls by less than 0.02."""
    sentences = []
    for codec in result["codecs"]:
        clean = next(of(result["clean"], codec=codec))["metrics"].get("stoi")
        entries = [entry for entry in of(result["flips"], codec=codec) if "stoi" in entry["metrics"]]
        if clean is None or not entries:
            continue
        held = [entry["rate"] for entry in entries if clean["mean"] - entry["metrics"]["stoi"]["mean"] < 0.02]
        worst = entries[-1]
        fallen = clean["mean"] - worst["metrics"]["stoi"]["mean"]
        limit = f"up to a rate of {max(held):g}" if held else "at none of the rates"
        sentences.append(f"`{codec}` keeps its STOI within 0.02 {limit} and loses {fallen:.3f} at {worst['rate']:g}")
    return "; ".join(sentences) + "." if sentences else ""


def _against(result: Result) -> Iterator[str]:
    """What flipped bits do to a run minus what the same rate does to the first run, clip by clip."""
    rows: list[list[str]] = []
    differences: dict[tuple[str, str], list[Any]] = {}
    for entry in result["flips"]:
        for other, difference in entry.get("against", {}).items():
            rows.append([f"{entry['codec']} - {other}", f"{entry['rate']:g}", *cells(result, difference, signed=True)])
            differences.setdefault((entry["codec"], other), []).append(difference)
    if rows:
        yield "The runs differ only in the quantizer. Change from a run's undamaged output, minus that of another run:"
        yield table(["paired difference of the change", "rate", *heads(result)], rows)
        yield " ".join(
            f"`{run}` compared with `{other}` under flips, significantly: {verdict(result, found)} rates."
            for (run, other), found in differences.items()
        )


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
                *cells(result, entry["metrics"]),
            ]
        )
    return table(["loss", "frames", "lost", "mean run", "in their place", *heads(result)], rows)


def _gains(result: Result) -> str:
    """Concealment minus every other method, clip by clip."""
    rows = []
    for entry in result["losses"]:
        for other, gain in entry.get("gain", {}).items():
            if entry["n_lost"]:
                values = cells(result, gain, signed=True)
                rows.append([f"concealed - {other}", f"{entry['rate']:g}", _burst(entry["burst"]), *values])
    return table(["paired difference", "loss", "frames", *heads(result)], rows)


def _burst(burst: float) -> str:
    return "independent" if burst == 0 else f"bursts of {burst:g}"


def _losses_note(result: Result) -> str:
    """Return how often concealment differs significantly from the other methods."""
    sentences = []
    for other in next(entry["gain"] for entry in result["losses"] if "gain" in entry):
        gains = [entry["gain"][other] for entry in result["losses"] if "gain" in entry and entry["rate"]]
        sentences.append(f"*Concealed* compared with *{other}*, significantly: {verdict(result, gains)} conditions.")
    return " ".join(sentences)


def _recovery(result: Result) -> str:
    frames = sorted({entry["frame"] for entry in result["recovery"]})
    rows = []
    for disturbance in dict.fromkeys(entry["disturbance"] for entry in result["recovery"]):
        by_frame = {entry["frame"]: entry["metrics"] for entry in of(result["recovery"], disturbance=disturbance)}
        means = [by_frame[frame]["mel_distance"]["mean"] if frame in by_frame else None for frame in frames]
        rows.append([disturbance, *(number(mean, 3) for mean in means)])
    return table(["mel distance from the undisturbed output", "that frame", *(f"+{f}" for f in frames[1:])], rows)


def figure(result: Result) -> bytes:
    """Above, quality against flipped bits; below, against lost frames; a column a metric. PNG."""
    from matplotlib.figure import Figure

    n_rows = 1 + bool(result["losses"])
    drawing = Figure(figsize=(11, 3.6 * n_rows), layout="constrained")
    axes = drawing.subplots(n_rows, len(result["metrics"]), squeeze=False)
    for column, (name, metric) in enumerate(result["metrics"].items()):
        label = f"{metric['label']} ({'higher' if metric['better'] == 'higher' else 'lower'} is better)"
        _draw_flips(axes[0, column], result, name)
        axes[0, column].set(title=label, xlabel="share of bits flipped", xscale="log")
        if result["losses"]:
            _draw_losses(axes[1, column], result, name)
            axes[1, column].set(title=label, xlabel="share of frames lost")
        for row in axes[:, column]:
            row.grid(alpha=0.3)
    for row in axes:
        row[0].legend(fontsize=8, frameon=False)
    image = io.BytesIO()
    drawing.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()


def _draw_flips(axes: Any, result: Result, name: str) -> None:
    for index, codec in enumerate(result["codecs"]):
        entries = [entry for entry in of(result["flips"], codec=codec) if name in entry["metrics"] and entry["rate"]]
        _line(axes, [entry["rate"] for entry in entries], [entry["metrics"][name] for entry in entries], index, codec)
        for clean in of(result["clean"], codec=codec):
            if name in clean["metrics"]:
                axes.axhline(clean["metrics"][name]["mean"], color=f"C{index}", linestyle=":", linewidth=1)


def _draw_losses(axes: Any, result: Result, name: str) -> None:
    conditions = dict.fromkeys((entry["burst"], entry["method"]) for entry in result["losses"])
    bursts = list(dict.fromkeys(burst for burst, _ in conditions))
    for burst, method in conditions:
        if method not in STYLES:
            continue  # in the table: the lines would hide each other
        entries = [e for e in of(result["losses"], burst=burst, method=method) if name in e["metrics"]]
        _line(
            axes,
            [entry["rate"] for entry in entries],
            [entry["metrics"][name] for entry in entries],
            bursts.index(burst),
            f"{_burst(burst)}, {method}",
            STYLES[method],
        )
    for clean in of(result["clean"], codec="silk"):
        if name in clean["metrics"]:
            axes.axhline(clean["metrics"][name]["mean"], color="0.4", linestyle=":", linewidth=1)


def _line(axes: Any, x: list[float], entries: list[Any], color: int, label: str, style: str = "-") -> None:
    if not x:
        return
    axes.plot(x, [entry["mean"] for entry in entries], style, color=f"C{color}", marker="o", markersize=3, label=label)
    if entries[0]["n"] > 1 and style == "-":  # the bands of all lines would hide each other
        low, high = [entry["low"] for entry in entries], [entry["high"] for entry in entries]
        axes.fill_between(x, low, high, color=f"C{color}", alpha=0.12, linewidth=0)


def how_made(result: Result) -> str:
    settings = result["settings"]
    command = [f"silk lab robustness SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += [f"--seeds {settings['n_seeds']} --seconds {settings['clip_s']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in result["codecs"].values()}))
    return f"`{' '.join(command)}`\n\n{made(result)} Codecs and weights: {ids}."
