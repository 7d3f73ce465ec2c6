"""Compute the spectrograms of two recordings and the mel distance between them, block by block.

To save memory, adjacent columns of the spectrograms are averaged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silkcodec.audio.resampling import Wave
from silkcodec.mel import HISTORY, HOP, LOOKAHEAD, N_MELS, log_mel

Mel = NDArray[np.float32]

_PAST = -(-HISTORY // HOP)  # number of columns kept as history for the next column


class MelStream:
    """Compute the log-mel spectrogram of samples at 24 kHz, block by block, with one column [128] per 10 ms."""

    def __init__(self) -> None:
        self._buffer = np.zeros(_PAST * HOP, dtype=np.float32)  # starts `_PAST` columns before the next column
        self._n_samples = 0
        self._n_columns = 0

    def feed(self, block: Wave) -> Mel:
        """Add samples (float32 [n]) and return the columns that are ready."""
        self._n_samples += len(block)
        self._buffer = np.concatenate([self._buffer, block])
        return self._take((len(self._buffer) - LOOKAHEAD) // HOP - _PAST)

    def flush(self) -> Mel:
        """End the stream and return the remaining columns."""
        missing = -(-self._n_samples // HOP) - self._n_columns
        self._buffer = np.pad(self._buffer, (0, HOP + LOOKAHEAD))
        return self._take(missing)

    def _take(self, n_columns: int) -> Mel:
        if n_columns <= 0:
            return np.zeros((0, N_MELS), dtype=np.float32)
        columns = log_mel(self._buffer)[_PAST : _PAST + n_columns]
        self._buffer = self._buffer[n_columns * HOP :]
        self._n_columns += n_columns
        return columns


class Comparison:
    """Compare an original and a decoded recording block by block.

    Args:
        n_samples: length of each recording in samples at 24 kHz.
        width: maximum number of spectrogram columns to keep.
    """

    def __init__(self, n_samples: int, width: int) -> None:
        self._total_columns = max(1, -(-n_samples // HOP))
        self._width = min(width, self._total_columns)
        self._streams = (MelStream(), MelStream())
        self._sums = np.zeros((2, self._width, N_MELS))
        self._counts = np.zeros(self._width)
        self._difference = 0.0
        self._n_columns = 0

    def feed(self, original: Wave, decoded: Wave) -> None:
        """Add the next block of each recording, float32 [n]."""
        self._add(*(stream.feed(block) for stream, block in zip(self._streams, (original, decoded), strict=True)))

    def finish(self) -> None:
        """Compute the results after the last block."""
        self._add(*(stream.flush() for stream in self._streams))

    def _add(self, original: Mel, decoded: Mel) -> None:
        self._difference += float(np.abs(original - decoded).sum(dtype=np.float64))
        bins = np.arange(self._n_columns, self._n_columns + len(original)) * self._width // self._total_columns
        bins = np.minimum(bins, self._width - 1)
        np.add.at(self._counts, bins, 1)
        for sums, mel in zip(self._sums, (original, decoded), strict=True):
            np.add.at(sums, bins, mel)
        self._n_columns += len(original)

    @property
    def mel_distance(self) -> float:
        """Return the mean absolute difference between the two log-mel spectrograms."""
        return self._difference / max(1, self._n_columns * N_MELS)

    @property
    def original(self) -> Mel:
        """Return the log-mel spectrogram of the original, float32 [columns, 128]."""
        return self._mean(0)

    @property
    def decoded(self) -> Mel:
        """Return the log-mel spectrogram of the decoded recording, float32 [columns, 128]."""
        return self._mean(1)

    def _mean(self, which: int) -> Mel:
        mean: Mel = (self._sums[which] / np.maximum(self._counts, 1)[:, None]).astype(np.float32)
        return mean
