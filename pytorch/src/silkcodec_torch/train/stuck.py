"""Find FSQ dimensions that are stuck on one level, and reset them without changing the decoded audio.

A value deep in the saturated range of the squashing function gets no gradient and stays at its level. Three bits of
every frame then carry no information. Stuck dimensions are the FSQ equivalent of dead codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.quantizers.fsq import FSQ

MIN_FRAMES = 100  # With fewer frames, dimensions that rarely change would be reported as stuck.


def stuck_dimensions(model: SilkNetwork, waves: Sequence[np.ndarray]) -> list[int]:
    """Return the indices of the dimensions that have the same level in every frame of the clips, float32 [T] each.

    The list is empty for quantizers other than FSQ, and for less than 40 s of speech, which is too little to decide.
    """
    return _stuck(_encoded(model, waves)) if isinstance(model.quantizer, FSQ) else []


@torch.no_grad()
def reset(model: SilkNetwork, waves: Sequence[np.ndarray]) -> list[int]:
    """Reset the stuck dimensions of a model in place, and return their indices. See `stuck_dimensions`.

    In the encoder, a stuck dimension becomes a random projection of the frame's features. The projection has mean 0 and
    standard deviation 1, which covers most of the range. The decoder's weights for the dimension are set to zero.
    Their previous output, which was constant, is added to the bias, so the decoded audio does not change.
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
    """Return the codes of all frames of the given clips, int64 [F, D]."""
    device = next(model.parameters()).device
    return torch.cat([model.encode(torch.from_numpy(wave)[None].to(device))[0] for wave in waves])


def _stuck(codes: Tensor) -> list[int]:
    if len(codes) < MIN_FRAMES:
        return []
    return (codes == codes[0]).all(dim=0).nonzero()[:, 0].tolist()
