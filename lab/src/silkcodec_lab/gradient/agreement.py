"""The change of the loss that the straight-through estimator predicts for a step of the latent, and the actual one.

    predicted  <g, step>, g = the decoder's gradient at the quantized latent, which the estimator passes on unchanged
    actual     (L(snap(y + step)) - L(snap(y - step))) / 2, through quantizer and decoder

y is what snaps: of FSQ the bounded number (tanh before it is smooth, its gradient exact), of a codebook the latent.
L(snap(y)) is piecewise constant: at almost every y its gradient is 0. What a step does depends on its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from silkcodec.quantizers import FSQ

Floats = NDArray[np.float64]
Sums = dict[str, Any]  # of one clip, or of all clips of each draw: name -> float or [draws]
Snap = Callable[[Tensor], tuple[Tensor, Tensor]]  # y [n, D] -> what the decoder sees [n, D], codes [n, K]

N_DRAWS = 2_000
SHARE_UNDEFINED = 0.025  # of the draws: above it, a figure is undefined


class Snapping:
    """A quantizer in two parts: what is smooth before it snaps, and the snapping.

    Attributes:
        unit: numbers that snap together: 1, or the length of a codebook's entries.
    """

    def __init__(self, quantizer: nn.Module) -> None:
        self.quantizer: Any = quantizer.eval()
        self.unit = 1 if isinstance(quantizer, FSQ) else 128 // self.quantizer.vectors

    def inside(self, latent: Tensor) -> Tensor:
        """latent [..., D] -> y [..., D], in the units of what the decoder sees."""
        if isinstance(self.quantizer, FSQ):
            return self.quantizer.bound(latent) / self.quantizer.half_width
        return latent.float()

    def snap(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y [..., D] -> what the decoder sees [..., D], and the codes. FSQ: beyond the range is the outermost level."""
        if isinstance(self.quantizer, FSQ):
            levels = torch.round(y * self.quantizer.half_width).long() + self.quantizer.half_width
            codes = levels.clamp(0, self.quantizer.n_levels - 1)
        else:
            codes = self.quantizer(y).codes
        return self.quantizer.decode(codes), codes


def identity(y: Tensor) -> tuple[Tensor, Tensor]:
    """The control: nothing snaps, so that what is left of a disagreement is the decoder's curvature."""
    return y, y


@dataclass(frozen=True)
class Place:
    """One frame of a clip, and the loss as a function of what the decoder sees there.

    Attributes:
        y: [D], before snapping. snapped: [D].
        losses: [n, D] -> [n], without a gradient.
        gradient: [D], of the loss at `snapped`: what the estimator passes to y.
        loss: at `snapped`.
    """

    y: Tensor
    snapped: Tensor
    losses: Callable[[Tensor], Tensor]
    gradient: Tensor
    loss: float

    @staticmethod
    def at(y: Tensor, snap: Snap, losses: Callable[[Tensor], Tensor]) -> Place:
        """The gradient is taken as training takes it: straight through, from the loss to y."""
        snapped = snap(y[None])[0].detach()
        leaf = y[None].detach().clone().requires_grad_(True)
        with torch.enable_grad():
            loss = losses(leaf + (snapped - leaf).detach()).sum()
            (gradient,) = torch.autograd.grad(loss, leaf)
        return Place(y, snapped[0], losses, gradient[0], float(loss.detach()))


# --- what steps do


