"""Implement Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) with configurable precision.

`torch.optim.Muon` always computes in bfloat16, which is very slow on processors without native bfloat16.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration, chosen for a steep slope at zero
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Update 2-D parameters with momentum and approximately orthogonal updates.

    Updates are scaled like those of AdamW, so both optimizers can share a learning rate (Liu et al., Muon is Scalable
    for LLM Training, 2025, https://arxiv.org/abs/2502.16982). In bfloat16, the results equal those of
    ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``.

    Args:
        parameters: 2-D parameters to update.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        momentum: decay of the moving average of the gradients.
        dtype: type of the matrix products in the Newton-Schulz iteration.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                moved = torch.stack([self._momentum(parameter, group["momentum"]) for parameter in parameters])
                update = orthogonalized(moved, self.dtype)
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(update.to(parameters[0].dtype)), alpha=-rate)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Update the momentum of a parameter, and return its gradient with Nesterov momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum_buffer"], momentum)


def orthogonalized(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Make matrices, [k, n, m], approximately orthogonal by Newton-Schulz iteration, computed in `dtype`."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)  # no singular value exceeds 1
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
