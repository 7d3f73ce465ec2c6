"""Encode and decode files block by block. Memory use does not depend on the duration of a file.

encode_file      audio file -Reader-> blocks -StreamEncoder-> levels -Writer-> .silk
decode_file      .silk -Reader-> levels -StreamDecoder-> blocks -Writer-> audio file
roundtrip_file   encodes, decodes, computes the mel distance, and draws both spectrograms (in roundtrip.py)
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from silkcodec import audio
from silkcodec.audio.level import Level, Meter
from silkcodec.audio.opening import open_file
from silkcodec.audio.resampling import Wave
from silkcodec.container import Reader as SilkReader
from silkcodec.container import Writer as SilkWriter
from silkcodec.errors import ArgumentError, ContainerError
from silkcodec.output import replacing, standard_output
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder, StreamEncoder
from silkcodec.spec import FRAME_SAMPLES, MAX_S, SILK_FRAME_RATE, SILK_SAMPLE_RATE

BLOCK_S = 10.0
"""Length of the blocks in which audio files are read, in seconds."""

PREROLL_FRAMES = 8
"""Number of frames decoded before a part and discarded. The decoder output depends on past frames."""

Advance = Callable[[float], None]
"""Progress callback that receives the seconds of audio processed since the last call."""


@dataclass(frozen=True)
class Coding:
    """The result of encoding or decoding a file.

    Attributes:
        source, target: paths of the input and the output, or "-" for standard input and standard output.
        n_samples: length of the encoded or decoded audio in samples at 24 kHz.
        n_frames: number of encoded or decoded frames.
        codebook_sizes: size of each codebook. Each frame has one token per codebook.
        file_bytes: size of the .silk file in bytes.
        wall_s: elapsed time in seconds, excluding the time for loading the model.
        damage: description of the damage in a file that was decoded with `recover`, or None if it is undamaged.
        level: level of an encoded recording before normalization, or None after decoding.
        gain: factor by which the decoded audio is multiplied. It differs from 1 if the recording was normalized.
        n_clipped: number of samples in a decoded file that were clipped to full scale, or None after encoding.
        peak: peak of the decoded audio before rescaling, or None after encoding. Full scale is 1.
        warning: warning that the channels of an encoded recording cancel each other out, or None.
    """

    source: str
    target: str
    n_samples: int
    n_frames: int
    codebook_sizes: tuple[int, ...]
    file_bytes: int
    wall_s: float
    damage: str | None = None
    level: Level | None = None
    gain: float = 1.0
    n_clipped: int | None = None
    peak: float | None = None
    warning: str | None = None

    @property
    def duration_s(self) -> float:
        """Return the duration of the encoded or decoded audio in seconds."""
        return self.n_samples / SILK_SAMPLE_RATE

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens."""
        return self.n_frames * len(self.codebook_sizes)

    @property
    def tokens_per_second(self) -> float:
        """Return the token rate; see `Tokens.tokens_per_second`."""
        return self.n_tokens * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def bits_per_second(self) -> float:
        """Return the bit rate; see `Tokens.bits_per_second`."""
        bits = self.n_frames * sum(map(math.log2, self.codebook_sizes))
        return bits * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def x_realtime(self) -> float:
        """Return the seconds of audio processed per second of elapsed time."""
        return self.duration_s / max(self.wall_s, 1e-9)


def nothing(_: float) -> None:
    """Do nothing. This is the default progress callback."""


