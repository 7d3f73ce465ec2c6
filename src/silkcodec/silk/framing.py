"""Cut a stream of samples into the frames that the encoder takes.

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
    """Samples of any rate, in blocks of any length -> frames, float32 [9600] at 24 kHz.

    Args:
        lookahead_samples: of the model. The first of them prime the encoder's state, and frames follow.
        sample_rate: of the samples that will be fed, Hz; they are resampled as they come.

    Attributes:
        prime: the first samples, float32 [lookahead_samples]; None until they have come.
        n_samples: at 24 kHz, so far.
        n_frames: that have been cut.
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

    def feed(self, chunk: ArrayLike) -> Iterator[Wave]:
        """Add samples and return the frames that they complete, one at a time. Take all of them before the next call.

        Args:
            chunk: the next samples, [n] or [n, C], any n, 0 too; see `audio.as_block`.

        Raises:
            AudioError: NaN or Inf, or not the shape or type of a wave. ArgumentError: after `flush`.
        """
        if self._finished:
            raise ArgumentError("A stream must not be fed after flush; make a new StreamEncoder.")
        block = audio.as_block(chunk, self._resampler.from_rate, self._resampler.n_in)
        return self._cut(self._resampler.feed(block))

    def flush(self) -> Iterator[Wave]:
        """End the stream and return the frames that are not yet complete, filled up with silence.

        Raises:
            ArgumentError: the second time.
        """
        if self._finished:
            raise ArgumentError("A stream can be flushed once; make a new StreamEncoder.")
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
        """Empty a full buffer: the look-ahead gives no frame."""
        full = self._buffer[: self._wanted].copy()
        self._filled = 0
        if self.prime is None:
            self.prime, self._wanted = full, FRAME_SAMPLES
        else:
            self.n_frames += 1
            yield full
