"""Define Tokens, which hold the codes of a recording and the metadata for decoding them.

Tokens contain one integer array per codebook, and every codebook has its own size and frame rate.

Silk's codebooks are *groups* of FSQ dimensions. A frame has 128 dimensions with levels in 0..7. A group of n adjacent
dimensions forms one code, in which the first dimension is the least significant digit:

    levels   5 1 7 0 2 6 3 | 4 4 0 1 ...        code 0 = 5 + 1*8 + 7*8^2 + 0*8^3 + 2*8^4 + 6*8^5 + 3*8^6
             '-- group 0 --'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, SILK_FRAME_RATE, SILK_SAMPLE_RATE

MAX_DIMS_PER_TOKEN = 20  # Codes of 20 dimensions are below 8^20 = 2^60; those of 21 do not fit an int64.
"""Maximum number of FSQ dimensions per token."""

Codes = NDArray[np.int64]
"""Integer codes, int64."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The codes of one recording, and the metadata for decoding them.

    The constructor copies the arrays and makes the copies read-only.

    Attributes:
        codes: one int64 array [F_k] per codebook, with values in 0..codebook_sizes[k]-1.
        codebook_sizes: number of entries in each codebook.
        frame_rates: frame rate of each codebook in Hz.
        sample_rate: sample rate in Hz of the codec's input and output.
        n_samples: length of the recording in samples at `sample_rate`. The last frame usually extends beyond it.
        codec: name of the codec. If the codec has weights, the first 12 hex digits of their SHA-256 follow, as in
            "silk@0a1b2c3d4e5f".

    Raises:
        TokensError: a code is out of range, an array is not a one-dimensional integer array, a field does not have one
            entry per codebook, or n_samples does not match the number of Silk frames.

    >>> tokens = Tokens.from_levels(np.zeros((3, 128), int), n_samples=24_000, codec="silk@0a1b2c3d4e5f")
    >>> tokens.n_tokens, tokens.tokens_per_second, tokens.bits_per_second, tokens.duration_s
    (57, 47.5, 960.0, 1.0)
    """

    codes: tuple[Codes, ...]
    codebook_sizes: tuple[int, ...]
    frame_rates: tuple[float, ...]
    sample_rate: int
    n_samples: int
    codec: str

    def __post_init__(self) -> None:
        try:
            sizes = tuple(_as_int(size, "Each codebook size", 1) for size in self.codebook_sizes)
            rates = tuple(float(rate) for rate in self.frame_rates)
            len(self.codes)
        except (TypeError, ValueError) as error:
            raise TokensError(f"codes, codebook_sizes and frame_rates must be sequences ({error}).") from error
        if not sizes or not len(self.codes) == len(sizes) == len(self.frame_rates):
            raise TokensError(
                "codes, codebook_sizes and frame_rates must have one entry per codebook; "
                f"got {len(self.codes)}, {len(sizes)} and {len(self.frame_rates)}."
            )
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise TokensError(f"frame_rates must be positive numbers in Hz; got {rates}.")
        if not isinstance(self.codec, str) or not self.codec or not self.codec.isprintable():
            raise TokensError(f"codec must be a printable name such as 'silk@0a1b2c3d4e5f'; got {self.codec!r}.")
        numbered = enumerate(zip(self.codes, sizes, strict=True))
        fields: dict[str, Any] = {
            "codes": tuple(_as_codes(codes, size, k) for k, (codes, size) in numbered),
            "codebook_sizes": sizes,
            "frame_rates": rates,
            "sample_rate": _as_int(self.sample_rate, "sample_rate", 1),
            "n_samples": _as_int(self.n_samples, "n_samples", 1),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # A frozen dataclass rejects normal assignment.
        if self.dims_per_token is not None:
            check_lengths(self.codes, self.n_samples)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return self._layout == other._layout and all(map(np.array_equal, self.codes, other.codes))

    def __hash__(self) -> int:
        return hash((self._layout, *(codes.tobytes() for codes in self.codes)))

    def __reduce__(self) -> Any:
        """Pickle the arguments of the constructor."""
        layout = self.codebook_sizes, self.frame_rates, self.sample_rate, self.n_samples, self.codec
        return Tokens, (self.codes, *layout)

    @property
    def _layout(self) -> tuple[object, ...]:
        return self.codebook_sizes, self.frame_rates, self.sample_rate, self.n_samples, self.codec

    def __repr__(self) -> str:
        return (
            f"Tokens({self.codec!r}, {self.n_tokens} tokens in {len(self.codes)} codebooks, "
            f"{self.duration_s:.3f} s at {self.sample_rate} Hz)"
        )

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens in all codebooks."""
        return sum(len(codes) for codes in self.codes)

    @property
    def n_frames(self) -> int:
        """Return the number of frames of the codebook with the lowest frame rate."""
        return min(len(codes) for codes in self.codes)

    @property
    def duration_s(self) -> float:
        """Return the duration of the recording in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def tokens_per_second(self) -> float:
        """Return the token rate, which is 47.5 for Silk.

        The rate does not depend on the length of the recording, because it is computed for whole, padded frames.
        """
        return self.n_tokens * min(self.frame_rates) / self.n_frames

    @property
    def bits_per_second(self) -> float:
        """Return the bit rate, which is 960 for Silk.

        The rate does not depend on the length of the recording, because it is computed for whole, padded frames.
        """
        sizes = zip(self.codes, self.codebook_sizes, strict=True)
        bits = sum(len(codes) * math.log2(size) for codes, size in sizes)
        return bits * min(self.frame_rates) / self.n_frames

    @property
    def dims_per_token(self) -> int | None:
        """Return the number of FSQ dimensions per code (1 to 20), or None if the layout is not Silk's."""
        if self.sample_rate != SILK_SAMPLE_RATE or any(rate != SILK_FRAME_RATE for rate in self.frame_rates):
            return None
        dims = (self.codebook_sizes[0].bit_length() - 1) // 3  # 8^n has 3n + 1 bits
        fits = 1 <= dims <= MAX_DIMS_PER_TOKEN and self.codebook_sizes == codebook_sizes(dims)
        return dims if fits else None

    def to_levels(self) -> NDArray[np.uint8]:
        """Convert Silk's tokens to FSQ levels.

        Returns:
            The levels, uint8 [F, 128] in 0..7.

        Raises:
            TokensError: the tokens do not have Silk's layout.
        """
        dims = self._silk_dims("have FSQ levels")
        return codes_to_levels(np.stack(self.codes, axis=1), dims)

    @classmethod
    def from_levels(
        cls, levels: ArrayLike, *, n_samples: int, codec: str, dims_per_token: int = DIMS_PER_TOKEN
    ) -> Tokens:
        """Convert FSQ levels to Tokens.

        Args:
            levels: integers [F, 128] in 0..7 with F = ceil(n_samples / 9600).
            n_samples: length of the recording in samples at 24 kHz.
            codec: see `Tokens.codec`.
            dims_per_token: number of FSQ dimensions per code, 1 to 20.

        Returns:
            The tokens.

        Raises:
            TokensError: the levels are out of range or have the wrong shape, or n_samples does not match the number of
                frames.
            ArgumentError: dims_per_token is not between 1 and 20.
        """
        codes = levels_to_codes(levels, dims_per_token)
        sizes = codebook_sizes(dims_per_token)
        return cls(
            codes=tuple(codes.T),
            codebook_sizes=sizes,
            frame_rates=(SILK_FRAME_RATE,) * len(sizes),
            sample_rate=SILK_SAMPLE_RATE,
            n_samples=n_samples,
            codec=codec,
        )

    def regroup(self, dims_per_token: int) -> Tokens:
        """Change the number of FSQ dimensions per token. This is lossless.

        For a language model, the choice is a trade-off between sequence length and vocabulary size:

            dims_per_token   tokens per frame   entries per codebook
            7 (default)      19                 2,097,152
            4                32                 4,096
            1                128                8

        Args:
            dims_per_token: number of FSQ dimensions per token, 1 to 20.

        Returns:
            Tokens with the same levels in the new grouping.

        Raises:
            TokensError: the tokens do not have Silk's layout.
            ArgumentError: dims_per_token is not between 1 and 20.
        """
        self._silk_dims("can be regrouped")
        return Tokens.from_levels(
            self.to_levels(), n_samples=self.n_samples, codec=self.codec, dims_per_token=dims_per_token
        )

    def to_ids(self, *, shared: bool = False) -> Codes:
        """Convert tokens to a sequence of ids for a language model, ordered by frame and then by codebook.

        Args:
            shared: whether all codebooks share the same ids. By default, every codebook has its own range of ids, e.g.
                code 3 of codebook 1 becomes id codebook_sizes[0] + 3.

        Returns:
            The ids, int64 [n_tokens].

        Raises:
            TokensError: the codebooks have different frame rates, as in multi-scale codecs.
        """
        offsets = np.zeros(1, np.int64) if shared else _offsets(self.codebook_sizes)
        self._check_one_rate("to_ids")
        return (np.stack(self.codes, axis=1) + offsets).ravel()

    def from_ids(self, ids: ArrayLike, *, n_samples: int | None = None, shared: bool = False) -> Tokens:
        """Convert a sequence of ids to Tokens with the layout of `self`. This is the inverse of `to_ids`.

        Args:
            ids: integers [F * K], for example the output of a language model.
            n_samples: length of the recording in samples. None means the total length of the frames.
            shared: see `to_ids`.

        Returns:
            The tokens.

        Raises:
            TokensError: the codebooks have different frame rates, the last frame is incomplete, or an id is outside its
                codebook's range.
        """
        self._check_one_rate("from_ids")
        sequence, k = _as_integers(ids, "ids").astype(np.int64), len(self.codes)
        if sequence.ndim != 1 or not len(sequence) or len(sequence) % k:
            raise TokensError(
                f"ids must be one-dimensional and contain one or more whole frames of {k} ids; got shape"
                f" {sequence.shape}."
            )
        frames = sequence.reshape(-1, k)
        if not shared:
            frames = frames - _offsets(self.codebook_sizes)
        if n_samples is None:
            n_samples = round(len(frames) * self.sample_rate / self.frame_rates[0])
        layout = self.codebook_sizes, self.frame_rates, self.sample_rate
        return Tokens(tuple(frames.T), *layout, n_samples, self.codec)

    def _check_one_rate(self, what: str) -> None:
        if len(set(self.frame_rates)) > 1:
            raise TokensError(f"{what} requires codebooks with equal frame rates; got {self.frame_rates} Hz.")

    def _silk_dims(self, what: str) -> int:
        dims = self.dims_per_token
        if dims is None:
            raise TokensError(
                f"Only tokens in Silk's layout (128 dimensions of 8 levels at 2.5 Hz) {what}; "
                f"got {len(self.codes)} codebooks from {self.codec!r}."
            )
        return dims


