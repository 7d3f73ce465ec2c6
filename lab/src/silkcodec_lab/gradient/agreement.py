"""Compare the changes in training loss predicted by the straight-through estimator with the actual changes.

    predicted  <g, step>, where g is the gradient of the loss L at the quantized latent
    actual     (L(quantize(y + step)) - L(quantize(y - step))) / 2

y is the vector that is quantized, and a step is a change in y. For a codebook, y is the latent. For FSQ, y is the
output of the tanh. The loss L(quantize(y)) is a piecewise constant function of y, so the agreement depends on the size
of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from silkcodec.evaluate.statistics import percentiles, resamples
from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.quantizers import FSQ

Floats = NDArray[np.float64]
Sums = dict[str, Any]  # keyed by name: a float for one clip, or an array [resamples] for the bootstrap
Quantize = Callable[[Tensor], tuple[Tensor, Tensor]]  # y [n, D] -> quantized latent [n, D], codes [n, K]

SHARE_UNDEFINED = 0.025  # maximum share of resamples in which a statistic can be undefined


class SplitQuantizer:
    """Split a quantizer into a smooth function and the rounding or codebook search that follows.

    Attributes:
        unit: Number of values that are quantized together: 1 for FSQ, or the length of a codebook entry.
    """

    def __init__(self, quantizer: nn.Module) -> None:
        self.quantizer: Any = quantizer.eval()
        self.unit = 1 if isinstance(quantizer, FSQ) else LATENT_WIDTH // self.quantizer.vectors

    def inside(self, latent: Tensor) -> Tensor:
        """Apply the quantizer's smooth function, such as FSQ's tanh, to a latent, [..., D]."""
        if isinstance(self.quantizer, FSQ):
            return self.quantizer.bound(latent) / self.quantizer.half_width
        return latent.float()

    def quantize(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize the output of `inside`. Return the quantized latent and the codes."""
        if isinstance(self.quantizer, FSQ):
            levels = torch.round(y * self.quantizer.half_width).long() + self.quantizer.half_width
            codes = levels.clamp(0, self.quantizer.n_levels - 1)
        else:
            codes = self.quantizer(y).codes
        return self.quantizer.decode(codes), codes


