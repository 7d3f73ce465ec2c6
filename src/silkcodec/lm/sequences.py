"""Convert between tokens and integer sequences for a language model.

There are three formats, drawn here for a codec with 2 tokens per frame (a0 b0 | a1 b1 | a2 b2), with bos and eos:

    Flat         a token is a step                     bos a0 b0 a1 b1 a2 b2 eos

    Factorized   a token is a step, with its digits    bos a0' b0' a1' b1' a2' b2' eos      least significant
                 (FSQ levels for Silk) side by side    bos a0" b0" a1" b1" a2" b2" eos

    Heads        a frame is a step                     bos a0 a1 a2 eos                     delays (0, 0)
                                                       bos b0 b1 b2 eos

                 delayed, so that a token can be       bos a0 a1 a2 eos pad                 delays (0, 1)
                 predicted from others in its frame    bos bos b0 b1 b2 eos

The drawings are transposed: in the arrays, rows are steps. `decode` ignores everything after the first eos or pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.lm.layout import Layout
from silkcodec.tokens import Tokens

SPECIALS = ("bos", "eos", "pad")

Ids = NDArray[np.int64]


class Flat:
    """Convert tokens to a sequence of ids from one vocabulary.

        offset     +0   +1   +2   +3 ...                +3 + size of codebook 0 ...
        text ids   bos  eos  pad  codes of codebook 0   codes of codebook 1          ... size

    Args:
        layout: layout of the tokens. Silk's default grouping needs 37,748,803 ids. Groups of 2 dimensions need 4,099
            ids: `Layout.of_codec(silk, dims_per_token=2)`.
        offset: number of ids already in use, e.g. the size of the text vocabulary.
        shared: let all codebooks share the ids of the largest one.

    Attributes:
        bos, eos, pad: the special ids.
        size: total number of ids, including the ids before the offset.

    Raises:
        ArgumentError: `offset` is not a non-negative integer.
        TokensError: the vocabulary would have more than 2^63 - 1 ids.
    """

    def __init__(self, layout: Layout, *, offset: int = 0, shared: bool = False) -> None:
        if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)) or offset < 0:
            raise ArgumentError(f"offset must be a non-negative integer; got {offset!r}.")
        sizes = layout.codebook_sizes
        self.layout, self.offset, self.shared = layout, int(offset), shared
        self.bos, self.eos, self.pad = (self.offset + i for i in range(len(SPECIALS)))
        self.size = self.offset + len(SPECIALS) + (max(sizes) if shared else sum(sizes))
        if self.size > np.iinfo(np.int64).max:
            raise TokensError(
                f"A vocabulary must have at most 2^63 - 1 ids; got {self.size}."
                " Regroup the tokens with fewer dimensions per token, or pass a smaller offset."
            )
        before = [0 if shared else sum(sizes[:k]) for k in layout.codebook_of]
        self._first = np.array(before, dtype=np.int64) + self.offset + len(SPECIALS)  # first ids, [P]

    def allowed(self, step: int) -> slice:
        """Return the range of codes that are valid at a step.

        The range does not contain the special ids. An eos is also valid at the first step of a frame, i.e. if `step` is
        a multiple of `layout.n_tokens`.

        Args:
            step: index of the step, counted from 0 after the bos.
        """
        p = step % self.layout.n_tokens
        return slice(int(self._first[p]), int(self._first[p] + self.layout.token_sizes[p]))

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to ids.

        Args:
            tokens: tokens that match the layout.
            bos: whether to add a bos before the first frame.
            eos: whether to add an eos after the last frame.

        Returns:
            The ids, int64 [bos + F * P + eos].

        Raises:
            TokensError: the tokens do not match the layout.
        """
        ids = (self.layout.codes(tokens) + self._first).ravel()
        return _framed(ids, self.bos if bos else None, self.eos if eos else None)

    def decode(self, ids: ArrayLike, *, n_samples: int | None = None, cut: bool = False) -> Tokens:
        """Convert ids to Tokens. This is the inverse of `encode`.

        Args:
            ids: integers [S], with or without a bos. Only the ids before the first eos or pad are read.
            n_samples: length of the audio in samples. None means the total length of all frames.
            cut: drop an incomplete last frame instead of raising an error.

        Returns:
            The tokens.

        Raises:
            TokensError: an id is invalid at its position, there is no whole frame, or the last frame is incomplete and
                `cut` is False.
        """
        row = _integers(ids, 1)
        first = _read(row, row == self.bos, (row == self.eos) | (row == self.pad))
        codes = whole_frames(row[first], self.layout.n_tokens, cut).reshape(-1, self.layout.n_tokens) - self._first
        return self.layout.tokens(codes, n_samples)


