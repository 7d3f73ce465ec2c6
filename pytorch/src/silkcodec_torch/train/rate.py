"""Estimate the bits that a language model needs for the tokens, as a loss that makes tokens easier to predict.

A small causal model predicts each level from the previous frames and from the preceding dimensions of the same frame.
It is trained together with the codec and is not exported. Prior art: the rate term of learned compression, with a
conditional entropy model (Minnen et al., 2018, https://arxiv.org/abs/1809.02736).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class RateLoss(nn.Module):
    """Compute the mean cost of a level in bits under a causal model.

    Without prediction, a level costs log2(8) = 3 bits. The model's parameters get the gradient of the cost. The encoder
    gets two gradients. One goes through the context, because a frame can make later frames easier to predict. The other
    is the slope of the cost at the chosen level, i.e. half the difference between the costs of the two adjacent levels.

    Args:
        n_dims: dimensions per frame (D).
        n_levels: levels per dimension (L).
        width: size of the recurrent state that summarizes the previous frames.
    """

    def __init__(self, n_dims: int = 128, n_levels: int = 8, width: int = 256):
        super().__init__()
        self.n_levels = n_levels
        self.past = nn.GRU(n_dims, width, batch_first=True)
        self.from_past = nn.Linear(width, n_dims * n_levels)
        self.within = nn.Parameter(torch.zeros(n_dims, n_levels, n_dims))
        self.register_buffer("preceding", torch.ones(n_dims, n_dims).tril(-1)[:, None], persistent=False)
        # At first, every level has the same probability. The encoder then gets no gradient until the model has learned.
        nn.init.zeros_(self.from_past.weight)
        nn.init.zeros_(self.from_past.bias)

    def costs(self, latent: Tensor) -> Tensor:
        """Return the cost in bits of every possible level, float32 [B, F, D, L], for a latent, float32 [B, F, D]."""
        before = functional.pad(self.past(latent)[0][:, :-1], (0, 0, 1, 0))  # state after the previous frame
        logits = self.from_past(before).unflatten(2, (-1, self.n_levels))
        logits = logits + torch.einsum("bfe,dle->bfdl", latent, self.within * self.preceding)
        return -torch.log_softmax(logits, dim=3) / math.log(2)

    def forward(self, latent: Tensor, levels: Tensor) -> Tensor:
        """Return the mean cost of a level in bits, as a scalar.

        Args:
            latent: quantized latent in [-1, 1] with straight-through gradients, float32 [B, F, D].
            levels: levels of the latent, int64 [B, F, D].
        """
        costs = self.costs(latent)
        cost = costs.gather(3, levels[..., None])[..., 0]
        below, above = (levels - 1).clamp(min=0), (levels + 1).clamp(max=self.n_levels - 1)
        with torch.no_grad():
            rise = costs.gather(3, above[..., None]) - costs.gather(3, below[..., None])
            slope = rise[..., 0] / (above - below)
        position = latent * (self.n_levels // 2)  # in levels
        return (cost + slope * (position - position.detach())).mean()
