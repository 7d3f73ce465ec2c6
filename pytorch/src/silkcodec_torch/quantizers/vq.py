# Neural Discrete Representation Learning (van den Oord et al., 2017), https://arxiv.org/abs/1711.00937
"""Implement vector quantization: replace each vector with the nearest entry of a learned codebook.

The codebook is initialized by k-means on the first batch and updated by exponential moving averages (van den Oord et
al., 2017, appendix A.1). Rarely used entries are replaced with vectors from the current batch (SoundStream,
https://arxiv.org/abs/2107.03312, section III-C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.quantizers.fsq import Quantized


class Codebook(nn.Module):
    """Learn a codebook as moving averages of the vectors assigned to each entry.

    The entries are a buffer, so optimizers do not change them.

    Args:
        size: number of entries.
        dim: length of an entry.
        decay: decay of the moving averages per training batch.
        reset_below: entries with a count below this fraction of the mean count are replaced with vectors from the
            batch. 0 disables replacement.
        kmeans_steps: number of k-means iterations on the first batch.

    Attributes:
        entries: the entries, float32 [size, dim].
        counts: moving average of the number of vectors assigned to each entry, float32 [size].
        sums: moving average of the sum of these vectors, float32 [size, dim].
        ready: whether k-means has run, a boolean scalar.
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor
    ready: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99, reset_below: float = 0.1, kmeans_steps: int = 10):
        super().__init__()
        self.decay, self.reset_below, self.kmeans_steps = decay, reset_below, kmeans_steps
        self.register_buffer("entries", torch.randn(size, dim))
        self.register_buffer("counts", torch.ones(size))  # moving average of the number of assigned vectors per batch
        self.register_buffer("sums", self.entries.clone())  # moving average of the sum of these vectors
        self.register_buffer("ready", torch.tensor(False))  # whether k-means has run

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the code of the nearest entry (by Euclidean distance) for each vector, int64 [...].

        Args:
            vectors: float [..., dim].
        """
        flat = vectors.reshape(-1, vectors.shape[-1])
        # |v - e|^2 = |v|^2 - 2 v.e + |e|^2, and |v|^2 is the same for all entries, so it can be omitted.
        scores = flat @ self.entries.T - 0.5 * self.entries.square().sum(dim=1)
        return scores.argmax(dim=1).view(vectors.shape[:-1])

    def forward(self, codes: Tensor) -> Tensor:
        """Return the entries for the given codes, float32 [..., dim].

        Args:
            codes: integers [...].
        """
        return functional.embedding(codes, self.entries)

    def quantize(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code (int64 [...]) and the nearest entry (float32 [..., dim]) of each vector.

        In training mode, also update the entries after the codes are chosen.

        Args:
            vectors: float [..., dim].
        """
        if self.training:
            self.begin(vectors)
        codes = self.nearest(vectors)
        entries = self(codes)
        if self.training:
            self.follow(vectors, codes)
        return codes, entries

    @torch.compiler.disable
    @torch.no_grad()
    def begin(self, vectors: Tensor) -> None:
        """Initialize the entries by k-means on the first batch. Later calls do nothing.

        Args:
            vectors: the first batch, float [..., dim].
        """
        if bool(self.ready):
            return
        flat = vectors.detach().reshape(-1, vectors.shape[-1])
        picked = _draw(flat, len(self.entries))
        if len(flat) < len(self.entries):
            self.entries.copy_(picked + 0.01 * flat.std() * torch.randn_like(picked))
        else:
            self.entries.copy_(picked)
            for _ in range(self.kmeans_steps):
                counts, sums = self._assigned(flat, self.nearest(flat))
                self.entries.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.entries))
        if _distributed():
            torch.distributed.broadcast(self.entries, 0)
        self.counts.fill_(len(flat) / len(self.entries))
        self.sums.copy_(self.entries * self.counts[:, None])
        self.ready.fill_(True)

    @torch.compiler.disable
    @torch.no_grad()
    def follow(self, vectors: Tensor, codes: Tensor) -> None:
        """Update the entries from the vectors of a batch and their codes.

        Args:
            vectors: vectors of the batch, float [..., dim].
            codes: codes of the vectors, int64 [...].
        """
        flat = vectors.detach().reshape(-1, vectors.shape[-1])
        counts, sums = self._assigned(flat, codes.reshape(-1))
        if _distributed():
            torch.distributed.all_reduce(counts)
            torch.distributed.all_reduce(sums)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self.entries.copy_(self.sums / self.counts.clamp(min=1e-5)[:, None])
        fair = float(self.counts.sum()) / len(self.counts)
        dead = self.counts < self.reset_below * fair
        if n_dead := int(dead.sum()):
            picked = _draw(flat, n_dead)
            if _distributed():
                torch.distributed.broadcast(picked, 0)
            self.entries[dead] = picked
            self.counts[dead] = fair
            self.sums[dead] = picked * fair

    def _assigned(self, flat: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number ([size]) and the sum ([size, dim]) of the vectors assigned to each entry."""
        counts = torch.zeros_like(self.counts).index_add_(0, codes, torch.ones_like(flat[:, 0]))
        return counts, torch.zeros_like(self.sums).index_add_(0, codes, flat)


class VQ(nn.Module):
    """Split a latent frame into vectors of equal length, and quantize all of them with one codebook.

    Args:
        latent_width: values per frame.
        vectors: number of vectors per frame; must divide `latent_width`.
        entries: size of the codebook.
        commitment: weight of the commitment loss.
    """

    def __init__(
        self, latent_width: int = LATENT_WIDTH, vectors: int = 32, entries: int = 4096, commitment: float = 0.25
    ):
        super().__init__()
        self.vectors, self.commitment = vectors, commitment
        self.codebook = Codebook(entries, latent_width // vectors)
        self.codebook_sizes = (entries,) * vectors
        self.bits_per_frame = vectors * math.log2(entries)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize a latent. In training mode, also update the codebook.

        Args:
            latent: values to quantize, float [..., D].

        Returns:
            The quantized latent, float32 [..., D]; the codes, int64 [..., vectors]; and the commitment loss, a scalar.
        """
        with torch.autocast(latent.device.type, enabled=False):
            vectors = latent.float().unflatten(-1, (self.vectors, -1))
            codes, entries = self.codebook.quantize(vectors)
            loss = self.commitment * functional.mse_loss(vectors, entries)
            straight_through = vectors + (entries - vectors).detach()
            return Quantized(straight_through.flatten(-2), codes, loss)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latent for the given codes, float32 [..., D].

        Args:
            codes: integers [..., vectors].
        """
        return self.codebook(codes).flatten(-2)


def _draw(flat: Tensor, n: int) -> Tensor:
    """Return n random vectors from `flat`, [N, dim]. Vectors are repeated only if n > N."""
    order = torch.randperm(len(flat), device=flat.device)
    return flat[order.repeat(-(-n // len(flat)))[:n]]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
