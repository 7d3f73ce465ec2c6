"""Cut a stream of samples into frames for the encoder.

samples  |<-- 480 -->|<-------------- 9600 -------------->|<-------------- 9600 -------------->| ...
          look-ahead   These samples complete frame 0.      These samples complete frame 1.

The first 480 samples (20 ms) only initialize the encoder's state. A frame can be encoded once the 480 samples after its
end are available.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from silkcodec import audio
from silkcodec.audio import Wave
from silkcodec.errors import ArgumentError
from silkcodec.spec import FRAME_SAMPLES, SILK_SAMPLE_RATE


class FrameCutter:
    """Cut a stream of samples into frames, float32 [9600] at 24 kHz.

    Args:
        lookahead_samples: look-ahead of the model in samples. The first `lookahead_samples` samples of the stream
            initialize the encoder's state.
        sample_rate: sample rate of the input in Hz.

    Attributes:
        prime: first samples of the stream, float32 [lookahead_samples], or None until they have been fed.
        n_samples: number of samples fed so far, at 24 kHz.
        n_frames: number of frames returned so far.
    """

    def __init__(self, lookahead_samples: int, sample_rate: float = SILK_SAMPLE_RATE) -> None:
        self._resampler = audio.Resampler(audio.check_rate(sample_rate), SILK_SAMPLE_RATE)
        self._buffer = np.zeros(FRAME_SAMPLES, dtype=np.float32)
        self._filled = 0
        self._wanted = lookahead_samples  # length of the next part: the look-ahead first, then frames
        self._finished = False
        self.prime: Wave | None = None
        self.n_samples = 0
        self.n_frames = 0

    def feed(self, chunk: ArrayLike, *, checked: bool = False) -> Iterator[Wave]:
        """Add samples, and return an iterator over the completed frames. Exhaust the iterator before the next call.

        Args:
            chunk: next samples, [n] or [n, C]; see `audio.as_block`.
            checked: whether `audio.Reader` or `audio.as_wave` has already checked the chunk.

        Raises:
            AudioError: the samples contain NaN or infinity, or have an unsupported shape or type.
            ArgumentError: the stream was flushed.
        """
        if self._finished:
            raise ArgumentError("Cannot feed a stream after flush; create a new StreamEncoder.")
        if not checked:
            chunk = audio.as_block(chunk, self._resampler.from_rate, self._resampler.n_in)
        return self._cut(self._resampler.feed(np.asarray(chunk)))

    def flush(self) -> Iterator[Wave]:
        """End the stream, and return an iterator over the remaining frames. The last frame is zero-padded.

        Raises:
            ArgumentError: the stream was already flushed.
        """
        if self._finished:
            raise ArgumentError("Cannot flush a stream twice; create a new StreamEncoder.")
        self._finished = True
        return self._cut_rest(self._resampler.flush())

    def _cut(self, wave: Wave) -> Iterator[Wave]:
        self.n_samples += len(wave)
        while len(wave):
            room = self._wanted - self._filled
            part, wave = wave[:room], wave[room:]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == self._wanted:
                yield from self._full()

    def _cut_rest(self, wave: Wave) -> Iterator[Wave]:
        yield from self._cut(wave)
        while self.n_frames * FRAME_SAMPLES < self.n_samples:
            self._buffer[self._filled :] = 0
            yield from self._full()

    def _full(self) -> Iterator[Wave]:
        """Empty the full buffer, and yield its contents as a frame unless it is the look-ahead at the start."""
        full = self._buffer[: self._wanted].copy()
        self._filled = 0
        if self.prime is None:
            self.prime, self._wanted = full, FRAME_SAMPLES
        else:
            self.n_frames += 1
            yield full
