"""Sound files and arrays <-> a mono wave: float32 [T] in [-1, 1] at the rate that is asked for.

The only importer of soundfile and soxr. There is one path: a whole file is read as blocks, and an array
is resampled by the same streaming `Resampler` as a file or a microphone. soxr's output does not depend on
how its input is cut (a test holds this), so neither do the tokens.

    file -Reader-> blocks [n] -> encoder          decoder -> blocks [n] -Writer-> file
    array -as_wave-> wave [T]
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError, AudioError, OutputError
from silkcodec.output import replacing, standard_output

Wave = NDArray[np.float32]

DEFAULT_RATE = 24_000  # Hz
MAX_PEAK = 64.0  # full scale is 1; far above it are integers that were cast, not scaled
MAX_CHANNELS = 64  # a 2-D array whose smaller side is above this is not [T, C] or [C, T]
MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz; outside are rates in kHz and other slips
PART_SLACK_S = 0.1  # that a part may be longer than what is left of its file
READ_VALUES = 1 << 18  # samples x channels taken from a file at once: 1 MB

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64")
"""Names that mark a file of a folder as sound; a file that is named by itself may be called anything."""

_FORMATS = {  # suffix -> (libsndfile's major format, its subtype) of the files that `Writer` makes
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".w64": ("W64", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
}
_WAV_LIMIT = 2**32 - 1024  # bytes; WAV and AIFF count them in 32 bits
_SAMPLE_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}


def check_rate(sample_rate: float) -> int:
    """`sample_rate` as a whole number of Hz, 1,000 to 1,000,000. Raises AudioError."""
    if not MIN_RATE <= sample_rate <= MAX_RATE or int(sample_rate) != sample_rate:
        raise AudioError(
            f"sample_rate must be a whole number of Hz, {MIN_RATE}..{MAX_RATE}; got {sample_rate!r}; 24 kHz is 24000."
        )
    return int(sample_rate)


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Samples at `to_rate` of a wave of `n_samples` at `from_rate`: rounded, but at least 1 of 1."""
    if n_samples == 0:
        return 0
    return max(1, (2 * n_samples * to_rate + from_rate) // (2 * from_rate))


class Resampler:
    """A mono stream from one sample rate to another, in blocks of any length.

    The blocks put together are the same, to the bit, however the input was cut, and have
    `resampled_length` samples. Equal rates pass through untouched.
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
        """float32 [n] at `from_rate` -> float32 [m] at `to_rate`: what can be known by now."""
        self.n_in += len(block)
        if self._stream is None:
            self.n_out += len(block)
            return block
        out = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        self.n_out += len(out)
        return np.asarray(out, dtype=np.float32)

    def flush(self) -> Wave:
        """The end of the stream: float32 [m], the samples that were still in the filter."""
        if self._stream is None:
            return np.zeros(0, dtype=np.float32)
        tail = self._stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        missing = resampled_length(self.n_in, self.from_rate, self.to_rate) - self.n_out
        exact = np.zeros(max(0, missing), dtype=np.float32)  # soxr can be a sample short or long
        exact[: len(tail)] = tail[: len(exact)]
        self.n_out += len(exact)
        return exact


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
    mono = _mono(_to_float(samples))
    _check_samples(mono, start, sample_rate, "the wave")
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


def _mono(samples: Wave) -> Wave:
    """[T] or [T, C] -> the mean of the channels [T], summed in one order whatever the memory layout is."""
    if samples.ndim == 1:
        return samples
    total = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    if samples.shape[1] > 1:
        total /= samples.shape[1]
    return total


def _check_samples(wave: Wave, start: int, sample_rate: int, name: str) -> None:
    """Refuse NaN, Inf and integers in float's clothing. `start`: the wave's first sample within its file."""
    if len(wave) == 0 or max(-wave.min(), wave.max()) <= MAX_PEAK:  # False for NaN: it spreads through min
        return
    bad = np.flatnonzero(~(np.abs(wave) <= MAX_PEAK))[0]
    value, at = float(wave[bad]), start + int(bad)
    where = f"got {value:g} at sample {at} ({at / sample_rate:.3f} s) of {name}"
    if np.isfinite(value):
        raise AudioError(f"Float samples must be near [-1, 1]; {where}; scale integers first.")
    raise AudioError(f"Samples must be finite; {where}; repair it first.")


class Reader:
    """A sound file as a stream of mono samples at one rate, in bounded memory.

    Args:
        source: a path, "-" for standard input, or a binary file. What cannot seek (a pipe) is copied to
            a temporary file first: most sound formats cannot be read from a pipe.
        sample_rate: of the samples that come out, Hz.
        channel: take this one of the file, counted from 0; None takes the mean of all.
        start_s, duration_s: only this part of the file, which nothing before it has to be decoded for. It may end
            up to `PART_SLACK_S` after the file, as durations that somebody has rounded do.

    Attributes:
        name: for messages. file_rate: Hz. n_channels: of the file. duration_s: what the file's header
            promises of all of it, known before anything is decoded; an estimate for MP3.

    Raises:
        AudioError: at once, or at any read: the file is missing, not audio, damaged, or holds NaN or Inf; it has no
            such channel or part.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        sample_rate: float = DEFAULT_RATE,
        *,
        channel: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
    ) -> None:
        self.sample_rate = check_rate(sample_rate)
        self.name = source_name(source)
        self._files = ExitStack()
        try:
            self._sound = self._files.enter_context(_open_sound(source, self.name, self._files))
            self.file_rate = check_rate(self._sound.samplerate)
            self._wanted = self._go_to(start_s, duration_s)
            if channel is not None and not 0 <= channel < self._sound.channels:
                raise AudioError(f"channel must be 0..{self._sound.channels - 1} for {self.name}; got {channel}.")
        except BaseException:
            self._files.close()
            raise
        self._channel = channel
        self.n_channels: int = self._sound.channels
        self.duration_s = self._sound.frames / self.file_rate
        self._resampler = Resampler(self.file_rate, self.sample_rate)
        self._taken = 0  # samples per channel decoded so far
        self._ended = False
        self._held: list[Wave] = []  # decoded, not yet asked for

    def read(self, n_samples: int) -> Wave:
        """The next samples, float32 [n_samples]; fewer at the end, and [0] after it."""
        parts, missing = [], n_samples
        while missing > 0:
            if not self._held and not self._fill():
                break
            block = self._held.pop()
            if len(block) > missing:
                self._held.append(block[missing:])
                block = block[:missing]
            parts.append(block)
            missing -= len(block)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def blocks(self, block_s: float = 10.0) -> Iterator[Wave]:
        """The rest of the file as blocks, float32 [block_s * sample_rate], the last one shorter."""
        n_samples = max(1, round(block_s * self.sample_rate))
        while len(block := self.read(n_samples)):
            yield block

    def _fill(self) -> bool:
        """Decode and resample a little more into `_held`; False at the end of the file."""
        while not self._ended:
            n = max(1, READ_VALUES // self.n_channels)
            if self._wanted is not None:
                n = min(n, self._wanted - self._taken)
            buffer = np.empty((n, self.n_channels), dtype=np.float32)
            try:
                # Not SoundFile.read: that stops at the header's count, which for MP3 is an estimate.
                n = self._sound.buffer_read_into(buffer, "float32") if n else 0
            except soundfile.LibsndfileError as error:
                raise AudioError(
                    f"{self.name} is damaged after {(self._first + self._taken) / self.file_rate:.3f} s:"
                    f" {error.error_string.rstrip('.')}."
                ) from error
            block = _mono(buffer[:n]) if self._channel is None else buffer[:n, self._channel].copy()
            _check_samples(block, self._first + self._taken, self.file_rate, self.name)
            self._taken += n
            if n == 0:
                self._ended = True
                self._check_complete()
                block = self._resampler.flush()
            else:
                block = self._resampler.feed(block)
            if len(block):
                self._held.append(block)
                return True
        return False

    def _go_to(self, start_s: float, duration_s: float | None) -> int | None:
        """Seek to a part; its samples at the file's rate, None for all that there are."""
        if not 0 <= start_s < float("inf") or not (duration_s is None or 0 < duration_s < float("inf")):
            raise AudioError(f"A part must start at 0 s or later and last; got {start_s} s, {duration_s} s.")
        first, wanted = round(start_s * self.file_rate), None
        if duration_s is not None:
            wanted = max(1, round(duration_s * self.file_rate))
        if first:
            try:
                self._sound.seek(first)
            except (soundfile.LibsndfileError, RuntimeError) as error:  # also where it is a stream that cannot
                held_s = self._sound.frames / self.file_rate
                raise AudioError(
                    f"A part must lie within the {held_s:.3f} s of {self.name}; got {start_s:g} s."
                ) from error
        self._first = first
        return wanted

    def _check_complete(self) -> None:
        if self._taken == 0:
            raise AudioError(f"A sound file must hold at least 1 sample; {self.name} holds none.")
        if self._wanted is not None or self._first:
            missing_s = ((self._wanted or 0) - self._taken) / self.file_rate
            if missing_s > PART_SLACK_S:
                raise AudioError(f"A part must lie within {self.name}; it goes {missing_s:.3f} s beyond its end.")
            return
        if self._taken < self._sound.frames and self._sound.format != "MP3":
            raise AudioError(
                f"{self.name} is cut short or damaged: its header promises {self._sound.frames} samples,"
                f" {self._taken} could be read."
            )

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def source_name(source: object) -> str:
    """How messages call a source: its quoted path, or "standard input"."""
    if isinstance(source, (str, os.PathLike)):
        return "standard input" if os.fspath(source) == "-" else f"'{os.fspath(source)}'"
    name = getattr(source, "name", None)
    return f"'{name}'" if isinstance(name, str) else "the file"


def _open_sound(source: Any, name: str, files: ExitStack) -> Any:
    """A soundfile.SoundFile; temporary files it needs are left to `files`."""
    if isinstance(source, (str, os.PathLike)):
        if os.fspath(source) == "-":
            source = _spooled(sys.stdin.buffer, files)
        else:
            path = Path(source)
            if path.is_dir():
                raise AudioError(f"A sound file is needed; {name} is a folder.")
            try:
                with open(path, "rb") as file:
                    source = os.fspath(path) if file.seekable() else _spooled(file, files)
                    empty = file.seekable() and path.stat().st_size == 0
            except (OSError, ValueError) as error:  # ValueError: a path with a null byte in it
                reason = getattr(error, "strerror", None) or error
                raise AudioError(f"{name} cannot be read: {reason}.") from error
            if empty:
                raise AudioError(f"A sound file is needed; {name} is empty (0 bytes).")
    elif not (hasattr(source, "seekable") and source.seekable()):
        source = _spooled(source, files)
    try:
        return soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(
            f"{name} cannot be read as audio ({reason}); WAV, FLAC, OGG, Opus, MP3 and AIFF can."
        ) from error
    except TypeError as error:  # soundfile guesses by the name that this is headerless audio, e.g. "x.raw"
        raise AudioError(f"{name} has no header that tells its rate; convert it to WAV first.") from error


def _spooled(pipe: Any, files: ExitStack) -> Any:
    """A pipe's bytes in a temporary file, on disk: as bounded in memory as everything else."""
    copy: Any = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `files` closes it
    try:
        shutil.copyfileobj(pipe, copy)
    except OSError as error:
        raise AudioError(f"The piped audio could not be stored: {error.strerror or error}.") from error
    if copy.tell() == 0:
        raise AudioError("Audio is needed on standard input; got nothing.")
    copy.seek(0)
    return copy


def read(source: str | os.PathLike[str] | BinaryIO, sample_rate: float = DEFAULT_RATE) -> Wave:
    """A whole sound file as a mono wave, float32 [T], at `sample_rate` Hz. Raises AudioError."""
    with Reader(source, sample_rate) as reader:
        return np.concatenate(list(reader.blocks()))


def blocks(
    source: str | os.PathLike[str] | BinaryIO, block_s: float = 10.0, sample_rate: float = DEFAULT_RATE
) -> Iterator[Wave]:
    """A sound file as blocks of a mono wave, float32 [n], in bounded memory. Raises AudioError."""
    with Reader(source, sample_rate) as reader:
        yield from reader.blocks(block_s)


def duration_s(source: str | os.PathLike[str] | BinaryIO) -> float:
    """The length of a sound file in seconds by its header: opens it, decodes nothing. Raises AudioError."""
    with Reader(source) as reader:
        return reader.duration_s


def output_format(path: str | os.PathLike[str]) -> tuple[str, str]:
    """libsndfile's (format, subtype) for a file of this name. Raises ArgumentError for an unknown suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ArgumentError(f"A sound file to write must end in one of {' '.join(_FORMATS)}; got '{os.fspath(path)}'.")
    return _FORMATS[suffix]


class Writer:
    """Mono blocks to a sound file, in bounded memory; the file appears complete or not at all.

    Args:
        target: a path (the suffix names the format: .wav .flac .ogg .opus .w64 .aiff; integers of 16 bits
            where a format knows them), "-" for WAV on standard output, or a binary file (WAV).
        sample_rate: Hz.
        overwrite: whether a file of that name may be replaced.
        n_samples: how many will come, if known: goes to the header of a WAV that is sent down a pipe.
        subtype: libsndfile's name of another sample type, "FLOAT" or "PCM_24", for instance.

    Use it in a `with` block: leaving it by an error discards the file.

    Raises:
        OutputError: the file exists, cannot be written, or the disk is full.
        ArgumentError: the suffix is unknown.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        sample_rate: float = DEFAULT_RATE,
        *,
        overwrite: bool = False,
        n_samples: int | None = None,
        subtype: str | None = None,
    ) -> None:
        self.sample_rate = check_rate(sample_rate)
        self.n_samples = 0
        self.name = "standard output" if target == "-" else source_name(target)
        self._files = ExitStack()
        file_format, default_subtype = "WAV", "PCM_16"
        file: Any = standard_output() if target == "-" else target
        if isinstance(target, (str, os.PathLike)) and target != "-":
            file_format, default_subtype = output_format(target)
            file = self._files.enter_context(replacing(target, overwrite=overwrite))
        subtype = subtype or default_subtype
        counted = file_format in ("WAV", "AIFF")
        self._limit = _WAV_LIMIT // _SAMPLE_BYTES.get(subtype, 8) if counted else None
        if file_format == "WAV" and not file.seekable():
            self._sink: _PipedWav | _Sound = _PipedWav(file, self.sample_rate, n_samples)
            self._limit = None
            return
        try:
            self._sink = _Sound(file, self.sample_rate, file_format, subtype)
        except BaseException as error:
            self._files.__exit__(type(error), error, error.__traceback__)
            raise

    def write(self, block: Wave) -> None:
        """Append float32 [n]; beyond [-1, 1] it is clipped where the format holds integers."""
        self.n_samples += len(block)
        if self._limit is not None and self.n_samples > self._limit:
            raise OutputError(f"{self.name} would pass 4 GB, its format's limit; write .flac or .w64.")
        if len(block):
            self._sink.write(np.ascontiguousarray(block, dtype=np.float32))

    def close(self) -> None:
        """Complete the file and let it appear under its name."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sink.close(failed=kind is not None)
        except BaseException as late:
            self._files.__exit__(type(late), late, late.__traceback__)
            raise
        self._files.__exit__(kind, error, trace)


class _Sound:
    """A sound file that libsndfile writes through a Python file."""

    def __init__(self, file: Any, sample_rate: int, file_format: str, subtype: str) -> None:
        self._file = _Recorder(file)
        try:
            self._sound = soundfile.SoundFile(
                self._file, "w", samplerate=sample_rate, channels=1, format=file_format, subtype=subtype
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            self._file.check()
            reason = getattr(error, "error_string", error)
            raise ArgumentError(
                f"{file_format} {subtype} at {sample_rate} Hz cannot be written ({reason}); choose another."
            ) from error

    def write(self, block: Wave) -> None:
        try:
            self._sound.write(block)
        except (AssertionError, soundfile.LibsndfileError) as error:  # soundfile asserts that all was written
            self._file.check()
            raise OutputError(f"The sound file could not be written: {error or 'a short write'}.") from error
        self._file.check()

    def close(self, failed: bool) -> None:
        self._sound.close()
        if not failed:
            self._file.check()


class _Recorder:
    """Keeps the error of a write: libsndfile calls back from C, where no exception can pass."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except Exception as error:  # raised again, as it was, by check()
                self.error = error
        return len(data) if self.error is None else 0

    def check(self) -> None:
        if isinstance(self.error, OSError):
            reason = self.error.strerror or self.error
            raise OutputError(f"The sound file could not be written: {reason}.") from self.error
        if self.error is not None:
            raise self.error

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except Exception as error:  # as in write
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell()


