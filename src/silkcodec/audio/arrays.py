"""Convert arrays to checked mono waves."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from numbers import Number, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.audio.channels import Downmix, to_mono
from silkcodec.audio.resampling import DEFAULT_RATE, Resampler, Wave, check_rate
from silkcodec.errors import AudioError

MAX_PEAK = 64.0  # Full scale is 1; values far above it are integers that were cast but not scaled.
MAX_CHANNELS = 64  # a 2-D array whose smaller side is above this is not [T, C] or [C, T]
INT16_PEAK, INT24_PEAK = 1 << 15, 1 << 23
MAX_ROWS = 2  # Channels of an array [C, T]; an array with more rows may be a batch, which must not be averaged.


def as_wave(array: ArrayLike, sample_rate: float, to_rate: float = DEFAULT_RATE) -> Wave:
    """Return an array of samples as a mono wave, float32 [T'], at `to_rate`.

    Args:
        array: [T], [T, C] with up to 64 channels, or [C, T] with 1 or 2 (the shorter side is the channels; they are
            averaged). Anything NumPy can read: arrays, lists, tensors on the CPU. Floats have full scale 1.
            Integers are scaled by the range of their type: int8, int16, or int32 that uses its range. int64, and
            therefore a list of integers, has no full scale. It raises AudioError unless all values are zero.
        sample_rate: sample rate of `array`, Hz.
        to_rate: sample rate of the result, Hz.

    Raises:
        AudioError: no samples, NaN or Inf, samples far from full scale, or a shape or type that is not a wave.

    >>> as_wave(np.array([[0, 16384], [16384, 0]] * 2, dtype=np.int16), 24000).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    from_rate, to_rate = check_rate(sample_rate), check_rate(to_rate)
    samples = _as_array(array)
    _check_shape(samples)
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        if samples.shape[0] > MAX_ROWS:
            raise AudioError(
                f"A wave [channels, samples] must have 1 or 2 channels; got shape {samples.shape}. Pass a single clip,"
                " use encode_batch for several clips, or select or average the channels first."
            )
        samples = samples.T
    _check_full_scale(samples, INT24_PEAK)
    mono = as_block(samples, from_rate)
    if len(mono) == 0:
        raise AudioError("A wave must have at least 1 sample; got 0.")
    _warn_of_cancelling(samples, mono)
    if from_rate == to_rate:
        return mono
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate([resampler.feed(mono), resampler.flush()])


def as_block(array: ArrayLike, sample_rate: int, start: int = 0) -> Wave:
    """Return a piece of a stream as mono, float32 [n], at its own rate. Like `as_wave`, but n may be 0.

    Args:
        array: [n] or [n, C]. The axes are not inferred, because a piece may be one sample long.
        start: number of samples before this piece, for positions in error messages.

    Raises:
        AudioError: see `as_wave`.
    """
    samples = _as_array(array)
    _check_shape(samples)
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise _wrong_shape(samples)
    if samples.size == 0:
        return np.zeros(0, dtype=np.float32)
    _check_full_scale(samples, INT16_PEAK)
    mono = to_mono(_to_float(samples))
    check_samples(mono, start, sample_rate, "the wave")
    return mono


def _warn_of_cancelling(samples: NDArray[Any], mono: Wave) -> None:
    downmix = Downmix()
    if samples.ndim == 2:
        downmix.add(_to_float(samples), mono)
    if downmix.cancels:
        warnings.warn(
            "The channels of the wave cancel each other, so their mean loses most of the sound. Pass a single channel.",
            stacklevel=3,
        )


def _as_array(array: ArrayLike) -> NDArray[Any]:
    mistake = _mistake(array)
    if mistake:
        raise AudioError(f"A wave must be an array of samples; got {mistake}.")
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU
        raise AudioError(f"A wave must be convertible to a NumPy array; {error}") from error


def _mistake(array: object) -> str | None:
    """Return what was passed instead of samples and how to fix it; None if it may be samples."""
    if array is None:
        return "None"
    if isinstance(array, (str, os.PathLike)):
        hint = "to read a file, use silkcodec.audio.read(path), which returns its wave at 24 kHz"
        return f"'{os.fspath(array)!s:.80}'; {hint}"
    if isinstance(array, (bytes, bytearray)) or (isinstance(array, memoryview) and array.format == "B"):
        return "bytes; convert them with the type of the samples: np.frombuffer(data, dtype=np.int16)"
    if isinstance(array, Mapping):
        keys = ", ".join(map(repr, list(array)[:4]))
        return f"a mapping with the keys {keys}; pass the samples and the rate separately: encode(clip['array'], rate)"
    if isinstance(array, tuple) and len(array) == 2 and isinstance(array[1], Real) and not isinstance(array[0], Real):
        return "a tuple of samples and a number; unpack it: encode(*pair)"
    if isinstance(array, Number) or getattr(array, "ndim", None) == 0:
        return "a single number; the order of the arguments is (wave, sample_rate)"
    return None


def _check_shape(samples: NDArray[Any]) -> None:
    if samples.dtype.kind == "O":
        raise AudioError(f"A wave must be an array of numbers; got elements of type {_first_type(samples)}.")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and min(samples.shape) > MAX_CHANNELS):
        raise _wrong_shape(samples)


