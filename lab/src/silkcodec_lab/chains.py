"""Quantizers fitted to vectors that are given, rather than trained with a codec: a chain of codebooks, and a grid.

    Chain   VQ (one codebook) and RVQ: each codebook by k-means over what the codebooks before it left over
    Grid    FSQ: each number, or each principal component, to one of 2^b levels at equal distance

The codebooks are the project's own `Codebook`. With a decay of 0 its moving average is the mean of the batch, so with
all vectors as the batch every step is one of Lloyd's, and an entry that nothing chose is moved onto a vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from silkcodec.quantizers import Codebook

LLOYD_STEPS = 25
CHUNK = 4_096  # vectors whose distances to all entries are held at once
EMPTY = 1e-6  # of a fair share: less than one vector, so only entries that nothing chose are moved
FIT_VECTORS = 20_000  # that the steps of a grid are fitted to: two numbers a dimension need no more
WIDTHS, NARROWEST = 40, 0.3  # half widths of a grid that are tried, from so many standard deviations up to the largest


class Chain:
    """Residual vector quantization with codebooks of any sizes; one codebook is plain vector quantization.

    Attributes:
        books: in their order.
    """

    def __init__(self, books: Sequence[Codebook]) -> None:
        self.books = list(books)

    @classmethod
    def fit(cls, vectors: Tensor, sizes: Sequence[int], seed: int, steps: int = LLOYD_STEPS) -> Chain:
        """Codebooks of these sizes on vectors float32 [N, D]; the same ones for the same seed."""
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
                        break  # while an entry is empty, the next one it is moved onto may be a better one
                books.append(book)
                residual = residual - book(chosen)
        return cls(books)

    def quantize(self, vectors: Tensor) -> Tensor:
        """vectors float32 [N, D] -> the sum of the entries that each one's chain chose, float32 [N, D]."""
        residual, output = vectors, torch.zeros_like(vectors)
        for book in self.books:
            entries = book(nearest(book, residual))
            output, residual = output + entries, residual - entries
        return output


class Grid:
    """Finite scalar quantization of vectors that no encoder was trained for: levels at equal distance about the mean.

    The bits go where they help most, one after another: each to the dimension whose error over the vectors falls
    most. With `rotated` the dimensions are the principal components: the linear layer that stands before FSQ in a
    codec is free to find them.

    Args:
        vectors: float32 [N, D], what it is fitted to.
        bits: of one vector.
        rotated: whether to quantize principal components instead of the numbers as they are.
    """

    def __init__(self, vectors: Tensor, bits: int, *, rotated: bool) -> None:
        vectors = vectors[:FIT_VECTORS].double()
        dim = vectors.shape[1]
        self.mean = vectors.mean(dim=0)
        centred = vectors - self.mean
        self.axes = torch.linalg.eigh(centred.T @ centred).eigenvectors if rotated else torch.eye(dim).double()
        numbers = (centred @ self.axes).T.contiguous()  # [D, N]
        self.bits = [0] * dim
        now = [(float(row.square().mean()), 1.0) for row in numbers]  # of each dimension: error, step
        with_one_more = [_best_step(row, 2) for row in numbers]
        for _ in range(bits):
            gains = [a - b for (a, _), (b, _) in zip(now, with_one_more, strict=True)]
            d = gains.index(max(gains))
            self.bits[d] += 1
            now[d], with_one_more[d] = with_one_more[d], _best_step(numbers[d], 2 ** (self.bits[d] + 1))
        self.levels = torch.tensor([2**b for b in self.bits]).double()
        self.steps = torch.tensor([step for _, step in now]).double()

    @property
    def sizes(self) -> list[int]:
        """Levels of every dimension that got bits."""
        return [2**b for b in self.bits if b]

    def quantize(self, vectors: Tensor) -> Tensor:
        """vectors float32 [N, D] -> the nearest points of the grid, float32 [N, D]."""
        numbers = (vectors.double() - self.mean) @ self.axes
        return (_round(numbers, self.levels, self.steps) @ self.axes.T + self.mean).float()


def nearest(book: Codebook, vectors: Tensor) -> Tensor:
    """vectors [N, D] -> codes int64 [N], in chunks: all distances at once would take N x entries numbers."""
    return torch.cat([book.nearest(part) for part in vectors.split(CHUNK)])


def split_bits(bits: int, codebooks: int) -> list[int]:
    """Sizes of the codebooks of a chain that has so many bits in all: as equal as can be, the larger ones first.

    >>> split_bits(12, 2), split_bits(11, 4)
    ([64, 64], [8, 8, 8, 4])
    """
    each, more = divmod(bits, codebooks)
    return [2 ** (each + (k < more)) for k in range(codebooks)]


def bits_of(sizes: Sequence[int]) -> float:
    """What one code of each of these sizes takes."""
    return math.log2(math.prod(sizes))


def _round(numbers: Tensor, levels: Tensor, steps: Tensor) -> Tensor:
    """To the middles of `levels` cells of this width about 0; the outermost cells reach to infinity."""
    cells = torch.minimum(torch.floor(numbers / steps + levels / 2).clamp(min=0), levels - 1)
    return (cells - levels / 2 + 0.5) * steps


def _best_step(numbers: Tensor, levels: int) -> tuple[float, float]:
    """Mean squared error and step of the best grid of so many levels over float64 [N]."""
    largest, spread = float(numbers.abs().max()), float(numbers.square().mean().sqrt())
    if spread == 0.0:
        return 0.0, 1.0
    low, high = min(NARROWEST * spread, largest / 2), largest
    best, cells = (math.inf, 1.0), torch.tensor(float(levels)).double()
    for _ in range(2):  # coarsely, then about the best of these
        ratio = (high / low) ** (1 / (WIDTHS - 1))
        for i in range(WIDTHS):
            step = 2 * low * ratio**i / levels
            error = float((numbers - _round(numbers, cells, torch.tensor(step).double())).square().mean())
            best = min(best, (error, step))
        half_width = best[1] * levels / 2
        low, high = half_width / ratio, half_width * ratio
    return best


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """PyTorch's generator at this seed for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