class _PipedWav:
    """WAV, 16 bits, to a file that cannot seek: the length goes into the header first, or "endless"."""

    def __init__(self, file: Any, sample_rate: int, n_samples: int | None) -> None:
        self._file = file
        n_bytes = 0xFFFFFFFF if n_samples is None else min(2 * n_samples, 0xFFFFFFFF)
        riff_bytes = min(n_bytes + 36, 0xFFFFFFFF)
        header = struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
        header += struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        file.write(header + struct.pack("<4sI", b"data", n_bytes))

    def write(self, block: Wave) -> None:
        integers = np.clip(np.rint(block * np.float32(32768)), -32768, 32767).astype("<i2")
        self._file.write(integers.tobytes())

    def close(self, failed: bool) -> None:
        if not failed:
            self._file.flush()


def write(
    target: str | os.PathLike[str] | BinaryIO,
    wave: Wave,
    sample_rate: float = DEFAULT_RATE,
    *,
    overwrite: bool = False,
    subtype: str | None = None,
) -> None:
    """Write a mono wave, float32 [T], to a sound file; see `Writer`."""
    with Writer(target, sample_rate, overwrite=overwrite, n_samples=len(wave), subtype=subtype) as writer:
        writer.write(wave)


def encode_headerless(wave: Wave, sample_rate: int, subtype: str) -> bytes:
    """A wave, float32 [T], as libsndfile's headerless bytes of a sample type: "GSM610", for instance."""
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, format="RAW", subtype=subtype)
    return file.getvalue()


def decode_headerless(content: bytes, sample_rate: int, subtype: str) -> Wave:
    """The inverse of `encode_headerless`: float32 [T]."""
    wave, _ = soundfile.read(
        io.BytesIO(content), dtype="float32", samplerate=sample_rate, channels=1, format="RAW", subtype=subtype
    )
    return np.asarray(wave, dtype=np.float32)
