"""The page of the gradient experiment. Every number is the JSON's."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.gradient.figure import LABELS, figure
from silkcodec_lab.pages import Result, made

__all__ = ["QUESTION", "TITLE", "WOULD_CHANGE", "figure", "findings", "how_made", "method"]

FEW_CLIPS = 10
COMPARED = {
    "frame": "a whole frame",
    "number": "one number",
    "unit": "FSQ's number and the other's vector",
    "without snapping": "a whole frame without quantization",
    "quantizer alone": "the quantizer alone",
}

TITLE = "How good is the straight-through gradient?"

QUESTION = (
    "Quantization has no useful gradient, so training uses the decoder's gradient at the quantized latent in place of "
    "the gradient before quantization. How well does it predict the change of the loss for a step of the latent? Is it "
    "more accurate for FSQ, which quantizes every number by itself, than for codebooks, which quantize vectors? And "
    "how do the four quantizers compare after training?"
)

FIGURE = (
    "One colour per quantizer; step sizes in cells. Solid: through the quantizer. Dotted: the same steps without "
    "quantization, where the difference to 1 is due to the decoder's curvature. Bands: intervals. Dashed: a whole "
    "vector of a codebook is moved. Black ticks on the bars: the value for uniformly chosen codes."
)

WOULD_CHANGE = (
    "**Steps of training.** How far a step of the optimiser moves a latent, in cells, was not measured. It moves all "
    "frames at once, for thousands of steps, so errors that differ from step to step average out. The slope is the "
    "average, and the correlation the quality of a single step.",
    "**The cell.** Steps are compared at equal shares of each quantizer's own root mean square error, not at equal "
    "lengths.",
    "**More models.** There is one run per quantizer, with one seed and at most a thousand steps. Two runs of the same "
    "quantizer would differ too, and no interval here includes that.",
    "**Other ways to train a codebook.** Rotation instead of a copy of the gradient, random restarts, a projection to "
    "few numbers, another weight of the commitment loss. That loss has a gradient of its own, which is exact; it is "
    "left out here.",
    "**Other losses.** A discriminator's loss is less smooth than a spectral one. The last stage of training needs no "
    "estimator, because the encoder is frozen.",
)


def method(result: Result) -> list[str]:
    settings, speech = result["settings"], result["speech"]
    names = ", ".join(LABELS[name] for name in result["models"])
    some = next(iter(result["models"].values()))
    if settings["runs"]:
        seeds = ", ".join(sorted({str(found["seed"]) for found in result["models"].values()}))
        steps = ", ".join(sorted({f"{found['steps']:,}" for found in result["models"].values()}))
        models = (
            f"**Models.** {names}: trained by the same code and losses, {steps} steps, seed {seeds}; weights averaged."
        )
    else:
        models = (
            f"**Models.** {names}: **tiny ones, trained for {settings['train_steps']} steps just before, on the very "
            "clips that they are measured on**, with the loop and losses of `silk train`. They show that the "
            "experiment runs and say nothing about the quantizers."
        )
    clips = "clip" if speech["n_clips"] == 1 else "clips"
    return [
        models,
        f"**Speech.** Steps are taken in {speech['n_clips']} {clips}, {speech['duration_s']:.0f} s, at most "
        f"{settings['clip_s']:g} s each: in one frame of each, 128 numbers, drawn from its louder half, the same "
        f"frames and random numbers for all models, seed {settings['seed']}. Codes are counted on "
        f"{speech['counted_s'] / 60:.1f} min. Intervals are 95 % bootstraps over clips; differences are drawn in pairs."
        + (
            " **This is a trial run**: there are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        "**Predicted and actual change.** *y* is the input of the quantizer: for a codebook the latent, for FSQ the "
        "number after its tanh, which is smooth and has an exact gradient. The estimator passes on the decoder's "
        "gradient *g* at the quantized latent, so it predicts that a step *d* changes the loss by *g d*. The actual "
        "change is half the difference of the loss between *y + d* and *y - d*, both quantized and decoded. The loss "
        f"is that of training ({', '.join(f'{weight:g} {name}' for name, weight in some['weights'].items())}), over "
        f"{settings['span']} frames from the one that is moved. It is a piecewise constant function of *y*, whose "
        "gradient is 0 almost everywhere, so the actual change depends on the size of the step.",
        "**Cells.** A step's size is the root mean square per number that is moved, in cells; a cell is the root mean "
        "square quantization error times the root of 12; for FSQ it is the distance of two levels. *Whole frame*: all "
        "128 numbers in Gaussian directions. *One number*, and *one vector* of as many numbers as a codebook quantizes "
        "together. *Without quantization*: the same steps from the quantized latent, directly into the decoder.",
        "**Figures.** *No change*: share of steps that change no code. *Correlation* of predicted and actual change: 1 "
        "where they are proportional. *Slope*: actual per predicted change, by regression. *Cosine* and *norm*: of *g* "
        "and the gradient of the loss smoothed by Gaussian noise of this size, which is estimated from antithetic "
        "pairs with the prediction as control variate. Its square is the product of two independent halves, so noise "
        "does not increase it (a cosine may exceed 1 by chance; a dash: not significantly different from noise). "
        "*Reliability* is the cosine of the two halves. *Kept*: decrease of the loss by a step along -*g*, as a share "
        "of the predicted one.",
    ]


def findings(result: Result) -> list[str]:
    several = result["speech"]["n_clips"] > 1
    return [
        FIGURE,
        "### Is the prediction better for FSQ?",
        *_verdict(result),
        "### Steps of a whole frame",
        _frames(result, several),
        "### One number, one vector",
        _alone(result, several),
        "### Steps against the gradient",
        _descents(result, several),
        "### The quantizer alone",
        "How the quantized latent moves when *y* moves, for all frames of the clips. The estimator assumes that it "
        "moves as much and in the same direction. No decoder, no loss.",
        _snapping(result, several),
        "### Training",
        _models(result, several),
        _training_note(result),
        _codebooks(result),
        "### Check of the method",
        _check(result, several),
    ]


# --- the answer


def _verdict(result: Result) -> list[str]:
    """Return, for every other quantizer, at which step sizes FSQ differs significantly."""
    if not result["differences"]:
        return ["There is no FSQ among the models, or nothing to compare it with."]
    lines: list[str] = []
    sides: set[int] = set()
    for other, found in result["differences"].items():
        parts = []
        for kind, words in COMPARED.items():
            entries = [entry for entry in found[kind] if entry["mean"] is not None]
            better = [f"{entry['step']:g}" for entry in entries if entry["low"] > 0]
            worse = [f"{entry['step']:g}" for entry in entries if entry["high"] < 0]
            if kind in ("frame", "number"):
                sides |= {1} if better else set()
                sides |= {-1} if worse else set()
                sides |= {0} if len(better) + len(worse) < len(entries) else set()
            where = [f"{word} at {', '.join(at)} cells" for word, at in (("better", better), ("worse", worse)) if at]
            parts.append(f"{words}: {' and '.join(where) if where else 'not significantly different at any size'}")
        lines.append(f"- Against {LABELS[other]}, {'; '.join(parts)}.")
    partly = ", which is not everywhere." if 0 in sides else "."
    if 1 in sides and -1 in sides:
        answer = "**It depends on the step**: better at some sizes, worse at others."
    elif 1 in sides:
        answer = f"**Yes**, where the difference is significant{partly}"
    elif -1 in sides:
        answer = f"**No, it is worse**, where the difference is significant{partly}"
    else:
        answer = "**Not significantly different** at any size of step."
    n = sum(len(found[kind]) for found in result["differences"].values() for kind in COMPARED)
    rows = []
    for other, found in result["differences"].items():
        for index, entry in enumerate(found["frame"]):
            cells = (_signed(found[kind][index], 2) for kind in (*COMPARED, "descent"))
            rows.append([f"FSQ - {LABELS[other]}", f"{entry['step']:g}", *cells])
    head = ["paired difference of correlations", "step, cells", *COMPARED.values(), "kept of a step along -g"]
    return [
        ("" if result["settings"]["runs"] else "For tiny models, which say nothing about the quantizers: ")
        + f"{answer} The measure is the correlation of predicted and actual change, for steps of a whole frame and "
        f"of one number. Of {n} comparisons with 95 % intervals, one in twenty may be significant by chance:",
        "\n".join(lines),
        _ceiling(result),
        table(head, rows),
    ]


def _ceiling(result: Result) -> str:
    """Return the step size with the best prediction, and what limits it on either side."""
    best_of = []
    for name, found in result["models"].items():
        through, without = found["steps_of"]["frame"], found["steps_of"]["frame, control"]
        pairs = [(a, b) for a, b in zip(through, without, strict=True) if a["correlation"]["mean"] is not None]
        if pairs:
            best, control = max(pairs, key=lambda pair: pair[0]["correlation"]["mean"])
            best_of.append(
                f"{LABELS[name]} {best['correlation']['mean']:.2f} at {best['step']:g} cells "
                f"({control['correlation']['mean']:.2f} without quantization)"
            )
    return (
        f"Best correlation for steps of a whole frame: {'; '.join(best_of)}. Smaller steps are limited by "
        "quantization, which moves by a cell or not at all; larger ones by the decoder's curvature. Where FSQ also "
        "differs from another quantizer without quantization, the cause is the decoder, not the estimator."
    )


# --- tables


def _frames(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        for entry, control in zip(found["steps_of"]["frame"], found["steps_of"]["frame, control"], strict=True):
            rows.append(
                [
                    LABELS[name],
                    f"{entry['step']:g}",
                    _cell(entry["correlation"], several),
                    _cell(control["correlation"], several),
                    _cell(entry["slope"], several),
                    *(_cell(entry[figure], several) if figure in entry else "" for figure in ("cosine", "norm")),
                    number(entry["reliability"]["mean"], 2) if "reliability" in entry else "",
                ]
            )
    head = ["", "step, cells", "correlation", "without quantization", "slope", "cosine", "norm", "reliability"]
    return table(head, rows)


def _alone(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        for kind in ("number", "vector"):
            for entry in found["steps_of"].get(kind, ()):
                what = "one number" if kind == "number" else f"one vector of {found['unit']}"
                figures = (entry[of] for of in ("no_effect", "same_sign", "correlation", "slope"))
                rows.append([f"{LABELS[name]}, {what}", f"{entry['step']:g}", *(_cell(e, several) for e in figures)])
    head = ["", "step, cells", "no change", "right sign, of the others", "correlation", "slope"]
    return table(head, rows)


def _descents(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        for entry, control in zip(found["steps_of"]["descent"], found["steps_of"]["descent, control"], strict=True):
            rows.append(
                [
                    LABELS[name],
                    f"{entry['step']:g}",
                    number(entry["unmoved"]["mean"], 2),
                    *(_cell(e, several) for e in (entry["lowered"], entry["kept"], control["kept"])),
                ]
            )
    return table(["", "step, cells", "no change", "lowers the loss", "kept", "kept without quantization"], rows)


def _snapping(result: Result, several: bool) -> str:
    rows = [
        [
            LABELS[name],
            f"{entry['step']:g}",
            *(_cell(entry[of], several) for of in ("no_effect", "correlation", "slope")),
        ]
        for name, found in result["models"].items()
        for entry in found["steps_of"]["snapping"]
    ]
    return table(["", "step, cells", "vectors (FSQ: numbers) unchanged", "cosine", "slope"], rows)


def _models(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        last = found["curves"][-1]
        dead = sum(book["dead"] * book["entries"] * book["books"] for book in found["usage"])
        entries = sum(book["entries"] * book["books"] for book in found["usage"])
        rows.append(
            [
                LABELS[name],
                f"{last['step']:,}",
                number(last["loss"], 3),
                _cell(found["loss"], several, 3),
                *(
                    number(last[metric], digits)
                    for metric, digits in (("pesq_wb", 2), ("stoi", 3), ("mel_distance", 3))
                ),
                number(last["gradient"], 2),
                f"{found['bits_used']:.0f} of {found['bits_per_frame']:.0f}",
                f"{dead:,.0f} of {entries:,}",
            ]
        )
    head = ["", "steps", "training loss", "loss here", "PESQ-WB ↑", "STOI ↑", "mel distance ↓", "gradient norm"]
    return table([*head, "bits used of a frame's", "codes never used"], rows)


def _training_note(result: Result) -> str:
    parts = [
        "Training loss, gradient norm, PESQ, STOI and mel distance are the runs' own, of the last validation and the "
        "steps before it; *loss here* is that of the frames of this experiment."
    ]
    for other, found in result["differences"].items():
        loss = found["loss"]
        which = "lower" if loss["high"] < 0 else "higher" if loss["low"] > 0 else "not significantly different"
        parts.append(f"FSQ's loss here minus that of {LABELS[other]}: {_signed(loss, 3)}, {which}.")
    return " ".join(parts)


def _codebooks(result: Result) -> str:
    rows = []
    for name, found in result["models"].items():
        for book in found["usage"]:
            size = f"{book['books']} x {book['entries']:,}" if book["books"] > 1 else f"{book['entries']:,}"
            rows.append(
                [
                    f"{LABELS[name]}, {book['name']}",
                    size,
                    f"{book['n_codes']:,}",
                    f"{100 * book['dead']:.1f} %",
                    f"{100 * book['dead_if_even']:.1f} %",
                    f"{book['bits']:.2f}",
                    f"{book['bits_if_even']:.2f}",
                    f"{2 ** book['bits']:,.1f}",
                ]
            )
    head = ["codebook", "entries", "codes counted", "never used", "if uniform", "bits per code", "if uniform"]
    return table([*head, "perplexity"], rows) + (
        "\n\nEntropy of single codes, without their dependence. *If uniform*: the value for as many codes from "
        "entries that are all chosen equally often. A codebook that several vectors share counts all of them."
    )


def _check(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        exact, whole = (found["steps_of"][kind][0] for kind in ("check", "check, whole loss"))
        cells = (_cell(entry[of], several, 4) for entry in (exact, whole) for of in ("correlation", "slope"))
        rows.append(
            [LABELS[name], number(found["cell"], 3), number(found["spacing"], 3), number(found["spread"], 2), *cells]
        )
    step = next(iter(result["models"].values()))["steps_of"]["check"][0]["step"]
    head = ["", "cell", "to the nearest other code", "spread of y", "correlation", "slope"]
    return (
        f"The decoder has an exact gradient, so without quantization finite differences of {step:g} cells must agree "
        "with it. They must do so for the loss without its loudness term. The gradient of that term treats one of its "
        "factors as constant (the extra weight of added sound), so it is not exactly the gradient of its value. The "
        "last two columns, for the whole loss, are therefore the upper limit of all figures above at small steps. The "
        "distance to a codebook's nearest other code is divided by the root of its length; for a chain it is that of "
        "the last codebook.\n\n"
    ) + table([*head, "whole loss: correlation", "slope"], rows)


def _cell(entry: dict[str, Any], several: bool, n_digits: int = 2) -> str:
    return interval(entry, n_digits) if several else number(entry["mean"], n_digits)


def _signed(entry: dict[str, Any], n_digits: int) -> str:
    text = interval(entry, n_digits)
    return f"+{text}" if entry["mean"] is not None and entry["mean"] > 0 else text


def how_made(result: Result) -> str:
    settings = result["settings"]
    command = ["silk lab gradient SPEECH", *["--run RUN"] * settings["runs"]]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['clips']}"] if settings["clips"] else []
    command += [f"--directions {settings['smoothed_directions']} --seconds {settings['clip_s']:g}"]
    command += [f"--usage-minutes {settings['usage_minutes']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(found["codec_id"] for found in result["models"].values())
    return f"`{' '.join(command)}`\n\n{made(result)} Models: {ids}."
