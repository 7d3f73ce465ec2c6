"""PyTorch quantizers, one interface: latent [..., D] -> `Quantized` (latent, codes, loss); `decode` is the way back."""

from silkcodec.quantizers.fsq import FSQ, Quantized
from silkcodec.quantizers.multiscale_rvq import MultiScaleRVQ
from silkcodec.quantizers.rvq import RVQ
from silkcodec.quantizers.vq import VQ, Codebook

__all__ = ["FSQ", "RVQ", "VQ", "Codebook", "MultiScaleRVQ", "Quantized"]