def encode_file(
    codec: Silk,
    source: str | os.PathLike[str] | BinaryIO,
    target: str | os.PathLike[str],
    *,
    entropy: bool = False,
    channel: int | None = None,
    overwrite: bool = False,
    normalize: bool = False,
    opened: Advance = nothing,
    advance: Advance = nothing,
) -> Coding:
    """Encode an audio file to a .silk file.

    Args:
        codec: a loaded Silk codec.
        source: path of the audio file, "-" for standard input, or a binary file.
        target: path of the .silk file, or "-" for standard output.
        entropy: compress the file with a range coder.
        channel: channel to encode, counted from 0. None averages all channels.
        overwrite: replace the target if it exists.
        normalize: remove the DC offset and normalize the level before encoding. Decoding restores the level.
        opened: callback that is called before encoding starts, with the duration of the source in seconds.
        advance: progress callback that receives the seconds of audio processed since the last call.

    Returns:
        A summary of the encoding.

    Raises:
        AudioError: the source cannot be read.
        OutputError: the target cannot be written.
        MissingExtraError: `entropy` is set, but the extra that it requires is not installed.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        original, level, gain = source, None, 1.0
        if normalize:
            path, copy = open_file(source, audio.source_name(source), stack)
            original = source if path else copy
            level = measure_file(original, channel=channel)
            gain = 1 / level.scale
            if path is None:
                copy.seek(0)
        reader = stack.enter_context(audio.Reader(original, channel=channel))
        opened(reader.duration_s)
        started += _loading_s(codec, encode=True)
        file = stack.enter_context(_silk_output(target, overwrite))
        stream, meter = StreamEncoder(codec), Meter()
        with SilkWriter(file, codec=codec.codec_id, entropy=entropy, gain=gain) as writer:
            for block in reader.blocks(BLOCK_S):
                meter.feed(block)
                normal = block if level is None else level.apply(block)
                writer.write_levels(stream.feed_levels(normal, checked=True))
                advance(len(block) / SILK_SAMPLE_RATE)
            writer.write_levels(stream.flush_levels())
            writer.finish(stream.n_samples)
    return Coding(
        source=_name(source),
        target=_name(target),
        n_samples=stream.n_samples,
        n_frames=stream.n_frames,
        codebook_sizes=codec.codebook_sizes,
        file_bytes=writer.n_bytes,
        wall_s=time.perf_counter() - started,
        warning=reader.warning,
        level=meter.level(),
        gain=gain,
    )


def measure_file(source: str | os.PathLike[str] | BinaryIO, *, channel: int | None = None) -> Level:
    """Measure the level of an audio file.

    Args:
        source: a path, "-" for standard input, or a binary file.
        channel: channel to measure, counted from 0. None averages all channels.

    Returns:
        The level of the recording.

    Raises:
        AudioError: the source cannot be read.
    """
    meter = Meter()
    with audio.Reader(source, channel=channel) as reader:
        for block in reader.blocks(BLOCK_S):
            meter.feed(block)
    return meter.level()


def decode_file(
    codec: Silk,
    source: str | os.PathLike[str] | BinaryIO,
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    recover: bool = False,
    start_s: float = 0.0,
    duration_s: float | None = None,
    subtype: str | None = None,
    rescale: bool = False,
    opened: Advance = nothing,
    advance: Advance = nothing,
) -> Coding:
    """Decode a .silk file to an audio file at 24 kHz. The suffix of the target selects the format.

    Args:
        codec: a loaded Silk codec.
        source: path of the .silk file, "-" for standard input, or a binary file.
        target: path of the audio file, or "-" for WAV on standard output.
        overwrite: replace the target if it exists.
        recover: decode a damaged file up to the damage, and report the damage in the result.
        start_s, duration_s: start and duration of the part to decode, in seconds. If duration_s is None, the part
            extends to the end of the recording.
        subtype, rescale: see `audio.Writer`.
        opened, advance: see `encode_file`. `opened` receives 0 if the duration is unknown.

    Returns:
        A summary of the decoding.

    Raises:
        ContainerError: the source cannot be read or is damaged.
        OutputError: the target cannot be written.
        ArgumentError: the part starts after the end of the recording, or the output format is not supported.
        TokensError: the source was encoded with weights whose tokens this codec cannot decode.
        MissingExtraError: the source is range-coded, but the extra that this requires is not installed.
    """
    started = time.perf_counter()
    with Playback(codec, source, recover=recover, start_s=start_s, duration_s=duration_s) as playback:
        n_samples = playback.n_samples_expected
        opened((n_samples or 0) / SILK_SAMPLE_RATE)
        started += _loading_s(codec, decode=True)
        with audio.Writer(target, overwrite=overwrite, n_samples=n_samples, subtype=subtype, rescale=rescale) as file:
            for wave in playback.blocks():
                file.write(wave)
                advance(len(wave) / SILK_SAMPLE_RATE)
        return playback.coding(_name(source), _name(target), time.perf_counter() - started, file)


class Playback:
    """Decode a .silk file block by block.

    Args:
        codec, source, recover, start_s, duration_s: see `decode_file`.

    Attributes:
        damage: description of the damage in the file, or None. It is set once `blocks` has yielded all blocks.

    Raises:
        ContainerError: the source cannot be read or is damaged.
        ArgumentError: `start_s` is negative, `duration_s` is shorter than a sample, or one of them is too large.
        TokensError: the source was encoded with weights whose tokens this codec cannot decode.
    """

    def __init__(
        self,
        codec: Silk,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        recover: bool = False,
        start_s: float = 0.0,
        duration_s: float | None = None,
    ) -> None:
        if not 0 <= start_s <= MAX_S:
            raise ArgumentError(f"The start must be between 0 and {MAX_S:g} s; got {start_s:g} s.")
        if not (duration_s is None or 0.5 / SILK_SAMPLE_RATE < duration_s <= MAX_S):
            raise ArgumentError(f"The duration must be between one sample and {MAX_S:g} s; got {duration_s:g} s.")
        self._start = round(start_s * SILK_SAMPLE_RATE)  # samples
        self._end = math.inf if duration_s is None else self._start + round(duration_s * SILK_SAMPLE_RATE)
        self._first_frame = max(0, self._start // FRAME_SAMPLES - PREROLL_FRAMES)
        self._recover = recover
        self._reader = SilkReader(sys.stdin.buffer if source == "-" else source, suggest_recovery=not recover)
        try:
            header = self._reader.header
            codec.check_codec_id(header.codec)
            self._stream = StreamDecoder(codec, first_frame=self._first_frame)
        except BaseException:
            self._reader.close()
            raise
        self._gain = np.float32(header.gain)
        self._n_samples = 0
        self.damage: str | None = None

    @property
    def n_samples_expected(self) -> int | None:
        """Return the number of samples that `blocks` will yield, or None if it is unknown."""
        total = self._reader.header.n_samples
        if total is None or self._recover:
            return None
        return max(0, int(min(total, self._end)) - self._start)

    def blocks(self) -> Iterator[Wave]:
        """Yield blocks of samples, float32 [n], at 24 kHz.

        Raises:
            ContainerError: the file is damaged.
            ArgumentError: the part starts after the end of the recording.
        """
        first = self._first_frame
        last = None if self._end == math.inf else -(-int(self._end) // FRAME_SAMPLES)
        at = first * FRAME_SAMPLES  # position of the first sample in `held`
        held = np.zeros(0, dtype=np.float32)  # One block is held back, because the last block must be cut.
        try:
            for levels in self._reader.levels(first, last):
                yield self._cut(held, at, math.inf)
                at += len(held)
                held = self._stream.feed_levels(levels)
                held *= self._gain
            self._reader.expect_end_of_file()
        except ContainerError as error:
            if not self._recover or self._stream.n_frames == 0:
                raise
            self.damage = str(error)
        total = self._reader.n_samples or self._reader.header.n_samples or math.inf
        yield self._cut(held, at, total)
        if self._n_samples == 0:
            held_s = min(total, at + len(held)) / SILK_SAMPLE_RATE
            raise ArgumentError(
                f"The start must be before the end of {self._reader.name}, which is at {held_s:.3f} s;"
                f" got {self._start / SILK_SAMPLE_RATE:g} s."
            )

    def _cut(self, wave: Wave, at: int, total: float) -> Wave:
        """Trim a block, which starts at sample `at`, to the requested part."""
        low, high = self._start - at, min(self._end, total) - at
        part = wave[max(0, low) : max(0, int(min(high, len(wave))))]
        self._n_samples += len(part)
        return part

    def coding(self, source: str, target: str, wall_s: float, file: audio.Writer) -> Coding:
        """Summarize the decoding.

        Args:
            source, target: paths of the input and the output, as stored in the summary.
            wall_s: elapsed time in seconds.
            file: writer of the decoded audio.

        Returns:
            The summary.
        """
        end = self._start + self._n_samples
        return Coding(
            source=source,
            target=target,
            n_samples=self._n_samples,
            n_frames=-(-end // FRAME_SAMPLES) - self._start // FRAME_SAMPLES,  # without the frames before the part
            codebook_sizes=self._reader.header.codebook_sizes,
            file_bytes=self._reader.n_bytes,
            wall_s=wall_s,
            damage=self.damage,
            gain=float(self._gain),
            n_clipped=file.n_clipped,
            peak=file.peak,
        )

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def _loading_s(codec: Silk, **graphs: bool) -> float:
    """Load model graphs if necessary, and return the elapsed time in seconds."""
    started = time.perf_counter()
    codec.prepare(**graphs)
    return time.perf_counter() - started


def _silk_output(target: Any, overwrite: bool) -> AbstractContextManager[BinaryIO]:
    if target == "-":
        return nullcontext(standard_output())
    return replacing(target, overwrite=overwrite)


def _name(place: Any) -> str:
    return os.fspath(place) if isinstance(place, (str, os.PathLike)) else str(getattr(place, "name", "-"))
