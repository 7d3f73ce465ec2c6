"""Measure how a codec uses its codebooks: the number of used codes, the perplexity and the entropy.

The entropy is estimated from the frequencies of individual codes. If a codebook is large compared with the number of
measured tokens, the estimate is too low. For Silk, the statistics of individual FSQ dimensions are more reliable.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.spec import LATENT_WIDTH, N_LEVELS
from silkcodec.tokens import Tokens

Counts = tuple[NDArray[np.int64], NDArray[np.int64]]  # codes that occur [U], and their frequencies [U]


def histogram(tokens: Tokens) -> str:
    """Count the codes in each codebook, and return the counts as a compressed string."""
    counted = [np.unique(codes, return_counts=True) for codes in tokens.codes]
    numbers = [np.array([len(codes) for codes, _ in counted])]
    for codes, counts in counted:  # Sorted codes have small differences, which compress well.
        numbers += [np.diff(codes, prepend=0), counts]
    packed = zlib.compress(np.concatenate(numbers).astype("<i8").tobytes(), 9)
    return base64.b85encode(packed).decode()


def unpack(text: str, n_codebooks: int) -> list[Counts]:
    """Decode a string from `histogram`, and return one histogram per codebook."""
    numbers = np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype="<i8").astype(np.int64)
    found, start = [], n_codebooks
    for n_used in numbers[:n_codebooks]:
        codes, counts = numbers[start : start + n_used], numbers[start + n_used : start + 2 * n_used]
        found.append((np.cumsum(codes), counts))
        start += 2 * int(n_used)
    return found


def merged(histograms: Sequence[Counts]) -> Counts:
    """Return the sum of several histograms."""
    codes, place = np.unique(np.concatenate([codes for codes, _ in histograms]), return_inverse=True)
    counts = np.zeros(len(codes), np.int64)
    np.add.at(counts, place, np.concatenate([counts for _, counts in histograms]))
    return codes, counts


def entropy_bits(counts: NDArray[np.int64]) -> float:
    """Return the entropy in bits per code, given the number of occurrences of each code."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0  # avoids -0.0


def perplexity(codes: NDArray[np.integer[Any]]) -> float:
    """Return the perplexity of codes [n]: the number of equally frequent codes that would have the same entropy."""
    return 2.0 ** entropy_bits(np.unique(codes, return_counts=True)[1])


def statistics(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compute the codebook statistics of a codec from its result rows, one per clip.

    Returns:
        A dictionary with these keys:

        - codebooks: a list with {size, frame_rate_hz, n_tokens, n_used, perplexity, entropy_bits} for each codebook.
        - entropy_bits_per_second: entropy times frame rate, summed over codebooks.
        - dimensions: a dictionary with statistics of the FSQ dimensions. This key is present only for Silk.
    """
    first = rows[0]
    sizes, rates = first["codebook_sizes"], first["frame_rates"]
    alike = [row for row in rows if (row["codebook_sizes"], row["frame_rates"]) == (sizes, rates)]
    by_row = [unpack(row["codes"], len(sizes)) for row in alike]
    totals = [merged([counts[k] for counts in by_row]) for k in range(len(sizes))]
    codebooks = []
    for (_codes, counts), size, rate in zip(totals, sizes, rates, strict=True):
        bits = entropy_bits(counts)
        codebooks.append(
            {
                "size": size,
                "frame_rate_hz": rate,
                "n_tokens": int(counts.sum()),
                "n_used": len(counts),
                "perplexity": 2.0**bits,
                "entropy_bits": bits,
            }
        )
    per_second = sum(book["entropy_bits"] * book["frame_rate_hz"] for book in codebooks)
    figures: dict[str, Any] = {"codebooks": codebooks, "entropy_bits_per_second": per_second}
    if first["dims_per_token"] is not None:
        figures["dimensions"] = _dimensions(totals, first["dims_per_token"], rates[0])
    return figures


def _dimensions(totals: Sequence[Counts], dims_per_token: int, frame_rate: float) -> dict[str, Any]:
    """Compute the statistics of Silk's FSQ dimensions from the histograms of its codes."""
    level_counts = np.zeros((len(totals) * dims_per_token, N_LEVELS), np.int64)
    for k, (codes, counts) in enumerate(totals):
        for place in range(dims_per_token):  # A level is three bits of the code, because 8 = 2^3.
            levels = (codes >> (3 * place)) & (N_LEVELS - 1)
            np.add.at(level_counts[k * dims_per_token + place], levels, counts)
    level_counts = level_counts[:LATENT_WIDTH]
    bits = [entropy_bits(counts) for counts in level_counts]
    return {
        "n_levels": N_LEVELS,
        "n_frames": int(level_counts[0].sum()),
        "n_used": [int((counts > 0).sum()) for counts in level_counts],
        "perplexity": [2.0**value for value in bits],
        "entropy_bits": bits,
        "entropy_bits_per_second": sum(bits) * frame_rate,
    }
