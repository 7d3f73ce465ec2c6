"""The page and the figure of the residual experiment. Every number is the JSON's."""

from __future__ import annotations

import io
import math

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.pages import Result, made

DB = 20 / math.log(10)  # of a natural logarithm of a magnitude
TICKS_HZ = (100, 500, 1_000, 2_000, 4_000, 8_000)
BY_HEART_DB = 0.01  # left of what was fitted to: less is nothing
EXACT = 1e-6  # of a natural logarithm: sums that are off by less are right

TITLE = "How much error does each codebook of a residual chain remove?"

QUESTION = (
    "Residual quantization writes a vector as a sum: the nearest entry of a first codebook, plus the entry of a second "
    "one that is nearest to the residual, and so on. How much error does each codebook remove, at one moment of one "
    "recording?"
)

WOULD_CHANGE = (
    "**Another moment.** This is one column of 10 ms; the dashed and dotted curves are averages over many columns.",
    "**More speech to fit to, another codebook size.** The error of training columns falls with every codebook, until "
    "each has its own entries; that of other columns stops falling where the chain begins to overfit.",
    "**A chain that was trained with an encoder and a decoder.** Here every codebook is fitted by k-means to the "
    "residual of those before it, and the vector is a spectrum, not a latent.",
    "**A search of more than the nearest.** Each stage takes the nearest entry, which need not be the best for the "
    "sum: a beam search finds sums that are at least as near.",
)


def method(result: Result) -> list[str]:
    settings, speech = result["settings"], result["speech"]
    clips = f"{speech['n_clips']} clips" if speech["n_clips"] > 1 else "one clip"
    if settings["fitted_to"] == "speech":
        source = f"{speech['duration_s']:.3g} s of other speech, {clips}: the recording is not among it"
    else:
        source = (
            f"the rest of the recording, {speech['duration_s']:.3g} s, without {settings['near_s']:g} s on either side "
            "of the moment: the speaker and the room are in the training set"
        )
    return [
        f"**The vector.** The column of the log-mel spectrogram (128 bands, 10 ms) at {settings['at_s']:.2f} s of "
        f"`{settings['file']}`.",
        f"**The chain.** {settings['n_codebooks']} codebooks of {settings['entries']:,} entries, "
        f"{math.log2(settings['entries']):.3g} bits each, fitted to {speech['n_columns']:,} columns of {source}. Each "
        f"is fitted by k-means (Lloyd's, up to {settings['lloyd_steps']} steps; the `Codebook` of "
        "`silkcodec.quantizers`) to the residual of the codebooks before it.",
        "**The figures** are root mean squares over the bands, in dB. *Left*: distance of the sum so far from the "
        "spectrum. *Entry*: length of the chosen entry. *Next best*: the error with the second nearest entry. "
        "*Cosine*: between the entry and the residual that it quantizes. *Variance left*: the squared error over the "
        "squared distance from the mean column. As a check, the entries so far and the residual are added after each "
        "stage and compared with the vector.",
    ]


def findings(result: Result) -> list[str]:
    stages, off_by = result["stages"], max(stage["sum_off_by"] for stage in result["stages"])
    first, last = stages[0], stages[-1]
    worse = [k for k, stage in enumerate(stages, 1) if stage["error_db"] > stage["before_db"]]
    recording, trained = result["recording_error_db"], result["train_error_db"]
    half = next((k for k, stage in enumerate(stages, 1) if stage["error_db"] <= first["error_db"] / 2), None)
    text = (
        f"The mean column is {result['mean_error_db']:.2f} dB away; the first codebook leaves {first['error_db']:.2f} "
        f"dB, and all {len(stages)} leave **{last['error_db']:.2f} dB**"
        + (f"; half of what the first left is reached after {half}." if half else "; that is more than half of it.")
        + f" Over the whole recording, {recording[0]:.2f} and {recording[-1]:.2f} dB; over the columns that the "
        f"codebooks were fitted to, {trained[0]:.2f} and {trained[-1]:.2f} dB."
    )
    if worse:
        text += (
            f" At {len(worse)} of the {len(stages)} stages (the first is stage {worse[0]}) even the nearest entry "
            "increased the error."
        )
    if by_heart := next((k for k, left in enumerate(trained, 1) if left < BY_HEART_DB), None):
        text += (
            f" **The chain overfits**: from stage {by_heart} on the error of its training columns is 0, so further "
            "codebooks cannot learn anything."
        )
    checked = (
        "**Sums checked.** After every stage the entries and the residual add up to the vector"
        + (f"; they are off by {off_by:.1e} at most." if off_by else " exactly.")
        if off_by < EXACT
        else f"**The sums are wrong**: entries and residual differ from the vector by {off_by:.3g}."
    )
    return [text, checked, _table(result)]


