"""Tokens as a language model gets them: frames of tokens in time order, and what follows from that shape alone.

A *frame* is one step of the codec's slowest codebook. Its tokens stand in the order in which their time begins,
and where two begin at once, the coarser codebook first. One codebook rate: codebook by codebook. SNAC (1 : 2 : 4):

    codebook 0   a0                            a0 b0 c0 c1 b1 c2 c3
    codebook 1   b0          b1          ->
    codebook 2   c0    c1    c2    c3

Where no codebook has more than 4,096 codes, a token has one *head*, a softmax over all of them. Else all codebooks
are factorised, exactly, so they must be powers of two: a code is written in base 8, least significant digit first,
and every digit has a head of 8 (the last one 2, 4 or 8). For Silk these digits are the FSQ levels: 8^7 is seven
heads of 8, 128 heads a frame. The heads of one token are predicted at once, independently of each other, given all
that came before: one token is one step.

Letters: F frames, P tokens in a frame, H heads of a token (unused ones have one code, 0, and so cost 0 bits).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import TokensError
from silkcodec.tokens import Tokens

MAX_HEAD = 4_096  # codes that one softmax predicts; the largest of the peers' codebooks
DIGIT = 8  # codes of a head of a factorised token
MODEL_WIDTH = 1_024  # of the language model whose output parameters are counted
MINUTE_S = 60

Frames = NDArray[np.int64]  # [F, P, H]


@dataclass(frozen=True)
class Layout:
    """The shape of a frame.

    Attributes:
        frame_rate: of the slowest codebook, Hz.
        codebook_sizes: of the K codebooks.
        codebook_of: of each of a frame's P tokens, which codebook it is of.
        tokens_per_second: as counted in the tokens that the layout was made of.
    """

    frame_rate: float
    codebook_sizes: tuple[int, ...]
    codebook_of: tuple[int, ...]
    tokens_per_second: float

    @classmethod
    def of(cls, tokens: Tokens) -> Layout:
        """The layout of tokens of any codec.

        Raises:
            TokensError: rates that are not whole multiples of the slowest, codes that do not fill whole frames,
                or codebooks that cannot be factorised, see `heads`.
        """
        slowest = min(tokens.frame_rates)
        ratios = [round(rate / slowest) for rate in tokens.frame_rates]
        rates = zip(ratios, tokens.frame_rates, strict=True)
        whole = all(math.isclose(ratio * slowest, rate, rel_tol=1e-3) for ratio, rate in rates)
        lengths = [len(codes) for codes in tokens.codes]
        if not whole or any(n != r * tokens.n_frames for r, n in zip(ratios, lengths, strict=True)):
            raise TokensError(
                f"the codebooks of {tokens.codec!r} must run at whole multiples of the slowest, in whole frames; "
                f"got {lengths} codes at {tokens.frame_rates} Hz."
            )
        heads(tokens.codebook_sizes)  # raises what must hold
        begins = sorted((step / ratio, k) for k, ratio in enumerate(ratios) for step in range(ratio))
        order = tuple(k for _, k in begins)
        return cls(slowest, tokens.codebook_sizes, order, tokens.tokens_per_second)

    @cached_property
    def head_sizes(self) -> NDArray[np.int64]:
        """Codes of each head, int64 [P, H]; 1 where a token has fewer heads than others."""
        each = heads(self.codebook_sizes)
        rows = [each[k] for k in self.codebook_of]
        width = max(map(len, rows))
        return np.array([row + (1,) * (width - len(row)) for row in rows], dtype=np.int64)

    @property
    def raw_bits_per_second(self) -> float:
        """What the tokens cost without any model: log2 of every codebook's size, as often as it comes."""
        return self.frame_rate * float(np.log2(self.head_sizes).sum())

    def frames(self, tokens: Tokens) -> Frames:
        """Tokens of this layout -> the code of every head, int64 [F, P, H]."""
        n_frames, n_tokens = tokens.n_frames, len(self.codebook_of)
        codes = np.empty((n_frames, n_tokens), dtype=np.int64)
        for k, stream in enumerate(tokens.codes):
            columns = [p for p in range(n_tokens) if self.codebook_of[p] == k]
            codes[:, columns] = stream.reshape(n_frames, len(columns))  # in time order, so row by row
        split = np.zeros((n_frames, *self.head_sizes.shape), dtype=np.int64)
        for p, sizes in enumerate(self.head_sizes):
            left = codes[:, p]
            for h, size in enumerate(sizes):
                split[:, p, h], left = left % size, left // size
        return split


def heads(codebook_sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The heads of a token of each codebook: their sizes multiply to the codebook's.

    Raises:
        TokensError: one has more than 4,096 codes, and one is not a power of two.

    >>> heads((1000, 4096)), heads((8**7, 2**14, 64))
    ([(1000,), (4096,)], [(8, 8, 8, 8, 8, 8, 8), (8, 8, 8, 8, 4), (8, 8)])
    """
    if max(codebook_sizes) <= MAX_HEAD:
        return [(size,) for size in codebook_sizes]
    found = []
    for size in codebook_sizes:
        bits = size.bit_length() - 1
        if size != 1 << bits:
            raise TokensError(
                f"codebooks must be powers of two where one has more than {MAX_HEAD} codes, to be factorised exactly; "
                f"got one of {size}."
            )
        digits, rest = divmod(bits, 3)
        found.append(((DIGIT,) * digits + (1 << rest,) * (rest > 0)) or (1,))
    return found


def arithmetic(layout: Layout) -> dict[str, Any]:
    """What the layout alone costs a language model: lengths, steps, vocabulary, output parameters.

    A minute is as many frames as it takes to fill it. `flat`: one step a token. `frame`: one step a frame, its
    tokens predicted at once or by a small model of their own. `delay`: one step a frame, token p of a frame p
    steps late (MusicGen, arXiv 2306.05284), so P - 1 steps more for the whole sequence.
    """
    n_frames = math.ceil(round(MINUTE_S * layout.frame_rate, 6))
    n_tokens = len(layout.codebook_of)
    outputs = sum(layout.codebook_sizes)
    factorised = sum(map(sum, heads(layout.codebook_sizes)))
    return {
        "frame_rate_hz": layout.frame_rate,
        "tokens_per_frame": n_tokens,
        "tokens_per_second": layout.tokens_per_second,
        "raw_bits_per_second": layout.raw_bits_per_second,
        "codebook_sizes": list(layout.codebook_sizes),
        "heads_per_frame": int((layout.head_sizes > 1).sum()),
        "minute_steps": {"flat": n_frames * n_tokens, "frame": n_frames, "delay": n_frames + n_tokens - 1},
        "speech_s_per_step": {"flat": 1 / (layout.frame_rate * n_tokens), "frame": 1 / layout.frame_rate},
        "outputs": {"whole": outputs, "factorised": factorised},
        "output_parameters": {"whole": outputs * MODEL_WIDTH, "factorised": factorised * MODEL_WIDTH},
        "model_width": MODEL_WIDTH,
    }
