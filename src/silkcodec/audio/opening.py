"""Open a path, a pipe or a file object for decoding."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from silkcodec.audio import ffmpeg, headers
from silkcodec.audio.kinds import needs_ffmpeg
from silkcodec.audio.spans import Span
from silkcodec.errors import AudioError

_MAX_FRAMES = 1 << 62  # libsndfile reports a higher number if the length of a FLAC file is unknown.
_MALFORMED = (2, 3)  # libsndfile's error codes for a damaged file, as opposed to an unknown encoding


class Native(soundfile.SoundFile):
    """Read a recording with libsndfile."""

    def __init__(self, source: Any, file: Any) -> None:
        self.file = file
        self._taken = 0  # current position in samples per channel
        self._check = source.check if isinstance(source, Span) else lambda: None
        try:
            super().__init__(source)
        finally:
            self._check()

    def seekable(self) -> bool:
        """Return False, so that soundfile does not seek after each read."""
        return False

    @property
    def n_frames(self) -> int:
        """Return the declared number of samples per channel, or 0 if it is unknown."""
        return 0 if self.frames > _MAX_FRAMES else int(self.frames)

    @property
    def is_estimate(self) -> bool:
        """Return whether the declared number of samples is an estimate, as in MP3 files."""
        return str(self.subtype).startswith("MPEG")

    def read_into(self, buffer: NDArray[np.float32]) -> int:
        """Decode into a float32 buffer [n, channels].

        Returns:
            The number of decoded samples per channel, or 0 at the end of the file.
        """
        if self.format == "FLAC" and self.n_frames:
            # The decoder would report tags after the last frame as damage.
            buffer = buffer[: max(0, self.n_frames - self._taken)]
        # SoundFile.read would stop at the length in the header, which is only an estimate for MP3.
        try:
            n = int(self.buffer_read_into(buffer, "float32")) if len(buffer) else 0
        finally:
            self._check()
        self._taken += n
        return n

    def seek(self, frames: int, whence: int = os.SEEK_SET) -> int:
        """Seek to a sample and return the new position."""
        self._taken = int(super().seek(frames, whence))
        return self._taken


class Chain:
    """Read all recordings in a file one after another.

    Raises:
        AudioError: the recordings have different sample rates or numbers of channels.
    """

    def __init__(self, spans: list[Span], name: str, files: ExitStack) -> None:
        self._spans, self._files = spans, files
        self._n_frames = []
        shapes = set()
        for span in spans:
            span.seek(0)
            with Native(span, span) as sound:
                shapes.add((sound.samplerate, sound.channels))
                self._n_frames.append(sound.n_frames)
                self.samplerate, self.channels, self.format = sound.samplerate, sound.channels, sound.format
                self.is_estimate = sound.is_estimate
        if len(shapes) > 1:
            listed = ", ".join(f"{rate} Hz ({n} channel{'s' * (n != 1)})" for rate, n in sorted(shapes))
            raise AudioError(
                f"All recordings in {name} must have the same sample rate and number of channels; got {listed}."
                " Split the file."
            )
        self.n_frames = sum(self._n_frames)
        self._open(0)

    def _open(self, number: int) -> None:
        self._number = number
        self._spans[number].seek(0)
        self._sound = self._files.enter_context(Native(self._spans[number], self._spans[number]))

    def seek(self, first: int) -> None:
        """Seek to a sample, counted from the start of the first recording."""
        number = 0
        while number < len(self._spans) - 1 and first >= self._n_frames[number]:
            first -= self._n_frames[number]
            number += 1
        self._open(number)
        self._sound.seek(first)

    def read_into(self, buffer: NDArray[np.float32]) -> int:
        """Decode into a float32 buffer [n, channels].

        Returns:
            The number of decoded samples per channel, or 0 at the end of the file.
        """
        while True:
            n = self._sound.read_into(buffer)
            if n or self._number == len(self._spans) - 1:
                return n
            self._sound.close()
            self._open(self._number + 1)


def open_sound(source: Any, name: str, files: ExitStack) -> Any:
    """Open an audio source for decoding.

    Args:
        source: a path, "-" or a binary file.
        name: name of the source for error messages.
        files: exit stack that closes the opened files.

    Returns:
        A `Native`, `Chain` or `ffmpeg.Decoded`. All three have the same methods and attributes.

    Raises:
        AudioError: the source is missing, empty, truncated or not audio, or requires ffmpeg, which is not installed.
    """
    path, file = open_file(source, name, files)
    try:
        spans = headers.spans(file, name)
        head = file.read(ffmpeg.HEAD_BYTES)
        file.seek(0)
        if len(spans) > 1:
            return Chain(spans, name, files)
        # soundfile cannot encode names that are not valid UTF-8.
        whole = (path if os.name == "nt" else os.fsencode(path)) if path and spans[0].is_whole_file else None
        sound = files.enter_context(Native(whole or spans[0], file))
        headers.check_log(sound, name)
        return sound
    except soundfile.LibsndfileError as error:
        demuxer = ffmpeg.demuxer(head)
        if demuxer and (demuxer not in ffmpeg.NATIVE or error.code not in _MALFORMED):
            command = ffmpeg.command()
            if command:
                return files.enter_context(ffmpeg.Decoded(command, demuxer, path or _copied(file, files), name))
            if demuxer not in ffmpeg.NATIVE:
                raise needs_ffmpeg(name) from error
        reason = error.error_string.rstrip(".")
        raise AudioError(
            f"Cannot read {name} as audio: {reason}. Convert it to WAV, FLAC, OGG, Opus, MP3 or AIFF."
        ) from error
    except OSError as error:
        raise AudioError(f"Cannot read {name}: {error.strerror or error}.") from error
    except TypeError as error:  # soundfile expects headerless audio if the suffix is ".raw".
        raise AudioError(f"Cannot read {name}: headerless audio is not supported. Convert it to WAV.") from error


def source_name(source: object) -> str:
    """Return the name of an audio source for error messages.

    Args:
        source: a path, "-" or a binary file.
    """
    if isinstance(source, (str, os.PathLike)):
        return "standard input" if os.fspath(source) == "-" else f"'{os.fspath(source)}'"
    name = getattr(source, "name", None)
    return f"'{name}'" if isinstance(name, str) else "the file"


def open_file(source: Any, name: str, files: ExitStack) -> tuple[str | None, BinaryIO]:
    """Return the path of a source, or None for pipes and files, and a seekable file with its contents."""
    if not isinstance(source, (str, os.PathLike)):
        if isinstance(source, io.TextIOBase) or not hasattr(source, "read"):
            raise AudioError(f"An audio source must be a path or a binary file; got {type(source).__name__}.")
        return None, source if hasattr(source, "seekable") and source.seekable() else _spooled(source, files, name)
    if os.fspath(source) == "-":
        return None, _spooled(sys.stdin.buffer, files, name)
    path = Path(source)
    try:
        if path.is_dir():
            raise AudioError(f"The input must be an audio file, but {name} is a folder.")
        file = files.enter_context(path.open("rb"))
        if not file.seekable():
            return None, _spooled(file, files, name)
        empty = path.stat().st_size == 0
    except (OSError, ValueError) as error:  # ValueError: the path contains a null byte.
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"Cannot read {name}: {reason}.") from error
    if empty:
        raise AudioError(f"The input must be an audio file, but {name} is empty.")
    return os.fspath(path), file


def _spooled(pipe: Any, files: ExitStack, name: str) -> BinaryIO:
    """Copy a pipe to a temporary file, which is positioned at its start and closed by `files`."""
    copy: Any = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `files` closes it
    try:
        shutil.copyfileobj(pipe, copy)
    except OSError as error:
        raise AudioError(f"Cannot copy {name} to a temporary file: {error.strerror or error}.") from error
    if copy.tell() == 0:
        raise AudioError(f"The input must be an audio file, but {name} is empty.")
    copy.seek(0)
    return copy


def _copied(file: BinaryIO, files: ExitStack) -> str:
    """Copy an open file to a temporary file and return its path."""
    copy = files.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115 - `files` closes it
    file.seek(0)
    try:
        shutil.copyfileobj(file, copy)
        copy.flush()
    except OSError as error:
        raise AudioError(f"Cannot copy the audio to a temporary file for ffmpeg: {error.strerror or error}.") from error
    return copy.name
