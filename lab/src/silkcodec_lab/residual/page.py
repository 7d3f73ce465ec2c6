"""Write the page and draw the figure of the residual experiment from its JSON result."""

from __future__ import annotations

import math

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.pages import Result, provenance

DB = 20 / math.log(10)  # converts a natural logarithm of a magnitude to dB
TICKS_HZ = (100, 500, 1_000, 2_000, 4_000, 8_000)
ZERO_ERROR_DB = 0.01  # The page reports overfitting if the error of the training columns is below this.
EXACT = 1e-6  # tolerance for the check of the sums, in natural logarithms

TITLE = "Error after each codebook of a residual quantizer"

QUESTION = (
    "Residual quantization represents a vector as a sum of codebook entries. The first codebook supplies the entry "
    "nearest to the vector. Each further codebook supplies the entry nearest to the remaining residual. How much of "
    "the error does each codebook remove at one moment of a recording?"
)

LIMITATIONS = (
    "**One moment.** Most columns of the table describe a single spectrogram column of 10 ms. The dashed and dotted "
    "curves in the figure are averages over many columns.",
    "**Training speech and codebook size.** The error of the training columns decreases with each codebook until each "
    "column has its own entries. The error of other columns stops decreasing when the codebooks overfit.",
    "**No encoder or decoder.** The vector is a spectrum, and each codebook is fitted by k-means to the residual of "
    "the previous ones. In a codec, codebooks are trained together with an encoder and a decoder.",
    "**Greedy search.** The nearest entry of each codebook is selected in turn. A beam search can find a better sum.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, speech = result["settings"], result["speech"]
    clips = f"{speech['n_clips']:,} clips" if speech["n_clips"] > 1 else "one clip"
    if settings["fitted_to"] == "speech":
        source = f"{speech['duration_s']:.3g} s of other speech in {clips}"
    else:
        source = (
            f"{speech['duration_s']:.3g} s of the same recording, without {settings['near_s']:g} s before and after "
            "the moment. The speaker and the room are therefore in the training set"
        )
    return [
        "**Vector.** The vector is one column of the log-mel spectrogram (128 bands, 10 ms), at "
        f"{settings['at_s']:.2f} s in `{settings['file']}`.",
        f"**Quantizer.** The quantizer has {settings['n_codebooks']} codebooks of {settings['entries']:,} entries "
        f"({math.log2(settings['entries']):.3g} bits each). Each codebook is fitted to the residual of the previous "
        f"ones by k-means (up to {settings['lloyd_steps']} steps of Lloyd's algorithm). The training set consists of "
        f"{speech['n_columns']:,} columns from {source}.",
        "**Columns of the table.** Lengths and errors are RMS values over the bands in dB.",
        "- *Bits*: the total of this codebook and the previous ones.\n"
        "- *Entry no.* and *entry*: the index and the length of the nearest entry.\n"
        "- *Cosine*: the cosine of the angle between the entry and the residual that it quantizes.\n"
        "- *Error*: the distance between the vector and the sum of the entries.\n"
        "- *Second nearest*: the error if the second nearest entry is selected instead.\n"
        "- *Variance*: the squared error, as a share of the squared distance between the vector and the *mean column*, "
        "i.e. the mean of the training columns.\n"
        "- *Recording* and *training*: the errors over all columns of the recording and over the training columns.",
    ]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
    stages, off_by = result["stages"], max(stage["sum_off_by"] for stage in result["stages"])
    first, last = stages[0], stages[-1]
    worse = [k for k, stage in enumerate(stages, 1) if stage["error_db"] > stage["before_db"]]
    recording, trained = result["recording_error_db"], result["train_error_db"]
    half = next((k for k, stage in enumerate(stages, 1) if stage["error_db"] <= first["error_db"] / 2), None)
    text = (
        f"Replacing the vector with the mean column gives an error of {result['mean_error_db']:.2f} dB. The error is "
        f"{first['error_db']:.2f} dB after the first codebook and **{last['error_db']:.2f} dB** after all "
        f"{len(stages)} codebooks. "
        + (
            f"It takes {half} codebooks to halve the error that remains after the first one. "
            if half
            else "This is more than half of the error after the first codebook. "
        )
        + f"Over the whole recording, the error is {recording[0]:.2f} dB after the first codebook and "
        f"{recording[-1]:.2f} dB after all codebooks. Over the training columns, these errors are {trained[0]:.2f} dB "
        f"and {trained[-1]:.2f} dB."
    )
    if worse:
        text += (
            f" For {len(worse)} of the {len(stages)} codebooks, the nearest entry increases the error. The first of "
            f"these is codebook {worse[0]}."
        )
    if overfit := next((k for k, error in enumerate(trained, 1) if error < ZERO_ERROR_DB), None):
        text += (
            f" **The quantizer overfits.** From codebook {overfit} on, the error of the training columns is below "
            f"{ZERO_ERROR_DB} dB. Any later codebooks therefore learn almost nothing, although the recording still has "
            "an error."
        )
    checked = (
        "As a check, the selected entries and the residual were added up after each codebook. The sum equals the vector"
        + (f" up to rounding errors of {off_by:.1e}." if off_by else " exactly.")
        if off_by < EXACT
        else f"**The check failed.** The sum of entries and residual differs from the vector by {off_by:.3g}."
    )
    return [text, checked, _table(result)]


def _table(result: Result) -> str:
    bits = math.log2(result["settings"]["entries"])
    header = ["codebook", "bits", "entry no.", "entry, dB", "cosine", "error, dB", "second nearest, dB", "variance"]
    header += ["recording, dB", "training, dB"]
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


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    settings = result["settings"]
    command = [f"silk lab residual {settings['file']} --at {settings['at_s']:.2f}"]
    command += [f"--speech SPEECH --minutes {settings['minutes']:g}"] if settings["fitted_to"] == "speech" else []
    command += [f"--codebooks {settings['n_codebooks']} --entries {settings['entries']} --seed {settings['seed']}"]
    return f"`{' '.join([*command, '-o FOLDER'])}`\n\n{provenance(result)}"


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
        label="this moment (0: mean column)",
    )
    left.plot(stages, result["recording_error_db"], "--", color="#d1495b", label="whole recording")
    left.plot(stages, result["train_error_db"], ":", color="#0b6fa4", linewidth=2, label="training columns")
    left.set(
        xlabel="number of codebooks", ylabel="error, dB (root mean square over bands)", title="error", ylim=(0, None)
    )
    for axes in (spectrum, left):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    return to_png(drawing)
