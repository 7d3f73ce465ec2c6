"""Convert bare codes, i.e. plain integer arrays as in other codec libraries, to Tokens."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.tokens import Tokens

WANTED = "Tokens or codes of shape [codebooks, frames]"


def as_tokens(codec: Any, given: Any, n_samples: int | None = None, n_codebooks: int | None = None) -> Tokens:
    """Convert bare codes to Tokens, or return Tokens unchanged.

    Args:
        codec: codec that produced the codes.
        given: Tokens, an integer array [K, F], or one array per codebook.
        n_samples: length of the waveform in samples, for bare codes only. None means the total length of all
            frames, minus the codec's delay.
        n_codebooks: number of codebooks K, for bare codes only. None means all codebooks of the codec.

    Returns:
        The tokens.

    Raises:
        TokensError: `given` is neither Tokens nor codes, or the codes do not match the codec's layout.
        ArgumentError: n_codebooks is out of range, or n_samples or n_codebooks is passed together with Tokens.
    """
    if isinstance(given, Tokens):
        if n_samples is not None or n_codebooks is not None:
            raise ArgumentError("n_samples and n_codebooks apply only to bare codes; omit them when you pass Tokens.")
        return given
    k = codec.check_n_codebooks(n_codebooks)
    rows = _rows(given)
    if len(rows) != k:
        raise _wrong_layout(rows, k, codec.name)
    sizes, rates = codec.codebook_sizes[:k], codec.frame_rates[:k]
    if n_samples is None:
        n_samples = round(len(rows[0]) * codec.sample_rate / rates[0]) - getattr(codec, "delay_samples", 0)
    identity = getattr(codec, "codec_id", codec.name)
    return Tokens(tuple(rows), sizes, rates, codec.sample_rate, n_samples, identity)


def check_n_codebooks(codec: Any, n_codebooks: int | None) -> int:
    """Check n_codebooks and return it, or the codec's number of codebooks if n_codebooks is None.

    Raises:
        ArgumentError: n_codebooks is out of range.
    """
    k = len(codec.codebook_sizes)
    if n_codebooks is not None and n_codebooks not in range(1, k + 1):
        allowed = f"between 1 and {k}" if k > 1 else "1"
        raise ArgumentError(f"n_codebooks must be {allowed} for '{codec.name}'; got {n_codebooks}.")
    return k if n_codebooks is None else int(n_codebooks)


def check_frames(codes: Any, n_codebooks: int, what: str) -> NDArray[Any]:
    """Convert the codes of a stream to an array, and check that its shape is [F, n_codebooks].

    Args:
        codes: codes to convert.
        n_codebooks: number of codebooks of the stream.
        what: name of the codes at the start of error messages.

    Raises:
        TokensError: the codes cannot be converted, or have a different shape.
    """
    array = _array(codes)
    if array.ndim != 2 or array.shape[1] != n_codebooks:
        hint = ""
        if array.ndim == 2 and array.shape[0] == n_codebooks:
            hint = ", which looks like [codebooks, frames]; pass codes.T"
        elif array.ndim == 2 and 1 <= array.shape[1] < n_codebooks:
            hint = f"; if there are only {array.shape[1]} codebooks, pass n_codebooks={array.shape[1]}"
        raise TokensError(f"{what} must have shape [frames, {n_codebooks}]; got {array.shape}{hint}.")
    return array


def check_batch(items: Any) -> None:
    """Raise ArgumentError if a batch is not a list of recordings."""
    single = isinstance(items, (Tokens, str, bytes, Mapping)) or getattr(items, "ndim", 2) < 2
    listed = isinstance(items, (list, tuple)) and len(items) > 0
    if single or not hasattr(items, "__len__") or (listed and isinstance(items[0], Number)):
        raise ArgumentError(
            f"A batch must be a list of recordings; got {_kind(items)}. Wrap a single recording in a list."
        )


def _rows(given: Any) -> list[NDArray[Any]]:
    """Split bare codes into one array per codebook."""
    if isinstance(given, (str, bytes, bytearray, Mapping)) or not hasattr(given, "__len__"):
        raise TokensError(f"decode requires {WANTED}; got {_kind(given)}.")
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) != 2:
        fix = "codes[0]" if len(shape) == 3 else "codes[None]" if len(shape) == 1 else "a 2-D array"
        raise TokensError(f"decode requires {WANTED}; got shape {tuple(shape)}. Pass {fix} for a single clip.")
    rows = [_array(row) for row in given]
    if any(row.ndim != 1 for row in rows):
        raise TokensError(f"decode requires {WANTED}; got a sequence with entries that are not one-dimensional.")
    return rows


def _array(values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU
        raise TokensError(f"Cannot convert the codes to a NumPy array: {str(error).rstrip('.')}.") from error


def _wrong_layout(rows: list[NDArray[Any]], k: int, name: str) -> TokensError:
    lengths = {len(row) for row in rows}
    shape = f"[{len(rows)}, {lengths.pop() if len(lengths) == 1 else 'different lengths'}]"
    if rows and all(len(row) == k for row in rows):
        hint = ", which looks like [frames, codebooks]; pass codes.T"
    else:
        hint = f"; if there are only {len(rows)} codebooks, pass n_codebooks={len(rows)}" if len(rows) < k else ""
    return TokensError(f"Codes for '{name}' must have shape [{k}, frames]; got {shape}{hint}.")


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
