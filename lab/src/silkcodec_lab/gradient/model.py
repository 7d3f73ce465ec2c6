"""The model of a run, and steps of the latent at one frame of a clip: predicted and actual change of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec.errors import ArgumentError
from silkcodec.evaluate.statistics import bootstrap
from silkcodec.mel import FRAME, HISTORY, LOOKAHEAD, SAMPLE_RATE
from silkcodec.nn.model import SilkModel, fresh_states
from silkcodec.train.losses import NAMES, SpectralLoss
from silkcodec_lab.gradient import training
from silkcodec_lab.gradient.agreement import Place, Snapping, Sums, agreement, descent, identity, pooled, snapping
from silkcodec_lab.runs import RunCodec

WIDTH = 128  # numbers of a frame
BATCH = 32  # frames decoded at once
CHECK_STEP = 0.003  # cells: so small that the decoder is a straight line, and large enough for float32
STOPPED = "loudness"  # the loss's term that holds a factor of its own constant for the gradient, see train/losses.py
FRAME_FIGURES = ("no_effect", "correlation", "slope", "size")
SMOOTHED_FIGURES = ("cosine", "norm", "reliability")
ONE_FIGURES = ("no_effect", "same_sign", "correlation", "slope", "size")
DESCENT_FIGURES = ("kept", "lowered", "unmoved")
SNAP_FIGURES = ("no_effect", "correlation", "slope", "size")
KINDS = {
    "frame": FRAME_FIGURES,
    "vector": ONE_FIGURES,
    "number": ONE_FIGURES,
    "descent": DESCENT_FIGURES,
    "snapping": SNAP_FIGURES,
    "check": ("correlation", "slope"),
}

Wave = NDArray[np.float32]
Records = dict[tuple[str, float], list[Sums]]  # (what is moved, step in cells) -> a clip each


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        steps: sizes in cells, root mean square per number that is moved.
        directions: random steps of a whole frame, for each clip and size.
        smoothed: of the steps, those at which the smoothed loss's gradient is estimated too.
        smoothed_directions: for that.
        singles: numbers, and vectors, that are moved alone.
        span: frames that the loss is taken over, from the one that is moved.
        clip_s: only so much of each clip's beginning.
        usage_minutes: of speech to count codes on, at most.
        train_steps: of the tiny models that are trained where no runs are given.
        seed: of clips, frames, directions and intervals.
    """

    steps: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    directions: int = 12
    smoothed: tuple[float, ...] = (0.1, 0.3, 1.0)
    smoothed_directions: int = 40
    singles: int = 8
    span: int = 3
    clip_s: float = 10.0
    usage_minutes: float = 20.0
    train_steps: int = 60
    seed: int = 0

    def check(self) -> None:
        """Raises ArgumentError."""
        if not self.steps or not all(step > 0 for step in self.steps):
            raise ArgumentError(f"steps must be above 0 cells, one at least; got {self.steps}.")
        if not (set(self.smoothed) <= set(self.steps) and 2 <= self.directions <= self.smoothed_directions):
            raise ArgumentError(
                "smoothed steps must be among the steps and have at least as many directions, 2 or more; got "
                f"{self.smoothed}, {self.directions} and {self.smoothed_directions}."
            )
        if not 1 <= self.singles <= WIDTH:
            raise ArgumentError(f"singles must be 1..{WIDTH}; got {self.singles}.")
        least_s = (self.span + 1) * FRAME / SAMPLE_RATE
        if self.span < 1 or self.clip_s < least_s or self.usage_minutes <= 0 or self.train_steps < 1:
            raise ArgumentError(
                f"span, steps of training and minutes must be above 0, and clips {least_s:g} s long; got {self.span}, "
                f"{self.train_steps}, {self.usage_minutes:g} and {self.clip_s:g} s."
            )


