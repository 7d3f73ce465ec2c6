"""Write the page of the gradient experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.gradient.figure import LABELS, figure
from silkcodec_lab.metric_tables import joined
from silkcodec_lab.pages import Result, provenance

__all__ = ["LIMITATIONS", "QUESTION", "TITLE", "figure", "findings", "method", "reproduce"]

FEW_CLIPS = 10  # With fewer clips, the page warns that this is a trial run.
COMPARED = {
    "frame": "whole frame",
    "number": "one number",
    "unit": "one number (FSQ) or one vector",
    "without quantization": "whole frame without quantization",
    "quantizer alone": "quantizer alone",
}

TITLE = "Accuracy of the straight-through gradient"

QUESTION = (
    "Quantization has no useful gradient, so training uses the decoder's gradient at the quantized latent as the "
    "gradient of the latent (straight-through estimator). How well does this gradient predict how the loss changes "
    "when the latent changes? Is the prediction better for FSQ, which quantizes single numbers, than for codebooks, "
    "which quantize vectors? How do the four quantizers compare after training?"
)

FIGURE = (
    "Each quantizer has its own color, and step sizes are in cells. Solid lines show steps with quantization, and "
    "bands are their intervals. Dotted lines show the same steps without quantization, where any deviation from 1 is "
    "caused by the curvature of the decoder. Dashed lines show steps of one vector. Black ticks on the bars are the "
    "expected values if all codes are equally probable."
)

LIMITATIONS = (
    "**Steps in training.** The size of the optimizer's steps in cells was not measured. In training, all frames "
    "change at the same time for thousands of steps, so random errors of single steps average out. The correlation "
    "describes single steps, and the slope describes their average.",
    "**Step size.** Steps are compared at the same multiple of each quantizer's quantization error, not at the same "
    "absolute size.",
    "**One run per quantizer.** Each quantizer has only one run with one seed and at most a thousand steps. The "
    "intervals do not include the variation between runs.",
    "**Other ways to train a codebook.** The rotation trick, random restarts of unused codes, a projection to "
    "fewer dimensions, or a different weight of the commitment loss might change the result. The commitment loss has "
    "an exact gradient and is not included here.",
    "**Other losses.** The loss from a discriminator is less smooth than a spectral loss. The last stage of training "
    "does not need the estimator, because the encoder is frozen.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, speech = result["settings"], result["speech"]
    names = joined([LABELS[name] for name in result["models"]])
    some = next(iter(result["models"].values()))
    if settings["runs"]:
        seeds = ", ".join(sorted({str(found["seed"]) for found in result["models"].values()}))
        steps = ", ".join(sorted({f"{found['steps']:,}" for found in result["models"].values()}))
        models = (
            f"**Models.** The models use {names}. They were trained with the same code and losses for {steps} steps "
            f"(seed {seeds}). Their weights are averages over training steps."
        )
    else:
        models = (
            f"**Models.** The models use {names}. **They are tiny models, trained for {settings['train_steps']} steps "
            "on the measured clips.** They show that the experiment runs, but they are not evidence about the "
            "quantizers."
        )
    clips = "clip" if speech["n_clips"] == 1 else "clips"
    return [
        models,
        f"**Speech.** The speech consists of {speech['n_clips']} {clips} of at most {settings['clip_s']:g} s, "
        f"{speech['duration_s']:.0f} s in total. One frame of each clip is changed. This frame is drawn at "
        "random from the louder half of the clip's frames. Frames and random numbers are the same for all models (seed "
        f"{settings['seed']}). Code usage is counted in {speech['counted_s'] / 60:.1f} min of speech. "
        "Intervals are 95 % bootstrap intervals over clips. Differences are paired by clip."
        + (
            " **This is a trial run.** There are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        "**Predicted and actual change.** *y* is the input of the rounding or the codebook search. For a codebook, *y* "
        "is the latent. For FSQ, *y* is the output of the tanh, which is smooth and has an exact gradient. The "
        "estimator uses the decoder's gradient *g* at the quantized latent, so it predicts that a step *d* changes the "
        "loss by their inner product. The actual change is half the difference between the losses at *y + d* and *y - "
        f"d*, both quantized and decoded. The loss is the training loss ({_weights(some['weights'])}) over "
        f"{settings['span']} frames, starting at the frame that is changed. It is a piecewise constant function of "
        "*y*, so the actual change depends on the step size.",
        "**Step sizes.** The size of a step is the RMS change of the numbers that it modifies, in cells. A cell is "
        "the RMS quantization error times the square root of 12. For FSQ, this is the distance between levels. There "
        "are four kinds of steps:",
        "- *whole frame*: random Gaussian steps of all 128 numbers of a frame.\n"
        "- *one number*: steps of a single number.\n"
        "- *one vector*: steps of the numbers that a codebook quantizes together.\n"
        "- *without quantization*: the same steps, but starting at the quantized latent and decoded without "
        "quantization.",
        "**Statistics.** The tables show these statistics:",
        "- *No change*: the share of steps that do not change any code.\n"
        "- *Right sign*: the share of the remaining steps for which the actual change has the predicted sign.\n"
        "- *Correlation*: the correlation between predicted and actual changes.\n"
        "- *Slope*: the regression slope of actual on predicted changes.\n"
        "- *Cosine* and *norm*: the cosine between *g* and the gradient of the smoothed loss, and the norm of that "
        "gradient relative to the norm of *g*. The loss is smoothed with Gaussian noise of the step size. The gradient "
        "is estimated from two independent halves of the steps, so that noise does not increase the norm. A cosine can "
        "exceed 1 by chance. A dash means that the estimate does not differ significantly from noise.\n"
        "- *Reliability*: the cosine between the two halves.\n"
        "- *Decrease*: the decrease of the loss after a step along -*g*, divided by the predicted decrease.",
    ]


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{weight:g} {name}" for name, weight in weights.items())


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
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
        "The table compares changes of *y* with the resulting changes of the quantized latent over all frames of the "
        "clips, without the decoder and the loss. The estimator assumes that both changes are equal.",
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
    """Return the page section that compares FSQ with the other quantizers at each step size."""
    if not result["differences"]:
        return ["This comparison needs runs with FSQ and with at least one other quantizer."]
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
    partly = " At the remaining step sizes, there is no significant difference." if 0 in sides else ""
    if 1 in sides and -1 in sides:
        answer = "The prediction for FSQ is **better at some step sizes and worse at others**."
    elif sides & {1, -1}:
        word = "better" if 1 in sides else "worse"
        which = "some" if partly else "all"
        answer = f"The prediction is **{word} for FSQ** than for other quantizers at {which} step sizes.{partly}"
    else:
        answer = "The prediction for FSQ does **not differ significantly** at any step size."
    n = sum(len(found[kind]) for found in result["differences"].values() for kind in COMPARED)
    rows = []
    for other, found in result["differences"].items():
        for index, entry in enumerate(found["frame"]):
            cells = (_signed(found[kind][index], 2) for kind in (*COMPARED, "descent"))
            rows.append([f"FSQ - {LABELS[other]}", f"{entry['step']:g}", *cells])
    head = ["paired difference in correlation", "step, cells", *COMPARED.values(), "decrease along -g"]
    return [
        ("" if result["settings"]["runs"] else "The following applies only to tiny models. ")
        + f"{answer} The criterion is the correlation between predicted and actual changes, for steps of a whole "
        "frame and of one number.",
        f"With 95 % intervals, about one in twenty of the {n} comparisons would be significant by chance. The next "
        "table lists the step sizes with significant differences, in cells:",
        table(["difference", "steps", "correlation of FSQ"], lines, numeric=False),
        *_ceiling(result),
        table(head, rows),
    ]


def _ceiling(result: Result) -> list[str]:
    """Return a table of each model's best correlation of predicted and actual changes, with an explanation."""
    rows = []
    for name, found in result["models"].items():
        through, without = found["steps_of"]["frame"], found["steps_of"]["frame, control"]
        pairs = [(a, b) for a, b in zip(through, without, strict=True) if a["correlation"]["mean"] is not None]
        if pairs:
            best, control = max(pairs, key=lambda pair: pair[0]["correlation"]["mean"])
            means = (number(entry["correlation"]["mean"], 2) for entry in (best, control))
            rows.append([LABELS[name], f"{best['step']:g}", *means])
    return [
        "The next table shows the best correlation for steps of a whole frame:",
        table(["", "step, cells", "correlation", "without quantization"], rows),
        "For smaller steps, the correlation is limited by quantization, because the quantized latent changes by a "
        "whole cell or not at all. For larger steps, it is limited by the curvature of the decoder. If FSQ differs "
        "from another quantizer even without quantization, the cause is the decoder, not the estimator. The "
        "next table shows all differences:",
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
        "Training loss, gradient norm, PESQ-WB, STOI and mel distance come from the last validation of each run. *Loss "
        "at the frames* is the loss at the frames that this experiment changes. Its paired differences are:"
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
        "\n\n*Bits per code* is the entropy of single codes. *If uniform* is the expected value for the same number of "
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
        f"Without quantization, finite differences of {step:g} cells must agree with the decoder's gradient. The "
        "first correlation and slope must therefore be close to 1. They are computed from the loss without its "
        "loudness term. The gradient of the loudness term is not exact, because one factor of the term is treated as a "
        "constant. The last two columns are computed from the whole loss. Their correlation is the upper limit of the "
        "correlations for small steps in the other tables. The distance to the nearest other entry is an RMS value per "
        "number. For RVQ and multi-scale RVQ, it is the distance in the last codebook.\n\n"
    ) + table([*head, "correlation, whole loss", "slope, whole loss"], rows)


def _cell(entry: dict[str, Any], several: bool, n_digits: int = 2) -> str:
    return interval(entry, n_digits) if several else number(entry["mean"], n_digits)


def _signed(entry: dict[str, Any], n_digits: int) -> str:
    text = interval(entry, n_digits)
    return f"+{text}" if entry["mean"] is not None and entry["mean"] > 0 else text


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    settings = result["settings"]
    command = ["silk lab gradient SPEECH", *["--run RUN"] * settings["runs"]]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['clips']}"] if settings["clips"] else []
    command += [f"--directions {settings['smoothed_directions']} --seconds {settings['clip_s']:g}"]
    command += [f"--usage-minutes {settings['usage_minutes']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(found["codec_id"] for found in result["models"].values())
    return f"`{' '.join(command)}`\n\n{provenance(result)} Models: {ids}."
