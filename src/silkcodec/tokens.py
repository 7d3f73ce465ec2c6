"""Define Tokens: the codes of a wave and everything needed to decode them.

One type represents flat, residual and multi-scale codecs: one integer array per codebook, each with its own size
and frame rate. Duration, tokens per second and bits per second are derived from these fields.

Silk's codebooks are *groups* of FSQ dimensions. A frame is 128 levels of 0..7, and a group of n neighbouring
dimensions is one code, the first dimension least significant:

    levels   5 1 7 0 2 6 3 | 4 4 0 1 ...        code 0 = 5 + 1*8 + 7*8^2 + 0*8^3 + 2*8^4 + 6*8^5 + 3*8^6
             '-- group 0 --'

Seven dimensions per group make 18 groups of 8^7 and one of 8^2: 19 tokens per frame, 47.5 per second. The FSQ
dimensions are independent, so any other grouping represents the same recording: see `Tokens.regroup`.
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

MAX_DIMS_PER_TOKEN = 20  # 8^20 = 2^60: the widest group whose codes fit an int64

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Represent the codes of one recording and their layout.

    Two Tokens are equal if all fields are equal. The constructor copies the arrays and makes them read-only.

    Attributes:
        codes: one int64 array [F_k] per codebook, in 0..codebook_sizes[k]-1.
        codebook_sizes: number of codes in each codebook.
        frame_rates: frame rate of each codebook, Hz.
        sample_rate: sample rate of the encoded wave and of the wave that `decode` returns, Hz.
        n_samples: number of samples of that wave; the last frame usually extends beyond its end.
        codec: name and, if the codec has weights, 12 hex digits of their SHA-256: "silk@0a1b2c3d4e5f".

    Raises:
        TokensError: a code out of range, an array that is not one-dimensional and integer, fields of
            different lengths, or an n_samples that does not match the number of Silk frames.

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
            sizes = tuple(_as_int(size, "a codebook size", 1) for size in self.codebook_sizes)
            rates = tuple(float(rate) for rate in self.frame_rates)
            len(self.codes)
        except (TypeError, ValueError) as error:
            raise TokensError(f"codes, codebook_sizes and frame_rates must be sequences; {error}.") from error
        if not sizes or not len(self.codes) == len(sizes) == len(self.frame_rates):
            raise TokensError(
                "codes, codebook_sizes and frame_rates must have one entry per codebook; "
                f"got {len(self.codes)}, {len(sizes)} and {len(self.frame_rates)}."
            )
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise TokensError(f"frame rates must be positive numbers (Hz); got {rates}.")
        if not isinstance(self.codec, str) or not self.codec or not self.codec.isprintable():
            raise TokensError(f"codec must be a printable name like 'silk@0a1b2c3d4e5f'; got {self.codec!r}.")
        numbered = enumerate(zip(self.codes, sizes, strict=True))
        fields: dict[str, Any] = {
            "codes": tuple(_as_codes(codes, size, k) for k, (codes, size) in numbered),
            "codebook_sizes": sizes,
            "frame_rates": rates,
            "sample_rate": _as_int(self.sample_rate, "sample_rate", 1),
            "n_samples": _as_int(self.n_samples, "n_samples", 1),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # The dataclass is frozen, so plain assignment would raise.
        if self.dims_per_token is not None:
            _check_silk_lengths(self.codes, self.n_samples)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return self._layout == other._layout and all(map(np.array_equal, self.codes, other.codes))

    def __hash__(self) -> int:
        return hash((self._layout, *(codes.tobytes() for codes in self.codes)))

    def __reduce__(self) -> Any:
        """Pickle the fields and rebuild through the constructor, so that the arrays are read-only again."""
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
        """Return the number of codes in all codebooks."""
        return sum(len(codes) for codes in self.codes)

    @property
    def n_frames(self) -> int:
        """Return the number of frames of the slowest codebook (most codecs have one rate for all)."""
        return min(len(codes) for codes in self.codes)

    @property
    def duration_s(self) -> float:
        """Return the duration of the wave, seconds."""
        return self.n_samples / self.sample_rate

    @property
    def tokens_per_second(self) -> float:
        """Return the number of tokens divided by the time that their frames span: 47.5 for Silk.

        The frames span slightly more time than the wave, because the last frame is padded with silence. The result
        is therefore the codec's token rate and does not depend on the length of the recording.
        """
        return self.n_tokens * min(self.frame_rates) / self.n_frames

    @property
    def bits_per_second(self) -> float:
        """Return the bits of the codes divided by the time that their frames span: 960 for Silk."""
        sizes = zip(self.codes, self.codebook_sizes, strict=True)
        bits = sum(len(codes) * math.log2(size) for codes, size in sizes)
        return bits * min(self.frame_rates) / self.n_frames

    @property
    def dims_per_token(self) -> int | None:
        """Return the number of FSQ dimensions in one code of Silk's layout, 1..20; None for tokens of another codec."""
        if self.sample_rate != SILK_SAMPLE_RATE or any(rate != SILK_FRAME_RATE for rate in self.frame_rates):
            return None
        dims = (self.codebook_sizes[0].bit_length() - 1) // 3  # 8^n has 3n + 1 bits
        fits = 1 <= dims <= MAX_DIMS_PER_TOKEN and self.codebook_sizes == codebook_sizes(dims)
        return dims if fits else None

    def to_levels(self) -> NDArray[np.int8]:
        """Return Silk's levels, int8 [F, 128] in 0..7, of tokens in any grouping.

        Raises:
            TokensError: these are not tokens of Silk's layout.
        """
        dims = self._silk_dims("have FSQ levels")
        return codes_to_levels(np.stack(self.codes, axis=1), dims)

    @classmethod
    def from_levels(
        cls, levels: ArrayLike, *, n_samples: int, codec: str, dims_per_token: int = DIMS_PER_TOKEN
    ) -> Tokens:
        """Return the Tokens of Silk's levels, integers [F, 128] in 0..7 with F = ceil(n_samples / 9600).

        Raises:
            TokensError: levels out of range or of another shape, or an n_samples that does not fit them.
            ArgumentError: dims_per_token outside 1..20.
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
        """Return the same Silk recording in tokens of another size, without loss.

        7 dimensions per token give 19 tokens of 8^7 per frame (Silk's own grouping), 4 give 32 of 4,096, 1 gives 128
        of 8. For a language model this is a choice between a short sequence and a small vocabulary.

        Raises:
            TokensError: these are not tokens of Silk's layout.
            ArgumentError: dims_per_token outside 1..20.
        """
        self._silk_dims("can be regrouped")
        return Tokens.from_levels(
            self.to_levels(), n_samples=self.n_samples, codec=self.codec, dims_per_token=dims_per_token
        )

    def to_ids(self, *, shared: bool = False) -> Codes:
        """Return one sequence for a language model: int64 [n_tokens], frame by frame, codebook by codebook.

        Args:
            shared: False gives every codebook its own range of a vocabulary of sum(codebook_sizes) ids
                (code 3 of codebook 1 is codebook_sizes[0] + 3), so that an id identifies its codebook.
                True leaves the codes as they are, in one vocabulary of max(codebook_sizes).

        Raises:
            TokensError: the codebooks have different rates (a multi-scale codec).
        """
        offsets = np.zeros(1, np.int64) if shared else _offsets(self.codebook_sizes)
        if len({len(codes) for codes in self.codes}) != 1:
            raise TokensError(f"to_ids needs codebooks with the same frame rate; got {self.frame_rates} Hz.")
        return (np.stack(self.codes, axis=1) + offsets).ravel()

    def from_ids(self, ids: ArrayLike, *, n_samples: int | None = None, shared: bool = False) -> Tokens:
        """Return the Tokens of a sequence in the layout of these tokens: the inverse of `to_ids`.

        Args:
            ids: int [F * codebooks], for example the output of a language model.
            n_samples: number of samples of the wave; None: all samples that the frames cover.
            shared: as in `to_ids`.

        Raises:
            TokensError: the sequence is not whole frames, or an id is outside its codebook's range.
        """
        sequence, k = _as_integers(ids, "ids").astype(np.int64), len(self.codes)
        if sequence.ndim != 1 or not len(sequence) or len(sequence) % k:
            raise TokensError(f"ids must be whole frames of {k} codes in one row; got shape {sequence.shape}.")
        frames = sequence.reshape(-1, k)
        if not shared:
            frames = frames - _offsets(self.codebook_sizes)
        if n_samples is None:
            n_samples = round(len(frames) * self.sample_rate / self.frame_rates[0])
        layout = self.codebook_sizes, self.frame_rates, self.sample_rate
        return Tokens(tuple(frames.T), *layout, n_samples, self.codec)

    def _silk_dims(self, what: str) -> int:
        dims = self.dims_per_token
        if dims is None:
            raise TokensError(
                f"only tokens of Silk's layout (128 dimensions of 8 levels at 2.5 Hz) {what}; "
                f"got {len(self.codes)} codebooks of {self.codec!r}."
            )
        return dims


def n_frames(n_samples: int) -> int:
    """Return the number of Silk frames that cover `n_samples` samples at 24 kHz: ceil(n_samples / 9600)."""
    return -(-n_samples // FRAME_SAMPLES)


def codebook_sizes(dims_per_token: int = DIMS_PER_TOKEN) -> tuple[int, ...]:
    """Return the codebook sizes of Silk's groups. The last group has the remaining dimensions.

    >>> sizes = codebook_sizes(7)
    >>> len(sizes), sizes[0], sizes[-1]
    (19, 2097152, 64)
    """
    if not isinstance(dims_per_token, (int, np.integer)) or not 1 <= dims_per_token <= MAX_DIMS_PER_TOKEN:
        raise ArgumentError(f"dims_per_token must be 1..{MAX_DIMS_PER_TOKEN}; got {dims_per_token!r}.")
    whole, rest = divmod(LATENT_WIDTH, int(dims_per_token))
    return (N_LEVELS ** int(dims_per_token),) * whole + (N_LEVELS**rest,) * (rest > 0)


def levels_to_codes(levels: ArrayLike, dims_per_token: int = DIMS_PER_TOKEN) -> Codes:
    """Convert levels, integers [F, 128] in 0..7, to codes, int64 [F, K]; F may be 0.

    Raises:
        TokensError: levels out of range, not integers, or of another shape.
    """
    sizes = codebook_sizes(dims_per_token)
    array = _as_integers(levels, "levels")
    if array.ndim != 2 or array.shape[1] != LATENT_WIDTH:
        raise TokensError(f"levels must have the shape [frames, {LATENT_WIDTH}]; got {array.shape}.")
    _check_range(array, N_LEVELS, "levels")
    padded = np.zeros((len(array), len(sizes) * dims_per_token), np.int64)
    padded[:, :LATENT_WIDTH] = array
    grouped = padded.reshape(len(array), len(sizes), dims_per_token)  # [F, K, dims_per_token]
    return grouped @ _place_values(dims_per_token)


def codes_to_levels(codes: ArrayLike, dims_per_token: int = DIMS_PER_TOKEN) -> NDArray[np.int8]:
    """Convert codes, integers [F, K], to levels, int8 [F, 128] in 0..7: the inverse of `levels_to_codes`.

    Raises:
        TokensError: codes out of range, not integers, or of another shape.
    """
    sizes = codebook_sizes(dims_per_token)
    array = _as_integers(codes, "codes")
    if array.ndim != 2 or array.shape[1] != len(sizes):
        raise TokensError(
            f"codes of {dims_per_token} dimensions each must have the shape [frames, {len(sizes)}]; got {array.shape}."
        )
    for k, size in enumerate(sizes):
        _check_range(array[:, k], size, f"codes of codebook {k}")
    shifts = 3 * np.arange(dims_per_token)  # 8 = 2^3: dividing by 8^i is a shift by 3i
    levels = (array.astype(np.int64)[:, :, None] >> shifts) & (N_LEVELS - 1)  # [F, K, dims_per_token]
    return levels.reshape(len(array), levels.shape[1] * dims_per_token)[:, :LATENT_WIDTH].astype(np.int8)


def _place_values(dims_per_token: int) -> Codes:
    return N_LEVELS ** np.arange(dims_per_token, dtype=np.int64)


def _offsets(sizes: Sequence[int]) -> Codes:
    """Return the first id of each codebook in the joint vocabulary, [K]."""
    total = sum(sizes)
    if total > np.iinfo(np.int64).max:
        raise TokensError(f"a vocabulary must have at most 2^63 - 1 ids; got {total}. Regroup into smaller tokens.")
    return np.cumsum((0, *sizes[:-1]), dtype=np.int64)


def _check_silk_lengths(codes: Sequence[Codes], n_samples: int) -> None:
    lengths = {len(c) for c in codes}
    expected = n_frames(n_samples)
    if lengths != {expected}:
        got = ", ".join(map(str, sorted(lengths)))
        raise TokensError(f"{n_samples} samples need {expected} Silk frames in every codebook; got {got}.")


def _check_range(array: NDArray[Any], size: int, what: str) -> None:
    if array.size and (array.min() < 0 or array.max() >= size):
        raise TokensError(f"{what} must be 0..{size - 1}; got {array.min()}..{array.max()}.")


def _as_integers(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # a ragged list
        raise TokensError(f"{what} must be an array of integers; got {error}.") from error
    if array.dtype.kind not in "iu":
        raise TokensError(f"{what} must be an array of integers; got {array.dtype}.")
    return array


def _as_codes(codes: ArrayLike, size: int, k: int) -> Codes:
    what = f"codes of codebook {k}"
    array = _as_integers(codes, what)
    if array.ndim != 1 or not array.size:
        raise TokensError(f"{what} must be a one-dimensional array of at least one code; got shape {array.shape}.")
    _check_range(array, size, what)  # The check precedes the cast because a uint64 may not fit an int64.
    array = array.astype(np.int64)  # `astype` always copies, so the caller cannot change the array later.
    array.setflags(write=False)
    return array


def _as_int(value: Any, what: str, at_least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise TokensError(f"{what} must be an integer of at least {at_least}; got {value!r}.")
    return int(value)
