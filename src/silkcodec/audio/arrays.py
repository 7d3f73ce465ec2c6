"""Turn arrays into checked mono waves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.audio.resampling import DEFAULT_RATE, Resampler, Wave, check_rate
from silkcodec.errors import AudioError

MAX_PEAK = 64.0  # full scale is 1; far above it are integers that were cast, not scaled
MAX_CHANNELS = 64  # a 2-D array whose smaller side is above this is not [T, C] or [C, T]


def as_wave(array: ArrayLike, sample_rate: float, to_rate: float = DEFAULT_RATE) -> Wave:
    """An array of samples as a mono wave, float32 [T'], at `to_rate`.

    Args:
        array: [T], [T, C] or [C, T] (the shorter side is the channels; they are averaged). Floats are
            taken as they are, full scale 1; integers are scaled by their type's range. Anything NumPy can
            read: arrays, lists, tensors on the CPU.
        sample_rate: of `array`, Hz.
        to_rate: of the result, Hz.

    Raises:
        AudioError: no samples, NaN or Inf, samples far beyond full scale, a shape or type that is no wave.

    >>> as_wave(np.array([[0, 16384], [16384, 0]] * 2, dtype=np.int16), 24000).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    from_rate, to_rate = check_rate(sample_rate), check_rate(to_rate)
    samples = _as_array(array)
    transposed = samples.ndim == 2 and samples.shape[0] < samples.shape[1]
    mono = as_block(samples.T if transposed else samples, from_rate)
    if len(mono) == 0:
        raise AudioError("A wave must hold at least 1 sample; got 0.")
    if from_rate == to_rate:
        return mono
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate([resampler.feed(mono), resampler.flush()])


def as_block(array: ArrayLike, sample_rate: int, start: int = 0) -> Wave:
    """A piece of a stream as mono, float32 [n], at its own rate. Like `as_wave`, but n may be 0.

    Args:
        array: [n] or [n, C]; which side is which is not guessed, for a piece can be one sample long.
        start: samples of the stream before this piece, for the message that says where a NaN is.
    """
    samples = _as_array(array)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS):
        raise AudioError(
            "A wave must be [samples], [samples, channels] or [channels, samples];"
            f" got shape {samples.shape}; pass one clip at a time."
        )
    if samples.size == 0:
        return np.zeros(0, dtype=np.float32)
    mono = to_mono(_to_float(samples))
    check_samples(mono, start, sample_rate, "the wave")
    return mono


def _as_array(array: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU
        raise AudioError(f"A wave must be something NumPy can read as an array; {error}") from error


def _to_float(samples: NDArray[Any]) -> Wave:
    kind, width = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes Inf, and Inf is refused by name
            return samples.astype(np.float32)
    if kind == "i":
        return (samples / np.float64(2 ** (8 * width - 1))).astype(np.float32)
    if samples.dtype == np.uint8:  # as in WAV files: 128 is silence
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    raise AudioError(f"Samples must be floats or signed integers; got {samples.dtype}; convert them first.")


def to_mono(samples: Wave) -> Wave:
    """[T] or [T, C] -> the mean of the channels [T], summed in one order whatever the memory layout is."""
    if samples.ndim == 1:
        return samples
    total = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    if samples.shape[1] > 1:
        total /= samples.shape[1]
    return total


def check_samples(wave: Wave, start: int, sample_rate: int, name: str) -> None:
    """Refuse NaN, Inf and integers in float's clothing. `start`: the wave's first sample within its file."""
    if len(wave) == 0 or max(-wave.min(), wave.max()) <= MAX_PEAK:  # False for NaN: it spreads through min
        return
    bad = np.flatnonzero(~(np.abs(wave) <= MAX_PEAK))[0]
    value, at = float(wave[bad]), start + int(bad)
    where = f"got {value:g} at sample {at} ({at / sample_rate:.3f} s) of {name}"
    if np.isfinite(value):
        raise AudioError(f"Float samples must be near [-1, 1]; {where}; scale integers first.")
    raise AudioError(f"Samples must be finite; {where}; repair it first.")
