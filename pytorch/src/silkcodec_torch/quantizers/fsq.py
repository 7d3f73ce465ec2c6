# Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., 2023), https://arxiv.org/abs/2309.15505
"""Implement finite scalar quantization: bound each dimension and round it, without a learned codebook.

With an even number of levels, the range is shifted by half a level, so that values round to exactly ``n_levels``
integers:

    level      0    1    2    3    4    5    6    7
    rounded   -4   -3   -2   -1    0    1    2    3        = level - n_levels // 2
    decoder  -1.0 -.75 -.50 -.25   0  .25  .50  .75        = rounded / (n_levels // 2)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Hold the output of a quantizer.

    Attributes:
        latent: quantized latent, float32 [..., D], with straight-through gradients.
        codes: int64 [..., K]. For FSQ, the codes are the levels, and K = D.
        loss: quantizer loss, a scalar. It is 0 for FSQ.
    """

    latent: Tensor
    codes: Tensor
    loss: Tensor


class FSQ(nn.Module):
    """Round every dimension to one of `n_levels` values, with straight-through gradients.

    All computation is in float32, because bfloat16 cannot resolve values near a rounding boundary.

    Args:
        n_levels: levels per dimension, at least 2.
        eps: relative extension of the range, so that finite inputs can reach the outermost levels.

    Raises:
        ValueError: `n_levels` is less than 2.
    """

    def __init__(self, n_levels: int = 8, eps: float = 1e-3):
        super().__init__()
        if n_levels < 2:
            raise ValueError(f"n_levels must be at least 2; got {n_levels}.")
        self.n_levels = n_levels
        self.half_width = n_levels // 2
        self.half_range = (n_levels - 1) * (1 + eps) / 2
        self.offset = 0.5 if n_levels % 2 == 0 else 0.0
        self.shift = math.atanh(self.offset / self.half_range)

    def bound(self, latent: Tensor) -> Tensor:
        """Bound a latent so that its values round to `n_levels` integers.

        Args:
            latent: unbounded values, float [..., D].

        Returns:
            The bounded latent, float32 [..., D].
        """
        return torch.tanh(latent.float() + self.shift) * self.half_range - self.offset

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize a latent.

        Args:
            latent: unbounded values, float [..., D].

        Returns:
            The quantized latent in [-1, 1], float32 [..., D]; the levels, int64 [..., D]; and a loss of zero.
        """
        with torch.autocast(latent.device.type, enabled=False):
            bounded = self.bound(latent)
            rounded = torch.round(bounded)
            levels = rounded.detach().long() + self.half_width
            straight_through = bounded + (rounded - bounded).detach()
            return Quantized(straight_through / self.half_width, levels, latent.new_zeros((), dtype=torch.float32))

    def decode(self, levels: Tensor) -> Tensor:
        """Return the latent for the given levels, float32 [..., D].

        Args:
            levels: integers [..., D] in 0..n_levels-1.
        """
        return (levels.float() - self.half_width) / self.half_width
