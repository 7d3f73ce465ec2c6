"""Write the page of the gradient experiment. All numbers come from the JSON."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.gradient.figure import LABELS, figure
from silkcodec_lab.pages import Result, provenance

__all__ = ["LIMITATIONS", "QUESTION", "TITLE", "figure", "findings", "method", "reproduce"]

FEW_CLIPS = 10  # With fewer clips, the page says that the run is a trial run.
COMPARED = {
    "frame": "whole frame",
    "number": "one number",
    "unit": "one number of FSQ, one vector of the other",
    "without quantization": "whole frame without quantization",
    "quantizer alone": "quantizer alone",
}

TITLE = "Accuracy of the straight-through gradient"

QUESTION = (
    "Quantization has no useful gradient, so training uses the gradient of the decoder at the quantized latent. How "
    "well does this gradient predict the change of the loss for a step of the latent? Is the prediction better for "
    "FSQ, which quantizes single numbers, than for codebooks, which quantize vectors? How do the four quantizers "
    "compare after training?"
)

FIGURE = (
    "Each quantizer has its own color, and step sizes are in cells. Solid lines: with quantization. Dotted lines: the "
    "same steps without quantization, where any difference from 1 is due to the curvature of the decoder. Dashed "
    "lines: steps of one vector. Bands: intervals. Black ticks on the bars: values for uniformly chosen codes."
)

LIMITATIONS = (
    "**Steps in training.** The size of the optimizer's steps, in cells, was not measured. In training, all frames "
    "move at the same time for thousands of steps, so random errors of single steps average out. The correlation "
    "measures single steps, and the slope measures their average.",
    "**Step size.** Steps are compared at the same multiple of the quantization error of each quantizer, not at the "
    "same absolute size.",
    "**One run per quantizer.** There is one run with one seed per quantizer, with at most a thousand steps. The "
    "intervals do not include the differences between runs.",
    "**Other methods to train a codebook.** Rotated gradients, random restarts, projection to fewer numbers, or "
    "another weight of the commitment loss may change the result. The commitment loss has an exact gradient and is "
    "not included here.",
    "**Other losses.** The loss of a discriminator is less smooth than a spectral loss. The last stage of training "
    "does not need the estimator, because the encoder is frozen.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the section on the method."""
    settings, speech = result["settings"], result["speech"]
    names = ", ".join(LABELS[name] for name in result["models"])
    some = next(iter(result["models"].values()))
    if settings["runs"]:
        seeds = ", ".join(sorted({str(found["seed"]) for found in result["models"].values()}))
        steps = ", ".join(sorted({f"{found['steps']:,}" for found in result["models"].values()}))
        models = (
            f"**Models.** {names}, trained with the same code and losses for {steps} steps (seed {seeds}). Their "
            "weights are averages over training steps."
        )
    else:
        models = (
            f"**Models.** {names}. **These are tiny models, trained for {settings['train_steps']} steps on the clips "
            "that are measured.** They show that the experiment runs, but are no evidence about the quantizers."
        )
    clips = "clip" if speech["n_clips"] == 1 else "clips"
    return [
        models,
        f"**Speech.** {speech['n_clips']} {clips} of at most {settings['clip_s']:g} s, {speech['duration_s']:.0f} s in "
        "total. Steps are taken at one frame of each clip, drawn from its louder half. Frames and random numbers are "
        f"the same for all models (seed {settings['seed']}). The use of codes is counted on "
        f"{speech['counted_s'] / 60:.1f} min. Intervals are 95 % bootstrap intervals over clips. Differences are "
        "paired by clip."
        + (
            " **This is a trial run**: there are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        "**Predicted and actual change.** *y* is the input of the quantization step. For a codebook it is the latent. "
        "For FSQ it is the number after the tanh, which is smooth and has an exact gradient. The estimator uses the "
        "gradient *g* of the decoder at the quantized latent, so it predicts that a step *d* changes the loss by "
        "*g d*. The actual change is half the difference of the loss between *y + d* and *y - d*, both quantized and "
        f"decoded. The loss is the training loss ({_weights(some['weights'])}) over {settings['span']} frames, from "
        "the frame that is moved. It is a piecewise constant function of *y*, so the actual change depends on the step "
        "size.",
        "**Step sizes.** The size of a step is the root mean square per moved number, in cells. A cell is the root "
        "mean square quantization error times the square root of 12. For FSQ this is the distance between levels. The "
        "kinds of steps are:",
        "- *whole frame*: Gaussian random steps of all 128 numbers;\n"
        "- *one number*;\n"
        "- *one vector*: the numbers that a codebook quantizes together;\n"
        "- *without quantization*: the same steps from the quantized latent, directly into the decoder.",
        "**Statistics.**",
        "- *No change*: share of steps that change no code.\n"
        "- *Right sign*: share of the other steps for which the actual change has the predicted sign.\n"
        "- *Correlation* of predicted and actual changes.\n"
        "- *Slope*: actual per predicted change, by regression.\n"
        "- *Cosine* and *norm*: cosine between *g* and the gradient of the smoothed loss, and the norm of the latter "
        "relative to *g*. The loss is smoothed by Gaussian noise of the step size. Its gradient is estimated from two "
        "independent halves of the steps, so that noise does not increase the norm. A cosine may exceed 1 by chance. A "
        "dash means that the estimate is not significantly different from noise.\n"
        "- *Reliability*: cosine between the two halves.\n"
        "- *Decrease*: decrease of the loss by a step along -*g*, divided by the predicted decrease.",
    ]


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{weight:g} {name}" for name, weight in weights.items())


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the section on the result."""
    several = result["speech"]["n_clips"] > 1
    return [
        FIGURE,
        "### FSQ and other quantizers",
        *_verdict(result),
        "### Steps of a whole frame",
        _frames(result, several),
        "### Steps of one number or one vector",
        _alone(result, several),
        "### Steps against the gradient",
        _descents(result, several),
        "### Quantizer alone",
        "Change of the quantized latent for a change of *y*, over all frames of the clips, without decoder and loss. "
        "The estimator assumes that both changes are equal.",
        _quantizer_alone(result, several),
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
        return ["FSQ or a quantizer to compare it with is missing."]
    lines = []
    sides: set[int] = set()
    for other, found in result["differences"].items():
        for kind, words in COMPARED.items():
            entries = [entry for entry in found[kind] if entry["mean"] is not None]
            better = [f"{entry['step']:g}" for entry in entries if entry["low"] > 0]
            worse = [f"{entry['step']:g}" for entry in entries if entry["high"] < 0]
            if kind in ("frame", "number"):
                sides |= {1} if better else set()
                sides |= {-1} if worse else set()
                sides |= {0} if len(better) + len(worse) < len(entries) else set()
            where = [f"{word} at {', '.join(at)}" for word, at in (("better", better), ("worse", worse)) if at]
            lines.append([f"FSQ - {LABELS[other]}", words, "; ".join(where) or "not significantly different"])
    partly = " At the others there is no significant difference." if 0 in sides else ""
    if 1 in sides and -1 in sides:
        answer = "The prediction for FSQ is **better at some step sizes and worse at others**."
    elif sides & {1, -1}:
        word = "better" if 1 in sides else "worse"
        answer = f"The prediction is **{word} for FSQ** at {'some' if partly else 'all'} step sizes.{partly}"
    else:
        answer = "The prediction for FSQ is **not significantly different** at any step size."
    n = sum(len(found[kind]) for found in result["differences"].values() for kind in COMPARED)
    rows = []
    for other, found in result["differences"].items():
        for index, entry in enumerate(found["frame"]):
            cells = (_signed(found[kind][index], 2) for kind in (*COMPARED, "descent"))
            rows.append([f"FSQ - {LABELS[other]}", f"{entry['step']:g}", *cells])
    head = ["paired difference of correlations", "step, cells", *COMPARED.values(), "decrease along -g"]
    return [
        ("" if result["settings"]["runs"] else "The following holds for tiny models only. ")
        + f"{answer} The measure is the correlation of predicted and actual changes, for steps of a whole frame and of "
        "one number.",
        f"Step sizes, in cells, with a significant difference. Of {n} comparisons with 95 % intervals, one in twenty "
        "may be significant by chance:",
        table(["difference", "steps", "correlation of FSQ"], lines, numeric=False),
        *_ceiling(result),
        table(head, rows),
    ]


def _ceiling(result: Result) -> list[str]:
    """Return the best correlation of each model, with its step size, and an explanation."""
    rows = []
    for name, found in result["models"].items():
        through, without = found["steps_of"]["frame"], found["steps_of"]["frame, control"]
        pairs = [(a, b) for a, b in zip(through, without, strict=True) if a["correlation"]["mean"] is not None]
        if pairs:
            best, control = max(pairs, key=lambda pair: pair[0]["correlation"]["mean"])
            means = (number(entry["correlation"]["mean"], 2) for entry in (best, control))
            rows.append([LABELS[name], f"{best['step']:g}", *means])
    return [
        "Best correlation for steps of a whole frame:",
        table(["", "step, cells", "correlation", "without quantization"], rows),
        "At smaller steps, quantization limits the correlation, because the quantized latent changes by a whole cell "
        "or not at all. At larger steps, the curvature of the decoder limits it. If FSQ also differs from another "
        "quantizer without quantization, the cause is the decoder and not the estimator.",
    ]


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
    head = ["", "step, cells", "no change", "right sign", "correlation", "slope"]
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
    return table(["", "step, cells", "no change", "loss decreases", "decrease", "decrease without quantization"], rows)


def _quantizer_alone(result: Result, several: bool) -> str:
    rows = [
        [
            LABELS[name],
            f"{entry['step']:g}",
            *(_cell(entry[of], several) for of in ("no_effect", "correlation", "slope")),
        ]
        for name, found in result["models"].items()
        for entry in found["steps_of"]["quantizer"]
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
    head = [
        "",
        "steps",
        "training loss",
        "loss at the frames",
        "PESQ-WB ↑",
        "STOI ↑",
        "mel distance ↓",
        "gradient norm",
    ]
    return table([*head, "used bits per frame", "unused codes"], rows)


def _training_note(result: Result) -> str:
    text = (
        "Training loss, gradient norm, PESQ-WB, STOI and mel distance are from the last validation of each run. *Loss "
        "at the frames* is the loss at the frames of this experiment. Its paired differences are:"
    )
    lines = []
    for other, found in result["differences"].items():
        loss = found["loss"]
        which = "lower" if loss["high"] < 0 else "higher" if loss["low"] > 0 else "not significantly different"
        lines.append(f"- FSQ - {LABELS[other]}: {_signed(loss, 3)}, {which}.")
    return text.removesuffix(" Its paired differences are:") if not lines else text + "\n\n" + "\n".join(lines)


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
    head = ["codebook", "entries", "codes", "unused", "if uniform", "bits per code", "if uniform"]
    return table([*head, "perplexity"], rows) + (
        "\n\nBits per code are the entropy of single codes. *If uniform* is the expected value for the same number of "
        "codes if all entries are equally probable. If several vectors share a codebook, their codes are counted "
        "together."
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
    head = ["", "cell", "nearest other entry", "standard deviation of y", "correlation", "slope"]
    return (
        f"Without quantization, finite differences of {step:g} cells must agree with the gradient of the decoder, so "
        "the first correlation and slope must be close to 1. They are for the loss without its loudness term. The "
        "gradient of that term treats one of its factors as constant "
        "(the extra weight of added sound), so it is not the exact gradient of its value. The last two columns are for "
        "the whole loss. They limit the correlations of the other tables at small steps. The distance "
        "to the nearest other entry is a root mean square per number. For a residual chain it is that of the last "
        "codebook.\n\n"
    ) + table([*head, "whole loss: correlation", "slope"], rows)


def _cell(entry: dict[str, Any], several: bool, n_digits: int = 2) -> str:
    return interval(entry, n_digits) if several else number(entry["mean"], n_digits)


def _signed(entry: dict[str, Any], n_digits: int) -> str:
    text = interval(entry, n_digits)
    return f"+{text}" if entry["mean"] is not None and entry["mean"] > 0 else text


def reproduce(result: Result) -> str:
    """Return the command, the version and the machine of a result."""
    settings = result["settings"]
    command = ["silk lab gradient SPEECH", *["--run RUN"] * settings["runs"]]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['clips']}"] if settings["clips"] else []
    command += [f"--directions {settings['smoothed_directions']} --seconds {settings['clip_s']:g}"]
    command += [f"--usage-minutes {settings['usage_minutes']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(found["codec_id"] for found in result["models"].values())
    return f"`{' '.join(command)}`\n\n{provenance(result)} Models: {ids}."