def n_frames(n_samples: int) -> int:
    """Return the number of Silk frames in a recording, ceil(n_samples / 9600).

    Args:
        n_samples: length of the recording in samples at 24 kHz.
    """
    return -(-n_samples // FRAME_SAMPLES)


def codebook_sizes(dims_per_token: int = DIMS_PER_TOKEN) -> tuple[int, ...]:
    """Return the size of each Silk codebook.

    Args:
        dims_per_token: number of FSQ dimensions per token, 1 to 20. The last codebook has the remaining dimensions.

    Raises:
        ArgumentError: dims_per_token is not between 1 and 20.

    >>> sizes = codebook_sizes(7)
    >>> len(sizes), sizes[0], sizes[-1]
    (19, 2097152, 64)
    """
    if not isinstance(dims_per_token, (int, np.integer)) or not 1 <= dims_per_token <= MAX_DIMS_PER_TOKEN:
        raise ArgumentError(f"dims_per_token must be between 1 and {MAX_DIMS_PER_TOKEN}; got {dims_per_token!r}.")
    whole, rest = divmod(LATENT_WIDTH, int(dims_per_token))
    return (N_LEVELS ** int(dims_per_token),) * whole + (N_LEVELS**rest,) * (rest > 0)


def levels_to_codes(levels: ArrayLike, dims_per_token: int = DIMS_PER_TOKEN) -> Codes:
    """Convert FSQ levels to codes.

    Args:
        levels: integers [F, 128] in 0..7. F can be 0.
        dims_per_token: number of FSQ dimensions per code, 1 to 20.

    Returns:
        The codes, int64 [F, K].

    Raises:
        TokensError: the levels are out of range, are not integers or have the wrong shape.
        ArgumentError: dims_per_token is not between 1 and 20.
    """
    sizes, dims_per_token = codebook_sizes(dims_per_token), int(dims_per_token)
    array = _as_integers(levels, "levels")
    if array.ndim != 2 or array.shape[1] != LATENT_WIDTH:
        raise TokensError(f"levels must have shape [frames, {LATENT_WIDTH}]; got {array.shape}.")
    _check_range(array, N_LEVELS, "levels")
    padded = np.zeros((len(array), len(sizes) * dims_per_token), np.int64)
    padded[:, :LATENT_WIDTH] = array
    grouped = padded.reshape(len(array), len(sizes), dims_per_token)  # [F, K, dims_per_token]
    return grouped @ _place_values(dims_per_token)


def codes_to_levels(codes: ArrayLike, dims_per_token: int = DIMS_PER_TOKEN) -> NDArray[np.uint8]:
    """Convert codes to FSQ levels. This is the inverse of `levels_to_codes`.

    Args:
        codes: integers [F, K]. F can be 0.
        dims_per_token: number of FSQ dimensions per code, 1 to 20.

    Returns:
        The levels, uint8 [F, 128] in 0..7.

    Raises:
        TokensError: the codes are out of range, are not integers or have the wrong shape.
        ArgumentError: dims_per_token is not between 1 and 20.
    """
    sizes = codebook_sizes(dims_per_token)
    array = _as_integers(codes, "codes")
    if array.ndim != 2 or array.shape[1] != len(sizes):
        raise TokensError(
            f"With {dims_per_token} dimensions per token, codes must have shape [frames, {len(sizes)}];"
            f" got {array.shape}."
        )
    for k, size in enumerate(sizes):
        _check_range(array[:, k], size, f"Codes of codebook {k}")
    shifts = 3 * np.arange(dims_per_token)  # Dividing by 8^i is a right shift by 3i bits.
    levels = (array.astype(np.int64)[:, :, None] >> shifts) & (N_LEVELS - 1)  # [F, K, dims_per_token]
    return levels.reshape(len(array), levels.shape[1] * dims_per_token)[:, :LATENT_WIDTH].astype(np.uint8)


def _place_values(dims_per_token: int) -> Codes:
    return N_LEVELS ** np.arange(dims_per_token, dtype=np.int64)


def _offsets(sizes: Sequence[int]) -> Codes:
    """Return the first id of each codebook in the joint vocabulary, int64 [K]."""
    total = sum(sizes)
    if total > np.iinfo(np.int64).max:
        raise TokensError(
            f"The vocabulary must have at most 2^63 - 1 ids; got {total}. Regroup with fewer dimensions per token."
        )
    return np.cumsum((0, *sizes[:-1]), dtype=np.int64)


def check_lengths(codes: Sequence[Codes], n_samples: int) -> None:
    """Check that every codebook has one code for each Silk frame of a recording.

    Args:
        codes: codes of each codebook, int64 [F] each.
        n_samples: length of the recording in samples at 24 kHz.

    Raises:
        TokensError: the number of codes differs from the number of frames.
    """
    lengths = {len(c) for c in codes}
    expected = n_frames(n_samples)
    if lengths != {expected}:
        got = ", ".join(map(str, sorted(lengths)))
        raise TokensError(f"{n_samples} samples require {expected} Silk frames in every codebook; got {got}.")


def _check_range(array: NDArray[Any], size: int, what: str) -> None:
    if array.size and (array.min() < 0 or array.max() >= size):
        raise TokensError(f"{what} must be between 0 and {size - 1}; got {array.min()} to {array.max()}.")


def _as_integers(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # a ragged list
        raise TokensError(f"{what} must be an array of integers ({str(error).rstrip('.')}).") from error
    if array.dtype.kind not in "iu":
        raise TokensError(f"{what} must be an array of integers; got {array.dtype}.")
    return array


def _as_codes(codes: ArrayLike, size: int, k: int) -> Codes:
    what = f"Codes of codebook {k}"
    array = _as_integers(codes, what)
    if array.ndim != 1 or not array.size:
        raise TokensError(f"{what} must be a non-empty one-dimensional array; got shape {array.shape}.")
    _check_range(array, size, what)  # The check comes before the cast, because a uint64 can overflow an int64.
    array = array.astype(np.int64)  # `astype` always copies, so the caller cannot change the array later.
    array.setflags(write=False)
    return array


def _as_int(value: Any, what: str, at_least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise TokensError(f"{what} must be an integer of at least {at_least}; got {value!r}.")
    return int(value)
