"""Cut a stream of samples into the frames that are the input of the encoder.

samples  |<-- 480 -->|<-------------- 9600 -------------->|<-------------- 9600 -------------->| ...
          primes the   frame 0 is complete when these are  frame 1
          first state  there: 400 ms + 20 ms look-ahead
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec.spec import FRAME_SAMPLES, SILK_SAMPLE_RATE

Wave = NDArray[np.float32]


class FrameCutter:
    """Cut samples of any rate, in blocks of any length, into frames, float32 [9600] at 24 kHz.

    Args:
        lookahead_samples: look-ahead of the model. The first samples prime the encoder's state; frames follow.
        sample_rate: sample rate of the input, Hz; each block is resampled when it is fed.

    Attributes:
        prime: the first samples, float32 [lookahead_samples]; None until they have been fed.
        n_samples: number of samples fed so far, at 24 kHz.
        n_frames: number of frames cut so far.
    """

    def __init__(self, lookahead_samples: int, sample_rate: float = SILK_SAMPLE_RATE) -> None:
        self._resampler = audio.Resampler(audio.check_rate(sample_rate), SILK_SAMPLE_RATE)
        self._buffer = np.zeros(FRAME_SAMPLES, dtype=np.float32)
        self._filled = 0
        self._wanted = lookahead_samples  # the look-ahead first, then whole frames
        self._finished = False
        self.prime: Wave | None = None
        self.n_samples = 0
        self.n_frames = 0

    def feed(self, chunk: ArrayLike, *, checked: bool = False) -> Iterator[Wave]:
        """Add samples and return the frames that they complete, one at a time. Take all of them before the next call.

        Args:
            chunk: the next samples, [n] or [n, C]; n may be 0; see `audio.as_block`.
            checked: the chunk is a block of an `audio.Reader`, which has checked it.

        Raises:
            AudioError: NaN or Inf, or not the shape or type of a wave. ArgumentError: after `flush`.
        """
        if self._finished:
            raise ArgumentError("A stream must not be fed after flush; create a new StreamEncoder.")
        if not checked:
            chunk = audio.as_block(chunk, self._resampler.from_rate, self._resampler.n_in)
        return self._cut(self._resampler.feed(np.asarray(chunk)))

    def flush(self) -> Iterator[Wave]:
        """End the stream and return the remaining frames, padded with silence.

        Raises:
            ArgumentError: the stream was flushed before.
        """
        if self._finished:
            raise ArgumentError("A stream can be flushed only once; create a new StreamEncoder.")
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
        """Yield the full buffer as a frame and empty it. The first buffer is the look-ahead, which is not a frame."""
        full = self._buffer[: self._wanted].copy()
        self._filled = 0
        if self.prime is None:
            self.prime, self._wanted = full, FRAME_SAMPLES
        else:
            self.n_frames += 1
            yield full
