"""Write the page and draw the figure of the residual experiment. All numbers come from the JSON."""

from __future__ import annotations

import math

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.pages import Result, provenance

DB = 20 / math.log(10)  # converts a natural logarithm of a magnitude to dB
TICKS_HZ = (100, 500, 1_000, 2_000, 4_000, 8_000)
ZERO_ERROR_DB = 0.01  # A smaller error of the training columns counts as 0.
EXACT = 1e-6  # tolerance of the check of the sums, in natural logarithms

TITLE = "Error after each codebook of a residual quantizer"

QUESTION = (
    "Residual quantization represents a vector as a sum of entries. The first codebook gives the entry nearest to the "
    "vector, and each further codebook gives the entry nearest to the residual. How much error does each codebook "
    "remove, at one moment of one recording?"
)

LIMITATIONS = (
    "**One moment.** The table is for one column of 10 ms. The dashed and dotted curves are averages over many "
    "columns.",
    "**Training speech and codebook size.** The error of the training columns falls with every codebook, until each "
    "column has its own entries. The error of other columns stops falling when the codebooks overfit.",
    "**No encoder or decoder.** Every codebook is fitted by k-means to the residual of the previous ones, and the "
    "vector is a spectrum. In a codec, codebooks are trained together with an encoder and a decoder.",
    "**Greedy search.** Each stage takes the nearest entry. A beam search can find a better sum.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the section on the method."""
    settings, speech = result["settings"], result["speech"]
    clips = f"{speech['n_clips']:,} clips" if speech["n_clips"] > 1 else "one clip"
    if settings["fitted_to"] == "speech":
        source = f"{speech['duration_s']:.3g} s of other speech in {clips}"
    else:
        source = (
            f"the rest of the recording, {speech['duration_s']:.3g} s, without {settings['near_s']:g} s before and "
            "after the moment. The speaker and the room are therefore in the training set"
        )
    return [
        f"**Vector.** The column of the log-mel spectrogram (128 bands, 10 ms) at {settings['at_s']:.2f} s of "
        f"`{settings['file']}`.",
        f"**Quantizer.** {settings['n_codebooks']} codebooks of {settings['entries']:,} entries "
        f"({math.log2(settings['entries']):.3g} bits each). Each is fitted to the residual of the previous codebooks "
        f"by k-means (up to {settings['lloyd_steps']} steps of Lloyd's algorithm). The training speech is "
        f"{speech['n_columns']:,} columns from {source}.",
        "**Columns of the table.** Lengths and errors are root mean squares over the bands, in dB.",
        "- *Entry*: length of the nearest entry.\n"
        "- *Cosine*: cosine between the entry and the residual that it quantizes.\n"
        "- *Error*: distance between the sum of the entries and the vector.\n"
        "- *Second nearest*: error with the second nearest entry instead.\n"
        "- *Variance*: squared error divided by the squared distance to the mean column.\n"
        "- *Recording* and *training*: error over all columns of the recording and over the training columns.",
    ]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the section on the result."""
    stages, off_by = result["stages"], max(stage["sum_off_by"] for stage in result["stages"])
    first, last = stages[0], stages[-1]
    worse = [k for k, stage in enumerate(stages, 1) if stage["error_db"] > stage["before_db"]]
    recording, trained = result["recording_error_db"], result["train_error_db"]
    half = next((k for k, stage in enumerate(stages, 1) if stage["error_db"] <= first["error_db"] / 2), None)
    text = (
        f"The error of the mean column is {result['mean_error_db']:.2f} dB. It is {first['error_db']:.2f} dB after the "
        f"first codebook and **{last['error_db']:.2f} dB** after all {len(stages)}. "
        + (
            f"Half of the error of the first codebook is reached after {half} codebooks. "
            if half
            else "This is more than half of the error of the first codebook. "
        )
        + f"Over the whole recording, the error after the first and after all codebooks is {recording[0]:.2f} and "
        f"{recording[-1]:.2f} dB. Over the training columns it is {trained[0]:.2f} and {trained[-1]:.2f} dB."
    )
    if worse:
        text += (
            f" In {len(worse)} of the {len(stages)} stages, first in stage {worse[0]}, the nearest entry increases the "
            "error."
        )
    if overfit := next((k for k, error in enumerate(trained, 1) if error < ZERO_ERROR_DB), None):
        text += (
            f" **The quantizer overfits**: from stage {overfit} on, the error of the training columns is 0, so further "
            "codebooks have nothing to fit."
        )
    checked = (
        "As a check, the entries and the residual were added after every stage. The sum equals the vector"
        + (f" up to {off_by:.1e}." if off_by else " exactly.")
        if off_by < EXACT
        else f"**The check failed**: the sum of entries and residual differs from the vector by {off_by:.3g}."
    )
    return [text, checked, _table(result)]


def _table(result: Result) -> str:
    bits = math.log2(result["settings"]["entries"])
    header = ["stage", "bits", "entry no.", "entry, dB", "cosine", "error, dB", "second nearest, dB", "variance"]
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
    """Return the command, the version and the machine of a result."""
    settings = result["settings"]
    command = [f"silk lab residual {settings['file']} --at {settings['at_s']:.2f}"]
    command += [f"--speech SPEECH --minutes {settings['minutes']:g}"] if settings["fitted_to"] == "speech" else []
    command += [f"--codebooks {settings['n_codebooks']} --entries {settings['entries']} --seed {settings['seed']}"]
    return f"`{' '.join([*command, '-o FOLDER'])}`\n\n{provenance(result)}"


def figure(result: Result) -> bytes:
    """Draw the spectrum with sums of entries, and the error after each codebook.

    Returns:
        A PNG.
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
