"""Measure how well the straight-through estimator predicts the change in the loss after a change in the latent.

    clip -> encoder -> latent -> tanh (FSQ only) -> y -> quantize -> quantized latent -> decoder -> audio -> loss

Rounding has no useful gradient, so training uses the gradient at the quantized latent in place of the gradient at y.
This experiment changes y by steps of different sizes and computes the actual change in the loss. A control without
quantization shows the errors caused by the curvature of the decoder.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.mel import FRAME, LOOKAHEAD, SAMPLE_RATE
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.gradient.agreement import difference
from silkcodec_lab.gradient.latent_steps import GradientPlan, Model, Records, Wave
from silkcodec_lab.gradient.trained_run import train_tiny
from silkcodec_lab.pages import Result, head
from silkcodec_lab.selection import beginning
from silkcodec_torch.quantizers import QUANTIZERS

COMPARED = {  # comparison of FSQ with another quantizer -> statistic, kind of step in FSQ and in the other quantizer
    "frame": ("correlation", "frame", "frame"),
    "without quantization": ("correlation", "frame, control", "frame, control"),
    "quantizer alone": ("correlation", "quantizer", "quantizer"),
    "number": ("correlation", "number", "number"),
    "unit": ("correlation", "number", "vector"),  # the values that each quantizer processes together
    "descent": ("kept", "descent", "descent"),
}

Progress = Callable[[int, int, str], None]  # clips done, total clips, current model


def gradient(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    runs: Sequence[str | os.PathLike[str]] = (),
    split: str | None = None,
    clips: int | None = None,
    plan: GradientPlan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure the accuracy of the straight-through estimator for the quantizer of each training run.

    Args:
        inputs: Audio files, folders, or a manifest, with speech that is not in the training set of the runs.
        runs: Folders of training runs with different quantizers. If empty, tiny models are first trained on the inputs.
        split: Split of the manifest.
        clips: Maximum number of clips in which a latent is changed.
        plan: Settings of the experiment.
        progress: Progress callback.

    Returns:
        The contents of gradient.json.

    Raises:
        ArgumentError: A setting is invalid, all clips are too short, or two runs have the same quantizer.
        AudioError: An input cannot be read.
        WeightsError: A run is damaged or incomplete.
    """
    plan = plan or GradientPlan()
    plan.check()
    if clips is not None and clips < 1:
        raise ArgumentError(f"--clips must be at least 1; got {clips}.")
    found = find_clips(inputs, split=split)
    random.Random(plan.seed).shuffle(found)
    conditions = Conditions()
    with tempfile.TemporaryDirectory() as folder:
        if runs:
            models = [Model(Path(run)) for run in runs]
        waves, counted = _speech(found, clips, plan)
        if not runs:
            tiny = train_tiny(counted, Path(folder), plan.train_steps, list(QUANTIZERS))
            models = [Model(run) for run in tiny]
        names = [model.name for model in models]
        if len(set(names)) < len(names):
            raise ArgumentError(f"The runs must have different quantizers; got {', '.join(names)}.")
        measured = {}
        for index, model in enumerate(models):

            def advance(done: int, index: int = index, name: str = model.name) -> None:
                if progress is not None:
                    progress(index * len(waves) + done, len(models) * len(waves), name)

            measured[model.name] = model.measure(waves, counted, plan, advance)
    records = {name: found.pop("records") for name, found in measured.items()}
    return {
        **head("gradient"),
        "settings": {"runs": len(runs), "split": split, "clips": clips, **vars(plan)},
        "speech": {
            "n_clips": len(waves),
            "duration_s": sum(map(len, waves)) / SAMPLE_RATE,
            "counted_s": sum(map(len, counted)) / SAMPLE_RATE,
        },
        "machine": conditions.facts(),
        "models": measured,
        "differences": _differences(records, plan.seed),
    }


def _speech(found: Sequence[Clip], limit: int | None, plan: GradientPlan) -> tuple[list[Wave], list[Wave]]:
    """Read the audio of the clips, skipping clips that are too short.

    Returns:
        The clips in which to change a latent, and the clips in which to count codes.
    """
    shortest = (plan.span + 1) * FRAME + LOOKAHEAD
    longest = round(plan.clip_s * SAMPLE_RATE) + LOOKAHEAD
    left = round(plan.usage_minutes * 60 * SAMPLE_RATE)  # samples in which codes are still to be counted
    waves: list[Wave] = []
    counted: list[Wave] = []
    for clip in found:
        wants_more = limit is None or len(waves) < limit
        if not wants_more and left <= 0:
            break
        wave = beginning(clip.path, max(longest if wants_more else shortest, left) / SAMPLE_RATE)
        if len(wave) < shortest:
            continue
        if wants_more:
            waves.append(wave[:longest])
        if left > 0:
            counted.append(wave[: max(shortest, left)])
            left -= len(counted[-1])
    if not waves:
        raise ArgumentError(f"At least one clip must be {shortest / SAMPLE_RATE:g} s or longer; all clips are shorter.")
    return waves, counted


def _differences(records: dict[str, Records], seed: int) -> dict[str, Any]:
    """Subtract the statistics of each of the other quantizers from those of FSQ, for each step size."""
    if "fsq" not in records:
        return {}
    found: dict[str, Any] = {}
    for other in (name for name in records if name != "fsq"):
        of_fsq, of_other = records["fsq"], records[other]
        found[other] = {"loss": difference("kept", of_fsq["loss", 0.0], of_other["loss", 0.0], seed)}
        for name, (statistic, our_kind, their_kind) in COMPARED.items():
            steps = [step for kind, step in of_other if kind == their_kind]
            found[other][name] = [
                {"step": step, **difference(statistic, of_fsq[our_kind, step], of_other[their_kind, step], seed)}
                for step in steps
            ]
    return found
