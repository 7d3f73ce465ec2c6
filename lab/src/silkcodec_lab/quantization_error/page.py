"""The page and the figure of this experiment. Every number is the JSON's."""

from __future__ import annotations

import io
from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.pages import Result, made

QUANTIZERS = {
    "vq": "VQ",
    "rvq2": "RVQ, 2 codebooks",
    "rvq4": "RVQ, 4 codebooks",
    "fsq": "FSQ",
    "fsq_pca": "FSQ, rotated",
}
TITLES = {
    "mel": "patches of the log-mel spectrogram, 16 numbers",
    "silk": "Silk's own latents before rounding, 4 numbers",
}
COLOURS = {"vq": "#0b6fa4", "rvq2": "#12908e", "rvq4": "#7cb518", "fsq": "#d1495b", "fsq_pca": "#f0a202"}
MARKS = {"vq": "o", "rvq2": "s", "rvq4": "D", "fsq": "^", "fsq_pca": "v"}

TITLE = "How large is the quantization error of a codebook?"

QUESTION = (
    "A quantizer replaces a vector by the nearest entry of a codebook. How large is the error, how does it depend on "
    "the size of the codebook, and does a learned codebook lose more than a fixed grid on speech that it was not "
    "fitted to?"
)

WOULD_CHANGE = (
    "**Latents that were trained with the quantizer.** Here the vectors are fixed and the quantizers are fitted to "
    "them. In a codec the encoder adapts to its quantizer; Silk's latents were trained with FSQ and therefore favour "
    "it. Only models trained with each quantizer can settle that.",
    "**Other vectors.** A codebook can use the correlation of numbers and a grid cannot; longer patches have more of "
    "it. But the size of a codebook is limited: for the 21 bits of one of Silk's tokens it would need 2,097,152 "
    "entries.",
    "**Another error.** Squared error weighs what is loud and what varies, not what is audible.",
    "**More training speech.** Error on the training speech rises with it, and error on held-out speech falls, until "
    "they meet. The gap depends on the number of vectors per entry.",
    "**Held-out speech of other speakers, rooms and languages.** The inputs decide which of these are in the training "
    "speech; `silk lab coverage` varies the language.",
)


def method(result: Result) -> list[str]:
    settings, speech = result["settings"], result["speech"]
    mel, silk = (result["latents"][name] for name in ("mel", "silk"))
    return [
        f"**Vectors.** Patches of the log-mel spectrogram, 40 ms of 4 bands ({mel['vectors_per_second']:.0f} a "
        f"second), and the 128 numbers of each of Silk's frames before they are rounded, in fours "
        f"({silk['vectors_per_second']:.0f} a second), as `silk/4` groups them to tokens of 4,096 codes.",
        f"**Fitted** to {_speech(speech['train'])}, at most {settings['max_vectors']:,} vectors of it drawn at random "
        f"({mel['n_train']:,} patches, {silk['n_train']:,} of Silk's): *VQ*, one codebook, by k-means (Lloyd's, up to "
        f"{settings['lloyd_steps']} steps; the `Codebook` of `silkcodec.quantizers`; an unused entry is moved onto a "
        "vector). *RVQ*: two or four codebooks in a chain, with the bits divided evenly. *FSQ*: each number is rounded "
        "to one of 2^b uniform levels around its mean, with bits and steps fitted to the training speech. *Rotated*: "
        "the same for the principal components, since the linear layer before FSQ in a codec can rotate the vector. "
        "In every row all use the same bits per vector.",
        f"**Scored** on held-out speech, {_speech(speech['held_out'])}. The error is the share of the variance that is "
        "lost: squared quantization error over the squared distance to the mean of the training speech. With a single "
        "entry it would be 1. Mean of "
        f"{settings['n_seeds']} fits with different seeds; intervals are the 95 % bootstrap over held-out clips.",
        f"Codebooks with fewer than {settings['fewest_per_entry']} training vectors per entry are skipped; they would "
        "be a copy of the training speech.",
    ]


def findings(result: Result) -> list[str]:
    parts = []
    for name, found in result["latents"].items():
        parts += [f"### {TITLES[name][0].upper()}{TITLES[name][1:]}", _table(found), *_findings(name, found)]
    return parts


def _table(found: dict[str, Any]) -> str:
    """Held-out errors: a row a size, a column a quantizer, and the error of VQ on its training vectors."""
    several = _several(found)
    rows = []
    for i, bits in enumerate(_bits(found)):
        points = {name: found["quantizers"][name][i] for name in QUANTIZERS}
        cells = [_error(point, several) for point in points.values()]
        rows.append([f"{2**bits:,}", str(bits), *cells, number(points["vq"] and points["vq"]["train"], 3)])
    return table(["entries", "bits", *QUANTIZERS.values(), "VQ, training speech"], rows)


