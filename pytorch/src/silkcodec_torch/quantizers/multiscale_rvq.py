# SNAC: Multi-Scale Neural Audio Codec (Siuzdak, Groetschla, Lanzendoerfer, 2024), https://arxiv.org/abs/2410.14411
"""Implement multi-scale residual vector quantization, in which earlier codebooks have lower frame rates.

A codebook of stride s quantizes the mean of s neighboring residual vectors. All s vectors share one code:

    vectors      v0  v1  v2  v3  v4  v5  v6  v7
    stride 4     [---- c0 ----]  [---- c1 ----]
    stride 2     [-d0-]  [-d1-]  [-d2-]  [-d3-]
    stride 1     e0  e1  e2  e3  e4  e5  e6  e7
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.quantizers.fsq import Quantized
from silkcodec_torch.quantizers.vq import Codebook


class MultiScaleRVQ(nn.Module):
    """Split a latent frame into vectors, and quantize them with codebooks of decreasing stride.

    Args:
        latent_width: values per frame.
        vectors: number of vectors per frame; must divide `latent_width`.
        strides: stride of each codebook, in vectors. Each stride must divide `vectors`.
        entries: size of each codebook.
        commitment: weight of the commitment loss.
    """

    def __init__(
        self,
        latent_width: int = LATENT_WIDTH,
        vectors: int = 16,
        strides: tuple[int, ...] = (8, 4, 2, 1),
        entries: int = 7131,
        commitment: float = 0.25,
    ):
        super().__init__()
        self.vectors, self.strides, self.commitment = vectors, tuple(strides), commitment
        self.codebooks = nn.ModuleList(Codebook(entries, latent_width // vectors) for _ in strides)
        self.codes_per_frame = [vectors // stride for stride in self.strides]
        self.codebook_sizes = (entries,) * sum(self.codes_per_frame)
        self.bits_per_frame = sum(self.codes_per_frame) * math.log2(entries)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize a latent. In training mode, also update the codebooks.

        Args:
            latent: values to quantize, float [..., D].

        Returns:
            The quantized latent, float32 [..., D]; the codes, int64 [..., K], where K is the sum of vectors / stride
                over all strides; and the commitment loss, a scalar.
        """
        with torch.autocast(latent.device.type, enabled=False):
            vectors = latent.float().unflatten(-1, (self.vectors, -1))
            residual, output = vectors, torch.zeros_like(vectors)
            loss, codes = vectors.new_zeros(()), []
            for codebook, stride in zip(self.codebooks, self.strides, strict=True):
                pooled = residual.unflatten(-2, (-1, stride)).mean(dim=-2)  # [..., vectors / stride, dim]
                chosen, entries = codebook.quantize(pooled)
                loss = loss + self.commitment * functional.mse_loss(pooled, entries)
                repeated = entries.repeat_interleave(stride, dim=-2)
                output = output + repeated
                residual = residual - repeated
                codes.append(chosen)
            straight_through = vectors + (output - vectors).detach()
            return Quantized(straight_through.flatten(-2), torch.cat(codes, dim=-1), loss / len(self.codebooks))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latent for the given codes, float32 [..., D].

        Args:
            codes: integers [..., K], as `forward` returns them. -1 skips a vector.
        """
        parts = [
            (codebook(chosen.clamp(min=0)) * (chosen >= 0)[..., None]).repeat_interleave(stride, dim=-2)
            for codebook, chosen, stride in zip(
                self.codebooks, codes.split(self.codes_per_frame, dim=-1), self.strides, strict=True
            )
        ]
        return torch.stack(parts).sum(dim=0).flatten(-2)