class Model:
    """A run's model and what is measured of it."""

    def __init__(self, run: Path) -> None:
        codec = RunCodec(run)
        self.model = codec.model.requires_grad_(False)
        self.name, self.codec_id = codec.config.model.quantizer, codec.codec_id
        self.snapping = Snapping(self.model.quantizer)
        self.weights = {n: w for n, w in codec.config.stage[0].losses.items() if n in NAMES and w}
        self.seed, self.steps = codec.config.seed, sum(stage.steps for stage in codec.config.stage)
        self.curves = training.curves(run, self.weights)
        self.spectral = SpectralLoss()

    def measure(
        self, waves: Sequence[Wave], counted: Sequence[Wave], plan: Plan, advance: Callable[[int], None]
    ) -> dict[str, Any]:
        quantizer: Any = self.model.quantizer
        seen = [self._inside(wave) for wave in counted]
        snapped, codes = (torch.cat(parts) for parts in zip(*map(self.snapping.snap, seen), strict=True))
        error = float((torch.cat(seen) - snapped).square().mean().sqrt())
        # Evenly spread over a cell of width w, an error is w / sqrt(12): of FSQ that w is the distance of levels.
        cell = 12**0.5 * error
        used = training.usage(quantizer, codes.numpy(), plan.seed)
        records: Records = {}
        losses = []
        for index, wave in enumerate(waves):
            rng = np.random.default_rng((plan.seed, index))  # the same frames and directions for every model
            losses.append(self._clip(wave, cell, plan, rng, records))
            advance(index + 1)
        bits = getattr(quantizer, "bits_per_frame", WIDTH * 3.0)
        return {
            "codec_id": self.codec_id,
            "steps": self.steps,
            "seed": self.seed,
            "weights": self.weights,
            "unit": self.snapping.unit,
            "bits_per_frame": bits,
            "bits_used": sum(book["codes_per_frame"] * book["bits"] for book in used),
            "cell": cell,
            "spacing": training.spacing(quantizer, codes.numpy()),
            "spread": float(torch.cat(seen).std()),
            "loss": bootstrap(losses, plan.seed),
            "usage": used,
            "curves": self.curves,
            "steps_of": table(records, plan.seed),
            "records": {**records, ("loss", 0.0): [{"clips": 1, "kept": loss} for loss in losses]},
        }

    @torch.no_grad()
    def _inside(self, wave: Wave) -> Tensor:
        """What snaps, [F, D], of the whole frames of a wave."""
        n_frames = (len(wave) - LOOKAHEAD) // FRAME
        whole = torch.from_numpy(wave[: n_frames * FRAME + LOOKAHEAD].copy())[None]
        states = fresh_states(self.model.encoder.state_shapes(), 1, whole.device)
        states[0][:, HISTORY:] = whole[:, :LOOKAHEAD]
        mel, _ = self.model.encoder.log_mel(whole[:, LOOKAHEAD:], states[0])
        latent, _ = self.model.encoder(mel, states[1:])
        return self.snapping.inside(latent[0])

    def _clip(self, wave: Wave, cell: float, plan: Plan, rng: np.random.Generator, records: Records) -> float:
        """All steps of one frame of a clip; its loss."""
        y = self._inside(wave)
        frame = _loud_frame(wave, len(y), plan.span, rng)
        snap = self.snapping.snap
        target = torch.from_numpy(wave[: len(y) * FRAME].copy())[None]

        def place_of(weights: dict[str, float]) -> Place:
            losses = frame_losses(self.model, self.spectral, weights, snap(y)[0], target, frame, plan.span)
            return Place.at(y[frame], snap, losses)

        place, exact = place_of(self.weights), place_of({n: w for n, w in self.weights.items() if n != STOPPED})
        random_frames = [_gaussian(rng, plan.smoothed_directions, WIDTH) for _ in plan.steps]
        alone = {"number": _alone(rng, plan.singles, 1), "vector": _alone(rng, plan.singles, self.snapping.unit)}
        everywhere = _gaussian(rng, len(y), WIDTH)

        def add(kind: str, step: float, sums: Sums) -> None:
            records.setdefault((kind, step), []).append(sums)

        for step, directions in zip(plan.steps, random_frames, strict=True):
            size = step * cell
            smoothed = step in plan.smoothed
            few = directions[: plan.directions]
            add("frame", step, agreement(place, snap, directions if smoothed else few, size, smoothed=smoothed))
            add("frame, control", step, agreement(place, identity, few, size))
            add("number", step, agreement(place, snap, alone["number"], size))
            if self.snapping.unit > 1:
                add("vector", step, agreement(place, snap, alone["vector"], size))
            add("descent", step, descent(place, snap, size))
            add("descent, control", step, descent(place, identity, size))
            add("snapping", step, snapping(snap, y, everywhere, size, self.snapping.unit))
        few = random_frames[0][: plan.directions]
        add("check", CHECK_STEP, agreement(exact, identity, few, CHECK_STEP * cell))
        add("check, whole loss", CHECK_STEP, agreement(place, identity, few, CHECK_STEP * cell))
        return place.loss


def frame_losses(
    model: SilkModel,
    spectral: SpectralLoss,
    weights: dict[str, float],
    latent: Tensor,
    target: Tensor,
    frame: int,
    span: int,
) -> Callable[[Tensor], Tensor]:
    """The training's loss over `span` frames as a function of what the decoder sees in the first of them.

    Args:
        latent: [F, D], what it sees elsewhere. target: [1, F * 9600].
    """
    states = fresh_states(model.decoder.state_shapes(), 1, latent.device)
    with torch.no_grad():
        if frame:
            _, states = model.decoder(latent[None, :frame], states)
    rest = latent[frame + 1 : frame + span]
    part = target[:, frame * FRAME : (frame + span) * FRAME]

    def losses(rows: Tensor) -> Tensor:
        found = []
        for few in rows.split(BATCH):
            seen = torch.cat([few[:, None], rest.expand(len(few), -1, -1)], dim=1)
            wave, _ = model.decoder(seen, [state.expand(len(few), *state.shape[1:]) for state in states])
            for one in wave.split(1):
                terms = spectral(one, part)
                found.append(sum(weight * terms[name] for name, weight in weights.items()))
        return torch.stack(found)

    return losses


def _loud_frame(wave: Wave, n_frames: int, span: int, rng: np.random.Generator) -> int:
    """One of the louder half of the frames that have one before them and enough after them."""
    power = np.square(wave[: n_frames * FRAME].reshape(n_frames, FRAME)).mean(axis=1)[1 : n_frames - span + 1]
    louder = 1 + np.flatnonzero(power >= np.median(power))
    return int(rng.choice(louder))


def _gaussian(rng: np.random.Generator, n: int, width: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((n, width)).astype(np.float32))


def _alone(rng: np.random.Generator, n: int, unit: int) -> Tensor:
    """Directions [n, D] that move one vector of `unit` numbers each, one per number (root mean square)."""
    directions = np.zeros((min(n, WIDTH // unit), WIDTH // unit, unit), dtype=np.float32)
    for row, at in enumerate(rng.permutation(WIDTH // unit)[: len(directions)]):
        directions[row, at] = rng.standard_normal(unit) if unit > 1 else 1.0
    return torch.from_numpy(directions.reshape(-1, WIDTH))


def table(records: Records, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Kind -> a line a step size, with its figures."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for (kind, step), sums in records.items():
        figures = KINDS[kind.split(",")[0]] + (SMOOTHED_FIGURES if "ab" in sums[0] else ())
        entry = {"step": step, **{figure: pooled(figure, sums, seed) for figure in figures}}
        lines.setdefault(kind, []).append(entry)
    return lines
