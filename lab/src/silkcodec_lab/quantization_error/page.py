"""Write the page and draw the figure of the experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.metric_tables import joined
from silkcodec_lab.pages import Result, provenance
from silkcodec_lab.selection import describe_speech

QUANTIZERS = {
    "vq": "VQ",
    "rvq2": "RVQ with 2 codebooks",
    "rvq4": "RVQ with 4 codebooks",
    "fsq": "FSQ",
    "fsq_pca": "rotated FSQ",
}
TITLES = {
    "mel": "Mel patches, 16 numbers per vector",
    "silk": "Silk's latents, 4 numbers per vector",
}
COLORS = {"vq": "#0b6fa4", "rvq2": "#12908e", "rvq4": "#7cb518", "fsq": "#d1495b", "fsq_pca": "#f0a202"}
MARKS = {"vq": "o", "rvq2": "s", "rvq4": "D", "fsq": "^", "fsq_pca": "v"}

TITLE = "Quantization error by codebook size"

QUESTION = (
    "A quantizer replaces a vector with the nearest entry of a codebook. How does the error depend on the size of the "
    "codebook? Is the error of a learned codebook on held-out speech larger than that of a fixed grid?"
)

LIMITATIONS = (
    "**Fixed vectors.** The quantizers are fitted to fixed vectors, but in a codec the encoder adapts to its "
    "quantizer. Silk's encoder was trained with FSQ, which gives FSQ an advantage on Silk's latents. A fair "
    "comparison of codecs requires training a model with each quantizer.",
    "**Size of the vectors.** A codebook can use the correlation between numbers, but a grid without rotation cannot. "
    "Longer vectors contain more correlated numbers, but the size of a codebook is limited. For the 21 bits of one of "
    "Silk's tokens, a codebook would need 2,097,152 entries.",
    "**Squared error.** The squared error gives more weight to components with a large variance, although these are "
    "not necessarily more audible.",
    "**Amount of training speech.** With more training speech, the error on training speech increases and the error on "
    "held-out speech decreases. The gap between the two depends on the number of vectors per entry.",
    "**Held-out speech.** The training speech can include speakers, rooms and languages that also occur in the "
    "held-out speech. `silk lab coverage` measures the effect of language.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, speech = result["settings"], result["speech"]
    mel, silk = (result["latents"][name] for name in ("mel", "silk"))
    return [
        "**Vectors.** *Mel patches* are parts of the log-mel spectrogram that cover 4 bands and 40 ms "
        f"({mel['vectors_per_second']:.0f} patches per second). *Silk's latents* are the 128 numbers that Silk "
        "computes for each frame, before rounding. They are split into groups of four, as if each token encoded "
        f"four numbers ({silk['vectors_per_second']:.0f} groups per second).",
        f"**Quantizers.** The training speech consists of {describe_speech(speech['train'])}. Each "
        f"fit uses at most {settings['max_vectors']:,} random vectors; here, {mel['n_train']:,} mel patches and "
        f"{silk['n_train']:,} groups of Silk's latents were used. All quantizers in a row of the tables have the same "
        "number of bits per vector.",
        f"- *VQ*: one codebook, which is fitted by k-means (up to {settings['lloyd_steps']} steps of Lloyd's "
        "algorithm).\n"
        "- *RVQ*: two or four codebooks that share the bits evenly. Each codebook is fitted to the residual of the "
        "previous ones.\n"
        "- *FSQ*: each number is rounded to one of 2^b uniform levels around its mean. The number of bits "
        "for each number and the distance between its levels are fitted to the training speech.\n"
        "- *Rotated FSQ*: principal components are rounded instead of the numbers themselves. In a codec, the linear "
        "layer before FSQ can learn this rotation.",
        f"Codebooks with fewer than {settings['fewest_per_entry']} training vectors per entry are not measured, "
        "because their entries would be copies of training vectors.",
        f"**Scores.** The held-out speech consists of {describe_speech(speech['held_out'])}. Errors are shares of the "
        "variance: the squared quantization error, divided by the squared distance from the mean of the training "
        "vectors. A codebook with a single entry would have an error of 1. Values are means over "
        f"{settings['n_seeds']} fits with different seeds. Intervals are 95 % bootstrap intervals over held-out clips.",
    ]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
    parts = []
    for name, found in result["latents"].items():
        parts += [f"### {TITLES[name]}", _table(found), *_findings(name, found)]
    return parts


def _table(found: dict[str, Any]) -> str:
    """Return a table of errors on held-out speech, with one row per codebook size and one column per quantizer."""
    several = _several(found)
    rows = []
    for i, bits in enumerate(_bits(found)):
        points = {name: found["quantizers"][name][i] for name in QUANTIZERS}
        cells = [_error(point, several) for point in points.values()]
        rows.append([f"{2**bits:,}", str(bits), *cells, number(points["vq"] and points["vq"]["train"], 3)])
    return table(["entries", "bits", *QUANTIZERS.values(), "VQ, training speech"], rows)


def _findings(name: str, found: dict[str, Any]) -> list[str]:
    """Return a list of findings about one kind of vectors, mainly for the largest codebook size."""
    sentences = []
    largest = max(_bits(found))
    common = [bits for bits in _bits(found) if all(_at(found, of, bits) for of in QUANTIZERS)]
    bits = max(common, default=largest)
    last = {of: point for of in QUANTIZERS if (point := _at(found, of, bits))}
    best, *others = sorted(last, key=lambda of: last[of]["held_out"]["mean"])
    sentences.append(
        f"With {bits} bits, i.e. {2**bits:,} entries, **{QUANTIZERS[best]}** has the smallest error on held-out "
        f"speech, {_percent(last[best])} of the variance. The errors of the other quantizers are "
        f"{joined([f'{_percent(last[of])} ({QUANTIZERS[of]})' for of in others])}."
    )
    if missing := [QUANTIZERS[of] for of in QUANTIZERS if not _at(found, of, largest)]:
        sentences.append(f"There is not enough training speech for {', '.join(missing)} with {2**largest:,} entries.")
    if found["dim"] > largest:
        sentences.append(
            f"FSQ without rotation has less than one bit for each of the {found['dim']} numbers and cannot use their "
            "correlation. Rotated FSQ can."
        )
    gaps = {of: found["quantizers"][of] for of in QUANTIZERS}
    ratios = []
    for of, points in gaps.items():
        largest = [point for point in points if point][-1]
        ratios.append(f"{_gap(largest):.2f} ({QUANTIZERS[of]}, {largest['bits']} bits)")
    sentences.append(
        "The ratio of the error on held-out speech to the error on training speech is "
        f"{joined(ratios)}. For comparison, the smallest VQ codebook, which is too small to overfit, has a ratio of "
        f"{_gap(next(point for point in gaps['vq'] if point)):.2f}."
    )
    if name == "silk":
        own = found["own_rounding"]
        sentences.append(
            f"Silk's own rounding to 8 levels per number ({own['bits']} bits) is not fitted to this speech and has an "
            f"error of {_percent(own)}."
        )
    return ["\n".join(f"- {sentence}" for sentence in sentences)]


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    settings = result["settings"]
    command = ["silk lab quantization-error SPEECH"]
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--seed {settings['seed']} --seeds {settings['n_seeds']} -o FOLDER"]
    return f"`{' '.join(command)}`\n\n{provenance(result)} Silk's latents are those of {result['codec_id']}."


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    It shows the error on held-out speech, and its ratio to the error on training speech, for each codebook size. Each
    kind of vector has its own column of plots.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    drawing = new_figure(11, 7.2)
    grid = drawing.subplots(2, len(result["latents"]), sharex=True, height_ratios=(1.6, 1), squeeze=False)
    for column, (name, found) in enumerate(result["latents"].items()):
        errors, gaps = grid[:, column]
        for of in QUANTIZERS:
            points = [point for point in found["quantizers"][of] if point]
            entries = [2 ** point["bits"] for point in points]
            style = {"color": COLORS[of], "marker": MARKS[of], "markersize": 4, "linewidth": 1.5}
            held_out = [point["held_out"] for point in points]
            errors.plot(entries, [entry["mean"] for entry in held_out], label=QUANTIZERS[of], **style)
            if _several(found):
                low, high = ([entry[side] for entry in held_out] for side in ("low", "high"))
                errors.fill_between(entries, low, high, color=COLORS[of], alpha=0.12, linewidth=0)
            gaps.plot(entries, [_gap(point) for point in points], **style)
        if own := found.get("own_rounding"):
            place = (2 ** own["bits"], own["held_out"]["mean"])
            errors.plot(*place, "*", color="black", markersize=11, linestyle="none", label="Silk's own rounding")
        errors.set(title=TITLES[name], yscale="log")
        errors.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        errors.yaxis.set_minor_locator(NullLocator())
        errors.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        gaps.axhline(1, color="gray", linewidth=0.8)
        gaps.set(xscale="log", xlabel="entries of the codebook or points of the grid")
        gaps.set_xticks([2**bits for bits in _bits(found)], [f"{2**bits:,}" for bits in _bits(found)], rotation=45)
        gaps.xaxis.set_minor_locator(NullLocator())
        for axes in (errors, gaps):
            axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("held-out error, share of the variance")
    grid[1, 0].set_ylabel("held-out error / training error")
    grid[0, -1].legend(fontsize=9, loc="lower left")
    return to_png(drawing)


def _bits(found: dict[str, Any]) -> list[int]:
    """Return all measured numbers of bits per vector. FSQ is measured with each of them."""
    return [point["bits"] for point in found["quantizers"]["fsq"]]


def _at(found: dict[str, Any], name: str, bits: int) -> dict[str, Any] | None:
    return next((point for point in found["quantizers"][name] if point and point["bits"] == bits), None)


def _several(found: dict[str, Any]) -> bool:
    """Return whether there is more than one held-out clip, so that intervals can be shown."""
    return bool(found["quantizers"]["fsq"][0]["held_out"]["n"] > 1)


def _gap(point: dict[str, Any]) -> float:
    return float(point["held_out"]["mean"] / max(point["train"], 1e-12))


def _error(point: dict[str, Any] | None, several: bool) -> str:
    if point is None:
        return "-"
    return interval(point["held_out"], 3) if several else number(point["held_out"]["mean"], 3)


def _percent(point: dict[str, Any]) -> str:
    return f"{100 * point['held_out']['mean']:.3g} %"
