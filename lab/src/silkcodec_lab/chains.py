"""Fit quantizers to vectors without an encoder or a decoder.

- `ResidualChain` is VQ (one codebook) or RVQ. Each codebook is fitted by k-means to the residual of the previous ones.
- `ScalarGrid` is FSQ. Each dimension or principal component with b bits is rounded to one of 2^b uniform levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from silkcodec_torch.quantizers import Codebook

LLOYD_STEPS = 25
CHUNK = 4_096  # number of vectors whose distances to all entries are computed at a time
EMPTY = 1e-6  # An entry is moved if its share of uniform usage is below this, i.e. if no vector is assigned to it.
FIT_VECTORS = 20_000  # maximum number of vectors for a grid, which has only two parameters per dimension
N_WIDTHS, NARROWEST = 40, 0.3  # number of half widths to try, and the smallest one in standard deviations


class ResidualChain:
    """Quantize vectors with residual codebooks. With one codebook, this is vector quantization.

    Attributes:
        books: Codebooks, in order.
    """

    def __init__(self, books: Sequence[Codebook]) -> None:
        self.books = list(books)

    @classmethod
    def fit(cls, vectors: Tensor, sizes: Iterable[int], seed: int, steps: int = LLOYD_STEPS) -> ResidualChain:
        """Fit codebooks of the given sizes to vectors, float32 [N, D]."""
        books, residual = [], vectors
        with _seeded(seed):
            for size in sizes:
                book = Codebook(size, vectors.shape[1], decay=0.0, reset_below=EMPTY, kmeans_steps=0)
                book.begin(residual)
                chosen = nearest(book, residual)
                for _ in range(steps):
                    book.follow(residual, chosen)
                    before, chosen = chosen, nearest(book, residual)
                    if torch.equal(before, chosen) and len(chosen.unique()) == size:
                        break  # Unused entries move to other vectors, so continue while there are any.
                books.append(book)
                residual = residual - book(chosen)
        return cls(books)

    def quantize(self, vectors: Tensor) -> Tensor:
        """Return the quantized vectors, float32 [N, D]."""
        residual, output = vectors, torch.zeros_like(vectors)
        for book in self.books:
            entries = book(nearest(book, residual))
            output, residual = output + entries, residual - entries
        return output


class ScalarGrid:
    """Quantize each dimension of vectors to uniformly spaced levels around its mean.

    Each bit is assigned to the dimension whose error it reduces most.

    Args:
        vectors: Training vectors, float32 [N, D].
        bits: Number of bits per vector.
        rotated: Whether to quantize principal components instead of the original dimensions.
    """

    def __init__(self, vectors: Tensor, bits: int, *, rotated: bool) -> None:
        vectors = vectors[:FIT_VECTORS].double()
        dim = vectors.shape[1]
        self.mean = vectors.mean(dim=0)
        centered = vectors - self.mean
        self.axes = torch.linalg.eigh(centered.T @ centered).eigenvectors if rotated else torch.eye(dim).double()
        numbers = (centered @ self.axes).T.contiguous()  # [D, N]
        self.bits = [0] * dim
        current = [(float(row.square().mean()), 1.0) for row in numbers]  # (error, step) of each dimension
        with_next_bit = [_best_step(row, 2) for row in numbers]
        for _ in range(bits):
            gains = [a - b for (a, _), (b, _) in zip(current, with_next_bit, strict=True)]
            d = gains.index(max(gains))
            self.bits[d] += 1
            current[d], with_next_bit[d] = with_next_bit[d], _best_step(numbers[d], 2 ** (self.bits[d] + 1))
        self.levels = torch.tensor([2**b for b in self.bits]).double()
        self.steps = torch.tensor([step for _, step in current]).double()

    @property
    def sizes(self) -> list[int]:
        """Return the number of levels of each dimension, excluding dimensions without bits."""
        return [2**b for b in self.bits if b]

    def quantize(self, vectors: Tensor) -> Tensor:
        """Return the quantized vectors, float32 [N, D]."""
        numbers = (vectors.double() - self.mean) @ self.axes
        return (_round(numbers, self.levels, self.steps) @ self.axes.T + self.mean).float()


def nearest(book: Codebook, vectors: Tensor) -> Tensor:
    """Return the indices (int64 [N]) of the codebook entries nearest to the vectors ([N, D])."""
    return torch.cat([book.nearest(part) for part in vectors.split(CHUNK)])


def split_bits(bits: int, codebooks: int) -> list[int]:
    """Split a number of bits evenly among codebooks, and return the codebook sizes.

    >>> split_bits(12, 2), split_bits(11, 4)
    ([64, 64], [8, 8, 8, 4])
    """
    each, more = divmod(bits, codebooks)
    return [2 ** (each + (k < more)) for k in range(codebooks)]


def bits_of(sizes: Sequence[int]) -> float:
    """Return the number of bits per vector for codebooks of the given sizes."""
    return math.log2(math.prod(sizes))


def _round(numbers: Tensor, levels: Tensor, steps: Tensor) -> Tensor:
    """Round numbers to the nearest of `levels` values that are `steps` apart and centered on 0."""
    cells = torch.minimum(torch.floor(numbers / steps + levels / 2).clamp(min=0), levels - 1)
    return (cells - levels / 2 + 0.5) * steps


def _best_step(numbers: Tensor, levels: int) -> tuple[float, float]:
    """Find the distance between uniform levels that minimizes the mean squared rounding error.

    Returns:
        The mean squared error and the distance.
    """
    largest, spread = float(numbers.abs().max()), float(numbers.square().mean().sqrt())
    if spread == 0.0:
        return 0.0, 1.0
    low, high = min(NARROWEST * spread, largest / 2), largest
    best, cells = (math.inf, 1.0), torch.tensor(float(levels)).double()
    for _ in range(2):  # a coarse search, followed by a finer search around the best width
        ratio = (high / low) ** (1 / (N_WIDTHS - 1))
        for i in range(N_WIDTHS):
            step = 2 * low * ratio**i / levels
            error = float((numbers - _round(numbers, cells, torch.tensor(step).double())).square().mean())
            best = min(best, (error, step))
        half_width = best[1] * levels / 2
        low, high = half_width / ratio, half_width * ratio
    return best


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's random number generator within the context."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
