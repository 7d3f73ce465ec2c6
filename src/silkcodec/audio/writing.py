"""Write mono samples to audio files."""

from __future__ import annotations

import io
import os
import struct
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from silkcodec.audio.arrays import as_block
from silkcodec.audio.opening import source_name
from silkcodec.audio.resampling import DEFAULT_RATE, Wave, check_rate
from silkcodec.errors import ArgumentError, AudioError, OutputError
from silkcodec.output import Guarded, replacing, standard_output

# libsndfile's Vorbis encoder stores each piece on the stack, which overflows at about 2 million samples.
PIECE_SAMPLES = 1 << 14
FULL_SCALE = 32_767 / 32_768  # highest value of a 16-bit sample
BLOCK_BYTES = 1 << 20  # bytes per read of the temporary file

_FORMATS = {  # suffix -> (libsndfile's major format, default subtype)
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".w64": ("W64", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
}
_WAV_LIMIT = 2**32 - 1024  # bytes; WAV and AIFF store the file size in 32 bits
_INTEGER_BYTES = {"PCM_16": 2, "PCM_24": 3}
_SAMPLE_BYTES = {**_INTEGER_BYTES, "FLOAT": 4}


def output_format(path: str | os.PathLike[str], subtype: str | None = None) -> tuple[str, str]:
    """Return libsndfile's format and subtype for an output path.

    Args:
        path: path whose suffix selects the format.
        subtype: "PCM_16", "PCM_24" or "FLOAT". None selects the format's default.

    Raises:
        ArgumentError: the suffix is unknown, or the format does not support the subtype.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ArgumentError(
            f"The suffix of the audio file must be one of {', '.join(_FORMATS)}; got '{os.fspath(path)}'."
        )
    file_format, default = _FORMATS[suffix]
    if subtype is not None and not soundfile.check_format(file_format, subtype):
        raise ArgumentError(f"{suffix} files do not support the sample type {subtype}. Use .wav or .w64.")
    return file_format, subtype or default


def sample_type_of(name: str) -> str | None:
    """Return libsndfile's subtype for a value of --subtype, or None for "".

    Raises:
        ArgumentError: the value is not "16", "24", "float" or "".
    """
    known = {"": None, "16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
    if name not in known:
        raise ArgumentError(f"--subtype must be 16, 24 or float; got '{name}'.")
    return known[name]


class Writer:
    """Write blocks of mono samples to an audio file.

    Use the writer as a context manager. The file appears at its path when the context exits without an error.

    Args:
        target: a path whose suffix selects the format (.wav, .flac, .ogg, .opus, .w64 or .aiff), "-" for WAV on
            standard output, or a binary file for WAV.
        sample_rate: sample rate of the file in Hz.
        overwrite: replace the file if it exists.
        n_samples: total number of samples, if known. It is stored in the header of a WAV file written to a pipe.
        subtype: libsndfile's name for the sample type, such as "FLOAT" or "PCM_24". None selects Vorbis for .ogg, Opus
            for .opus, and 16-bit integers for the other formats.
        rescale: scale the recording down if its peak exceeds full scale.

    Attributes:
        n_samples: number of samples written so far.
        peak: highest absolute sample value before scaling.
        n_clipped: number of samples that were clipped to full scale.

    Raises:
        OutputError: the file already exists or cannot be written.
        ArgumentError: the suffix is unknown, or the format does not support the subtype or the sample rate.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        sample_rate: float = DEFAULT_RATE,
        *,
        overwrite: bool = False,
        n_samples: int | None = None,
        subtype: str | None = None,
        rescale: bool = False,
    ) -> None:
        self.sample_rate = check_rate(sample_rate)
        self.n_samples, self.n_clipped, self.peak = 0, 0, 0.0
        self.name = "standard output" if target == "-" else source_name(target)
        self._files = ExitStack()
        self._held: Any = self._files.enter_context(tempfile.TemporaryFile()) if rescale else None  # noqa: SIM115
        file_format, default_subtype = "WAV", "PCM_16"
        file: Any = standard_output() if target == "-" else Guarded(target, self.name)
        if isinstance(target, (str, os.PathLike)) and target != "-":
            file_format, default_subtype = output_format(target, subtype)
            file = self._files.enter_context(replacing(target, overwrite=overwrite))
        subtype = subtype or default_subtype
        self._clips = subtype not in ("FLOAT", "DOUBLE")
        counted = file_format in ("WAV", "AIFF")
        self._limit = _WAV_LIMIT // _SAMPLE_BYTES.get(subtype, 8) if counted else None
        # Standard output can be a file that already has content, whose start must not be overwritten.
        if file_format == "WAV" and not (file.seekable() and (target != "-" or not file.seek(0, os.SEEK_END))):
            self._sink: _PipedWav | _Sound = _PipedWav(file, self.sample_rate, n_samples, subtype)
            self._limit = None
            return
        try:
            self._sink = _Sound(file, self.sample_rate, file_format, subtype)
        except BaseException as error:
            self._files.__exit__(type(error), error, error.__traceback__)
            raise

    def write(self, block: Wave) -> None:
        """Append samples to the file.

        Samples above full scale are clipped unless the file stores floats or `rescale` is set.

        Args:
            block: mono samples, float32 [n].

        Raises:
            OutputError: the samples cannot be written.
        """
        if len(block):
            self.peak = max(self.peak, float(max(-block.min(), block.max())))
        if self._held is None:
            self._put(block)
            return
        try:
            self._held.write(np.ascontiguousarray(block, dtype=np.float32))
        except OSError as error:
            raise OutputError(
                f"Cannot store the decoded audio in '{tempfile.gettempdir()}': {error.strerror or error}."
            ) from error

    def _put(self, block: Wave) -> None:
        self.n_samples += len(block)
        if self._limit is not None and self.n_samples > self._limit:
            raise OutputError(
                f"Cannot write more than 4 GB to {self.name}, because its format has a 4 GB limit. Use .flac or .w64."
            )
        if len(block):
            if self._clips and self.peak > 1:
                self.n_clipped += int(np.count_nonzero(np.abs(block) > 1))
            self._sink.write(np.ascontiguousarray(block, dtype=np.float32))

    def _put_held(self) -> None:
        scale = np.float32(FULL_SCALE / self.peak if self.peak > FULL_SCALE else 1.0)
        self._held.seek(0)
        while held := self._held.read(BLOCK_BYTES):
            self._put(np.frombuffer(held, dtype=np.float32) * scale)

    def close(self) -> None:
        """Finish the file and move it to its final path.

        Raises:
            OutputError: the file cannot be written.
        """
        self.__exit__(None, None, None)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = True
        try:
            try:
                if kind is None and self._held is not None:
                    self._put_held()
                failed = kind is not None
            finally:
                self._sink.close(failed=failed)
        except BaseException as late:
            self._files.__exit__(type(late), late, late.__traceback__)
            raise
        self._files.__exit__(kind, error, trace)