def _first_type(samples: NDArray[Any]) -> str:
    return type(samples.item() if samples.ndim == 0 else next(iter(samples.flat), None)).__name__


def _wrong_shape(samples: NDArray[Any]) -> AudioError:
    return AudioError(
        "A wave must be [samples], [samples, channels] or [channels, samples];"
        f" got shape {samples.shape}. Pass one clip at a time, or several to encode_batch."
    )


def _check_full_scale(samples: NDArray[Any], peak: int) -> None:
    """Reject wide integers with 16-bit values: scaled by the range of their type, they would be silence.

    Zeros are valid at any scale. int32 samples that were shifted from 24 bits or fewer are multiples of 256 at any
    level. Any other int32 array must exceed `peak`: the range of 24 bits for a whole wave, and the range of 16 bits
    for a piece of a stream, which may be a pause.
    """
    if samples.dtype.kind != "i" or samples.dtype.itemsize < 4 or not samples.any():
        return
    highest = max(-int(samples.min()), int(samples.max()))
    if samples.dtype.itemsize > 4:
        raise AudioError(
            f"Integer samples must be int8, int16 or int32; got {samples.dtype} with a peak of {highest}, whose full"
            " scale is unknown. Convert 16-bit values with np.asarray(wave, np.int16), or divide by full scale."
        )
    if highest <= peak and (samples & 0xFF).any():
        raise AudioError(
            f"int32 samples must have full scale 2147483648; got a peak of {highest}. Convert 16-bit values with"
            " .astype(np.int16), or divide by their full scale."
        )


def _to_float(samples: NDArray[Any]) -> Wave:
    kind, width = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # A float64 beyond float32 becomes Inf, which `check_samples` rejects.
            return samples.astype(np.float32)
    if kind == "i":
        return (samples / np.float64(2 ** (8 * width - 1))).astype(np.float32)
    if samples.dtype == np.uint8:  # As in WAV files, 128 is silence.
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    raise AudioError(f"Samples must be floats or signed integers; got {samples.dtype}. Convert them first.")


def check_samples(wave: Wave, start: int, sample_rate: int, name: str) -> None:
    """Raise AudioError for NaN, Inf or unscaled integers in floats. `start` is the position of the wave in its file."""
    if len(wave) == 0 or max(-wave.min(), wave.max()) <= MAX_PEAK:  # False for NaN, which min propagates.
        return
    bad = np.flatnonzero(~(np.abs(wave) <= MAX_PEAK))[0]
    value, at = float(wave[bad]), start + int(bad)
    where = f"got {value:g} at sample {at} ({at / sample_rate:.3f} s) of {name}"
    if np.isfinite(value):
        raise AudioError(f"Float samples must be near [-1, 1]; {where}. Scale integers first.")
    raise AudioError(f"Samples must be finite; {where}. Remove NaN and Inf first.")