def identity(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return `y` unchanged, as both the quantized latent and the codes.

    This function replaces the quantizer in the control measurement.
    """
    return y, y


@dataclass(frozen=True)
class OperatingPoint:
    """Hold one frame of a clip, and the loss as a function of the frame's quantized latent.

    Attributes:
        y: Vector to quantize, [D].
        quantized: Quantized latent, [D].
        losses: Function that maps quantized latents ([n, D]) to losses ([n]).
        gradient: Gradient of the loss at `quantized`, [D].
        loss: Loss at `quantized`.
    """

    y: Tensor
    quantized: Tensor
    losses: Callable[[Tensor], Tensor]
    gradient: Tensor
    loss: float

    @staticmethod
    def at(y: Tensor, quantize: Quantize, losses: Callable[[Tensor], Tensor]) -> OperatingPoint:
        """Return the operating point for `y`, with the loss and its gradient at the quantized latent."""
        quantized = quantize(y[None])[0].detach()
        leaf = y[None].detach().clone().requires_grad_(True)
        with torch.enable_grad():
            loss = losses(leaf + (quantized - leaf).detach()).sum()
            (gradient,) = torch.autograd.grad(loss, leaf)
        return OperatingPoint(y, quantized[0], losses, gradient[0], float(loss.detach()))


# --- effects of steps


@torch.no_grad()
def changes(point: OperatingPoint, quantize: Quantize, steps: Tensor) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the actual changes in the loss if the vector to quantize is changed by the given steps, [n, D].

    Returns:
        Half the difference between the losses after the positive and the negative step (float64 [n]), and whether the
            two steps give different codes (bool [n]).
    """
    start = point.quantized if quantize is identity else point.y
    (high, high_codes), (low, low_codes) = quantize(start + steps), quantize(start - steps)
    moved = (high_codes != low_codes).any(dim=-1)
    found = torch.zeros(len(steps), dtype=torch.float64)
    if moved.any():
        both = point.losses(torch.cat([high[moved], low[moved]])).double()
        found[moved] = (both[: len(both) // 2] - both[len(both) // 2 :]) / 2
    return found.numpy(), moved.numpy()


def agreement(
    point: OperatingPoint, quantize: Quantize, directions: Tensor, size: float, *, smoothed: bool = False
) -> Sums:
    """Compare predicted and actual changes in the loss for random steps.

    Args:
        point: Operating point.
        quantize: Quantization function, or `identity` for the control.
        directions: Directions of the steps, [n, D]. If `smoothed` is True, they must be standard Gaussian samples.
        size: Step size. Each step is `size` times a direction.
        smoothed: Whether to also estimate the gradient of the smoothed loss, i.e. the mean loss with Gaussian noise of
            standard deviation `size`.

    Returns:
        Sums over the steps, from which `STATISTICS` are computed.
    """
    norm = max(float(point.gradient.norm()), 1e-30)
    unit = (point.gradient / norm).double().numpy()
    along = directions.double().numpy()
    actual, moved = changes(point, quantize, size * directions)
    actual, predicted = actual / (size * norm), along @ unit
    sums = {
        "n": len(predicted),
        "moved": int(moved.sum()),
        "same_sign": int((actual * predicted > 0)[moved].sum()),
        "sp": float(actual @ predicted),
        "ss": float(actual @ actual),
        "pp": float(predicted @ predicted),
    }
    if smoothed:
        excess = (actual - predicted)[:, None] * along
        first, second = unit + excess[::2].mean(axis=0), unit + excess[1::2].mean(axis=0)
        sums |= {"clips": 1, "dot": float(unit @ (first + second) / 2), "ab": float(first @ second)}
    return sums


def descent(point: OperatingPoint, quantize: Quantize, size: float) -> Sums:
    """Measure the decrease in the loss after a step against the gradient, relative to the predicted decrease.

    Args:
        point: Operating point.
        quantize: Quantization function, or `identity` for the control.
        size: RMS of the step.
    """
    norm = max(float(point.gradient.norm()), 1e-30)
    length = size * len(point.gradient) ** 0.5
    step = point.gradient / norm * length
    start = point.quantized if quantize is identity else point.y
    with torch.no_grad():
        there, codes = quantize((start - step)[None])
        moved = bool((codes != quantize(start[None])[1]).any())
        change = float(point.losses(there)[0]) - point.loss if moved else 0.0
    return {"clips": 1, "kept": -change / (norm * length)}


@torch.no_grad()
def quantizer_agreement(quantize: Quantize, y: Tensor, directions: Tensor, size: float, unit: int) -> Sums:
    """Compare changes in a vector with the resulting changes in the quantized vector.

    The straight-through estimator assumes that these changes are equal.

    Args:
        quantize: Quantization function.
        y: Vector to quantize, [D].
        directions: Directions of the steps, [n, D].
        size: Step size. Each step is `size` times a direction.
        unit: Number of values that are quantized together.

    Returns:
        Sums over the steps, from which `STATISTICS` are computed.
    """
    moved = ((quantize(y + size * directions)[0] - quantize(y - size * directions)[0]) / (2 * size)).double()
    along = directions.double()
    still = (moved.unflatten(-1, (-1, unit)) == 0).all(dim=-1)
    return {
        "n": still.numel(),
        "moved": int((~still).sum()),
        "sp": float((moved * along).sum()),
        "ss": float(moved.square().sum()),
        "pp": float(along.square().sum()),
    }


# --- statistics of the sums over clips, with bootstrap intervals over clips

STATISTICS: dict[str, Callable[[Sums], Any]] = {
    "no_effect": lambda s: 1 - s["moved"] / s["n"],
    "same_sign": lambda s: s["same_sign"] / s["moved"],  # share of the steps that change a code
    "correlation": lambda s: s["sp"] / np.sqrt(s["ss"] * s["pp"]),  # predicted and actual changes, both with mean 0
    "slope": lambda s: s["sp"] / s["pp"],  # regression slope of actual on predicted changes
    "size": lambda s: np.sqrt(s["ss"] / s["pp"]),  # ratio of the RMS of actual and predicted changes
    "cosine": lambda s: s["dot"] / np.sqrt(s["ab"] * s["clips"]),  # between the gradients of actual and smoothed loss
    "norm": lambda s: np.sqrt(s["ab"] / s["clips"]),  # norm of the smoothed gradient relative to the estimator's
    "kept": lambda s: s["kept"] / s["clips"],
}


def pooled(statistic: str, records: Sequence[Sums], seed: int = 0) -> dict[str, Any]:
    """Return a statistic over all clips with its 95 % bootstrap interval.

    Args:
        statistic: Key in `STATISTICS`.
        records: Sums for each clip.
        seed: Random seed for the bootstrap.

    Returns:
        A dictionary with the keys "mean", "low", "high" and "n". The first three are None if the statistic is undefined
            in more than 2.5 % of the resamples.
    """
    return _summary(*_bootstrap(statistic, records, seed), len(records))


def difference(statistic: str, first: Sequence[Sums], second: Sequence[Sums], seed: int = 0) -> dict[str, Any]:
    """Return the difference in a statistic (first model minus second), with its 95 % bootstrap interval over clips."""
    (mean, draws), (other, others) = _bootstrap(statistic, first, seed), _bootstrap(statistic, second, seed)
    return _summary(mean - other, draws - others, len(first))


def _bootstrap(statistic: str, records: Sequence[Sums], seed: int) -> tuple[float, Floats]:
    chosen = resamples(len(records), seed)
    values = {name: np.array([record[name] for record in records], dtype=np.float64) for name in records[0]}
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = STATISTICS[statistic]({name: array.sum() for name, array in values.items()})
        draws = STATISTICS[statistic]({name: array[chosen].sum(axis=1) for name, array in values.items()})
    return float(mean), draws


def _summary(mean: float, draws: Floats, n: int) -> dict[str, Any]:
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(mean) or len(defined) < (1 - SHARE_UNDEFINED) * len(draws):
        return {"mean": None, "low": None, "high": None, "n": n}
    return {"mean": mean, **percentiles(defined), "n": n}
