"""Whole files through the codec, block by block: an hour needs the memory of ten seconds.

encode_file      sound file -Reader-> blocks -StreamEncoder-> codes -Writer-> .silk
decode_file      .silk -Reader-> codes -StreamDecoder-> blocks -Writer-> sound file
roundtrip_file   both (in roundtrip.py), and what became of the sound: a number and a picture
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, container
from silkcodec.audio.level import Level, Meter
from silkcodec.audio.wave_file import WaveFile
from silkcodec.container import Reader as SilkReader
from silkcodec.container import Writer as SilkWriter
from silkcodec.errors import ArgumentError, AudioError, ContainerError
from silkcodec.output import replacing, standard_output
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder, StreamEncoder
from silkcodec.spec import FRAME_SAMPLES, SILK_FRAME_RATE, SILK_SAMPLE_RATE

BLOCK_S = 10.0  # taken from a sound file at once
PREROLL_FRAMES = 8  # decoded before a part and thrown away: the decoder remembers a few frames

Wave = NDArray[np.float32]
Advance = Callable[[float], None]
"""Called as work goes on, with the seconds of sound that were done since the last call."""


@dataclass(frozen=True)
class Coding:
    """One file that was encoded or decoded, in counted numbers.

    Attributes:
        source, target: paths, or "-".
        n_samples: of the wave at 24 kHz.
        n_frames, n_tokens, n_bits: of its codes; a code has log2(codebook size) bits.
        file_bytes: of the .silk file.
        wall_s: reading, computing and writing; not loading the model.
        damage: what was wrong with a file that was read up to its damage, on request.
        level: of an encoded sound file, before it was normalised.
        gain: what the decoded wave is multiplied with; not 1: the recording was normalised.
        n_clipped, peak: of a decoded file, the samples beyond full scale that its sample type could not hold, and
            the highest of the decoded wave, before it was rescaled. Full scale is 1.
        warning: what is doubtful about a sound file that was encoded: its channels cancel each other.
    """

    source: str
    target: str
    n_samples: int
    n_frames: int
    n_tokens: int
    n_bits: float
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
        return self.n_samples / SILK_SAMPLE_RATE

    @property
    def tokens_per_second(self) -> float:
        """Tokens counted, over the time that their frames span; see `Tokens.tokens_per_second`."""
        return self.n_tokens * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def bits_per_second(self) -> float:
        return self.n_bits * SILK_FRAME_RATE / max(1, self.n_frames)

    @property
    def x_realtime(self) -> float:
        """Seconds of sound per second of work."""
        return self.duration_s / max(self.wall_s, 1e-9)


class Counter:
    """Counts the frames that pass through `add`, and their tokens and bits."""

    def __init__(self, codebook_sizes: tuple[int, ...]) -> None:
        self._n_codebooks = len(codebook_sizes)
        self._bits = [math.log2(size) for size in codebook_sizes]
        self.n_frames, self.n_tokens, self.n_bits = 0, 0, 0.0

    def add(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Count uint8 [F, 128], and return it as it came."""
        self.n_frames += len(levels)
        self.n_tokens += len(levels) * self._n_codebooks
        self.n_bits += len(levels) * sum(self._bits)
        return levels


def nothing(_: float) -> None:
    """Nobody is watching."""


def silk_duration_s(path: str) -> float:
    """The length of a .silk file by its headers: its frames are neither read nor checked.

    Raises:
        ContainerError: it is missing, not a .silk file, or its structure is damaged.
    """
    contents = container.info(path)
    return (contents.n_samples or contents.n_frames * FRAME_SAMPLES) / SILK_SAMPLE_RATE


