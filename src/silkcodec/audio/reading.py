"""Read audio files in blocks of mono samples."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np
import soundfile

from silkcodec.audio import headers
from silkcodec.audio.arrays import check_samples
from silkcodec.audio.channels import Downmix
from silkcodec.audio.opening import open_sound, source_name
from silkcodec.audio.resampling import DEFAULT_RATE, Resampler, Wave, check_rate
from silkcodec.errors import AudioError, capitalized
from silkcodec.spec import MAX_S

PART_SLACK_S = 0.1  # maximum time by which a requested part can extend beyond the end of its file
READ_VALUES = 1 << 18  # samples x channels per read: 1 MB


class Reader:
    """Read an audio file in blocks of mono samples.

    Args:
        source: a path, "-" for standard input, or a binary file. Pipes are copied to a temporary file first.
        sample_rate: sample rate of the returned samples in Hz.
        channel: channel to read, counted from 0. None averages all channels.
        start_s, duration_s: start and duration of the part to read, in seconds. The part can extend beyond the end of
            the file by at most `PART_SLACK_S`, because durations are often rounded.

    Attributes:
        name: name of the source for error messages.
        file_rate: sample rate of the file in Hz.
        n_channels: number of channels in the file.
        duration_s: duration of the file in seconds according to its header. It is an estimate for MP3 files, and 0 if
            the header does not declare the duration.

    Raises:
        AudioError: the file is missing, damaged or not audio, contains NaN or infinity, or does not have the requested
            channel or part. Reading can also raise this error.
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
            self._sound = open_sound(source, self.name, self._files)
            self.file_rate = check_rate(self._sound.samplerate)
            self._wanted = self._go_to(start_s, duration_s)
            if channel is not None and not 0 <= channel < self._sound.channels:
                highest = self._sound.channels - 1
                allowed = f"between 0 and {highest}" if highest else "0"
                raise AudioError(f"channel must be {allowed} for {self.name}; got {channel}.")
        except BaseException:
            self._files.close()
            raise
        self._channel = channel
        self.n_channels: int = self._sound.channels
        self.duration_s = self._sound.n_frames / self.file_rate
        self._downmix = Downmix()
        self._resampler = Resampler(self.file_rate, self.sample_rate)
        self._taken = 0  # samples per channel decoded so far
        self._ended = False
        self._held: list[Wave] = []  # decoded but not yet returned

    def read(self, n_samples: int) -> Wave:
        """Read the next samples, float32 [n]. At the end of the file, the result is shorter or empty.

        Args:
            n_samples: number of samples to read, at `sample_rate` Hz.

        Returns:
            The samples.

        Raises:
            AudioError: see `Reader`.
        """
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
        """Yield the rest of the file in blocks, float32 [n].

        Args:
            block_s: length of a block in seconds. The last block can be shorter.

        Raises:
            AudioError: see `Reader`.
        """
        n_samples = max(1, round(block_s * self.sample_rate))
        while len(block := self.read(n_samples)):
            yield block

    @property
    def warning(self) -> str | None:
        """Return a warning if the channels cancel each other out, or None otherwise."""
        if not self._downmix.cancels:
            return None
        return (
            f"The {self.n_channels} channels of {self.name} cancel each other out, so averaging them removes most of"
            " the signal. Select a channel with --channel (in Python, Reader(..., channel=0))."
        )

    def _fill(self) -> bool:
        """Read the next block. Return False at the end of the file."""
        while not self._ended:
            n = max(1, READ_VALUES // self.n_channels)
            if self._wanted is not None:
                n = min(n, self._wanted - self._taken)
            buffer = np.empty((n, self.n_channels), dtype=np.float32)
            try:
                n = self._sound.read_into(buffer) if n else 0
            except soundfile.LibsndfileError as error:
                raise AudioError(
                    f"{capitalized(self.name)} is damaged or truncated after"
                    f" {(self._first + self._taken) / self.file_rate:.3f} s:"
                    f" {error.error_string.rstrip('.').removeprefix('Error : ')}."
                ) from error
            except OSError as error:
                raise AudioError(f"Cannot read {self.name}: {error.strerror or error}.") from error
            block = self._downmix.mix(buffer[:n]) if self._channel is None else buffer[:n, self._channel].copy()
            check_samples(block, self._first + self._taken, self.file_rate, self.name)
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
        """Seek to the start of the requested part. Return its length in samples, or None if `duration_s` is None."""
        if not 0 <= start_s <= MAX_S:
            raise AudioError(f"start_s must be between 0 and {MAX_S:g}; got {start_s}.")
        if not (duration_s is None or 0 < duration_s <= MAX_S):
            raise AudioError(f"duration_s must be above 0 and at most {MAX_S:g}; got {duration_s}.")
        first, wanted = round(start_s * self.file_rate), None
        if duration_s is not None:
            wanted = max(1, round(duration_s * self.file_rate))
        if first:
            try:
                self._sound.seek(first)
            except (soundfile.LibsndfileError, RuntimeError) as error:  # RuntimeError: the format cannot seek.
                raise AudioError(f"start_s must be before the end of {self.name}; got {start_s:g} s.") from error
        self._first = first
        return wanted

    def _check_complete(self) -> None:
        if self._taken == 0:
            if self._first:
                raise AudioError(f"start_s must be before the end of {self.name}.")
            raise AudioError(f"An audio file must have at least 1 sample, but {self.name} has none.")
        if self._wanted is not None or self._first:
            missing_s = ((self._wanted or 0) - self._taken) / self.file_rate
            if missing_s > PART_SLACK_S:
                raise AudioError(
                    f"The requested part must be within {self.name}, but it extends {missing_s:.3f} s beyond its end."
                )
            return
        if self._taken < self._sound.n_frames and not self._sound.is_estimate:
            raise AudioError(
                f"{capitalized(self.name)} is truncated or damaged:"
                f" its header declares {self._sound.n_frames:,} samples; got {self._taken:,}."
            )
        if self._sound.format == "FLAC" and headers.has_another_flac(self._sound.file):
            raise AudioError(
                f"{capitalized(self.name)} contains several joined FLAC files, but only the first can be read."
                " Split the file."
            )

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(source: str | os.PathLike[str] | BinaryIO, sample_rate: float = DEFAULT_RATE) -> Wave:
    """Read an audio file and convert it to mono.

    Args:
        source: a path, "-" for standard input, or a binary file.
        sample_rate: sample rate of the result in Hz.

    Returns:
        The samples, float32 [T].

    Raises:
        AudioError: see `Reader`.
    """
    with Reader(source, sample_rate) as reader:
        wave = np.concatenate(list(reader.blocks()))
    if reader.warning:
        warnings.warn(reader.warning, stacklevel=2)
    return wave


def blocks(
    source: str | os.PathLike[str] | BinaryIO, block_s: float = 10.0, sample_rate: float = DEFAULT_RATE
) -> Iterator[Wave]:
    """Read an audio file in blocks of mono samples, float32 [n].

    Args:
        source: a path, "-" for standard input, or a binary file.
        block_s: length of a block in seconds.
        sample_rate: sample rate of the blocks in Hz.

    Yields:
        The blocks. The last block can be shorter.

    Raises:
        AudioError: see `Reader`.
    """
    with Reader(source, sample_rate) as reader:
        yield from reader.blocks(block_s)
        if reader.warning:
            warnings.warn(reader.warning, stacklevel=2)


def duration_s(source: str | os.PathLike[str] | BinaryIO, channel: int | None = None) -> float:
    """Return the duration of an audio file in seconds, as declared in its header.

    Args:
        source: a path, "-" for standard input, or a binary file.
        channel: channel that the file must have, counted from 0. The duration does not depend on it.

    Raises:
        AudioError: see `Reader`.
    """
    with Reader(source, channel=channel) as reader:
        return reader.duration_s
