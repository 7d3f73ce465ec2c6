"""Arrange tokens in frames in time order for a language model.

A *frame* is one step of the codec's slowest codebook. Its tokens are sorted by start time. If two start at the same
time, the token of the coarser codebook comes first. With a single codebook rate, tokens are in codebook order. Example
for SNAC (1 : 2 : 4):

    codebook 0   a0                            a0 b0 c0 c1 b1 c2 c3
    codebook 1   b0          b1          ->
    codebook 2   c0    c1    c2    c3

If no codebook has more than 4,096 codes, a token has one *head*, a softmax over all codes. Otherwise all codebooks are
factorised exactly, so their sizes must be powers of two. A code is written in base 8, least significant digit first,
and every digit has a head of 8 codes (the last one 2, 4 or 8). For Silk these digits are the FSQ levels: 8^7 is seven
heads of 8, with 128 heads per frame. One token is one step. A model predicts the heads of a token in parallel, or
sequentially with a small module.

Letters: F frames, P tokens in a frame, H heads of a token. Unused heads have one code, 0, so they cost 0 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.spec import SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes

if TYPE_CHECKING:
    from silkcodec.codec import Codec

MAX_HEAD = 4_096  # Codes of one softmax; the largest codebook size among the baseline codecs.
DIGIT = 8  # Codes per head of a factorised token.

Frames = NDArray[np.int64]  # [F, P, H]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Describe the frames of a codec and convert between frames and Tokens.

    Attributes:
        codec: codec of the tokens, as stored in them: "silk@0a1b2c3d4e5f".
        sample_rate: sample rate of the wave, Hz.
        frame_rates: frame rates of the K codebooks, Hz.
        codebook_sizes: sizes of the K codebooks.
        codebook_of: codebook index of each of the P tokens in a frame.
        tokens_per_second: token rate of the tokens from which the layout was made.

    >>> import silkcodec                                                    # doctest: +SKIP
    >>> layout = Layout.of_codec(silkcodec.load(), dims_per_token=4)        # doctest: +SKIP
    >>> layout.codes(tokens.regroup(4)).shape                               # doctest: +SKIP
    (25, 32)
    """

    codec: str
    sample_rate: int
    frame_rates: tuple[float, ...]
    codebook_sizes: tuple[int, ...]
    codebook_of: tuple[int, ...]
    tokens_per_second: float

    @classmethod
    def of(cls, tokens: Tokens) -> Layout:
        """Return the layout of tokens of any codec.

        Raises:
            TokensError: the rates are not whole multiples of the slowest, the codes do not fill whole frames, or the
                codebooks cannot be factorised; see `heads`.
        """
        ratios = _ratios(tokens.frame_rates)
        lengths = [len(codes) for codes in tokens.codes]
        if ratios is None or any(n != r * tokens.n_frames for r, n in zip(ratios, lengths, strict=True)):
            raise TokensError(
                f"the frame rates of {tokens.codec!r} must be whole multiples of the slowest, with whole frames; "
                f"got {lengths} codes at {tokens.frame_rates} Hz."
            )
        heads(tokens.codebook_sizes)  # Raises TokensError if the sizes cannot be factorised.
        rates, sizes = tokens.frame_rates, tokens.codebook_sizes
        return cls(tokens.codec, tokens.sample_rate, rates, sizes, _order(ratios), tokens.tokens_per_second)

    @classmethod
    def of_codec(cls, codec: Codec, *, dims_per_token: int | None = None) -> Layout:
        """Return the layout of the tokens of a codec without encoding anything.

        Args:
            dims_per_token: grouping of Silk's tokens, see `Tokens.regroup`. Only for Silk.

        Raises:
            TokensError: the rates are not whole multiples of the slowest, or the codebooks cannot be factorised.
            ArgumentError: dims_per_token is outside 1..20, or the codec is not Silk.
        """
        sizes, rates = tuple(codec.codebook_sizes), tuple(codec.frame_rates)
        if dims_per_token is not None:
            if (codec.sample_rate, set(rates)) != (SILK_SAMPLE_RATE, {SILK_FRAME_RATE}) or sizes != codebook_sizes():
                raise ArgumentError(f"dims_per_token is for Silk only; omit it for '{codec.name}'.")
            sizes = codebook_sizes(dims_per_token)
            rates = (SILK_FRAME_RATE,) * len(sizes)
        ratios = _ratios(rates)
        if ratios is None:
            raise TokensError(f"frame rates must be whole multiples of the slowest; '{codec.name}' has {rates} Hz.")
        heads(sizes)  # Raises TokensError if the sizes cannot be factorised.
        name = getattr(codec, "codec_id", codec.name)
        return cls(name, codec.sample_rate, rates, sizes, _order(ratios), min(rates) * sum(ratios))

    @property
    def frame_rate(self) -> float:
        """Return the rate of the slowest codebook, Hz."""
        return min(self.frame_rates)

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens in a frame, P."""
        return len(self.codebook_of)

    @cached_property
    def token_sizes(self) -> Codes:
        """Return the number of codes of each token of a frame, int64 [P]."""
        return np.array([self.codebook_sizes[k] for k in self.codebook_of], dtype=np.int64)

    @cached_property
    def head_sizes(self) -> NDArray[np.int64]:
        """Return the number of codes of each head, int64 [P, H]. Unused heads of a token have 1."""
        each = heads(self.codebook_sizes)
        rows = [each[k] for k in self.codebook_of]
        width = max(map(len, rows))
        return np.array([row + (1,) * (width - len(row)) for row in rows], dtype=np.int64)

    @property
    def raw_bits_per_frame(self) -> float:
        """Return the bits of a frame without a model: the sum of log2 of the codebook sizes of its tokens."""
        return float(np.log2(self.token_sizes).sum())

    @property
    def raw_bits_per_second(self) -> float:
        """Return the bit rate of the tokens without a model, bit/s."""
        return self.frame_rate * float(np.log2(self.head_sizes).sum())

    def codes(self, tokens: Tokens) -> Codes:
        """Return the codes of tokens of this layout in time order, int64 [F, P].

        Raises:
            TokensError: the tokens have another codec or grouping, or do not fill whole frames.
        """
        if (tokens.codec, tokens.codebook_sizes) != (self.codec, self.codebook_sizes):
            raise TokensError(
                f"tokens must be from {self.codec!r} with {len(self.codebook_sizes)} codebooks, as in the layout; "
                f"got {tokens!r}."
            )
        n_frames, n_tokens = tokens.n_frames, self.n_tokens
        codes = np.empty((n_frames, n_tokens), dtype=np.int64)
        for k, stream in enumerate(tokens.codes):
            columns = [p for p in range(n_tokens) if self.codebook_of[p] == k]
            n_codes = n_frames * len(columns)
            if len(stream) != n_codes:
                raise TokensError(f"{n_frames} frames must have {n_codes} codes of codebook {k}; got {len(stream)}.")
            codes[:, columns] = stream.reshape(n_frames, len(columns))  # Rows are in time order.
        return codes

    def frames(self, tokens: Tokens) -> Frames:
        """Return the code of every head for tokens of this layout, int64 [F, P, H]. Raises TokensError like `codes`."""
        return self.split(self.codes(tokens))

    def split(self, codes: ArrayLike) -> Frames:
        """Split codes [F, P] into their digits, the codes of the heads, int64 [F, P, H]."""
        left = self._checked(codes, "codes", (self.n_tokens,), self.token_sizes)
        split = np.zeros((len(left), *self.head_sizes.shape), dtype=np.int64)
        for h, sizes in enumerate(self.head_sizes.T):
            split[:, :, h], left = left % sizes, left // sizes
        return split

    def join(self, frames: ArrayLike) -> Codes:
        """Join the codes of the heads [F, P, H] to codes int64 [F, P]. This is the inverse of `split`."""
        digits = self._checked(frames, "frames", self.head_sizes.shape, self.head_sizes)
        place_values = np.cumprod(np.pad(self.head_sizes, ((0, 0), (1, 0)), constant_values=1)[:, :-1], axis=1)
        joined: Codes = (digits * place_values).sum(axis=-1)
        return joined

    def tokens(self, codes: ArrayLike, n_samples: int | None = None) -> Tokens:
        """Convert codes [F, P] to Tokens. This is the inverse of `codes`; apply `join` to the output of `frames` first.

        Args:
            n_samples: number of samples of the wave; None: the length of all frames.

        Raises:
            TokensError: the codes are out of range or have another shape, or n_samples does not fit the frames.
        """
        array = self._checked(codes, "codes", (self.n_tokens,), self.token_sizes)
        of = np.array(self.codebook_of)
        streams = tuple(array[:, of == k].ravel() for k in range(len(self.codebook_sizes)))
        if n_samples is None:
            n_samples = round(len(array) * self.sample_rate / self.frame_rate)
        return Tokens(streams, self.codebook_sizes, self.frame_rates, self.sample_rate, n_samples, self.codec)

    def _checked(self, values: ArrayLike, what: str, shape: tuple[int, ...], sizes: NDArray[Any]) -> Codes:
        """Return integers [F, *shape] after checking each against its size. Raises TokensError."""
        array = np.asarray(values)
        if array.ndim != 1 + len(shape) or array.shape[1:] != shape or array.dtype.kind not in "iu":
            wanted = ", ".join(map(str, shape))
            raise TokensError(f"{what} must be integers of shape [frames, {wanted}]; got {array.dtype} {array.shape}.")
        wrong = np.argwhere((array < 0) | (array >= sizes))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            raise TokensError(f"{what}[{', '.join(map(str, at))}] must be 0..{sizes[at[1:]] - 1}; got {array[at]}.")
        return array.astype(np.int64)


def heads(codebook_sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the head sizes of a token of each codebook. Their product is the codebook's size.

    Raises:
        TokensError: one codebook has more than 4,096 codes, and a codebook size is not a power of two.

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
                f"codebook sizes must be powers of two if one exceeds {MAX_HEAD}, to be factorised exactly; got {size}."
            )
        digits, rest = divmod(bits, 3)
        found.append(((DIGIT,) * digits + (1 << rest,) * (rest > 0)) or (1,))
    return found


def _ratios(frame_rates: Sequence[float]) -> list[int] | None:
    """Return each rate as a multiple of the slowest, or None if a multiple is not whole."""
    slowest = min(frame_rates)
    ratios = [round(rate / slowest) for rate in frame_rates]
    pairs = zip(ratios, frame_rates, strict=True)
    return ratios if all(math.isclose(ratio * slowest, rate, rel_tol=1e-3) for ratio, rate in pairs) else None


def _order(ratios: Sequence[int]) -> tuple[int, ...]:
    """Return the codebook index of each token of a frame, in time order."""
    return tuple(k for _, k in sorted((step / ratio, k) for k, ratio in enumerate(ratios) for step in range(ratio)))
