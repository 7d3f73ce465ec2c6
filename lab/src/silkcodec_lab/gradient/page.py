"""Write the page for the gradient experiment from its JSON result."""

from __future__ import annotations

import math
from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.gradient.figure import figure
from silkcodec_lab.metric_tables import estimate, joined, quantizer_label, trial_note
from silkcodec_lab.pages import Description, Result, reproduction

__all__ = ["describe", "figure", "findings", "method", "reproduce", "summary"]

COMPARED = {
    "frame": "whole frame",
    "number": "one number",
    "unit": "one number (FSQ) or one vector",
    "without quantization": "whole frame, without quantization",
}

QUANTIZERS = {
    "vq": "*VQ* replaces each vector of {unit} numbers with the nearest entry of a codebook.",
    "rvq": "*RVQ* replaces each vector of {unit} numbers with a sum of entries from a chain of codebooks.",
    "multiscale": "*Multi-scale RVQ* is RVQ in which the codebooks have different frame rates.",
    "fsq": "*FSQ* rounds each number to one of 8 levels.",
}

TITLE = "Accuracy of the straight-through gradient"

QUESTION = (
    "Quantization of the latent, i.e. of the encoder's output, has no useful gradient. Training therefore uses the "
    "gradient at the quantizer's output as the gradient at its input (straight-through gradient). How well does this "
    "gradient predict changes in the loss? Is the prediction better for FSQ, which quantizes single numbers, than for "
    "codebooks, which quantize vectors?"
)

CAPTION = (
    "Solid lines show steps with quantization, and bands are 95 % intervals. Dotted lines show the same steps without "
    "quantization. Dashed lines show steps that change one vector. In the plot of codebook use, black ticks "
    "show the expected values for equally probable codes."
)

LIMITATIONS = (
    "The experiment measures single steps. Over the many steps of a training run, random errors can average out.",
    "Step sizes are relative to the quantization error of each quantizer. Absolute step sizes were not compared.",
    "Each quantizer has one short training run with one seed. The intervals do not include the variation between runs.",
    "Other ways to train a codebook, such as the rotation trick or random restarts of unused codes, were not measured.",
    "The loss does not include a discriminator. A discriminator loss is less smooth than a spectral loss.",
)


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    models, differences = result["models"], result["differences"]
    texts = [] if result["settings"]["runs"] else ["These are tiny models, so the result is not evidence."]
    number_steps = next(iter(models.values()))["steps_of"]["number"]
    at = next((i for i, entry in enumerate(number_steps) if entry["step"] == 1), len(number_steps) - 1)
    ones = {name: found["steps_of"]["number"][at]["correlation"] for name, found in models.items()}
    frames: dict[str, dict[str, Any]] = {}
    for name, found in models.items():
        known = [entry["correlation"] for entry in found["steps_of"]["frame"]]
        known = [entry for entry in known if entry["mean"] is not None]
        frames |= {name: max(known, key=lambda entry: entry["mean"])} if known else {}
    texts.append(
        "Accuracy is measured by the correlation between predicted and actual changes in the loss. If one number in "
        f"the latent changes by {number_steps[at]['step']:g} cell (for FSQ, about the distance between two adjacent "
        f"levels), the correlation is {_ranked(ones)}."
    )
    if frames:
        lower = all((entry["mean"] or 0) < (ones[name]["mean"] or 0) for name, entry in frames.items())
        at_best = "is lower. At the best step size, it is" if lower else "at the best step size is"
        texts.append(f"If all numbers in a frame change, the correlation {at_best} {_ranked(frames)}.")
    compared = {other: found["loss"] for other, found in differences.items() if found["loss"]["mean"] is not None}
    if compared:
        losses = [_compared(entry, quantizer_label(other)) for other, entry in compared.items()]
        texts.append(
            f"After {models['fsq']['steps']:,} training steps, the loss of the FSQ model at the changed frames is "
            f"{joined(losses)}."
        )
    return " ".join(texts)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, speech, models = result["settings"], result["speech"], result["models"]
    if settings["runs"]:
        seeds = ", ".join(sorted({str(found["seed"]) for found in models.values()}))
        steps = ", ".join(sorted({f"{found['steps']:,}" for found in models.values()}))
        trained = f"Small models were trained with the same code and losses for {steps} steps (seed {seeds})."
    else:
        trained = f"Tiny models were trained for {settings['train_steps']} steps on the measured clips."
    weights = "weights: " + ", ".join(
        f"{name} {weight:g}" for name, weight in next(iter(models.values()))["weights"].items()
    )
    lowest = min(found["steps_of"]["check"][0]["correlation"]["mean"] for found in models.values())
    return [
        f"**Models.** {trained} They differ only in the quantizer for the 128 numbers that the encoder outputs per "
        f"frame. {' '.join(QUANTIZERS[name].format(**found) for name, found in models.items())}",
        f"**Speech.** One frame in each of {speech['n_clips']} clips is changed. It is drawn at random from the louder "
        f"half of the frames (seed {settings['seed']}). All models use the same frames and random numbers. Square "
        "brackets contain 95 % bootstrap intervals over clips. Differences are paired by clip."
        + trial_note(speech["n_clips"]),
        "**Steps.** A random step changes a whole frame, one number, or one vector, i.e. the numbers that a codebook "
        "quantizes together. The step size is the RMS change per changed number, in *cells*. A cell is the RMS "
        "quantization error times the square root of 12. For FSQ, it is about the distance between two adjacent "
        "levels.",
        "**Predicted change.** The predicted change in the loss is the inner product of the step and the gradient of "
        "the loss at the quantized latent.",
        "**Actual change.** The loss is measured after the step and after the opposite step, both with quantization. "
        "The actual change is half the difference between the two. The loss is the sum of the spectral training losses "
        f"over {settings['span']} frames, starting at the changed frame ({weights}).",
        "**Without quantization.** The same steps start at the quantized latent, and the result is decoded without "
        "quantization. In this case, only the curvature of the decoder decreases the correlation. For very small "
        f"steps and without the loudness loss, the correlation is at least {math.floor(1e4 * lowest) / 1e4:.4f} for "
        "all models.",
    ]


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    parts = ["### Correlation by step size", _correlations(result)]
    if result["differences"]:
        n = sum(len(found[kind]) for found in result["differences"].values() for kind in COMPARED)
        parts += [
            "### FSQ and other quantizers",
            "The table lists the step sizes, in cells, at which the correlations differ significantly. About one in "
            f"twenty of the {n} comparisons would be significant by chance. Differences without quantization are "
            "caused by the decoder, not by the straight-through gradient.",
            _significant(result),
        ]
    return [
        *parts,
        "### Training",
        "PESQ-WB (perceived quality, 1 to 4.64) and STOI (intelligibility, at most 1) come from the last validation of "
        "each run. The training loss is the mean since the previous validation. *Used bits* is the sum of the "
        "entropies of the codes.",
        _models(result),
    ]