def encode_file(
    codec: Silk,
    source: str | os.PathLike[str] | BinaryIO,
    target: str | os.PathLike[str],
    *,
    entropy: bool = False,
    channel: int | None = None,
    overwrite: bool = False,
    normalize: bool = False,
    advance: Advance = nothing,
) -> Coding:
    """Encode a sound file to a .silk file.

    Args:
        source, target: paths, or "-" for standard input and output; the source may be a binary file.
        entropy: range-code it.
        channel: the one to encode, counted from 0; None: the mean of all.
        normalize: read the file twice: to measure it, and to encode it without its offset at the level at which
            speech is encoded best. The file holds the gain, and decoding it restores the level.

    Raises:
        AudioError, OutputError; MissingExtraError for `entropy` without its extra.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        place, level, gain = source, None, 1.0
        if normalize:
            place = rereadable(source, stack)
            level = measure_file(place, channel=channel)
            gain = 1 / level.scale
            if place is not source or not isinstance(place, (str, os.PathLike)):
                place.seek(0)
        reader = stack.enter_context(audio.Reader(place, channel=channel))
        file = stack.enter_context(_silk_output(target, overwrite))
        stream, counter, meter = StreamEncoder(codec), Counter(codec.codebook_sizes), Meter()
        with SilkWriter(file, codec=codec.codec_id, entropy=entropy, gain=gain) as writer:
            for block in reader.blocks(BLOCK_S):
                meter.feed(block)
                writer.write_levels(counter.add(stream.feed_levels(block if level is None else level.apply(block))))
                advance(len(block) / SILK_SAMPLE_RATE)
            writer.write_levels(counter.add(stream.flush_levels()))
            writer.finish(stream.n_samples)
    return Coding(
        source=_name(source),
        target=_name(target),
        n_samples=stream.n_samples,
        n_frames=counter.n_frames,
        n_tokens=counter.n_tokens,
        n_bits=counter.n_bits,
        file_bytes=writer.n_bytes,
        wall_s=time.perf_counter() - started,
        warning=reader.warning,
        level=meter.level(),
        gain=gain,
    )


def measure_file(source: str | os.PathLike[str] | BinaryIO, *, channel: int | None = None) -> Level:
    """Return the level of a sound file, or of one channel, in bounded memory. Raises AudioError."""
    meter = Meter()
    with audio.Reader(source, channel=channel) as reader:
        for block in reader.blocks(BLOCK_S):
            meter.feed(block)
    return meter.level()


def rereadable(source: Any, stack: ExitStack) -> Any:
    """Return a source that can be read twice: a pipe is copied into a temporary file. Raises AudioError."""
    if source == "-":
        source = sys.stdin.buffer
    elif isinstance(source, (str, os.PathLike)) or source.seekable():
        return source
    copy: Any = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `stack` closes it
    shutil.copyfileobj(source, copy)
    if copy.tell() == 0:
        raise AudioError("Audio is needed on standard input; got nothing.")
    copy.seek(0)
    return copy


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
    advance: Advance = nothing,
) -> Coding:
    """Decode a .silk file into a sound file at 24 kHz; the target's suffix names the format.

    Args:
        source, target: paths, or "-" for standard input and output; the source may be a binary file.
        recover: of a damaged file write what lies before the damage, and name that in the result.
        start_s, duration_s: decode this part only.
        subtype, rescale: of the sound file; see `WaveFile`.

    Raises:
        ContainerError, OutputError, ArgumentError; TokensError if other weights made the file.
    """
    started = time.perf_counter()
    with Playback(codec, source, recover=recover, start_s=start_s, duration_s=duration_s) as playback:
        n_samples = playback.n_samples_promised
        with WaveFile(target, overwrite=overwrite, n_samples=n_samples, subtype=subtype, rescale=rescale) as file:
            for wave in playback.blocks():
                file.write(wave)
                advance(len(wave) / SILK_SAMPLE_RATE)
        return playback.coding(_name(source), _name(target), time.perf_counter() - started, file)


class Playback:
    """A .silk file as blocks of its wave, in bounded memory.

    Args: see `decode_file`.

    Attributes:
        damage: after `blocks`, what was wrong with the file; None: nothing.
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
        if not (start_s >= 0 and math.isfinite(start_s)) or not (duration_s is None or duration_s > 0):
            raise ArgumentError(f"A part must start at 0 s or later and last; got {start_s}, {duration_s}.")
        self._start = round(start_s * SILK_SAMPLE_RATE)  # samples
        self._end = math.inf if duration_s is None else self._start + round(duration_s * SILK_SAMPLE_RATE)
        self._recover = recover
        self._reader = SilkReader(sys.stdin.buffer if source == "-" else source)
        try:
            header = self._reader.header
            codec.check_codec_id(header.codec)
            self._stream = StreamDecoder(codec)
        except BaseException:
            self._reader.close()
            raise
        self._counter = Counter(header.codebook_sizes)
        self._gain = np.float32(header.gain)
        self._n_samples = 0
        self.damage: str | None = None

    @property
    def n_samples_promised(self) -> int | None:
        """How many samples will come, where that is known beforehand."""
        total = self._reader.header.n_samples
        if total is None or self._recover:
            return None
        return max(0, int(min(total, self._end)) - self._start)

    def blocks(self) -> Iterator[Wave]:
        """float32 [n] each, at 24 kHz.

        Raises:
            ContainerError: the file is damaged. ArgumentError: the part begins after its end.
        """
        first = max(0, self._start // FRAME_SAMPLES - PREROLL_FRAMES)
        last = None if self._end == math.inf else -(-int(self._end) // FRAME_SAMPLES)
        at = first * FRAME_SAMPLES  # the sample with which the held block begins
        held = np.zeros(0, dtype=np.float32)  # until the next one is there: the last one is longer than the wave
        try:
            for levels in self._reader.levels(first, last):
                yield self._cut(held, at, math.inf)
                at += len(held)
                held = self._stream.feed_levels(self._counter.add(levels))
                held *= self._gain
            self._reader.expect_end_of_file()
        except ContainerError as error:
            if not self._recover or self._counter.n_frames == 0:
                raise
            self.damage = str(error)
        total = self._reader.n_samples or self._reader.header.n_samples or math.inf
        yield self._cut(held, at, total)
        if self._n_samples == 0:
            held_s = min(total, at + len(held)) / SILK_SAMPLE_RATE
            raise ArgumentError(
                f"A part must start within the {held_s:.3f} s of {self._reader.name};"
                f" got {self._start / SILK_SAMPLE_RATE:g} s."
            )

    def _cut(self, wave: Wave, at: int, total: float) -> Wave:
        """What of a block that begins at sample `at` lies within the part and the recording."""
        low, high = self._start - at, min(self._end, total) - at
        part = wave[max(0, low) : max(0, int(min(high, len(wave))))]
        self._n_samples += len(part)
        return part

    def coding(self, source: str, target: str, wall_s: float, file: WaveFile) -> Coding:
        """Return what has been decoded, in numbers. The frames include those decoded ahead of a part."""
        return Coding(
            source=source,
            target=target,
            n_samples=self._n_samples,
            n_frames=self._counter.n_frames,
            n_tokens=self._counter.n_tokens,
            n_bits=self._counter.n_bits,
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


def _silk_output(target: Any, overwrite: bool) -> AbstractContextManager[BinaryIO]:
    if target == "-":
        return nullcontext(standard_output())
    return replacing(target, overwrite=overwrite)


def _name(place: Any) -> str:
    return os.fspath(place) if isinstance(place, (str, os.PathLike)) else str(getattr(place, "name", "-"))
