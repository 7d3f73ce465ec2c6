"""Encode FSQ levels to bytes, either packed or range-coded, and decode them.

`docs/format.md` describes both encodings. The range coder's model uses only integers, so decoding gives the same levels
on every machine. The model counts the levels in each dimension (`seen`) and in all dimensions (`shared`).

The `constriction` package converts probabilities to integers as floor(cumulative * (2**24 - 8) / total) + symbol. This
module passes integers whose sum is exactly 2**24 - 8, so nothing is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import import_extra
from silkcodec.spec import LATENT_WIDTH, N_LEVELS

RAW_FRAME_BYTES = LATENT_WIDTH * 3 // 8  # 48

_TOTAL = 1 << 24  # a probability of 1 in constriction's fixed-point numbers
_SHARED_WEIGHT = 48
_LEVEL = np.arange(N_LEVELS)
_DISTANCE = np.abs(_LEVEL[:, None] - _LEVEL)
_STEP = np.where(_DISTANCE == 0, 3, 0).astype(np.int64)  # [level, cell]
_EARLY_STEP = _STEP + (_DISTANCE == 1)
_EARLY_FRAMES = 16
_BITS = np.arange(3, dtype=np.uint8)

Levels = NDArray[np.uint8]  # [F, 128] in 0..7
Table = NDArray[np.int64]


class CodedPayloadError(ValueError):
    """Raised if range-coded bytes are invalid."""


def pack(levels: Levels) -> bytes:
    """Pack levels [F, 128] into 48 * F bytes."""
    bits = (levels[:, :, None] >> _BITS) & 1  # [F, 128, 3]
    return np.packbits(bits.reshape(len(levels), LATENT_WIDTH * 3), axis=1, bitorder="little").tobytes()


def unpack(payload: bytes) -> Levels:
    """Unpack 48 * F bytes into levels [F, 128]."""
    frames = np.frombuffer(payload, np.uint8).reshape(-1, RAW_FRAME_BYTES)
    bits = np.unpackbits(frames, axis=1, bitorder="little").reshape(len(frames), LATENT_WIDTH, 3)
    return (bits << _BITS).sum(axis=2, dtype=np.uint8)


def encode(levels: Levels) -> bytes:
    """Encode levels [F, 128] with a range coder.

    The result has at least F bytes, so that a reader can reject forged frame counts before it allocates memory.

    Raises:
        MissingExtraError: constriction is not installed.
    """
    coder = _constriction().stream
    encoder, family = coder.queue.RangeEncoder(), coder.model.Categorical(perfect=False)
    model = _Model()
    for frame in levels:
        encoder.encode(frame.astype(np.int32), family, model.weights())
        model.learn(frame)
    coded: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return coded.ljust(-(-len(levels) // 4) * 4, b"\0")


def decode(payload: bytes, n_frames: int) -> Levels:
    """Decode range-coded bytes to levels [F, 128].

    Raises:
        CodedPayloadError: the bytes are invalid.
        MissingExtraError: constriction is not installed.
    """
    if len(payload) % 4 or len(payload) < n_frames:
        raise CodedPayloadError(f"{len(payload)} bytes cannot contain {n_frames} range-coded frames")
    coder = _constriction().stream
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder, family = coder.queue.RangeDecoder(words), coder.model.Categorical(perfect=False)
    model = _Model()
    levels = np.empty((n_frames, LATENT_WIDTH), np.uint8)
    for frame in levels:
        try:
            frame[:] = decoder.decode(family, model.weights())
        except AssertionError as error:  # constriction raises this for invalid bytes.
            raise CodedPayloadError("the range decoder cannot read the payload") from error
        model.learn(frame)
    return levels


class _Model:
    """Estimate the probability of each level in each dimension of the next frame."""

    def __init__(self) -> None:
        self.seen = np.ones((LATENT_WIDTH, N_LEVELS), np.int64)
        self.shared = np.full(N_LEVELS, 16, np.int64)
        self.n_frames = 0

    def table(self) -> Table:
        """Return the probability of each level in each dimension in units of 2^-24, int64 [128, 8]."""
        mixed = self.seen * self.shared.sum() + _SHARED_WEIGHT * self.shared
        table = 1 + mixed * (_TOTAL - N_LEVELS) // mixed.sum(axis=1, keepdims=True)
        table[:, -1] += _TOTAL - table.sum(axis=1)  # the remainder of the divisions, 0..7
        return table

    def weights(self) -> NDArray[np.float64]:
        """Return `table()` minus 1, because constriction adds 1 to each entry."""
        return (self.table() - 1).astype(np.float64)

    def learn(self, frame: NDArray[np.uint8]) -> None:
        """Count the levels [128] of a frame."""
        self.seen += (_EARLY_STEP if self.n_frames < _EARLY_FRAMES else _STEP)[frame]
        self.shared += np.bincount(frame, minlength=N_LEVELS)
        self.n_frames += 1


def require() -> None:
    """Raise MissingExtraError if constriction is not installed."""
    _constriction()


def _constriction() -> Any:
    return import_extra("constriction", "The entropy-coded .silk format", "entropy")