class Factorized:
    """Convert each token to one step of a sequence, with one head per digit.

    Args:
        layout: layout of the tokens.

    Attributes:
        sizes: number of codes for each head, int64 [P, H]. Step s after the bos uses row s % P.
        bos, eos, pad: special codes. They are the same in all heads, and follow the codes of the largest head.
        head_size: vocabulary size of the largest head, including the special codes. It is 11 for Silk.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout, self.sizes = layout, layout.head_sizes
        self.bos, self.eos, self.pad = (int(self.sizes.max()) + i for i in range(len(SPECIALS)))
        self.head_size = int(self.sizes.max()) + len(SPECIALS)

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to steps.

        Args:
            tokens: tokens that match the layout.
            bos: whether to add a bos before the first frame.
            eos: whether to add an eos after the last frame.

        Returns:
            The steps, int64 [bos + F * P + eos, H].

        Raises:
            TokensError: the tokens do not match the layout.
        """
        steps = self.layout.frames(tokens).reshape(-1, self.sizes.shape[1])
        return _framed(steps, self.bos if bos else None, self.eos if eos else None)

    def decode(self, steps: ArrayLike, *, n_samples: int | None = None, cut: bool = False) -> Tokens:
        """Convert steps to Tokens. This is the inverse of `encode`.

        Args:
            steps: integers [S, H], with or without a bos. Only the steps before the first eos or pad are read.
            n_samples: length of the audio in samples. None means the total length of all frames.
            cut: drop an incomplete last frame instead of raising an error.

        Returns:
            The tokens.

        Raises:
            TokensError: a code is out of range, there is no whole frame, or the last frame is incomplete and `cut` is
                False.
        """
        rows = _integers(steps, 2)
        ends = ((rows == self.eos) | (rows == self.pad)).any(axis=1)
        whole = whole_frames(rows[_read(rows, (rows == self.bos).any(axis=1), ends)], self.layout.n_tokens, cut)
        frames = whole.reshape(-1, self.layout.n_tokens, rows.shape[1])
        return self.layout.tokens(self.layout.join(frames), n_samples)