def _findings(name: str, found: dict[str, Any]) -> list[str]:
    """Return the findings at the largest size."""
    sentences = []
    largest = max(_bits(found))
    common = [bits for bits in _bits(found) if all(_at(found, of, bits) for of in QUANTIZERS)]
    bits = max(common, default=largest)
    last = {of: point for of in QUANTIZERS if (point := _at(found, of, bits))}
    best, *others = sorted(last, key=lambda of: last[of]["held_out"]["mean"])
    sentences.append(
        f"At {bits} bits, {2**bits:,} entries, **{QUANTIZERS[best]}** has the smallest error: it loses "
        f"{_percent(last[best])} of the variance of held-out speech; "
        f"{', '.join(f'{QUANTIZERS[of]} {_percent(last[of])}' for of in others)}."
    )
    if missing := [QUANTIZERS[of] for of in QUANTIZERS if not _at(found, of, largest)]:
        sentences.append(f"Too little training speech for {', '.join(missing)} of {2**largest:,} entries.")
    if found["dim"] > largest:
        sentences.append(
            f"FSQ without rotation has less than one bit for each of the {found['dim']} numbers and cannot use their "
            "correlation; with rotation it can."
        )
    gaps = {of: found["quantizers"][of] for of in QUANTIZERS}
    ratios = []
    for of, points in gaps.items():
        largest = [point for point in points if point][-1]
        ratios.append(f"{QUANTIZERS[of]} {_gap(largest):.2f} (at {2 ** largest['bits']:,})")
    sentences.append(
        "Error on held-out speech over error on the training speech, at the largest size that could be fitted: "
        f"{', '.join(ratios)}. Part of the excess over 1 is due to the held-out speech itself: the smallest VQ has "
        f"{_gap(next(point for point in gaps['vq'] if point)):.2f}."
    )
    if name == "silk":
        own = found["own_rounding"]
        sentences.append(
            f"Silk's own rounding ({own['bits']} bits: each number to one of 8 levels, nothing fitted) loses "
            f"{_percent(own)}."
        )
    return [" ".join(sentences)]


def how_made(result: Result) -> str:
    settings = result["settings"]
    command = ["silk lab quantization-error SPEECH"]
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--seed {settings['seed']} --seeds {settings['n_seeds']} -o FOLDER"]
    return f"`{' '.join(command)}`\n\n{made(result)} Latents of {result['codec_id']}."


def figure(result: Result) -> bytes:
    """A PNG: above, held-out error by size; below, how much worse than on the training speech. A column a latent."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no state, no display
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    drawing = Figure(figsize=(11, 7.2), layout="constrained")
    FigureCanvasAgg(drawing)
    grid = drawing.subplots(2, len(result["latents"]), sharex=True, height_ratios=(1.6, 1), squeeze=False)
    for column, (name, found) in enumerate(result["latents"].items()):
        errors, gaps = grid[:, column]
        for of in QUANTIZERS:
            points = [point for point in found["quantizers"][of] if point]
            entries = [2 ** point["bits"] for point in points]
            style = {"color": COLOURS[of], "marker": MARKS[of], "markersize": 4, "linewidth": 1.5}
            held_out = [point["held_out"] for point in points]
            errors.plot(entries, [entry["mean"] for entry in held_out], label=QUANTIZERS[of], **style)
            if _several(found):
                low, high = ([entry[side] for entry in held_out] for side in ("low", "high"))
                errors.fill_between(entries, low, high, color=COLOURS[of], alpha=0.12, linewidth=0)
            gaps.plot(entries, [_gap(point) for point in points], **style)
        if own := found.get("own_rounding"):
            place = (2 ** own["bits"], own["held_out"]["mean"])
            errors.plot(*place, "*", color="black", markersize=11, linestyle="none", label="Silk's own rounding")
        errors.set(title=TITLES[name], yscale="log")
        errors.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        errors.yaxis.set_minor_locator(NullLocator())
        errors.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        gaps.axhline(1, color="gray", linewidth=0.8)
        gaps.set(xscale="log", xlabel="entries, or points of the grid, a vector may become")
        gaps.set_xticks([2**bits for bits in _bits(found)], [f"{2**bits:,}" for bits in _bits(found)], rotation=45)
        gaps.xaxis.set_minor_locator(NullLocator())
        for axes in (errors, gaps):
            axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("variance of held-out speech lost")
    grid[1, 0].set_ylabel("held-out error / training error")
    grid[0, -1].legend(fontsize=9, loc="lower left")
    image = io.BytesIO()
    drawing.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()


def _bits(found: dict[str, Any]) -> list[int]:
    """Of the rows: FSQ can be made for every size."""
    return [point["bits"] for point in found["quantizers"]["fsq"]]


def _at(found: dict[str, Any], name: str, bits: int) -> dict[str, Any] | None:
    return next((point for point in found["quantizers"][name] if point and point["bits"] == bits), None)


def _several(found: dict[str, Any]) -> bool:
    """Whether there is more than one held-out clip to take an interval from."""
    return bool(found["quantizers"]["fsq"][0]["held_out"]["n"] > 1)


def _gap(point: dict[str, Any]) -> float:
    return float(point["held_out"]["mean"] / max(point["train"], 1e-12))


def _error(point: dict[str, Any] | None, several: bool) -> str:
    if point is None:
        return "-"
    return interval(point["held_out"], 3) if several else number(point["held_out"]["mean"], 3)


def _percent(point: dict[str, Any]) -> str:
    return f"{100 * point['held_out']['mean']:.3g} %"


def _speech(found: dict[str, Any]) -> str:
    seconds, clips = found["duration_s"], found["n_clips"]
    duration = f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
    return f"{duration} in {clips} clips" if clips > 1 else f"{duration} of one clip"