@torch.no_grad()
def changes(place: Place, snap: Snap, steps: Tensor) -> tuple[Floats, NDArray[np.bool_]]:
    """steps [n, D] -> half the loss's difference between y + step and y - step, [n]; whether the codes differ, [n].

    Where they do not differ nothing is computed: the change is 0.
    """
    start = place.snapped if snap is identity else place.y
    (high, high_codes), (low, low_codes) = snap(start + steps), snap(start - steps)
    moved = (high_codes != low_codes).any(dim=-1)
    found = torch.zeros(len(steps), dtype=torch.float64)
    if moved.any():
        both = place.losses(torch.cat([high[moved], low[moved]])).double()
        found[moved] = (both[: len(both) // 2] - both[len(both) // 2 :]) / 2
    return found.numpy(), moved.numpy()


def agreement(place: Place, snap: Snap, directions: Tensor, size: float, *, smoothed: bool = False) -> Sums:
    """Return sums over steps of `size` times each direction [n, D], in units of size times |gradient|.

    Args:
        directions: standard Gaussian in all numbers where `smoothed`; else any.
        smoothed: also estimate the gradient of the loss smoothed by Gaussian noise of this size,
            E[actual * direction] / size, from each half of the steps alone. The prediction is a control variate: its
            own expectation, the gradient, is known, so only what differs from it has to be averaged.
    """
    norm = max(float(place.gradient.norm()), 1e-30)
    unit = (place.gradient / norm).double().numpy()
    along = directions.double().numpy()
    actual, moved = changes(place, snap, size * directions)
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
        beyond = (actual - predicted)[:, None] * along
        first, second = unit + beyond[::2].mean(axis=0), unit + beyond[1::2].mean(axis=0)
        sums |= {"clips": 1, "dot": float(unit @ (first + second) / 2), "ab": float(first @ second)}
        sums |= {"aa": float(first @ first), "bb": float(second @ second)}
    return sums


def descent(place: Place, snap: Snap, size: float) -> Sums:
    """Return the decrease of the loss by a step against the gradient, as a share of the predicted one.

    `size` is the root mean square per number.

    From where nothing has snapped yet, y; for the control from the snapped latent.
    """
    norm = max(float(place.gradient.norm()), 1e-30)
    length = size * len(place.gradient) ** 0.5
    step = place.gradient / norm * length
    start = place.snapped if snap is identity else place.y
    with torch.no_grad():
        there, codes = snap((start - step)[None])
        moved = bool((codes != snap(start[None])[1]).any())
        change = float(place.losses(there)[0]) - place.loss if moved else 0.0
    return {"clips": 1, "moved": int(moved), "lowered": int(change < 0), "kept": -change / (norm * length)}


@torch.no_grad()
def snapping(snap: Snap, y: Tensor, directions: Tensor, size: float, unit: int) -> Sums:
    """The quantizer alone: how what the decoder sees moves when y [n, D] moves by +- size * directions [n, D].

    The estimator takes the movement for the step itself. `still`: units that did not move, of all.
    """
    moved = ((snap(y + size * directions)[0] - snap(y - size * directions)[0]) / (2 * size)).double()
    along = directions.double()
    still = (moved.unflatten(-1, (-1, unit)) == 0).all(dim=-1)
    return {
        "n": still.numel(),
        "moved": int((~still).sum()),
        "sp": float((moved * along).sum()),
        "ss": float(moved.square().sum()),
        "pp": float(along.square().sum()),
    }


# --- figures of sums over clips, with bootstrap intervals over clips

FIGURES: dict[str, Callable[[Sums], Any]] = {
    "no_effect": lambda s: 1 - s["moved"] / s["n"],
    "same_sign": lambda s: s["same_sign"] / s["moved"],  # of the steps that moved a code
    "correlation": lambda s: s["sp"] / np.sqrt(s["ss"] * s["pp"]),  # of predicted and actual changes; both have mean 0
    "slope": lambda s: s["sp"] / s["pp"],  # actual per predicted change
    "size": lambda s: np.sqrt(s["ss"] / s["pp"]),  # of the actual changes, per predicted one
    "cosine": lambda s: s["dot"] / np.sqrt(s["ab"] * s["clips"]),  # of the gradient and the smoothed loss's
    "norm": lambda s: np.sqrt(s["ab"] / s["clips"]),  # of the smoothed loss's gradient, per the estimator's
    "reliability": lambda s: s["ab"] / np.sqrt(s["aa"] * s["bb"]),  # cosine of two halves of the estimate
    "kept": lambda s: s["kept"] / s["clips"],
    "lowered": lambda s: s["lowered"] / s["clips"],
    "unmoved": lambda s: 1 - s["moved"] / s["clips"],
}


def pooled(figure: str, records: Sequence[Sums], seed: int = 0) -> dict[str, Any]:
    """One of `FIGURES` of the sums over clips, and its 95 % bootstrap interval over clips.

    Returns:
        {"mean", "low", "high", "n"}, the first three None where it is undefined (0/0, the root of a negative estimate)
        in more than 2.5 % of the draws.
    """
    return _figure(*_drawn(figure, records, seed), len(records))


def difference(figure: str, ours: Sequence[Sums], theirs: Sequence[Sums], seed: int = 0) -> dict[str, Any]:
    """`pooled` of one minus the other, the same clips in the same order, drawn together."""
    (mean, draws), (other, others) = _drawn(figure, ours, seed), _drawn(figure, theirs, seed)
    return _figure(mean - other, draws - others, len(ours))


def _drawn(figure: str, records: Sequence[Sums], seed: int) -> tuple[float, Floats]:
    n = len(records)
    chosen = np.random.default_rng(seed).integers(0, n, size=(N_DRAWS, n))
    values = {name: np.array([record[name] for record in records], dtype=np.float64) for name in records[0]}
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = FIGURES[figure]({name: array.sum() for name, array in values.items()})
        draws = FIGURES[figure]({name: array[chosen].sum(axis=1) for name, array in values.items()})
    return float(mean), draws


def _figure(mean: float, draws: Floats, n: int) -> dict[str, Any]:
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(mean) or len(defined) < (1 - SHARE_UNDEFINED) * len(draws):
        return {"mean": None, "low": None, "high": None, "n": n}
    low, high = np.percentile(defined, [2.5, 97.5])
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}
