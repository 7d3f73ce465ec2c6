"""Change the latent of one frame of a clip, and compare predicted with actual changes in the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silkcodec.audio import Wave
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.statistics import bootstrap
from silkcodec.mel import FRAME, HISTORY, LOOKAHEAD, SAMPLE_RATE
from silkcodec.spec import LATENT_WIDTH
from silkcodec_lab.gradient import trained_run
from silkcodec_lab.gradient.agreement import (
    OperatingPoint,
    SplitQuantizer,
    Sums,
    agreement,
    descent,
    identity,
    pooled,
    quantizer_agreement,
)
from silkcodec_lab.run_codec import RunCodec
from silkcodec_lab.selection import check_positive
from silkcodec_torch.nn.model import SilkNetwork, fresh_states
from silkcodec_torch.train.losses import NAMES, SpectralLoss

BATCH = 32  # number of latents to decode at a time
CHECK_STEP = 0.003  # cells; small enough that the decoder is linear, and large enough for float32
STOPPED = "loudness"  # loss term whose gradient treats one of its factors as constant, see train/perceptual.py
FRAME_STATISTICS = ("no_effect", "correlation", "slope", "size")
SMOOTHED_STATISTICS = ("cosine", "norm")
ONE_STATISTICS = ("no_effect", "same_sign", "correlation", "slope", "size")
QUANTIZER_STATISTICS = ("no_effect", "correlation", "slope", "size")
KINDS = {
    "frame": FRAME_STATISTICS,
    "vector": ONE_STATISTICS,
    "number": ONE_STATISTICS,
    "descent": ("kept",),
    "quantizer": QUANTIZER_STATISTICS,
    "check": ("correlation", "slope"),
}

Records = dict[tuple[str, float], list[Sums]]  # (kind of step, step size in cells) -> sums for each clip


@dataclass(frozen=True)
class GradientPlan:
    """Hold the settings of the gradient experiment. A step is a change to the latent of one frame.

    Attributes:
        steps: Step sizes, as the RMS change per value in units of quantization cells.
        directions: Number of random steps per clip and step size, except for step sizes in `smoothed`. Controls use
            this number at all step sizes.
        smoothed: Step sizes at which to estimate the gradient of the smoothed loss. They must be in `steps`.
        smoothed_directions: Number of random steps per clip for each step size in `smoothed`.
        singles: Number of steps that change only one value. This is also the maximum number of steps that change only
            one vector.
        span: Number of frames over which the loss is computed, starting at the changed frame.
        clip_s: Maximum duration of each clip in seconds.
        usage_minutes: Maximum duration of the speech in which codes are counted, in minutes.
        train_steps: Number of training steps of the tiny models that are trained if no runs are given.
        seed: Random seed.
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
        """Raise ArgumentError if a setting is invalid."""
        if not self.steps:
            raise ArgumentError("steps must contain at least one step size.")
        for step in self.steps:
            check_positive("A step size", step)
        if not (set(self.smoothed) <= set(self.steps) and 2 <= self.directions <= self.smoothed_directions):
            raise ArgumentError(
                "smoothed must be a subset of steps, and directions must be between 2 and smoothed_directions; got "
                f"smoothed={self.smoothed}, directions={self.directions} and "
                f"smoothed_directions={self.smoothed_directions}."
            )
        if not 1 <= self.singles <= LATENT_WIDTH:
            raise ArgumentError(f"singles must be between 1 and {LATENT_WIDTH}; got {self.singles}.")
        check_positive("--seconds", self.clip_s)
        check_positive("--usage-minutes", self.usage_minutes)
        least_s = (self.span + 1) * FRAME / SAMPLE_RATE
        if self.span < 1 or self.clip_s < least_s or self.train_steps < 1:
            raise ArgumentError(
                f"span and train_steps must be above 0, and --seconds must be at least {least_s:g}; got "
                f"span={self.span}, train_steps={self.train_steps} and --seconds {self.clip_s:g}."
            )


