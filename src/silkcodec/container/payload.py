"""Convert levels to the payload bytes of one chunk and back, either packed or range-coded.

Raw: a frame is 48 bytes, the little-endian number sum(level[i] * 8**i). Level i is bits 3i..3i+2.

Range-coded: a range coder with an adaptive model encodes the levels frame by frame and dimension by dimension. The
model is reset in every chunk, so damage stays within its chunk, and a stream needs no second pass. The state of the
model and everything derived from it are integers:

- `seen` [128, 8], initially 1: counts per dimension. A level adds 3 to its own cell and, in the first 16 frames,
  1 to each neighbour's, because FSQ levels are ordered: after a 4, a 3 is more likely than a 0.
- `shared` [8], initially 16: counts of each level in any dimension. It adapts 128 times as fast. Its distribution is
  added to a dimension's counts with weight 48, which matters until the dimension has enough counts.

This rule was chosen from about a dozen. They were compared on a substitute for a model's levels: log-mel frames of
speech, whitened to 128 numbers and rounded to 8 levels with several step sizes. Storing a table in each chunk would
cost more than it saves, because 128 x 8 entries are nearly as large as 25 frames.

Every machine decodes the same levels. `constriction` takes probabilities as floats. With perfect=False it converts them
to integers: floor(cumulative * (2**24 - 8) / total) + symbol. The floats passed here are integers whose sum is exactly
2**24 - 8. The scale is therefore exactly 1, each partial sum is an integer far below 2**53, and nothing is rounded. The
coder's table equals the integer table of this module. `tests/container/test_container.py` decodes the same bytes with a
range decoder of a few lines of Python integers.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import MissingExtraError
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

Levels = NDArray[np.int8]  # [F, 128] in 0..7
Table = NDArray[np.int64]


class CodedPayloadError(ValueError):
    """Report bytes that no encoder writes. Their checksum was correct, so the file must be forged."""


def pack(levels: Levels) -> bytes:
    """Pack levels [F, 128] into 48 F bytes."""
    bits = (levels.astype(np.uint8)[:, :, None] >> _BITS) & 1  # [F, 128, 3]
    return np.packbits(bits.reshape(len(levels), LATENT_WIDTH * 3), axis=1, bitorder="little").tobytes()


def unpack(payload: bytes) -> Levels:
    """Unpack 48 F bytes into levels [F, 128]. All bytes are valid."""
    frames = np.frombuffer(payload, np.uint8).reshape(-1, RAW_FRAME_BYTES)
    bits = np.unpackbits(frames, axis=1, bitorder="little").reshape(len(frames), LATENT_WIDTH, 3)
    return (bits << _BITS).sum(axis=2, dtype=np.uint8).astype(np.int8)


def encode(levels: Levels) -> bytes:
    """Encode levels [F, 128] to range-coded bytes, a multiple of 4 and at least F.

    A chunk with less than one byte per frame is padded with zeros, which a decoder reads past the end anyway. The
    padding lets a reader reject a forged chunk, such as a thousand frames in four bytes, before it allocates memory.

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
    """Decode range-coded bytes to levels [F, 128]: the inverse of `encode`.

    Raises:
        CodedPayloadError: `encode` never writes this length or these bytes.
        MissingExtraError: constriction is not installed.
    """
    if len(payload) % 4 or len(payload) < n_frames:
        raise CodedPayloadError(f"{len(payload)} bytes cannot contain {n_frames} range-coded frames")
    coder = _constriction().stream
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder, family = coder.queue.RangeDecoder(words), coder.model.Categorical(perfect=False)
    model = _Model()
    levels = np.empty((n_frames, LATENT_WIDTH), np.int8)
    for frame in levels:
        try:
            frame[:] = decoder.decode(family, model.weights())
        except AssertionError as error:  # constriction raises this for invalid bytes.
            raise CodedPayloadError("the range decoder cannot read the payload") from error
        model.learn(frame)
    return levels


class _Model:
    """Estimate the probability of each level in each dimension of the next frame, in integers."""

    def __init__(self) -> None:
        self.seen = np.ones((LATENT_WIDTH, N_LEVELS), np.int64)
        self.shared = np.full(N_LEVELS, 16, np.int64)
        self.n_frames = 0

    def table(self) -> Table:
        """Return probabilities in units of 2^-24, int64 [128, 8]: each at least 1, and each row sums to 2^24.

        No product exceeds 2^57 while a chunk has at most 4,096 frames.
        """
        mixed = self.seen * self.shared.sum() + _SHARED_WEIGHT * self.shared
        table = 1 + mixed * (_TOTAL - N_LEVELS) // mixed.sum(axis=1, keepdims=True)
        table[:, -1] += _TOTAL - table.sum(axis=1)  # the remainder of the divisions, 0..7
        return table

    def weights(self) -> NDArray[np.float64]:
        """Return the table for constriction, without the 1 that constriction adds to each entry."""
        return (self.table() - 1).astype(np.float64)

    def learn(self, frame: NDArray[np.int8]) -> None:
        """Update the counts with the levels of a frame, [128]."""
        self.seen += (_EARLY_STEP if self.n_frames < _EARLY_FRAMES else _STEP)[frame]
        self.shared += np.bincount(frame, minlength=N_LEVELS)
        self.n_frames += 1


def require() -> None:
    """Raise MissingExtraError if `encode` and `decode` would raise it."""
    _constriction()


def _constriction() -> ModuleType:
    try:
        import constriction
    except ImportError as error:
        raise MissingExtraError("The entropy-coded .silk format", "constriction", "entropy") from error
    module: ModuleType = constriction
    return module