def _correlations(result: Result) -> str:
    models = result["models"]
    kinds = {name: COMPARED[name] for name in ("frame", "number")}
    kinds["frame, control"] = COMPARED["without quantization"]
    rows = []
    for kind, what in kinds.items():
        for i, entry in enumerate(next(iter(models.values()))["steps_of"][kind]):
            cells = [estimate(found["steps_of"][kind][i]["correlation"], 2) for found in models.values()]
            rows.append([what, f"{entry['step']:g}", *cells])
    head = ["changed", "step size, cells", *map(quantizer_label, models)]
    return table(head, rows)


def _significant(result: Result) -> str:
    rows = []
    for other, found in result["differences"].items():
        cells = []
        for kind in COMPARED:
            entries = [entry for entry in found[kind] if entry["mean"] is not None]
            sides = {
                "higher": [f"{entry['step']:g}" for entry in entries if entry["low"] > 0],
                "lower": [f"{entry['step']:g}" for entry in entries if entry["high"] < 0],
            }
            cells.append("; ".join(f"{word} at {', '.join(at)}" for word, at in sides.items() if at) or "-")
        rows.append([f"FSQ - {quantizer_label(other)}", *cells])
    return table(["difference", *COMPARED.values()], rows, numeric=False)


def _models(result: Result) -> str:
    rows = []
    for name, found in result["models"].items():
        last = found["curves"][-1]
        dead = sum(book["dead"] * book["entries"] * book["books"] for book in found["usage"])
        entries = sum(book["entries"] * book["books"] for book in found["usage"])
        rows.append(
            [
                quantizer_label(name),
                number(last["loss"], 3),
                estimate(found["loss"], 3),
                *(number(last[metric], digits) for metric, digits in (("pesq_wb", 2), ("stoi", 3))),
                f"{found['bits_used']:.0f} of {found['bits_per_frame']:.0f}",
                f"{dead:,.0f} of {entries:,}",
            ]
        )
    head = ["quantizer", "training loss", "loss at the changed frames", "PESQ-WB ↑", "STOI ↑"]
    return table([*head, "used bits per frame", "unused codes"], rows)


def _ranked(entries: dict[str, dict[str, Any]]) -> str:
    """List the correlation for each quantizer, highest first, as part of a sentence."""
    ranked = sorted(entries.items(), key=lambda item: -(item[1]["mean"] or 0))
    return joined([f"{estimate(entry, 2)} for {quantizer_label(name)}" for name, entry in ranked])


def _compared(entry: dict[str, Any], other: str) -> str:
    """Format the difference between the losses of FSQ and another quantizer as part of a sentence."""
    if entry["low"] <= 0 <= entry["high"]:
        return f"not significantly different from that of the {other} model ({estimate(entry, 3)})"
    if entry["mean"] > 0:
        return f"{estimate(entry, 3)} higher than that of the {other} model"
    return f"{estimate(entry, 3, scale=-1)} lower than that of the {other} model"


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    command = ["silk lab gradient SPEECH", *["--run RUN"] * settings["runs"]]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--clips {settings['clips']}"] if settings["clips"] else []
    command += [f"--directions {settings['smoothed_directions']} --seconds {settings['clip_s']:g}"]
    command += [f"--usage-minutes {settings['usage_minutes']:g} --seed {settings['seed']} -o FOLDER"]
    return reproduction(result, command)
