"""Dimensions of FSQ that are stuck on one level: found, and set free without changing what the network makes.

A number that has run far into the squashing function's flat end gets no gradient, so it never comes back, and three
bits of every frame say nothing. Learned codebooks have dead codes; this is what FSQ has instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silkcodec.nn.model import SilkModel
from silkcodec.quantizers.fsq import FSQ

FEWEST_FRAMES = 100  # with fewer, a number that seldom moves would be taken for one that cannot


def stuck_dimensions(model: SilkModel, waves: Sequence[np.ndarray]) -> list[int]:
    """Dimensions that have the same level in every frame of some waves, float32 [T] each.

    None without FSQ, and none in less than 40 s of speech, which is too little to tell.
    """
    return _stuck(_encoded(model, waves)) if isinstance(model.quantizer, FSQ) else []


@torch.no_grad()
def free(model: SilkModel, waves: Sequence[np.ndarray]) -> list[int]:
    """Set the stuck dimensions free, in place; returns which they were.

    Encoder: a random direction of what it knows of a frame, shifted and scaled to mean 0 and deviation 1, which is most
    of the range. Decoder: what the constant level contributed goes into the bias, and the column starts at zero: the
    waves decoded stay as they were.
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


def _encoded(model: SilkModel, waves: Sequence[np.ndarray]) -> Tensor:
    """Codes of all frames of some waves, int64 [F, D]."""
    device = next(model.parameters()).device
    return torch.cat([model.encode(torch.from_numpy(wave)[None].to(device))[0] for wave in waves])


def _stuck(codes: Tensor) -> list[int]:
    if len(codes) < FEWEST_FRAMES:
        return []
    return (codes == codes[0]).all(dim=0).nonzero()[:, 0].tolist()