def _table(result: Result) -> str:
    bits = math.log2(result["settings"]["entries"])
    header = ["stage", "bits", "entry no.", "entry, dB", "cosine", "left, dB", "next best, dB", "variance left"]
    header += ["whole recording, dB", "fitted to, dB"]
    rows = []
    for k, stage in enumerate(result["stages"]):
        rows.append(
            [
                str(k + 1),
                f"{(k + 1) * bits:.4g}",
                str(stage["entry"]),
                number(stage["entry_db"], 2),
                number(stage["cosine"], 2),
                number(stage["error_db"], 2),
                number(stage["next_best_db"], 2),
                f"{100 * stage['share_left']:.2f} %",
                number(result["recording_error_db"][k], 2),
                number(result["train_error_db"][k], 2),
            ]
        )
    return table(header, rows)


def how_made(result: Result) -> str:
    settings = result["settings"]
    command = [f"silk lab residual {settings['file']} --at {settings['at_s']:.2f}"]
    command += [f"--speech SPEECH --minutes {settings['minutes']:g}"] if settings["fitted_to"] == "speech" else []
    command += [f"--codebooks {settings['n_codebooks']} --entries {settings['entries']} --seed {settings['seed']}"]
    return f"`{' '.join([*command, '-o FOLDER'])}`\n\n{made(result)}"


def figure(result: Result) -> bytes:
    """A PNG: the spectrum and the sums of its first entries; what is left after each stage."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no state, no display
    from matplotlib.figure import Figure

    settings, n_stages = result["settings"], len(result["stages"])
    drawing = Figure(figsize=(12, 4.8), layout="constrained")
    FigureCanvasAgg(drawing)
    spectrum, left = drawing.subplots(1, 2, width_ratios=(1.25, 1))
    bands, sums = range(len(result["vector"])), result["sums"]
    shown = [k for k in ("1", "4", str(n_stages)) if k in sums] or [next(iter(sums))]
    spectrum.plot(bands, [DB * value for value in result["vector"]], color="black", linewidth=2.2, label="the spectrum")
    for i, k in enumerate(dict.fromkeys(shown)):
        colour = colormaps["viridis"](0.25 + 0.6 * i / max(1, len(shown) - 1))
        label = "the first entry" if k == "1" else f"the sum of {k}"
        spectrum.plot(bands, [DB * value for value in sums[k]], color=colour, linewidth=1.4, label=label)
    hz = result["band_hz"]
    ticks = [min(bands, key=lambda band: abs(hz[band] - tick)) for tick in TICKS_HZ]
    spectrum.set_xticks(ticks, [f"{tick:,}" for tick in TICKS_HZ])
    title = f"{settings['file']} at {settings['at_s']:.2f} s"
    spectrum.set(xlabel="Hz (mel bands)", ylabel="magnitude, dB", title=title)
    stages = range(1, n_stages + 1)
    left.plot(
        [0, *stages],
        [result["mean_error_db"], *(stage["error_db"] for stage in result["stages"])],
        color="black",
        marker="o",
        markersize=3,
        label="this moment (0: the mean column)",
    )
    left.plot(stages, result["recording_error_db"], "--", color="#d1495b", label="the whole recording")
    left.plot(stages, result["train_error_db"], ":", color="#0b6fa4", linewidth=2, label="what was fitted to")
    left.set(
        xlabel="codebooks", ylabel="left, dB (root mean square over bands)", title="what is left over", ylim=(0, None)
    )
    for axes in (spectrum, left):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    image = io.BytesIO()
    drawing.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()
