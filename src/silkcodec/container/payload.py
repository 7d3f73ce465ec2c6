"""Levels <-> the payload bytes of one chunk: packed as they are, or range-coded.

Raw: a frame is 48 bytes, the little-endian number sum(level[i] * 8**i): level i is bits 3i..3i+2.

Range-coded: levels go, frame by frame and dimension by dimension, through a range coder with a model that
learns as it goes and starts afresh in every chunk, so that damage stays in its chunk and a stream needs no
second pass. What the model knows is integers, and so is all that is made of them:

- `seen` [128, 8], from 1: a dimension's own past. A level adds 3 to its own cell and, in the first 16 frames,
  1 to each neighbour's, because FSQ levels are a scale: where there was a 4, a 3 is likelier than a 0.
- `shared` [8], from 16: how often each level came in any dimension. It learns 128 times as fast, and its
  distribution counts as 48 in a dimension's own until that has seen enough.

Of a dozen such rules this one did well throughout on a stand-in for a model's levels (log-mel frames of
speech, whitened to 128 numbers and rounded to 8 levels more or less coarsely). A table stored with each chunk
would cost more than it saves: 128 x 8 entries are most of what 25 frames are worth.

Why every machine decodes the same: `constriction` takes probabilities as floats and, with perfect=False,
makes integers of them as floor(cumulative * (2**24 - 8) / total) + symbol. The floats given to it here are
integers that add up to exactly 2**24 - 8: so its scale is exactly 1, each of its sums is an integer far below
2**53, nothing rounds, and the coder's table is the integer table made here. `tests/container/test_container.py` reads
the same bytes with a range decoder of a few lines of Python integers.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import MissingExtraError
from silkcodec.spec import LATENT_WIDTH, N_LEVELS

RAW_FRAME_BYTES = LATENT_WIDTH * 3 // 8  # 48

_TOTAL = 1 << 24  # constriction's fixed-point one
_SHARED_WEIGHT = 48
_LEVEL = np.arange(N_LEVELS)
_DISTANCE = np.abs(_LEVEL[:, None] - _LEVEL)
_STEP = np.where(_DISTANCE == 0, 3, 0).astype(np.int64)  # [level, cell]
_EARLY_STEP = _STEP + (_DISTANCE == 1)
_EARLY_FRAMES = 16
_BITS = np.arange(3, dtype=np.uint8)

Levels = NDArray[np.int8]  # [F, 128] in 0..7
Table = NDArray[np.int64]


class CodedPayloadError(ValueError):
    """Bytes that no encoder made. The checksum comes first, so only a forged file gets here."""


def pack(levels: Levels) -> bytes:
    """Levels [F, 128] -> 48 F bytes."""
    bits = (levels.astype(np.uint8)[:, :, None] >> _BITS) & 1  # [F, 128, 3]
    return np.packbits(bits.reshape(len(levels), LATENT_WIDTH * 3), axis=1, bitorder="little").tobytes()


def unpack(payload: bytes) -> Levels:
    """48 F bytes -> levels [F, 128]. Any bytes are levels."""
    frames = np.frombuffer(payload, np.uint8).reshape(-1, RAW_FRAME_BYTES)
    bits = np.unpackbits(frames, axis=1, bitorder="little").reshape(len(frames), LATENT_WIDTH, 3)
    return (bits << _BITS).sum(axis=2, dtype=np.uint8).astype(np.int8)


def encode(levels: Levels) -> bytes:
    """Levels [F, 128] -> range-coded bytes, a multiple of 4 and at least F.

    Zeros at the end change nothing (a decoder reads zeros past the end), so a chunk that codes to less than a
    byte a frame is filled up: that is what lets a reader refuse a forged chunk that claims a thousand frames
    in four bytes before it makes room for them.

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
    """Range-coded bytes -> levels [F, 128]: the inverse of `encode`.

    Raises:
        CodedPayloadError: a length that `encode` cannot make, or bytes outside the code.
        MissingExtraError: constriction is not installed.
    """
    if len(payload) % 4 or len(payload) < n_frames:
        raise CodedPayloadError(f"{len(payload)} bytes cannot hold {n_frames} range-coded frames")
    coder = _constriction().stream
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder, family = coder.queue.RangeDecoder(words), coder.model.Categorical(perfect=False)
    model = _Model()
    levels = np.empty((n_frames, LATENT_WIDTH), np.int8)
    for frame in levels:
        try:
            frame[:] = decoder.decode(family, model.weights())
        except AssertionError as error:  # how constriction says that the bytes are outside the code
            raise CodedPayloadError("the range coder cannot read its payload") from error
        model.learn(frame)
    return levels


class _Model:
    """How likely each level is in each dimension of the next frame, in integers."""

    def __init__(self) -> None:
        self.seen = np.ones((LATENT_WIDTH, N_LEVELS), np.int64)
        self.shared = np.full(N_LEVELS, 16, np.int64)
        self.n_frames = 0

    def table(self) -> Table:
        """Probabilities in units of 2^-24, int64 [128, 8]: at least 1 each, and 2^24 in every row.

        No product exceeds 2^57 while a chunk has at most 4,096 frames.
        """
        mixed = self.seen * self.shared.sum() + _SHARED_WEIGHT * self.shared
        table = 1 + mixed * (_TOTAL - N_LEVELS) // mixed.sum(axis=1, keepdims=True)
        table[:, -1] += _TOTAL - table.sum(axis=1)  # what the divisions left over: 0..7
        return table

    def weights(self) -> NDArray[np.float64]:
        """The table as constriction takes it: without the 1 that it adds to each entry itself."""
        return (self.table() - 1).astype(np.float64)

    def learn(self, frame: NDArray[np.int8]) -> None:
        self.seen += (_EARLY_STEP if self.n_frames < _EARLY_FRAMES else _STEP)[frame]
        self.shared += np.bincount(frame, minlength=N_LEVELS)
        self.n_frames += 1


def require() -> None:
    """Raises MissingExtraError where `encode` and `decode` would."""
    _constriction()


def _constriction() -> ModuleType:
    try:
        import constriction
    except ImportError as error:
        raise MissingExtraError("The entropy-coded .silk format", "constriction", "entropy") from error
    module: ModuleType = constriction
    return module
