"""Find FSQ dimensions that always have the same level, and reset them without changing the decoded audio.

If the input of a dimension is far outside the quantizer's range, it gets no gradient, and its level never changes.
Stuck dimensions are the FSQ equivalent of dead codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.quantizers.fsq import FSQ

MIN_FRAMES = 100  # With fewer frames, dimensions that rarely change would be reported as stuck.


@torch.no_grad()
def reset(model: SilkNetwork, waves: Sequence[np.ndarray]) -> list[int]:
    """Reset the stuck dimensions of a model in place, and return their indices.

    A dimension is stuck if it has the same level in every frame of the clips. No dimension is reset for other
    quantizers, or if the clips are shorter than 40 s in total.

    The encoder's weights for a stuck dimension are replaced with random weights. The decoder's weights for the
    dimension are set to zero, and the decoder's bias is adjusted so that the decoded audio does not change.
    """
    if not isinstance(model.quantizer, FSQ):
        return []
    fold, unfold = model.encoder.fold, model.decoder.unfold
    known: list[Tensor] = []
    hook = fold.register_forward_pre_hook(lambda _module, inputs: known.append(inputs[0].flatten(0, 1).float()))
    codes = _encoded(model, waves)
    hook.remove()
    frames = torch.cat(known)  # [F, W]
    seen = model.quantizer.decode(codes[0])  # [D]
    dimensions = _stuck(codes)
    for dimension in dimensions:
        direction = torch.randn_like(fold.weight[dimension])
        along = frames @ direction
        fold.weight[dimension] = direction / along.std()
        fold.bias[dimension] = -along.mean() / along.std()
        unfold.bias += unfold.weight[:, dimension] * seen[dimension]
        unfold.weight[:, dimension] = 0
    return dimensions


def _encoded(model: SilkNetwork, waves: Sequence[np.ndarray]) -> Tensor:
    """Return the codes of all frames of the clips, int64 [F, D]."""
    device = next(model.parameters()).device
    return torch.cat([model.encode(torch.from_numpy(wave)[None].to(device))[0] for wave in waves])


def _stuck(codes: Tensor) -> list[int]:
    if len(codes) < MIN_FRAMES:
        return []
    return (codes == codes[0]).all(dim=0).nonzero()[:, 0].tolist()
