# SoundStream: An End-to-End Neural Audio Codec (Zeghidour et al., 2021), https://arxiv.org/abs/2107.03312
"""Implement residual vector quantization: each codebook quantizes the residual of the previous codebooks.

residual 0 = vector;   residual k+1 = residual k - nearest entry of codebook k;   output = sum of the entries
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.quantizers.fsq import Quantized
from silkcodec_torch.quantizers.vq import Codebook


class RVQ(nn.Module):
    """Split a latent frame into vectors, and quantize each vector with a chain of codebooks.

    Args:
        latent_width: values per frame.
        vectors: number of vectors per frame; must divide `latent_width`.
        codebooks: number of codebooks in the chain.
        entries: size of each codebook.
        commitment: weight of the commitment loss.
        dropout: probability that a training batch uses only the first n codebooks, where n is random (quantizer
            dropout, SoundStream, section III-C).
    """

    def __init__(
        self,
        latent_width: int = LATENT_WIDTH,
        vectors: int = 8,
        codebooks: int = 4,
        entries: int = 4096,
        commitment: float = 0.25,
        dropout: float = 0.25,
    ):
        super().__init__()
        self.vectors, self.commitment, self.dropout = vectors, commitment, dropout
        self.codebooks = nn.ModuleList(Codebook(entries, latent_width // vectors) for _ in range(codebooks))
        self.codebook_sizes = (entries,) * (vectors * codebooks)
        self.bits_per_frame = vectors * codebooks * math.log2(entries)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize a latent. In training mode, also update the codebooks.

        Args:
            latent: values to quantize, float [..., D].

        Returns:
            The quantized latent, float32 [..., D]; the codes, int64 [..., vectors * codebooks]; and the commitment
                loss, a scalar. The codes of one vector are adjacent. Codebooks skipped by dropout have the code -1.
        """
        with torch.autocast(latent.device.type, enabled=False):
            vectors = latent.float().unflatten(-1, (self.vectors, -1))
            residual, output = vectors, torch.zeros_like(vectors)
            n_used = self._draw_length()
            loss, codes = vectors.new_zeros(()), []
            for codebook in self.codebooks[:n_used]:
                chosen, entries = codebook.quantize(residual)
                loss = loss + self.commitment * functional.mse_loss(residual, entries)
                output = output + entries
                residual = residual - entries
                codes.append(chosen)
            codes += [torch.full_like(codes[0], -1)] * (len(self.codebooks) - n_used)
            straight_through = vectors + (output - vectors).detach()
            return Quantized(straight_through.flatten(-2), torch.stack(codes, dim=-1).flatten(-2), loss / n_used)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latent for the given codes, float32 [..., D].

        Args:
            codes: integers [..., vectors * codebooks]. -1 skips a codebook.
        """
        chains = codes.unflatten(-1, (self.vectors, -1)).unbind(-1)
        parts = [
            codebook(chosen.clamp(min=0)) * (chosen >= 0)[..., None]
            for codebook, chosen in zip(self.codebooks, chains, strict=True)
        ]
        return torch.stack(parts).sum(dim=0).flatten(-2)

    @torch.compiler.disable
    def _draw_length(self) -> int:
        """Return the number of codebooks to use for the next batch.

        The number is drawn from PyTorch's default generator, so all processes of a run need the same seed.
        """
        if not self.training or float(torch.rand(())) >= self.dropout:
            return len(self.codebooks)
        return int(torch.randint(1, len(self.codebooks) + 1, ()))
