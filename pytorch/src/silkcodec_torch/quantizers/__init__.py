"""Define PyTorch quantizers with a common interface.

`forward` quantizes a latent [..., D] and returns a `Quantized`. `decode` converts codes back to a latent.
"""

from collections.abc import Callable

from torch import nn

from silkcodec_torch.quantizers.fsq import FSQ, Quantized
from silkcodec_torch.quantizers.multiscale_rvq import MultiScaleRVQ
from silkcodec_torch.quantizers.rvq import RVQ
from silkcodec_torch.quantizers.vq import VQ, Codebook

__all__ = ["FSQ", "QUANTIZERS", "RVQ", "VQ", "Codebook", "MultiScaleRVQ", "Quantized"]

QUANTIZERS: dict[str, Callable[[], nn.Module]] = {"fsq": FSQ, "vq": VQ, "rvq": RVQ, "multiscale": MultiScaleRVQ}
"""Quantizer classes, keyed by name in training configs. By default, each uses 384 bits per frame of 128 values."""
