"""Write the page and draw the figure for the experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import table
from silkcodec_lab.figures import draw_band, new_figure, to_png
from silkcodec_lab.metric_tables import estimate, joined
from silkcodec_lab.pages import Description, Result, reproduction, weights
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
WHAT = {"mel": "mel patches", "silk": "Silk's latents"}
COLORS = {"vq": "#0b6fa4", "rvq2": "#12908e", "rvq4": "#7cb518", "fsq": "#d1495b", "fsq_pca": "#f0a202"}
MARKS = {"vq": "o", "rvq2": "s", "rvq4": "D", "fsq": "^", "fsq_pca": "v"}

TITLE = "Quantization error by codebook size"

QUESTION = (
    "A quantizer replaces a vector with the nearest entry of a codebook (VQ) or the nearest point of a grid (FSQ). How "
    "does the error on held-out speech depend on the number of entries or points?"
)

CAPTION = (
    "The upper plots show the error on held-out speech. The lower plots show the ratio of this error to the error on "
    "training speech. Bands are 95 % intervals over clips."
)

LIMITATIONS = (
    "The quantizers are fitted to fixed vectors. In a codec, the encoder adapts to its quantizer. Silk's encoder was "
    "trained with FSQ, which favors FSQ on Silk's latents.",
    "With longer vectors, VQ could use correlations between more numbers, but it would need larger codebooks. For "
    "the 21 bits of one Silk token, a codebook would need 2,097,152 entries.",
    "The squared error gives more weight to components with a large variance. These are not necessarily more audible.",
    "Training speech and held-out speech can share speakers, rooms and languages. `silk lab coverage` measures "
    "the effect of language.",
)


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    texts = ["Errors are given as a percentage of the variance of the vectors."]
    for name, found in result["latents"].items():
        largest = max(_bits(found))
        common = [bits for bits in _bits(found) if all(_at(found, of, bits) for of in QUANTIZERS)]
        bits = max(common, default=largest)
        last = {of: point for of in QUANTIZERS if (point := _at(found, of, bits))}
        errors = [
            f"{_percent(last[of])} for {QUANTIZERS[of]}"
            for of in sorted(last, key=lambda of: last[of]["held_out"]["mean"])
        ]
        texts.append(
            f"For {WHAT[name]} quantized with {bits} bits ({2**bits:,} entries or points), the error is "
            f"{joined(errors)}."
        )
        if name == "silk":
            own = found["own_rounding"]
            texts.append(
                f"Silk's own rounding ({own['bits']} bits for 4 numbers), which is not fitted to this speech, has an "
                f"error of {_percent(own)}."
            )
    return " ".join(texts)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, speech = result["settings"], result["speech"]
    mel, silk = (result["latents"][name] for name in ("mel", "silk"))
    return [
        "**Mel patches.** A mel patch is a section of a log-mel spectrogram that covers 4 bands and 40 ms "
        f"({mel['dim']} numbers).",
        "**Silk's latents.** Silk's encoder computes 128 numbers per frame. This experiment "
        f"splits them into vectors of {silk['dim']} before they are rounded.",
        f"**Training speech.** The quantizers are fitted to {mel['n_train']:,} mel patches and {silk['n_train']:,} "
        f"latent vectors from {describe_speech(speech['train'])}.",
        "**VQ** is one codebook, which is fitted by k-means. A codebook is not measured if it has fewer than "
        f"{settings['fewest_per_entry']} training vectors per entry.",
        "**RVQ** is a chain of two or four codebooks that share the bits as evenly as possible. Each codebook "
        "quantizes the error left by the previous ones.",
        "**FSQ** rounds each number to uniformly spaced levels, which are fitted to the training speech. With "
        "fewer bits than numbers, some numbers are replaced with their mean.",
        "**Rotated FSQ** rounds principal components instead of the numbers themselves. In a codec, the linear layer "
        "before FSQ can learn this rotation.",
        f"**Error.** The error is measured on {describe_speech(speech['held_out'])}. It is the squared quantization "
        "error, divided by the squared distance from the mean training vector. Values are means over "
        f"{settings['n_seeds']} fits with different seeds. Square brackets contain 95 % bootstrap intervals over "
        "held-out clips.",
    ]


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    return [part for name, found in result["latents"].items() for part in (f"### {TITLES[name]}", _table(found))]


def _table(found: dict[str, Any]) -> str:
    """Return a table of errors on held-out speech, with a row for every second bit budget."""
    rows = []
    for i in range(len(_bits(found)))[::-2][::-1]:
        points = [found["quantizers"][name][i] for name in QUANTIZERS]
        bits = _bits(found)[i]
        cells = [estimate(point and point["held_out"], 3) for point in points]
        rows.append([f"{2**bits:,}", str(bits), *cells])
    return table(["entries or points", "bits", *QUANTIZERS.values()], rows)


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    command = ["silk lab quantization-error SPEECH"]
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--seed {settings['seed']} --seeds {settings['n_seeds']} -o FOLDER"]
    return reproduction(result, command, note=weights([result["codec_id"]]))


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
            draw_band(errors, entries, held_out, COLORS[of])
            gaps.plot(entries, [_gap(point) for point in points], **style)
        if own := found.get("own_rounding"):
            place = (2 ** own["bits"], own["held_out"]["mean"])
            errors.plot(*place, "*", color="black", markersize=11, linestyle="none", label="Silk's own rounding")
        errors.set(title=TITLES[name], yscale="log")
        errors.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        errors.yaxis.set_minor_locator(NullLocator())
        errors.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        gaps.axhline(1, color="gray", linewidth=0.8)
        gaps.set(xscale="log", xlabel="codebook entries or grid points")
        gaps.set_xticks([2**bits for bits in _bits(found)], [f"{2**bits:,}" for bits in _bits(found)], rotation=45)
        gaps.xaxis.set_minor_locator(NullLocator())
        for axes in (errors, gaps):
            axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("held-out error, share of the variance")
    grid[1, 0].set_ylabel("held-out error / training error")
    grid[0, -1].legend(fontsize=9, loc="lower left")
    return to_png(drawing)


def _bits(found: dict[str, Any]) -> list[int]:
    """Return all measured bit budgets per vector. FSQ is measured at each of them."""
    return [point["bits"] for point in found["quantizers"]["fsq"]]


def _at(found: dict[str, Any], name: str, bits: int) -> dict[str, Any] | None:
    return next((point for point in found["quantizers"][name] if point and point["bits"] == bits), None)


def _gap(point: dict[str, Any]) -> float:
    return float(point["held_out"]["mean"] / max(point["train"], 1e-12))


def _percent(point: dict[str, Any]) -> str:
    return f"{100 * point['held_out']['mean']:.3g} %"
