"""Fit quantizers (VQ, RVQ and a scalar grid) to vectors, and measure their errors on other vectors.

The scalar grid is FSQ without a trained encoder. The vectors are rotated onto their principal axes, and a component
with b bits is rounded to 2^b uniform levels around its mean. Each bit is assigned to the component whose error it
reduces most. The distance between levels minimizes the training error.

Unlike `silkcodec_lab.chains`, this module fits a quantizer once for several bit budgets.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silkcodec_lab.coverage.speech import Vectors
from silkcodec_torch.quantizers import Codebook

WIDTHS = np.geomspace(0.02, 3.0, 28)  # widths of a level to try, in standard deviations
WIDTH_SAMPLE = 4_000  # number of vectors from which the width is chosen
MAX_BITS = 8  # maximum bits per component


@dataclass(frozen=True)
class Measured:
    """Hold the errors of N quantized vectors.

    Attributes:
        error: RMS error of each vector, [N].
        clipped: Share of each vector's components that the scalar grid clips, [N]; None for codebooks.
    """

    error: NDArray[np.float64]
    clipped: NDArray[np.float64] | None = None


def rms(difference: NDArray[Any]) -> NDArray[np.float64]:
    """Return the RMS of each row of an array, [N, D]."""
    return np.sqrt(np.square(difference, dtype=np.float64).mean(axis=1))


class NestedChain:
    """Quantize vectors with residual codebook chains of several lengths.

    Each codebook is fitted by k-means to the residual of the previous ones. A chain of one codebook is VQ.
    """

    def __init__(self, vectors: Vectors, entries: int, lengths: Sequence[int], seed: int, steps: int) -> None:
        self.lengths, self.entries = tuple(lengths), entries
        residual = torch.from_numpy(vectors)
        self.codebooks: list[Codebook] = []
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for _ in range(max(lengths)):
                codebook = Codebook(entries, vectors.shape[1], kmeans_steps=steps)
                codebook.begin(residual)
                residual = residual - codebook(codebook.nearest(residual))
                self.codebooks.append(codebook)

    def measure(self, vectors: Vectors) -> dict[int, Measured]:
        """Return the errors of the quantized vectors, keyed by number of codebooks."""
        return {length: Measured(rms(residual)) for length, residual in self._residuals(vectors)}

    def rebuild(self, vectors: Vectors) -> dict[int, Vectors]:
        """Return the quantized vectors, keyed by number of codebooks."""
        return {length: vectors - residual for length, residual in self._residuals(vectors)}

    def _residuals(self, vectors: Vectors) -> Iterator[tuple[int, Vectors]]:
        residual = torch.from_numpy(vectors)
        for length, codebook in enumerate(self.codebooks, 1):
            residual = residual - codebook(codebook.nearest(residual))
            if length in self.lengths:
                yield length, residual.detach().numpy()


class NestedGrid:
    """Quantize vectors with scalar grids for several bit budgets per vector."""

    def __init__(self, vectors: Vectors, bits: Sequence[int], seed: int) -> None:
        exact = vectors.astype(np.float64)
        self.mean = exact.mean(axis=0)
        variances, rotation = np.linalg.eigh(np.cov(exact, rowvar=False).reshape(self.mean.size, -1))
        self.rotation = rotation[:, ::-1]
        self.deviation = np.sqrt(np.maximum(variances[::-1], 1e-12))
        picked = np.random.default_rng(seed).permutation(len(exact))[:WIDTH_SAMPLE]
        sample = (exact[picked] - self.mean) @ self.rotation / self.deviation
        self.allocations = self._allocate(sample, sorted(set(bits)))

    def _allocate(self, sample: NDArray[np.float64], wanted: list[int]) -> dict[int, dict[int, tuple[int, float]]]:
        """Assign bits to components.

        Returns:
            (number of bits, distance between levels) pairs, keyed by total number of bits and then by component. The
                distance is in standard deviations of the component.
        """
        given: dict[int, tuple[int, float]] = {}
        found: dict[int, dict[int, tuple[int, float]]] = {0: {}}

        def offer(component: int, bits: int, error: float) -> tuple[float, int, int, float, float]:
            width, left = best_width(sample[:, component], bits)
            gain = (error - left) * self.deviation[component] ** 2
            return -gain, component, bits, width, left

        # The gain of a component is at most its variance, so components are evaluated in order of variance.
        heap = [(-(self.deviation[c] ** 2), c, 0, 0.0, 1.0) for c in range(sample.shape[1])]
        heapq.heapify(heap)
        spent = 0
        while heap and spent < wanted[-1]:
            _, component, bits, width, left = heapq.heappop(heap)
            if bits == 0:
                heapq.heappush(heap, offer(component, 1, float(np.mean(sample[:, component] ** 2))))
                continue
            given[component] = bits, width
            spent += 1
            if bits < MAX_BITS:
                heapq.heappush(heap, offer(component, bits + 1, left))
            if spent in wanted:
                found[spent] = dict(given)
        return {bits: found.get(bits, dict(given)) for bits in wanted}

    def measure(self, vectors: Vectors) -> dict[int, Measured]:
        """Return the errors of the quantized vectors, keyed by number of bits."""
        scores = (vectors - self.mean) @ self.rotation
        squared = np.square(scores)
        found = {}
        for bits, allocation in self.allocations.items():
            left = squared.sum(axis=1)
            clipped = np.zeros(len(vectors))
            for component, (own, width) in allocation.items():
                step = width * self.deviation[component]
                rounded = to_levels(scores[:, component], own, step)
                left += np.square(scores[:, component] - rounded) - squared[:, component]
                clipped += np.abs(scores[:, component]) > 2 ** (own - 1) * step
            error = np.sqrt(np.maximum(left, 0) / vectors.shape[1])
            found[bits] = Measured(error, clipped=clipped / max(1, len(allocation)))
        return found

    def rebuild(self, vectors: Vectors) -> dict[int, Vectors]:
        """Return the quantized vectors, keyed by number of bits."""
        scores = (vectors - self.mean) @ self.rotation
        found = {}
        for bits, allocation in self.allocations.items():
            rounded = np.zeros_like(scores)
            for component, (own, width) in allocation.items():
                rounded[:, component] = to_levels(scores[:, component], own, width * self.deviation[component])
            found[bits] = (self.mean + rounded @ self.rotation.T).astype(np.float32)
        return found


def to_levels(values: NDArray[np.float64], bits: int, step: float) -> NDArray[np.float64]:
    """Round values to 2^bits uniform levels that are symmetric around 0."""
    half = 2 ** (bits - 1)
    return (np.clip(np.floor(values / step), -half, half - 1) + 0.5) * step


def best_width(values: NDArray[np.float64], bits: int) -> tuple[float, float]:
    """Return the distance between levels that minimizes the mean squared error, and the resulting error."""
    errors = [float(np.square(values - to_levels(values, bits, width)).mean()) for width in WIDTHS]
    best = int(np.argmin(errors))
    return float(WIDTHS[best]), errors[best]


def fit(
    vectors: Vectors, vq: Sequence[int], rvq: tuple[int, Sequence[int]], seed: int, steps: int
) -> tuple[list[tuple[str, NestedChain | NestedGrid]], dict[str, dict[str, Any]]]:
    """Fit VQ, RVQ and scalar grids to vectors.

    Args:
        vectors: Training vectors, float32 [N, D].
        vq: Codebook sizes for VQ.
        rvq: Number of entries per codebook for RVQ, and the numbers of codebooks to measure.
        seed: Random seed.
        steps: Number of k-means steps.

    Returns:
        A list of (kind, fitted quantizer) pairs, and the kind and bits of each quantizer, keyed by quantizer name.
    """
    entries, lengths = rvq
    chains = [NestedChain(vectors, size, [1], seed, steps) for size in vq]
    chains.append(NestedChain(vectors, entries, lengths, seed, steps))
    facts: dict[str, dict[str, Any]] = {}
    for size in vq:
        facts[f"vq {size}"] = {"kind": "vq", "bits": int(np.log2(size))}
    for length in lengths:
        facts[f"rvq {length}x{entries}"] = {"kind": "rvq", "bits": length * int(np.log2(entries))}
    bits = sorted({fact["bits"] for fact in facts.values()})
    facts |= {f"fsq {n}": {"kind": "fsq", "bits": n} for n in bits}
    named: list[tuple[str, NestedChain | NestedGrid]] = [("vq", chain) for chain in chains[:-1]]
    return [*named, ("rvq", chains[-1]), ("fsq", NestedGrid(vectors, bits, seed))], facts


def measure(fitted: Sequence[tuple[str, NestedChain | NestedGrid]], vectors: Vectors) -> dict[str, Measured]:
    """Quantize vectors with each quantizer. Return the errors, keyed by quantizer name."""
    found: dict[str, Measured] = {}
    for kind, quantizer in fitted:
        found |= {_name(kind, quantizer, size): measured for size, measured in quantizer.measure(vectors).items()}
    return found


def rebuild(fitted: Sequence[tuple[str, NestedChain | NestedGrid]], vectors: Vectors) -> dict[str, Vectors]:
    """Quantize vectors with each quantizer. Return the quantized vectors, keyed by quantizer name."""
    found: dict[str, Vectors] = {}
    for kind, quantizer in fitted:
        found |= {_name(kind, quantizer, size): quantized for size, quantized in quantizer.rebuild(vectors).items()}
    return found


def _name(kind: str, quantizer: NestedChain | NestedGrid, size: int) -> str:
    entries = quantizer.entries if isinstance(quantizer, NestedChain) else 0
    return {"vq": f"vq {entries}", "rvq": f"rvq {size}x{entries}", "fsq": f"fsq {size}"}[kind]
