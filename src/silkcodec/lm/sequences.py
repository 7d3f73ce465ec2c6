"""Convert tokens to the integer sequences of a language model and back.

There are three formats, drawn here for a codec of 2 tokens per frame (a0 b0 | a1 b1 | a2 b2), with bos and eos:

    Flat         one row: a token is a step            bos a0 b0 a1 b1 a2 b2 eos

    Factorised   a token is a step, its digits (for    bos a0' b0' a1' b1' a2' b2' eos      least significant
                 Silk its FSQ levels) side by side     bos a0" b0" a1" b1" a2" b2" eos

    Heads        a frame is a step, a column a token   bos a0 a1 a2 eos                     delays (0, 0)
                                                       bos b0 b1 b2 eos

                 delayed, so that a token can be       bos a0 a1 a2 eos pad                 delays (0, 1)
                 predicted from those of its frame     bos bos b0 b1 b2 eos

All formats have `encode(tokens)` and `decode(integers, n_samples)`. `decode` also accepts sampled sequences, with or
without a bos, and reads up to the first eos. Steps are rows of the arrays, so the drawings show the arrays transposed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.lm.layout import Layout
from silkcodec.tokens import Tokens

SPECIALS = ("bos", "eos", "pad")

Ids = NDArray[np.int64]


class Flat:
    """Convert tokens to one row of ids of one vocabulary, which can follow the vocabulary of a text model.

        offset     +0   +1   +2   +3 ...                +3 + size of codebook 0 ...
        text ids   bos  eos  pad  codes of codebook 0   codes of codebook 1          ... size

    Args:
        layout: layout of the tokens. Silk's default groups need a vocabulary of 37,748,803. Groups of 4 (131,075) or
            2 dimensions (4,099) give a practical size: `Layout.of_codec(silk, dims_per_token=2)`.
        offset: number of ids already in use, i.e. the size of the text vocabulary.
        shared: False: every codebook has separate ids. True: all codebooks share the ids of the largest one, and the
            position in the frame determines the codebook.

    Attributes:
        bos, eos, pad: the special ids. size: total number of ids, including those before the offset.
    """

    def __init__(self, layout: Layout, *, offset: int = 0, shared: bool = False) -> None:
        if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)) or offset < 0:
            raise ArgumentError(f"offset must be a whole number of at least 0; got {offset!r}.")
        sizes = layout.codebook_sizes
        self.layout, self.offset, self.shared = layout, int(offset), shared
        self.bos, self.eos, self.pad = (self.offset + i for i in range(len(SPECIALS)))
        self.size = self.offset + len(SPECIALS) + (max(sizes) if shared else sum(sizes))
        if self.size > np.iinfo(np.int64).max:
            raise TokensError(
                f"a vocabulary must have at most 2^63 - 1 ids; got {self.size}. Regroup into smaller tokens."
            )
        before = [0 if shared else sum(sizes[:k]) for k in layout.codebook_of]
        self._first = np.array(before, dtype=np.int64) + self.offset + len(SPECIALS)  # First ids, [P].

    def allowed(self, step: int) -> slice:
        """Return the ids that are valid at step 0, 1, ... (after the bos). Sample only from `logits[allowed]`."""
        p = step % self.layout.n_tokens
        return slice(int(self._first[p]), int(self._first[p] + self.layout.token_sizes[p]))

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to ids int64 [bos + F * P + eos]. Raises TokensError if they have another layout."""
        ids = (self.layout.codes(tokens) + self._first).ravel()
        return _framed(ids, self.bos if bos else None, self.eos if eos else None)

    def decode(self, ids: ArrayLike, *, n_samples: int | None = None, cut: bool = False) -> Tokens:
        """Convert ids to Tokens. This is the inverse of `encode`.

        Args:
            ids: int [S], with or without a bos, read up to the first eos or pad.
            n_samples: number of samples of the wave; None: the length of all frames.
            cut: drop an incomplete last frame, e.g. when a model reached its maximum number of steps.

        Raises:
            TokensError: an id is invalid at its position, there is no whole frame, or a frame is incomplete.
        """
        row = _integers(ids, 1)
        first = _read(row, row == self.bos, (row == self.eos) | (row == self.pad))
        codes = _whole(row[first], self.layout.n_tokens, cut).reshape(-1, self.layout.n_tokens) - self._first
        return self.layout.tokens(codes, n_samples)


