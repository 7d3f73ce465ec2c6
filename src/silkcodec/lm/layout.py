"""Arrange the tokens of each frame in time order for a language model.

A *frame* covers one code of the codec's slowest codebook. Its tokens are sorted by start time, then by codebook.
Example for SNAC, whose frame rates are in the ratio 1 : 2 : 4:

    codebook 0   a0                            a0 b0 c0 c1 b1 c2 c3
    codebook 1   b0          b1          ->
    codebook 2   c0    c1    c2    c3

If any codebook has more than 4,096 codes, all codes are split into base-8 digits, least significant digit first, with
one *head* (a softmax) per digit. For Silk, these digits are the FSQ levels. Otherwise, a token has a single head.

Letters in shapes: F frames, P tokens in a frame, H heads of a token. Unused heads have one code, 0.
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

MAX_HEAD = 4_096  # maximum number of codes in one softmax; among the baselines, only encodec:stereo-* exceeds it
DIGIT = 8  # codes per head of a factorized token

Frames = NDArray[np.int64]
"""Codes of all heads, int64 [F, P, H]."""

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The order of the tokens in a codec's frames.

    Attributes:
        codec: codec id, as stored in the tokens, e.g. "silk@0a1b2c3d4e5f".
        sample_rate: sample rate of the audio in Hz.
        frame_rates: frame rates of the K codebooks in Hz.
        codebook_sizes: sizes of the K codebooks.
        codebook_of: codebook index of each of the P tokens in a frame.
        tokens_per_second: number of tokens per second of audio.

    >>> import silkcodec
    >>> codec = silkcodec.load()
    >>> tokens = codec.encode(np.zeros(96_000), 24_000)
    >>> layout = Layout.of_codec(codec, dims_per_token=4)
    >>> layout.codes(tokens.regroup(4)).shape
    (10, 32)
    """

    codec: str
    sample_rate: int
    frame_rates: tuple[float, ...]
    codebook_sizes: tuple[int, ...]
    codebook_of: tuple[int, ...]
    tokens_per_second: float

    @classmethod
    def of(cls, tokens: Tokens) -> Layout:
        """Return the layout of the given tokens.

        Args:
            tokens: tokens from any codec.

        Raises:
            TokensError: the frame rates are not multiples of the lowest one, the codes do not fill whole frames, or
                the codebook sizes are invalid; see `heads`.
        """
        ratios = _ratios(tokens.frame_rates)
        lengths = [len(codes) for codes in tokens.codes]
        if ratios is None or any(n != r * tokens.n_frames for r, n in zip(ratios, lengths, strict=True)):
            raise TokensError(
                f"The frame rates of '{tokens.codec}' must be whole multiples of the lowest rate, and the codes must "
                f"fill whole frames; got {lengths} codes at {tokens.frame_rates} Hz."
            )
        heads(tokens.codebook_sizes)  # raises TokensError if the sizes cannot be factorized
        rates, sizes = tokens.frame_rates, tokens.codebook_sizes
        return cls(tokens.codec, tokens.sample_rate, rates, sizes, _order(ratios), tokens.tokens_per_second)

    @classmethod
    def of_codec(cls, codec: Codec, *, dims_per_token: int | None = None) -> Layout:
        """Return the layout of a codec's tokens.

        Args:
            codec: codec whose tokens the layout describes.
            dims_per_token: latent dimensions per token, for Silk only; see `Tokens.regroup`. None means the codec's own
                grouping.

        Raises:
            TokensError: the frame rates are not multiples of the lowest one, or the codebook sizes are invalid; see
                `heads`.
            ArgumentError: `dims_per_token` is out of range, or is set for a codec other than Silk.
        """
        sizes, rates = tuple(codec.codebook_sizes), tuple(codec.frame_rates)
        if dims_per_token is not None:
            if (codec.sample_rate, set(rates)) != (SILK_SAMPLE_RATE, {SILK_FRAME_RATE}) or sizes != codebook_sizes():
                raise ArgumentError(f"dims_per_token is only for Silk; omit it for '{codec.name}'.")
            sizes = codebook_sizes(dims_per_token)
            rates = (SILK_FRAME_RATE,) * len(sizes)
        ratios = _ratios(rates)
        if ratios is None:
            raise TokensError(
                f"Frame rates must be whole multiples of the lowest rate; got {rates} Hz for '{codec.name}'."
            )
        heads(sizes)  # raises TokensError if the sizes cannot be factorized
        name = getattr(codec, "codec_id", codec.name)
        return cls(name, codec.sample_rate, rates, sizes, _order(ratios), min(rates) * sum(ratios))

    @property
    def frame_rate(self) -> float:
        """Return the frame rate of the slowest codebook in Hz."""
        return min(self.frame_rates)

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens in a frame, P."""
        return len(self.codebook_of)

    @cached_property
    def token_sizes(self) -> Codes:
        """Return the vocabulary size of each token in a frame, int64 [P]."""
        return np.array([self.codebook_sizes[k] for k in self.codebook_of], dtype=np.int64)

    @cached_property
    def head_sizes(self) -> NDArray[np.int64]:
        """Return the vocabulary size of each head, int64 [P, H]. The size of unused heads is 1."""
        each = heads(self.codebook_sizes)
        rows = [each[k] for k in self.codebook_of]
        width = max(map(len, rows))
        return np.array([row + (1,) * (width - len(row)) for row in rows], dtype=np.int64)

    @property
    def raw_bits_per_frame(self) -> float:
        """Return the number of bits in a frame if all codes are equally likely."""
        return float(np.log2(self.token_sizes).sum())

    @property
    def raw_bits_per_second(self) -> float:
        """Return the bit rate in bit/s if all codes are equally likely."""
        return self.frame_rate * float(np.log2(self.head_sizes).sum())

    def codes(self, tokens: Tokens) -> Codes:
        """Convert tokens to codes in time order.

        Args:
            tokens: tokens whose codec and grouping match this layout.

        Returns:
            The codes, int64 [F, P].

        Raises:
            TokensError: the codec or grouping of the tokens differs from that of this layout, or the tokens do not fill
                whole frames.
        """
        if (tokens.codec, tokens.codebook_sizes) != (self.codec, self.codebook_sizes):
            raise TokensError(
                f"Tokens must match the layout ('{self.codec}' with {len(self.codebook_sizes)} codebooks);"
                f" got {tokens!r}."
            )
        n_frames, n_tokens = tokens.n_frames, self.n_tokens
        codes = np.empty((n_frames, n_tokens), dtype=np.int64)
        for k, stream in enumerate(tokens.codes):
            columns = [p for p in range(n_tokens) if self.codebook_of[p] == k]
            n_codes = n_frames * len(columns)
            if len(stream) != n_codes:
                raise TokensError(f"The stream of codebook {k} must have {n_codes} codes; got {len(stream)}.")
            codes[:, columns] = stream.reshape(n_frames, len(columns))  # The columns of a codebook are in time order.
        return codes

    def frames(self, tokens: Tokens) -> Frames:
        """Split each token into digits, one for each output head of the language model.

        Args:
            tokens: tokens whose codec and grouping match this layout.

        Returns:
            The digits, int64 [F, P, H].

        Raises:
            TokensError: see `codes`.
        """
        return self.split(self.codes(tokens))

    def split(self, codes: ArrayLike) -> Frames:
        """Split each code into digits, one for each head.

        Args:
            codes: integers [F, P] in time order.

        Returns:
            The digits, int64 [F, P, H].

        Raises:
            TokensError: the codes are out of range or have the wrong shape.
        """
        left = self._checked(codes, "codes", (self.n_tokens,), self.token_sizes)
        split = np.zeros((len(left), *self.head_sizes.shape), dtype=np.int64)
        for h, sizes in enumerate(self.head_sizes.T):
            split[:, :, h], left = left % sizes, left // sizes
        return split

    def join(self, frames: ArrayLike) -> Codes:
        """Join digits into codes. This is the inverse of `split`.

        Args:
            frames: digits, integers [F, P, H].

        Returns:
            The codes, int64 [F, P].

        Raises:
            TokensError: the digits are out of range or have the wrong shape.
        """
        digits = self._checked(frames, "frames", self.head_sizes.shape, self.head_sizes)
        place_values = np.cumprod(np.pad(self.head_sizes, ((0, 0), (1, 0)), constant_values=1)[:, :-1], axis=1)
        joined: Codes = (digits * place_values).sum(axis=-1)
        return joined

    def tokens(self, codes: ArrayLike, n_samples: int | None = None) -> Tokens:
        """Convert codes to Tokens. This is the inverse of `codes`.

        Args:
            codes: integers [F, P] in time order.
            n_samples: length of the audio in samples. None means the total length of all frames.

        Returns:
            The tokens.

        Raises:
            TokensError: the codes are out of range or have the wrong shape, or `n_samples` does not match the number of
                frames.
        """
        array = self._checked(codes, "codes", (self.n_tokens,), self.token_sizes)
        of = np.array(self.codebook_of)
        streams = tuple(array[:, of == k].ravel() for k in range(len(self.codebook_sizes)))
        if n_samples is None:
            n_samples = round(len(array) * self.sample_rate / self.frame_rate)
        return Tokens(streams, self.codebook_sizes, self.frame_rates, self.sample_rate, n_samples, self.codec)

    def _checked(self, values: ArrayLike, what: str, shape: tuple[int, ...], sizes: NDArray[Any]) -> Codes:
        """Check the shape and range of integers [F, *shape], and return them as int64."""
        array = np.asarray(values)
        if array.ndim != 1 + len(shape) or array.shape[1:] != shape or array.dtype.kind not in "iu":
            wanted = ", ".join(map(str, shape))
            raise TokensError(f"{what} must be integers of shape [frames, {wanted}]; got {array.dtype} {array.shape}.")
        wrong = np.argwhere((array < 0) | (array >= sizes))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            raise TokensError(
                f"{what}[{', '.join(map(str, at))}] must be between 0 and {sizes[at[1:]] - 1}; got {array[at]}."
            )
        return array.astype(np.int64)


def heads(codebook_sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the sizes of the heads (softmaxes) of each codebook. Their product is the size of the codebook.

    Args:
        codebook_sizes: number of codes in each codebook.

    Raises:
        TokensError: a codebook has more than 4,096 codes, and not all codebook sizes are powers of two.

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
                f"If any codebook has more than {MAX_HEAD} entries, all codebook sizes must be powers of two;"
                f" got {size}."
            )
        digits, rest = divmod(bits, 3)
        found.append(((DIGIT,) * digits + (1 << rest,) * (rest > 0)) or (1,))
    return found


def _ratios(frame_rates: Sequence[float]) -> list[int] | None:
    """Return the ratio of each frame rate to the lowest one, or None if a ratio is not an integer."""
    slowest = min(frame_rates)
    ratios = [round(rate / slowest) for rate in frame_rates]
    pairs = zip(ratios, frame_rates, strict=True)
    return ratios if all(math.isclose(ratio * slowest, rate, rel_tol=1e-3) for ratio, rate in pairs) else None


def _order(ratios: Sequence[int]) -> tuple[int, ...]:
    """Return the codebook index of each token in a frame, in time order."""
    return tuple(k for _, k in sorted((step / ratio, k) for k, ratio in enumerate(ratios) for step in range(ratio)))