class Heads:
    """Convert each frame to one step of a sequence, with one head per token or per digit.

    Args:
        layout: layout of the tokens.
        delays: delay of each of the P tokens in steps. None means no delay. The delay pattern of MusicGen
            (Copet et al., 2023, https://arxiv.org/abs/2306.05284) is `range(P)`.
        digits: split each token into its digits, as `Factorized` does.

    Attributes:
        sizes: number of codes for each head, int64 [P], or [P, H] if `digits` is set.
        bos, eos, pad: special codes. They are the same in all heads, and follow the codes of the largest head.
        head_size: vocabulary size of the largest head, including the special codes.

    Raises:
        ArgumentError: `delays` does not have one non-negative integer per token.
    """

    def __init__(self, layout: Layout, *, delays: Sequence[int] | None = None, digits: bool = False) -> None:
        self.layout, self.digits = layout, digits
        self.delays = _delays([0] * layout.n_tokens if delays is None else delays, layout.n_tokens)
        self.sizes = layout.head_sizes if digits else layout.token_sizes
        self.bos, self.eos, self.pad = (int(self.sizes.max()) + i for i in range(len(SPECIALS)))
        self.head_size = int(self.sizes.max()) + len(SPECIALS)

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to steps, and apply the delays.

        Args:
            tokens: tokens that match the layout.
            bos: whether to add a bos before the first frame.
            eos: whether to add an eos after the last frame.

        Returns:
            The steps, int64 [bos + F + eos + largest delay, P], or [..., P, H] if `digits` is set.

        Raises:
            TokensError: the tokens do not match the layout.
        """
        rows = self.layout.frames(tokens) if self.digits else self.layout.codes(tokens)
        framed = _framed(rows, self.bos if bos else None, self.eos if eos else None)
        return delay(framed, self.delays, before=self.bos, after=self.pad)

    def decode(self, steps: ArrayLike, *, n_samples: int | None = None) -> Tokens:
        """Convert steps to Tokens. This is the inverse of `encode`.

        Args:
            steps: integers [S, P], or [S, P, H] if `digits` is set. A bos is optional. After the delays are undone,
                only the steps before the first eos or pad are read.
            n_samples: length of the audio in samples. None means the total length of all frames.

        Returns:
            The tokens.

        Raises:
            TokensError: a code is out of range, or there is no whole frame.
        """
        rows = undelay(_integers(steps, 1 + self.sizes.ndim), self.delays)
        flat = rows.reshape(len(rows), -1)
        ends = ((flat == self.eos) | (flat == self.pad)).any(axis=1)
        found = rows[_read(rows, (flat == self.bos).any(axis=1), ends)]
        return self.layout.tokens(self.layout.join(found) if self.digits else found, n_samples)


def delay(rows: ArrayLike, delays: Sequence[int] | None = None, *, before: int, after: int) -> Ids:
    """Delay column c of an array by delays[c] steps.

        1 2 3          1 2 3 > >
        4 5 6    ->    < 4 5 6 >         drawn transposed; < is `before`, > is `after`
        7 8 9          < < 7 8 9

    Args:
        rows: integers [S, C, ...].
        delays: delay of each column in steps. None means 0, 1, 2, ...
        before, after: values that fill the steps before and after a column.

    Returns:
        The delayed array, int64 [S + max(delays), C, ...].

    Raises:
        ArgumentError: `delays` does not have one non-negative integer per column.
    """
    array = np.asarray(rows)
    late = _delays(range(array.shape[1]) if delays is None else delays, array.shape[1])
    out = np.full((len(array) + max(late), *array.shape[1:]), after, dtype=np.int64)
    for c, steps in enumerate(late):
        out[:steps, c] = before
        out[steps : steps + len(array), c] = array[:, c]
    return out


def undelay(rows: ArrayLike, delays: Sequence[int] | None = None) -> Ids:
    """Undo `delay`.

    Args:
        rows: integers [S, C, ...] with delayed columns.
        delays: delay of each column in steps. None means 0, 1, 2, ...

    Returns:
        The array without delays, int64 [S - max(delays), C, ...].

    Raises:
        ArgumentError: see `delay`.
        TokensError: there are fewer steps than the largest delay.
    """
    array = np.asarray(rows)
    late = _delays(range(array.shape[1]) if delays is None else delays, array.shape[1])
    n_steps = len(array) - max(late)
    if n_steps < 0:
        raise TokensError(
            f"A delayed sequence must have at least {max(late)} steps (the largest delay); got {len(array)}."
        )
    return np.stack([array[steps : steps + n_steps, c] for c, steps in enumerate(late)], axis=1).astype(np.int64)


def pad(sequences: Sequence[Ids], fill: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Combine sequences of different lengths into one padded array.

    Args:
        sequences: integer arrays [S_i, ...] whose shapes differ only in the first dimension.
        fill: value of the padding.

    Returns:
        Two values: the padded array (int64 [B, S, ...]) and a mask (bool [B, S]) that is False for padding.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    batch = np.full((len(sequences), lengths.max(), *sequences[0].shape[1:]), fill, dtype=np.int64)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch, np.arange(lengths.max()) < lengths[:, None]


def _framed(rows: Ids, bos: int | None, eos: int | None) -> Ids:
    """Add a row of bos codes at the start and a row of eos codes at the end. None adds no row."""
    special = [None if code is None else np.full((1, *rows.shape[1:]), code, dtype=np.int64) for code in (bos, eos)]
    return np.concatenate([part for part in (special[0], rows, special[1]) if part is not None])


def _read(rows: Ids, starts: NDArray[np.bool_], ends: NDArray[np.bool_]) -> slice:
    """Return the slice between an optional bos and the first eos or pad. Raises TokensError if it is empty."""
    first = int(len(rows) > 0 and starts[0])
    stop = int(np.argmax(ends)) if ends.any() else len(rows)
    if starts[first:stop].any():
        at = first + int(np.argmax(starts[first:stop]))
        raise TokensError(f"A bos token is allowed only at the first step of a sequence; got one at step {at}.")
    if stop <= first:
        raise TokensError("A sequence must have at least one frame before its first eos or pad token; got none.")
    return slice(first, stop)


def whole_frames(rows: Any, n_tokens: int, cut: bool) -> Any:
    """Drop an incomplete last frame. Raises TokensError if there is one and `cut` is False, or if no frame remains."""
    n_rest = len(rows) % n_tokens
    if (n_rest and not cut) or n_rest == len(rows):
        advice = " Pass cut=True to drop an incomplete last frame." if n_rest < len(rows) else ""
        raise TokensError(
            f"A sequence must consist of one or more whole frames of {n_tokens} tokens; got {len(rows)} tokens.{advice}"
        )
    return rows[: len(rows) - n_rest]


def _delays(delays: Sequence[int], n_columns: int) -> tuple[int, ...]:
    late = tuple(delays)
    if len(late) != n_columns or not all(isinstance(d, (int, np.integer)) and d >= 0 for d in late):
        raise ArgumentError(f"delays must be {n_columns} non-negative integers; got {late}.")
    return tuple(int(d) for d in late)


def _integers(values: ArrayLike, n_dims: int) -> Ids:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != n_dims:
        raise TokensError(
            f"A sequence must be a {n_dims}-dimensional integer array; got {array.dtype} with shape {array.shape}."
        )
    return array.astype(np.int64)
