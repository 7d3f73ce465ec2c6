"""The straight-through estimator: predicted and actual change of the loss for a step of the latent; and training.

    clip -encoder-> latent -(smooth part)-> y -snap-> what the decoder sees -decoder-> wave -training's loss-> L

Snapping has no gradient, so training takes the decoder's gradient at the snapped latent for the gradient at y. Here the
actual change for a step of y is computed, through quantizer and decoder, for steps from far below a cell to several
cells, and the same without quantization as a control: a difference there is due to the decoder's curvature.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.mel import FRAME, LOOKAHEAD, SAMPLE_RATE
from silkcodec.quantizers import QUANTIZERS
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.gradient.agreement import difference
from silkcodec_lab.gradient.model import Model, Plan, Records, Wave
from silkcodec_lab.gradient.training import train_tiny
from silkcodec_lab.pages import Result, head

COMPARED = {  # comparisons of FSQ and another: the figure, what is moved in FSQ, what in the other
    "frame": ("correlation", "frame", "frame"),
    "without snapping": ("correlation", "frame, control", "frame, control"),
    "quantizer alone": ("correlation", "snapping", "snapping"),
    "number": ("correlation", "number", "number"),
    "unit": ("correlation", "number", "vector"),  # each as it snaps
    "descent": ("kept", "descent", "descent"),
}

Progress = Callable[[int, int, str], None]  # clips done, in all, the model at work


def gradient(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    runs: Sequence[str | os.PathLike[str]] = (),
    split: str | None = None,
    clips: int | None = None,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measures the estimator of every run's quantizer.

    Args:
        inputs: audio files, folders, or an INDEX.tsv: speech that the runs did not train on.
        runs: folders of training runs, each of another quantizer; none: tiny models are trained on the inputs first.
        split: of an INDEX.tsv. clips: at most so many, drawn at random, to take steps in.
        plan: how much of what.

    Returns:
        What goes to gradient.json.

    Raises:
        ArgumentError, AudioError, MissingExtraError, WeightsError.
    """
    plan = plan or Plan()
    plan.check()
    if clips is not None and clips < 1:
        raise ArgumentError(f"clips must be at least 1; got {clips}.")
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
            raise ArgumentError(f"a quantizer must be asked for once; got {', '.join(names)}.")
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


def _speech(found: Sequence[Clip], limit: int | None, plan: Plan) -> tuple[list[Wave], list[Wave]]:
    """The beginnings of clips to take steps in, those that are long enough; and waves to count codes on."""
    shortest = (plan.span + 1) * FRAME + LOOKAHEAD
    waves: list[Wave] = []
    counted: list[Wave] = []
    n_counted = 0
    for clip in found:
        wants_more = limit is None or len(waves) < limit
        if not wants_more and n_counted >= plan.usage_minutes * 60 * SAMPLE_RATE:
            break
        wave = audio.read(clip.path, SAMPLE_RATE)
        if len(wave) < shortest:
            continue
        if wants_more:
            waves.append(wave[: round(plan.clip_s * SAMPLE_RATE) + LOOKAHEAD])
        if n_counted < plan.usage_minutes * 60 * SAMPLE_RATE:
            counted.append(wave)
            n_counted += len(wave)
    if not waves:
        raise ArgumentError(f"clips must be at least {shortest / SAMPLE_RATE:g} s long; got none.")
    return waves, counted


def _differences(records: dict[str, Records], seed: int) -> dict[str, Any]:
    """FSQ minus each other quantizer, clip by clip, at every size of step."""
    if "fsq" not in records:
        return {}
    found: dict[str, Any] = {}
    for other in (name for name in records if name != "fsq"):
        ours, theirs = records["fsq"], records[other]
        found[other] = {"loss": difference("kept", ours["loss", 0.0], theirs["loss", 0.0], seed)}
        for name, (figure, mine, its) in COMPARED.items():
            steps = [step for kind, step in theirs if kind == its]
            found[other][name] = [
                {"step": step, **difference(figure, ours[mine, step], theirs[its, step], seed)} for step in steps
            ]
    return found
