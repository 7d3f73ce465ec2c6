"""Write the page and draw the figure for the residual experiment from its JSON result."""

from __future__ import annotations

import math
from shlex import quote

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.pages import Description, Result, reproduction

DB = 20 / math.log(10)  # converts a natural logarithm of a magnitude to dB
TICKS_HZ = (100, 500, 1_000, 2_000, 4_000, 8_000)
ZERO_ERROR_DB = 0.01  # The page reports overfitting if the error of the training columns is below this.
SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # numbers of codebooks in the table, besides the largest
EXACT = 1e-6  # tolerance for the check of the sums, in natural logarithms

TITLE = "Error after each codebook of a residual quantizer"

QUESTION = (
    "Residual quantization represents a vector as a sum of codebook entries. Each codebook in a chain quantizes the "
    "error (residual) left by the previous ones. How much of the error does each codebook remove?"
)

CAPTION = (
    "The left plot shows one spectrum and its approximations by sums of entries. The right plot shows the error after "
    "each codebook, for this spectrum, for the whole recording and for the training speech."
)

LIMITATIONS = (
    "The left plot and most columns of the table describe a single moment in one recording.",
    "With more training speech, the codebooks might remove more of the error.",
    "In a codec, the codebooks are trained together with an encoder and a decoder. Here, they are fitted to spectra.",
    "The nearest entry of each codebook is selected in turn. A beam search can find a better sum.",
)


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    stages, off_by = result["stages"], max(stage["sum_off_by"] for stage in result["stages"])
    first, last = stages[0], stages[-1]
    recording, trained = result["recording_error_db"], result["train_error_db"]
    half = next((k for k, stage in enumerate(stages, 1) if stage["error_db"] <= first["error_db"] / 2), None)
    texts = [
        "In this experiment, the vector is the spectrum at a single moment.",
        f"The mean spectrum of the training speech differs from it by {result['mean_error_db']:.2f} dB.",
        f"The error is {first['error_db']:.2f} dB after the first codebook and {last['error_db']:.2f} dB after all "
        f"{len(stages)} codebooks.",
    ]
    if half:
        texts.append(f"It takes {half} codebooks in total to halve the error that the first one leaves.")
    texts.append(
        f"With all codebooks, the error is {recording[-1]:.2f} dB for the whole recording and {trained[-1]:.2f} dB for "
        "the training speech" + (", so the quantizer **overfits**." if trained[-1] < ZERO_ERROR_DB else ".")
    )
    if off_by >= EXACT:
        texts.append(f"**The check failed.** The sum of entries and residual differs from the vector by {off_by:.3g}.")
    return " ".join(texts)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, speech = result["settings"], result["speech"]
    clips = f"{speech['n_clips']:,} clips" if speech["n_clips"] > 1 else "one clip"
    if settings["fitted_to"] == "speech":
        source = f"{speech['duration_s']:.3g} s of other speech in {clips}"
    else:
        source = (
            f"{speech['duration_s']:.3g} s of the same recording, excluding {settings['near_s']:g} s before and "
            "after this moment"
        )
    return [
        f"**Vector.** The vector is the log-mel spectrum at {settings['at_s']:.2f} s in `{settings['file']}`. It has "
        "128 bands and covers 10 ms.",
        f"**Quantizer.** The chain has {settings['n_codebooks']} codebooks of {settings['entries']:,} entries "
        f"({math.log2(settings['entries']):.3g} bits each). They are fitted by k-means to {speech['n_columns']:,} "
        f"spectra from {source}.",
        "**Error.** The error is the difference between the vector and the sum of the selected entries (RMS over all "
        "bands).",
        "**Cosine.** This is the cosine of the angle between the last codebook's entry and the residual that the entry "
        "quantizes.",
        "**Share of variance.** This is the squared error, divided by the squared distance between the vector and the "
        "mean spectrum of the training speech.",
    ]


def findings(result: Result) -> list[str]:
    """Return the table for the page's results section."""
    bits = math.log2(result["settings"]["entries"])
    header = ["codebooks", "bits", "cosine", "error, dB", "share of variance", "error for the recording, dB"]
    rows = []
    for k, stage in enumerate(result["stages"], 1):
        if k in SHOWN or k == len(result["stages"]):
            rows.append(
                [
                    str(k),
                    f"{k * bits:.4g}",
                    number(stage["cosine"], 2),
                    number(stage["error_db"], 2),
                    f"{100 * stage['share_left']:.2f} %",
                    number(result["recording_error_db"][k - 1], 2),
                    number(result["train_error_db"][k - 1], 2),
                ]
            )
    return [table([*header, "error for the training speech, dB"], rows)]


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    command = [f"silk lab residual {quote(settings['file'])} --at {settings['at_s']:.2f}"]
    command += [f"--speech SPEECH --minutes {settings['minutes']:g}"] if settings["fitted_to"] == "speech" else []
    command += [f"--codebooks {settings['n_codebooks']} --entries {settings['entries']} --seed {settings['seed']}"]
    return reproduction(result, [*command, "-o FOLDER"])


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    It shows the spectrum, its approximations by sums of entries, and the error after each codebook.
    """
    from matplotlib import colormaps

    settings, n_stages = result["settings"], len(result["stages"])
    drawing = new_figure(12, 4.8)
    spectrum, left = drawing.subplots(1, 2, width_ratios=(1.25, 1))
    bands, sums = range(len(result["vector"])), result["sums"]
    shown = [k for k in ("1", "4", str(n_stages)) if k in sums] or [next(iter(sums))]
    spectrum.plot(bands, [DB * value for value in result["vector"]], color="black", linewidth=2.2, label="spectrum")
    for i, k in enumerate(dict.fromkeys(shown)):
        color = colormaps["viridis"](0.25 + 0.6 * i / max(1, len(shown) - 1))
        label = "first entry" if k == "1" else f"sum of {k} entries"
        spectrum.plot(bands, [DB * value for value in sums[k]], color=color, linewidth=1.4, label=label)
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
        label="this moment (0: mean spectrum)",
    )
    left.plot(stages, result["recording_error_db"], "--", color="#d1495b", label="whole recording")
    left.plot(stages, result["train_error_db"], ":", color="#0b6fa4", linewidth=2, label="training speech")
    left.set(
        xlabel="number of codebooks", ylabel="error, dB (root mean square over bands)", title="error", ylim=(0, None)
    )
    for axes in (spectrum, left):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    return to_png(drawing)