class Model:
    """Load the model of a training run and measure the accuracy of its straight-through gradients."""

    def __init__(self, run: Path) -> None:
        codec = RunCodec(run)
        self.model = codec.model.requires_grad_(False)
        self.name, self.codec_id = codec.config.model.quantizer, codec.codec_id
        self.split_quantizer = SplitQuantizer(self.model.quantizer)
        self.weights = {n: w for n, w in codec.config.stage[0].losses.items() if n in NAMES and w}
        self.seed, self.steps = codec.config.seed, codec.n_steps
        self.curves = trained_run.curves(run, self.weights)
        self.spectral = SpectralLoss()

    def measure(
        self, waves: Sequence[Wave], counted: Sequence[Wave], plan: GradientPlan, advance: Callable[[int], None]
    ) -> dict[str, Any]:
        """Measure the accuracy of the gradients and the code usage of the model.

        Args:
            waves: Clips in which to change the latent of one frame.
            counted: Clips in which to count codes.
            plan: Settings of the experiment.
            advance: Callback that is called with the number of finished clips.

        Returns:
            The model's entry in the result, plus a "records" key with the sums for each clip.
        """
        quantizer: Any = self.model.quantizer
        seen = [self._inside(wave) for wave in counted]
        quantized, codes = (torch.cat(parts) for parts in zip(*map(self.split_quantizer.quantize, seen), strict=True))
        error = float((torch.cat(seen) - quantized).square().mean().sqrt())
        # The RMS of an error that is uniform in a cell of width w is w / sqrt(12).
        # For FSQ, w is the distance between levels.
        cell = 12**0.5 * error
        used = trained_run.usage(quantizer, codes.numpy(), plan.seed)
        records: Records = {}
        losses = []
        for index, wave in enumerate(waves):
            rng = np.random.default_rng((plan.seed, index))  # gives all models the same frames and directions
            losses.append(self._clip(wave, cell, plan, rng, records))
            advance(index + 1)
        bits = getattr(quantizer, "bits_per_frame", LATENT_WIDTH * 3.0)
        return {
            "codec_id": self.codec_id,
            "steps": self.steps,
            "seed": self.seed,
            "weights": self.weights,
            "unit": self.split_quantizer.unit,
            "bits_per_frame": bits,
            "bits_used": sum(book["codes_per_frame"] * book["bits"] for book in used),
            "cell": cell,
            "spacing": trained_run.spacing(quantizer, codes.numpy()),
            "loss": bootstrap(losses, plan.seed),
            "usage": used,
            "curves": self.curves,
            "steps_of": table(records, plan.seed),
            "records": {**records, ("loss", 0.0): [{"clips": 1, "kept": loss} for loss in losses]},
        }

    @torch.no_grad()
    def _inside(self, wave: Wave) -> Tensor:
        """Return the latent before rounding or codebook search, [F, D], for all complete frames of a waveform."""
        n_frames = (len(wave) - LOOKAHEAD) // FRAME
        whole = torch.from_numpy(wave[: n_frames * FRAME + LOOKAHEAD].copy())[None]
        states = fresh_states(self.model.encoder.state_shapes(), 1, whole.device)
        states[0][:, HISTORY:] = whole[:, :LOOKAHEAD]
        mel, _ = self.model.encoder.log_mel(whole[:, LOOKAHEAD:], states[0])
        latent, _ = self.model.encoder(mel, states[1:])
        return self.split_quantizer.inside(latent[0])

    def _clip(self, wave: Wave, cell: float, plan: GradientPlan, rng: np.random.Generator, records: Records) -> float:
        """Measure the effects of changing the latent of one frame.

        Args:
            wave: Samples of the clip.
            cell: Width of a quantization cell.
            plan: Settings of the experiment.
            rng: Random generator for the frame and the steps.
            records: Sums for each clip. The sums for this clip are appended.

        Returns:
            The loss for the unchanged latent.
        """
        y = self._inside(wave)
        frame = _loud_frame(wave, len(y), plan.span, rng)
        quantize = self.split_quantizer.quantize
        target = torch.from_numpy(wave[: len(y) * FRAME].copy())[None]

        def point_of(weights: dict[str, float]) -> OperatingPoint:
            losses = frame_losses(self.model, self.spectral, weights, quantize(y)[0], target, frame, plan.span)
            return OperatingPoint.at(y[frame], quantize, losses)

        point, exact = point_of(self.weights), point_of({n: w for n, w in self.weights.items() if n != STOPPED})
        random_frames = [_gaussian(rng, plan.smoothed_directions, LATENT_WIDTH) for _ in plan.steps]
        alone = {"number": _alone(rng, plan.singles, 1), "vector": _alone(rng, plan.singles, self.split_quantizer.unit)}
        everywhere = _gaussian(rng, len(y), LATENT_WIDTH)

        def add(kind: str, step: float, sums: Sums) -> None:
            records.setdefault((kind, step), []).append(sums)

        for step, directions in zip(plan.steps, random_frames, strict=True):
            size = step * cell
            smoothed = step in plan.smoothed
            few = directions[: plan.directions]
            add("frame", step, agreement(point, quantize, directions if smoothed else few, size, smoothed=smoothed))
            add("frame, control", step, agreement(point, identity, few, size))
            add("number", step, agreement(point, quantize, alone["number"], size))
            if self.split_quantizer.unit > 1:
                add("vector", step, agreement(point, quantize, alone["vector"], size))
            add("descent", step, descent(point, quantize, size))
            add("descent, control", step, descent(point, identity, size))
            add("quantizer", step, quantizer_agreement(quantize, y, everywhere, size, self.split_quantizer.unit))
        few = random_frames[0][: plan.directions]
        add("check", CHECK_STEP, agreement(exact, identity, few, CHECK_STEP * cell))
        add("check, whole loss", CHECK_STEP, agreement(point, identity, few, CHECK_STEP * cell))
        return point.loss


