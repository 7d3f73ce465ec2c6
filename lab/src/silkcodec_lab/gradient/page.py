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
    "unit": "FSQ's number against the other's vector",
    "without snapping": "a whole frame without snapping",
    "quantizer alone": "the quantizer alone",
}

TITLE = "Does the straight-through estimator tell the truth?"

QUESTION = (
    "Snapping to a codebook or a grid has no gradient, so training takes the decoder's gradient at the snapped latent "
    "for the gradient before snapping. How well does that agree with what a change of the latent does to the loss, is "
    "it closer to the truth for FSQ, which snaps every number by itself, than for codebooks, which snap whole vectors, "
    "and what do the four quantizers come to in training?"
)

FIGURE = (
    "A colour a quantizer, step sizes in cells. Solid: through the quantizer; dotted: the same steps without snapping, "
    "where what is missing from 1 is the decoder's curvature. Bands: intervals. Dashed: a whole vector of a codebook "
    "is moved. Black ticks on the bars: what codes chosen evenly would show."
)

WOULD_CHANGE = (
    "**Steps of training.** What a step of the optimiser moves a latent by, in cells, was not measured, and it moves "
    "all frames at once, for thousands of steps: errors that differ from step to step average out. The slope tells "
    "what is left on average, the correlation what one step is worth.",
    "**The cell.** Steps are compared at equal shares of each quantizer's own root mean square error, not at equal "
    "lengths.",
    "**More models.** One run a quantizer, one seed, a thousand steps at most: two runs of the same quantizer would "
    "differ too, and no interval here knows by how much.",
    "**Other ways to train a codebook.** Rotation instead of a copy of the gradient, random restarts, a projection to "
    "few numbers, another weight of the commitment loss. That loss has a gradient of its own, which is exact; it is "
    "left out here.",
    "**Other losses.** An adversary's loss is rougher than a spectral one; the last stage of training has no estimator "
    "at all, because the encoder stands still.",
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
            "clips that they are measured on**, by the training's own loop and losses. They show that the experiment "
            "runs; of the quantizers they tell nothing."
        )
    clips = "clip" if speech["n_clips"] == 1 else "clips"
    return [
        models,
        f"**Speech.** Steps are taken in {speech['n_clips']} {clips}, {speech['duration_s']:.0f} s, at most "
        f"{settings['clip_s']:g} s each: in one frame of each, 128 numbers, drawn from its louder half, the same "
        f"frames and random numbers for all models, seed {settings['seed']}. Codes are counted on "
        f"{speech['counted_s'] / 60:.1f} min. Intervals are 95 % bootstraps over clips; differences are drawn in pairs."
        + (" **So few clips are a trial run**: their intervals tell little." if speech["n_clips"] < FEW_CLIPS else ""),
        "**Promise and effect.** *y* is what snaps: of a codebook the latent, of FSQ the number after its tanh, which "
        "is smooth and has an exact gradient. The estimator passes on the decoder's gradient *g* at the snapped "
        "latent, and so promises that a step *d* changes the loss by *g d*. The effect is half the loss's difference "
        "between *y + d* and *y - d*, both snapped, decoded and compared: a finite difference. The loss is the "
        f"training's ({', '.join(f'{weight:g} {name}' for name, weight in some['weights'].items())}), over "
        f"{settings['span']} frames from the one that is moved. As a function of *y* it is piecewise constant: its "
        "gradient is 0 nearly everywhere, so what is true depends on the size of the step.",
        "**Cells.** A step's size is the root mean square per number that is moved, in cells; a cell is the root mean "
        "square error of snapping times the root of 12: of FSQ, the distance of two levels. *Whole frame*: all 128 "
        "numbers in Gaussian directions. *One number*, and *one vector* of as many numbers as a codebook snaps "
        "together. *Without snapping*: the same steps from the snapped latent straight into the decoder.",
        "**Figures.** *No effect*: share of steps that change no code. *Correlation* of promise and effect: 1 where "
        "the estimator tells every step's effect but for one factor, 0 where it tells nothing. *Slope*: effect per "
        "promise, by regression. *Cosine* and *norm*: of *g* against the gradient of the loss smoothed by Gaussian "
        "noise of this size, estimated from antithetic pairs with the promise as control variate; its square is the "
        "product of two independent halves, so that noise does not lengthen it (a cosine may exceed 1 by chance; a "
        "dash: not told from noise); *reliability* is the cosine of the two halves. *Kept*: decrease of the loss by a "
        "step along -*g*, as a share of the promised one.",
    ]


def findings(result: Result) -> list[str]:
    several = result["speech"]["n_clips"] > 1
    return [
        FIGURE,
        "### Is FSQ's gradient closer to the truth?",
        *_verdict(result),
        "### Steps of a whole frame",
        _frames(result, several),
        "### One number, one vector",
        _alone(result, several),
        "### Steps against the gradient",
        _descents(result, several),
        "### The quantizer alone",
        "How what the decoder sees moves when *y* moves, of all frames of the clips, against the estimator's belief "
        "that it moves as much and in the same direction. No decoder, no loss.",
        _snapping(result, several),
        "### Training",
        _models(result, several),
        _training_note(result),
        _codebooks(result),
        "### The machinery",
        _check(result, several),
    ]


