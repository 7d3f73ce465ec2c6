"""Check arrays of samples and convert them to mono."""

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

MAX_PEAK = 64.0  # Values far above full scale are integers that were cast to floats without scaling.
"""Maximum absolute value of a float sample. Full scale is 1."""

MAX_CHANNELS = 64  # A 2-D array with more rows and more columns than this is neither [T, C] nor [C, T].
"""Maximum number of channels in an array."""

INT16_PEAK, INT24_PEAK = 1 << 15, 1 << 23
MAX_ROWS = 2  # Maximum channels in an array [C, T]. More rows may be a batch, which must not be averaged.


def as_wave(array: ArrayLike, sample_rate: float, to_rate: float = DEFAULT_RATE) -> Wave:
    """Convert an array of samples to a mono waveform.

    Floats must be in [-1, 1]. Samples of type int8, int16 and int32 are divided by the full scale of their type. In
    uint8 arrays, 128 is silence. int64 arrays are rejected unless all samples are zero.

    Args:
        array: samples [T], [T, C] with up to 64 channels, or [C, T] with 1 or 2 channels. The shorter axis holds the
            channels, which are averaged. NumPy arrays, lists and CPU tensors are accepted.
        sample_rate: sample rate of `array` in Hz.
        to_rate: sample rate of the result in Hz.

    Returns:
        The mono samples, float32 [T'].

    Raises:
        AudioError: the array is empty, contains NaN or infinity, is scaled incorrectly, or has an unsupported shape or
            type.

    >>> as_wave(np.array([[0, 16384], [16384, 0]] * 2, dtype=np.int16), 24000).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    from_rate, to_rate = check_rate(sample_rate), check_rate(to_rate)
    samples = _as_array(array)
    _check_shape(samples)
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        if samples.shape[0] > MAX_ROWS:
            raise AudioError(
                f"A waveform of shape [channels, samples] must have 1 or 2 channels; got shape {samples.shape}. Pass a"
                " single clip, use encode_batch for several clips, or select or average the channels first."
            )
        samples = samples.T
    _check_full_scale(samples, INT24_PEAK)
    mono = as_block(samples, from_rate)
    if len(mono) == 0:
        raise AudioError("A waveform must have at least 1 sample; got 0.")
    _warn_of_cancelling(samples, mono)
    if from_rate == to_rate:
        return mono
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate([resampler.feed(mono), resampler.flush()])


def as_block(array: ArrayLike, sample_rate: int, start: int = 0) -> Wave:
    """Convert a block of a stream to mono without resampling.

    Args:
        array: samples [n] or [n, C].
        sample_rate: sample rate of the stream in Hz, for error messages.
        start: position of the block in the stream in samples, for error messages.

    Returns:
        The mono samples, float32 [n].

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
    check_samples(mono, start, sample_rate, "the waveform")
    return mono


def _warn_of_cancelling(samples: NDArray[Any], mono: Wave) -> None:
    downmix = Downmix()
    if samples.ndim == 2:
        downmix.add(_to_float(samples), mono)
    if downmix.cancels:
        warnings.warn(
            "The channels cancel each other out, so averaging them removes most of the signal. Pass a single channel.",
            stacklevel=3,
        )


def _as_array(array: ArrayLike) -> NDArray[Any]:
    mistake = _mistake(array)
    if mistake:
        raise AudioError(f"A waveform must be an array of samples; got {mistake}.")
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU
        raise AudioError(f"Cannot convert the waveform to a NumPy array: {str(error).rstrip('.')}.") from error


def _mistake(array: object) -> str | None:
    if array is None:
        return "None"
    if isinstance(array, (str, os.PathLike)):
        return f"'{os.fspath(array)!s:.80}'. To read a file, call silkcodec.audio.read(path)"
    if isinstance(array, (bytes, bytearray)) or (isinstance(array, memoryview) and array.format == "B"):
        return "bytes. Convert them to an array first, e.g. with np.frombuffer(data, dtype=np.int16)"
    if isinstance(array, Mapping):
        keys = ", ".join(map(repr, list(array)[:4]))
        return f"a mapping with the keys {keys}. Pass the samples and the rate separately: encode(clip['array'], rate)"
    if isinstance(array, tuple) and len(array) == 2 and isinstance(array[1], Real) and not isinstance(array[0], Real):
        return "a tuple of samples and a number. Unpack it: encode(*pair)"
    if isinstance(array, Number) or getattr(array, "ndim", None) == 0:
        return "a single number. The order of the arguments is (wave, sample_rate)"
    return None


def _check_shape(samples: NDArray[Any]) -> None:
    if samples.dtype.kind == "O":
        raise AudioError(f"A waveform must be an array of numbers; got elements of type {_first_type(samples)}.")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and min(samples.shape) > MAX_CHANNELS):
        raise _wrong_shape(samples)


def _first_type(samples: NDArray[Any]) -> str:
    return type(samples.item() if samples.ndim == 0 else next(iter(samples.flat), None)).__name__


def _wrong_shape(samples: NDArray[Any]) -> AudioError:
    return AudioError(
        "A waveform must have shape [samples], [samples, channels] or [channels, samples];"
        f" got {samples.shape}. Pass one clip at a time, or use encode_batch for several clips."
    )


def _check_full_scale(samples: NDArray[Any], peak: int) -> None:
    """Reject int32 arrays that seem to contain 16-bit samples, and int64 arrays that are not all zero."""
    if samples.dtype.kind != "i" or samples.dtype.itemsize < 4 or not samples.any():
        return
    highest = max(-int(samples.min()), int(samples.max()))
    if samples.dtype.itemsize > 4:
        raise AudioError(
            f"Integer samples must be int8, int16 or int32; got {samples.dtype} with a peak of {highest}. Convert"
            " 16-bit values with np.asarray(wave, np.int16), or divide the samples by their full scale."
        )
    if highest <= peak and (samples & 0xFF).any():
        raise AudioError(
            f"int32 samples must be scaled so that full scale is 2147483648; got a peak of {highest}. Convert 16-bit"
            " values with .astype(np.int16), or divide the samples by their full scale."
        )


def _to_float(samples: NDArray[Any]) -> Wave:
    kind, width = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        # A float64 that is too large for float32 becomes infinite, which `check_samples` rejects.
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    if kind == "i":
        return (samples / np.float64(2 ** (8 * width - 1))).astype(np.float32)
    if samples.dtype == np.uint8:  # 128 is silence, as in WAV files.
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    raise AudioError(f"Samples must be floats, signed integers or uint8; got {samples.dtype}. Convert them to float32.")


def check_samples(wave: Wave, start: int, sample_rate: int, name: str) -> None:
    """Check that samples are finite and not far above full scale.

    Args:
        wave: samples, float32 [n].
        start: position of the first sample in the recording.
        sample_rate: sample rate in Hz.
        name: name of the recording for error messages.

    Raises:
        AudioError: a sample is NaN, infinite or far above full scale.
    """
    if len(wave) == 0 or max(-wave.min(), wave.max()) <= MAX_PEAK:  # The comparison is False for NaN.
        return
    bad = np.flatnonzero(~(np.abs(wave) <= MAX_PEAK))[0]
    value, at = float(wave[bad]), start + int(bad)
    where = f"got {value:g} at sample {at} ({at / sample_rate:.3f} s) of {name}"
    if np.isfinite(value):
        raise AudioError(
            f"Float samples must be between -1 and 1; {where}. If the values are on an integer scale, divide them by"
            " full scale, e.g. 32768 for 16-bit audio."
        )
    raise AudioError(f"Samples must be finite; {where}. Remove all NaN and infinite values.")