def frame_losses(
    model: SilkNetwork,
    spectral: SpectralLoss,
    weights: dict[str, float],
    latent: Tensor,
    target: Tensor,
    frame: int,
    span: int,
) -> Callable[[Tensor], Tensor]:
    """Return a function that maps quantized latents of one frame ([n, D]) to training losses ([n]).

    Args:
        model: Network of the training run.
        spectral: Spectral loss used in training.
        weights: Weights of the losses, keyed by name.
        latent: Quantized latents of the clip, [F, D].
        target: Waveform of the clip, [1, F * 9600].
        frame: Index of the frame whose latent varies.
        span: Number of frames over which the loss is computed, starting at `frame`.
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
    """Return the index of a random frame whose power is at least the median of the clip.

    The first frame and the last `span` - 1 frames are excluded.
    """
    power = np.square(wave[: n_frames * FRAME].reshape(n_frames, FRAME)).mean(axis=1)[1 : n_frames - span + 1]
    louder = 1 + np.flatnonzero(power >= np.median(power))
    return int(rng.choice(louder))


def _gaussian(rng: np.random.Generator, n: int, width: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((n, width)).astype(np.float32))


def _alone(rng: np.random.Generator, n: int, unit: int) -> Tensor:
    """Return up to `n` random steps, [N, D], that each change only `unit` adjacent values."""
    directions = np.zeros((min(n, LATENT_WIDTH // unit), LATENT_WIDTH // unit, unit), dtype=np.float32)
    for row, at in enumerate(rng.permutation(LATENT_WIDTH // unit)[: len(directions)]):
        directions[row, at] = rng.standard_normal(unit) if unit > 1 else 1.0
    return torch.from_numpy(directions.reshape(-1, LATENT_WIDTH))


def table(records: Records, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return the statistics for each step size, keyed by kind of step, e.g. "frame" or "frame, control"."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for (kind, step), sums in records.items():
        names = KINDS[kind.split(",")[0]] + (SMOOTHED_STATISTICS if "ab" in sums[0] else ())
        entry = {"step": step, **{name: pooled(name, sums, seed) for name in names}}
        lines.setdefault(kind, []).append(entry)
    return lines