# --- the answer


def _verdict(result: Result) -> list[str]:
    """Whichever way it falls: for every other quantizer, at how many step sizes FSQ is told apart."""
    if not result["differences"]:
        return ["There is no FSQ among the models, or nothing to compare it with."]
    told: list[str] = []
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
            where = [f"{word} at {', '.join(at)} cells" for word, at in (("closer", better), ("further", worse)) if at]
            parts.append(f"{words}: {' and '.join(where) if where else 'not told apart at any size'}")
        told.append(f"- Against {LABELS[other]}, {'; '.join(parts)}.")
    partly = ", which is not everywhere." if 0 in sides else "."
    if 1 in sides and -1 in sides:
        answer = "**It depends on the step**: closer at some sizes, further at others."
    elif 1 in sides:
        answer = f"**Yes**, where they can be told apart{partly}"
    elif -1 in sides:
        answer = f"**No, it is further**, where they can be told apart{partly}"
    else:
        answer = "**Not told apart** at any size of step."
    n = sum(len(found[kind]) for found in result["differences"].values() for kind in COMPARED)
    rows = []
    for other, found in result["differences"].items():
        for index, entry in enumerate(found["frame"]):
            cells = (_signed(found[kind][index], 2) for kind in (*COMPARED, "descent"))
            rows.append([f"FSQ - {LABELS[other]}", f"{entry['step']:g}", *cells])
    head = ["paired difference of correlations", "step, cells", *COMPARED.values(), "kept of a step along -g"]
    return [
        ("" if result["settings"]["runs"] else "Of tiny models, which tell nothing of the quantizers: ")
        + f"{answer} By the correlation of promise and effect, of steps of a whole frame and of one number; of {n} "
        "comparisons with 95 % intervals, one in twenty may be told apart by chance:",
        "\n".join(told),
        _ceiling(result),
        table(head, rows),
    ]


def _ceiling(result: Result) -> str:
    """Which size of step the estimator tells most of, and what is lost on either side."""
    told = []
    for name, found in result["models"].items():
        through, without = found["steps_of"]["frame"], found["steps_of"]["frame, control"]
        pairs = [(a, b) for a, b in zip(through, without, strict=True) if a["correlation"]["mean"] is not None]
        if pairs:
            best, control = max(pairs, key=lambda pair: pair[0]["correlation"]["mean"])
            told.append(
                f"{LABELS[name]} {best['correlation']['mean']:.2f} at {best['step']:g} cells "
                f"({control['correlation']['mean']:.2f} without snapping)"
            )
    return (
        f"The estimator tells most of a whole frame's step at: {'; '.join(told)}. Smaller steps are lost to "
        "snapping, which moves by a cell or not at all; larger ones to the decoder's curvature, with or without it. "
        "Where FSQ differs from another without snapping too, that is the two decoders, not the estimator."
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
    head = ["", "step, cells", "correlation", "without snapping", "slope", "cosine", "norm", "reliability"]
    return table(head, rows)


def _alone(result: Result, several: bool) -> str:
    rows = []
    for name, found in result["models"].items():
        for kind in ("number", "vector"):
            for entry in found["steps_of"].get(kind, ()):
                what = "one number" if kind == "number" else f"one vector of {found['unit']}"
                figures = (entry[of] for of in ("no_effect", "same_sign", "correlation", "slope"))
                rows.append([f"{LABELS[name]}, {what}", f"{entry['step']:g}", *(_cell(e, several) for e in figures)])
    head = ["", "step, cells", "no effect", "right sign, of those with one", "correlation", "slope"]
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
    return table(["", "step, cells", "no effect", "lowers the loss", "kept", "kept without snapping"], rows)


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
    return table(["", "step, cells", "vectors (FSQ: numbers) that stay", "cosine", "slope"], rows)


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
    return table([*head, "bits used of a frame's", "codes never seen"], rows)


def _training_note(result: Result) -> str:
    parts = [
        "Training loss, gradient norm, PESQ, STOI and mel distance are the runs' own, of the last validation and the "
        "steps before it; *loss here* is that of the frames of this experiment."
    ]
    for other, found in result["differences"].items():
        loss = found["loss"]
        which = "lower" if loss["high"] < 0 else "higher" if loss["low"] > 0 else "not told apart"
        parts.append(f"FSQ's loss here less that of {LABELS[other]}: {_signed(loss, 3)}, {which}.")
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
    head = ["codebook", "entries", "codes seen of each", "never seen", "if even", "bits of a code", "if even"]
    return table([*head, "perplexity"], rows) + (
        "\n\nEntropy of single codes, their dependence not counted. *If even*: what as few codes "
        "would show of entries that are all chosen equally often. A codebook that several vectors share counts "
        "them all."
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
        f"The decoder has an exact gradient: without snapping, finite differences of {step:g} cells must agree with "
        "it. They are to do so for the loss without its loudness term. That term holds a factor of its own constant "
        "for the gradient (how much an added sound is charged above a missing one), so its gradient is not quite that "
        "of its value: the last two columns, of the whole loss, are the most that any figure above can reach at small "
        "steps. A codebook's nearest other code is a distance over the root of its length; of a chain, that of its "
        "last codebook.\n\n"
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