class Factorised:
    """Convert each token to one step with heads of at most 8 codes.

    A token has a single head if no codebook has more than 4,096 codes. Silk has 19 steps per frame, each with seven FSQ
    levels. The last step of a frame has two levels and its other heads are always 0.

    Attributes:
        sizes: codes of each head, int64 [P, H]. Step s uses row s % P.
        bos, eos, pad: special codes, the same in every head, numbered after the codes of the largest head.
        head_size: number of codes of an embedding for all codes and special codes: 11 for Silk.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout, self.sizes = layout, layout.head_sizes
        self.bos, self.eos, self.pad = (int(self.sizes.max()) + i for i in range(len(SPECIALS)))
        self.head_size = int(self.sizes.max()) + len(SPECIALS)

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to int64 [bos + F * P + eos, H]. Raises TokensError if they have another layout."""
        steps = self.layout.frames(tokens).reshape(-1, self.sizes.shape[1])
        return _framed(steps, self.bos if bos else None, self.eos if eos else None)

    def decode(self, steps: ArrayLike, *, n_samples: int | None = None, cut: bool = False) -> Tokens:
        """Convert steps int [S, H] to Tokens. For the arguments and errors, see `Flat.decode`.

        A step with a special code in any head is a special step, and its other heads are ignored.
        """
        rows = _integers(steps, 2)
        ends = ((rows == self.eos) | (rows == self.pad)).any(axis=1)
        whole = _whole(rows[_read(rows, (rows == self.bos).any(axis=1), ends)], self.layout.n_tokens, cut)
        frames = whole.reshape(-1, self.layout.n_tokens, rows.shape[1])
        return self.layout.tokens(self.layout.join(frames), n_samples)


class Heads:
    """Convert each frame to one step with a head per token or per digit, optionally delayed.

    Args:
        delays: delay of each of the P tokens in steps; None: no delay. The delay pattern of MusicGen
            (Copet et al., 2023, https://arxiv.org/abs/2306.05284) is `range(P)`.
        digits: True splits each token into its digits (see `Factorised`): for Silk [S, 19, 7] instead of [S, 19].

    Attributes:
        sizes: codes of each head, int64 [P], or [P, H] with digits.
        bos, eos, pad: special codes, the same in every head, numbered after the codes of the largest head.
        head_size: number of codes of an embedding for all codes and special codes.
    """

    def __init__(self, layout: Layout, *, delays: Sequence[int] | None = None, digits: bool = False) -> None:
        self.layout, self.digits = layout, digits
        self.delays = _delays([0] * layout.n_tokens if delays is None else delays, layout.n_tokens)
        self.sizes = layout.head_sizes if digits else layout.token_sizes
        self.bos, self.eos, self.pad = (int(self.sizes.max()) + i for i in range(len(SPECIALS)))
        self.head_size = int(self.sizes.max()) + len(SPECIALS)

    def encode(self, tokens: Tokens, *, bos: bool = True, eos: bool = True) -> Ids:
        """Convert tokens to int64 [bos + F + eos + largest delay, P], or [..., P, H]. Raises TokensError."""
        rows = self.layout.frames(tokens) if self.digits else self.layout.codes(tokens)
        framed = _framed(rows, self.bos if bos else None, self.eos if eos else None)
        return delay(framed, self.delays, before=self.bos, after=self.pad)

    def decode(self, steps: ArrayLike, *, n_samples: int | None = None) -> Tokens:
        """Convert steps int [S, P] or [S, P, H] to Tokens. For the arguments and errors, see `Flat.decode`.

        With delays, the first column determines the length of a recording. All other columns must be as long.
        """
        rows = undelay(_integers(steps, 1 + self.sizes.ndim), self.delays)
        flat = rows.reshape(len(rows), -1)
        ends = ((flat == self.eos) | (flat == self.pad)).any(axis=1)
        found = rows[_read(rows, (flat == self.bos).any(axis=1), ends)]
        return self.layout.tokens(self.layout.join(found) if self.digits else found, n_samples)


