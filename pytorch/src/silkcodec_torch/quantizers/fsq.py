# Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., 2023), https://arxiv.org/abs/2309.15505
"""Implement finite scalar quantization: squash each dimension to a range and round it, without a learned codebook.

With an even number of levels, the range is shifted by half a level, so that it rounds to exactly ``n_levels`` integers:

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
    """Hold the output of a quantizer."""

    latent: Tensor  # float32 [..., D], input of the decoder, with straight-through gradients
    codes: Tensor  # int64 [..., D] for FSQ (levels), [..., K] for codebooks
    loss: Tensor  # scalar, the quantizer's own loss (0 for FSQ)


class FSQ(nn.Module):
    """Round every dimension to one of `n_levels` values, with a straight-through gradient per dimension.

    All computation is in float32, regardless of autocast. The 8 mantissa bits of bfloat16 are too few to distinguish
    neighboring codes near a rounding boundary. The implicit codebook is not stored. For groups of 7 dimensions with 8
    levels, it would have 8^7 = 2,097,152 rows.

    Args:
        n_levels: levels per dimension, at least 2.
        eps: extension of the range beyond the outermost levels, as a fraction of the range. Finite inputs can reach
            these levels only with an extension.

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
        """Squash an unbounded latent [..., D] to the range that rounds to the levels, float32 [..., D]."""
        return torch.tanh(latent.float() + self.shift) * self.half_range - self.offset

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize an unbounded latent [..., D].

        Returns:
            The quantized latent in [-1, 1], the levels in 0..n_levels-1, and a loss of zero.
        """
        with torch.autocast(latent.device.type, enabled=False):
            bounded = self.bound(latent)
            rounded = torch.round(bounded)
            levels = rounded.detach().long() + self.half_width
            straight_through = bounded + (rounded - bounded).detach()
            return Quantized(straight_through / self.half_width, levels, latent.new_zeros((), dtype=torch.float32))

    def decode(self, levels: Tensor) -> Tensor:
        """Return the decoder's input, float32 [..., D], for integer levels [..., D] in 0..n_levels-1."""
        return (levels.float() - self.half_width) / self.half_width