class _Sound:
    """Write an audio file with libsndfile."""

    def __init__(self, file: Any, sample_rate: int, file_format: str, subtype: str) -> None:
        self._file = _Recorder(file)
        self._width = _INTEGER_BYTES.get(subtype)
        try:
            self._sound = soundfile.SoundFile(
                self._file, "w", samplerate=sample_rate, channels=1, format=file_format, subtype=subtype
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            self._file.check()
            reason = getattr(error, "error_string", error)
            raise ArgumentError(
                f"Cannot write {file_format} {subtype} at {sample_rate} Hz: {str(reason).rstrip('.')}."
                " Choose another format."
            ) from error

    def write(self, block: Wave) -> None:
        samples: NDArray[Any] = block
        if self._width:  # libsndfile would round floats down, e.g. near-silence to -1.
            samples = _integers(block, self._width)
            samples = samples.astype(np.int16) if self._width == 2 else samples << 8
        try:
            for start in range(0, len(block), PIECE_SAMPLES):
                self._sound.write(samples[start : start + PIECE_SAMPLES])
        except (AssertionError, soundfile.LibsndfileError) as error:  # soundfile asserts that all samples were written.
            self._file.check()
            reason = str(error).rstrip(".") or "not all samples were written"
            raise OutputError(f"Cannot write the audio file: {reason}.") from error
        self._file.check()

    def close(self, failed: bool) -> None:
        self._sound.close()
        if not failed:
            self._file.check()
            self._file.flush()


def _integers(block: Wave, width: int) -> NDArray[np.int32]:
    """Convert float samples to integers of `width` bytes."""
    scale = 1 << (8 * width - 1)
    return np.clip(np.rint(block * np.float64(scale)), -scale, scale - 1).astype(np.int32)


class _Recorder:
    """Wrap a file and store write errors, because exceptions cannot pass through libsndfile's C callbacks."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except BaseException as error:  # raised again by check()
                self.error = error
        return len(data) if self.error is None else 0

    def check(self) -> None:
        if isinstance(self.error, OSError):
            reason = self.error.strerror or self.error
            raise OutputError(f"Cannot write the audio file: {reason}.") from self.error
        if self.error is not None:
            raise self.error

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except BaseException as error:  # raised again by check()
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


class _PipedWav:
    """Write a WAV file to a stream that cannot seek."""

    def __init__(self, file: Any, sample_rate: int, n_samples: int | None, subtype: str) -> None:
        self._file = file
        if subtype not in _SAMPLE_BYTES:
            raise ArgumentError(
                f"A WAV file written to a pipe must have one of the sample types {', '.join(_SAMPLE_BYTES)};"
                f" got '{subtype}'."
            )
        self._width, width, tag = _INTEGER_BYTES.get(subtype), _SAMPLE_BYTES[subtype], 3 if subtype == "FLOAT" else 1
        n_bytes = 0xFFFFFFFF if n_samples is None else min(width * n_samples, 0xFFFFFFFF)
        riff_bytes = min(n_bytes + 36, 0xFFFFFFFF)
        header = struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
        header += struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, sample_rate, width * sample_rate, width, 8 * width)
        file.write(header + struct.pack("<4sI", b"data", n_bytes))

    def write(self, block: Wave) -> None:
        if self._width is None:
            self._file.write(block.astype("<f4").tobytes())
            return
        integers = _integers(block, self._width).astype("<i4")
        self._file.write(integers.view(np.uint8).reshape(-1, 4)[:, : self._width].tobytes())

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
    """Write mono samples to an audio file.

    Args:
        target: path of the file, "-" for standard output, or a binary file.
        wave: mono samples [T], floats in [-1, 1], or integers in the range of their type.
        sample_rate: sample rate of `wave` in Hz.
        overwrite: replace the file if it exists.
        subtype: sample type of the file; see `Writer`.

    Raises:
        AudioError: `wave` has several channels, contains NaN or infinity, or is scaled incorrectly.
        ArgumentError, OutputError: see `Writer`.
    """
    if np.ndim(wave) != 1:
        raise AudioError(f"A waveform to write must have shape [samples]; got {np.shape(wave)}. Pass one channel.")
    samples = as_block(wave, check_rate(sample_rate))
    with Writer(target, sample_rate, overwrite=overwrite, n_samples=len(samples), subtype=subtype) as writer:
        writer.write(samples)


def encode_headerless(wave: Wave, sample_rate: int, subtype: str) -> bytes:
    """Encode samples without a file header.

    Args:
        wave: mono samples, float32 [T].
        sample_rate: sample rate of `wave` in Hz.
        subtype: libsndfile's name for the encoding, for example "GSM610".

    Returns:
        The encoded bytes.
    """
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, format="RAW", subtype=subtype)
    return file.getvalue()


def decode_headerless(content: bytes, sample_rate: int, subtype: str) -> Wave:
    """Decode the result of `encode_headerless`.

    Args:
        content: the encoded bytes.
        sample_rate: sample rate in Hz.
        subtype: libsndfile's name for the encoding, for example "GSM610".

    Returns:
        The mono samples, float32 [T].
    """
    wave, _ = soundfile.read(
        io.BytesIO(content), dtype="float32", samplerate=sample_rate, channels=1, format="RAW", subtype=subtype
    )
    return np.asarray(wave, dtype=np.float32)