def delay(rows: ArrayLike, delays: Sequence[int] | None = None, *, before: int, after: int) -> Ids:
    """Delay column c of [S, C, ...] by delays[c] steps and return [S + max(delays), C, ...].

        1 2 3          1 2 3 > >
        4 5 6    ->    < 4 5 6 >         drawn with columns as rows; < is `before`, > is `after`
        7 8 9          < < 7 8 9

    Args:
        delays: delay of each column; None: the delay pattern 0, 1, 2, ...

    Raises:
        ArgumentError: delays is not one whole number of at least 0 per column.
    """
    array = np.asarray(rows)
    late = _delays(range(array.shape[1]) if delays is None else delays, array.shape[1])
    out = np.full((len(array) + max(late), *array.shape[1:]), after, dtype=np.int64)
    for c, steps in enumerate(late):
        out[:steps, c] = before
        out[steps : steps + len(array), c] = array[:, c]
    return out


def undelay(rows: ArrayLike, delays: Sequence[int] | None = None) -> Ids:
    """Undo `delay`: convert [S, C, ...] to [S - max(delays), C, ...] and drop the fill values.

    Raises:
        ArgumentError: see `delay`. TokensError: there are fewer steps than the largest delay.
    """
    array = np.asarray(rows)
    late = _delays(range(array.shape[1]) if delays is None else delays, array.shape[1])
    n_steps = len(array) - max(late)
    if n_steps < 0:
        raise TokensError(
            f"a delayed sequence must have at least {max(late)} steps, the largest delay; got {len(array)}."
        )
    return np.stack([array[steps : steps + n_steps, c] for c, steps in enumerate(late)], axis=1).astype(np.int64)


def pad(sequences: Sequence[Ids], fill: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Pad sequences [S_i, ...] to one array [B, S, ...] and return it with the mask of real steps, bool [B, S]."""
    lengths = np.array([len(sequence) for sequence in sequences])
    batch = np.full((len(sequences), lengths.max(), *sequences[0].shape[1:]), fill, dtype=np.int64)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch, np.arange(lengths.max()) < lengths[:, None]


def _framed(rows: Ids, bos: int | None, eos: int | None) -> Ids:
    """Add a row of bos before and a row of eos after the rows."""
    special = [None if code is None else np.full((1, *rows.shape[1:]), code, dtype=np.int64) for code in (bos, eos)]
    return np.concatenate([part for part in (special[0], rows, special[1]) if part is not None])


def _read(rows: Ids, starts: NDArray[np.bool_], ends: NDArray[np.bool_]) -> slice:
    """Return the slice between an optional bos and the first eos or pad. Raises TokensError."""
    first = int(len(rows) > 0 and starts[0])
    stop = int(np.argmax(ends)) if ends.any() else len(rows)
    if starts[first:stop].any():
        at = first + int(np.argmax(starts[first:stop]))
        raise TokensError(f"BOS is allowed only at the first step of a sequence; found one at step {at}.")
    if stop <= first:
        raise TokensError("a sequence must have at least one frame before its end; got none.")
    return slice(first, stop)


def _whole(rows: Ids, n_tokens: int, cut: bool) -> Ids:
    """Return the steps of whole frames. Raises TokensError."""
    n_rest = len(rows) % n_tokens
    if (n_rest and not cut) or n_rest == len(rows):
        raise TokensError(
            f"a sequence must be whole frames of {n_tokens} tokens; got {len(rows)} tokens; "
            "cut=True drops an incomplete last frame."
        )
    return rows[: len(rows) - n_rest]


def _delays(delays: Sequence[int], n_columns: int) -> tuple[int, ...]:
    late = tuple(delays)
    if len(late) != n_columns or not all(isinstance(d, (int, np.integer)) and d >= 0 for d in late):
        raise ArgumentError(f"delays must be {n_columns} whole numbers of at least 0; got {late}.")
    return tuple(int(d) for d in late)


def _integers(values: ArrayLike, n_dims: int) -> Ids:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != n_dims:
        raise TokensError(
            f"a sequence must be an integer array of {n_dims} dimensions; got {array.dtype} {array.shape}."
        )
    return array.astype(np.int64)
