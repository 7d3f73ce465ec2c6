"""State the question of the gradient experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.metric_tables import quantizer_label
from silkcodec_lab.pages import Result

QUESTION = "How well does the straight-through gradient predict changes in the loss?"


def answer(result: Result) -> str:
    """Summarize a result in a few sentences."""
    if not result["differences"]:
        return "FSQ was not measured."
    models = result["models"]
    at = next(i for i, entry in enumerate(models["fsq"]["steps_of"]["number"]) if entry["step"] == 1)
    correlations = ", ".join(
        f"{quantizer_label(name)} {number(found['steps_of']['number'][at]['correlation']['mean'], 2)}"
        for name, found in sorted(models.items(), key=lambda item: item[0] != "fsq")
    )
    not_better = [
        quantizer_label(name)
        for name, found in result["differences"].items()
        if not any(entry["mean"] is not None and entry["low"] > 0 for entry in found["frame"])
    ]
    others = " or ".join(not_better)
    frame = f"not significantly better than for {others}" if not_better else "better than for the others"
    losses = sorted(models, key=lambda name: models[name]["loss"]["mean"])
    return (
        "Correlation between predicted and actual changes in the loss when one number in the latent moves by one "
        f"quantization cell: {correlations}. When all numbers in a frame change at once, the prediction for "
        f"FSQ is {frame}. Loss after "
        f"{models['fsq']['steps']:,} training steps: "
        + ", ".join(f"{quantizer_label(name)} {number(models[name]['loss']['mean'], 2)}" for name in losses)
        + "."
    )
