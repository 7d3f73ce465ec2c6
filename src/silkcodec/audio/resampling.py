"""Resample mono streams with soxr."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from silkcodec.errors import AudioError
from silkcodec.spec import SILK_SAMPLE_RATE

Wave = NDArray[np.float32]
"""Mono samples, float32 [n]."""

DEFAULT_RATE = SILK_SAMPLE_RATE
"""Default sample rate in Hz, 24,000."""

MIN_RATE = 1_000  # Lower values are usually mistakes, such as rates in kHz.
"""Minimum sample rate in Hz."""

MAX_RATE = 1_000_000
"""Maximum sample rate in Hz."""


def check_rate(sample_rate: float) -> int:
    """Check a sample rate and return it as an integer.

    Args:
        sample_rate: sample rate in Hz.

    Returns:
        The sample rate.

    Raises:
        AudioError: the rate is not a whole number of Hz between 1,000 and 1,000,000.
    """
    if getattr(sample_rate, "ndim", None) == 0 and hasattr(sample_rate, "item"):
        sample_rate = sample_rate.item()  # a 0-d array or tensor
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, Real):
        raise AudioError(
            f"sample_rate must be a number in Hz, such as 24000; got {_described(sample_rate)}."
            " The order of the arguments is (wave, sample_rate)."
        )
    if not MIN_RATE <= sample_rate <= MAX_RATE or int(sample_rate) != sample_rate:
        raise AudioError(
            f"sample_rate must be a whole number in Hz between {MIN_RATE} and {MAX_RATE}; got {sample_rate!r}."
            " For 24 kHz, pass 24000."
        )
    return int(sample_rate)


def _described(value: object) -> str:
    if isinstance(value, (bool, str, bytes, type(None))):
        return f"{value!r:.60}"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} of shape {tuple(shape)}" if shape else f"an object of type {type(value).__name__}"


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return the number of samples after resampling.

    Args:
        n_samples: number of samples before resampling.
        from_rate, to_rate: sample rates in Hz before and after resampling.
    """
    if n_samples == 0:
        return 0
    return max(1, (2 * n_samples * to_rate + from_rate) // (2 * from_rate))


class Resampler:
    """Resample a mono stream in blocks of any length.

    The result does not depend on how the stream is split into blocks.

    Args:
        from_rate, to_rate: input and output sample rates in Hz.

    Raises:
        AudioError: a rate is not a whole number of Hz between 1,000 and 1,000,000.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate = check_rate(from_rate)
        self.to_rate = check_rate(to_rate)
        self.n_in = 0
        self.n_out = 0
        self._stream: Any = None
        if self.from_rate != self.to_rate:
            self._stream = soxr.ResampleStream(self.from_rate, self.to_rate, 1, dtype="float32", quality="HQ")

    def feed(self, block: Wave) -> Wave:
        """Resample a block.

        Args:
            block: samples at `from_rate`, float32 [n].

        Returns:
            The samples at `to_rate` that are ready, float32 [m]. m can be 0.
        """
        self.n_in += len(block)
        if self._stream is None:
            self.n_out += len(block)
            return block
        out = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        self.n_out += len(out)
        return np.asarray(out, dtype=np.float32)

    def flush(self) -> Wave:
        """End the stream and return the remaining samples.

        Returns:
            The remaining samples at `to_rate`, float32 [m].
        """
        if self._stream is None:
            return np.zeros(0, dtype=np.float32)
        tail = self._stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        missing = resampled_length(self.n_in, self.from_rate, self.to_rate) - self.n_out
        exact = np.zeros(max(0, missing), dtype=np.float32)  # soxr can return one sample too few or too many.
        exact[: len(tail)] = tail[: len(exact)]
        self.n_out += len(exact)
        return exact
