"""Batch frames of concurrent streams for the model. This module uses neither sockets nor threads.

    feed(stream, ...)   |stream 1| frame frame          step(): one frame from each of the most urgent streams
    feed(stream, ...)   |stream 2| frame            ->     waves [B, 9600], states [B, ...] -> codes, states
    feed(stream, ...)   |stream 3| frame frame frame       (decoding streams are batched in the same way)

**No waiting.** `step` processes the frames that have arrived and does not wait for a full batch.

**Exact tokens.** The tokens must be identical to those from `Silk.encode`. ONNX Runtime can round differently for some
batch sizes. `exact_sizes` tests at startup which sizes give bit-identical results, and only these sizes are used.

**Fairness.** Frames with the earliest due time are processed first. A frame is due when it arrives, but not earlier
than one frame duration after the previous frame of the same stream was due. Clients that send data faster than real
time cannot delay live streams.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.audio.resampling import Wave
from silkcodec.silk import FrameCutter, Silk, States
from silkcodec.spec import FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, SILK_SAMPLE_RATE
from silkcodec.tokens import levels_to_codes

OUTPUTS = {"encode": "levels", "decode": "wave"}  # task -> output of the model
FRAME_S = FRAME_SAMPLES / SILK_SAMPLE_RATE


@dataclass(frozen=True)
class Answer:
    """The result for one frame of a stream: codes (int64 [1, K]) or samples (float32 [9600])."""

    stream: str
    frame: int
    value: NDArray[Any]


class _Stream:
    """The waiting frames and the model state of a stream."""

    def __init__(
        self, task: str, cutter: FrameCutter | None, states: States | None, n_codebooks: int | None = None
    ) -> None:
        self.task = task
        self.cutter = cutter
        self.n_codebooks = n_codebooks  # number of codebooks to return; None: all
        self.states = states  # None: an encoder whose look-ahead has not arrived yet
        self.frames: deque[tuple[float, NDArray[Any]]] = deque()  # (due time, frame)
        self.last_turn = -np.inf
        self.n_done = 0
        self.ended = False

    def add(self, frames: Sequence[NDArray[Any]], now: float) -> None:
        for frame in frames:
            self.last_turn = max(now, self.last_turn + FRAME_S)
            self.frames.append((self.last_turn, frame))


class Batcher:
    """Batch the frames of open streams, and return an answer for each frame.

    Args:
        codec: a loaded codec that is limited to one thread.
        sizes: batch sizes to use, as returned by `exact_sizes`. Size 1 is always allowed.
        clock: function that returns a monotonic time in seconds.
    """

    def __init__(self, codec: Silk, sizes: Sequence[int] = (1,), clock: Callable[[], float] = time.monotonic) -> None:
        self._codec = codec
        self._sizes = sorted({1, *sizes})
        self._clock = clock
        self._streams: dict[str, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, stream: str) -> bool:
        return stream in self._streams

    def open_encoder(self, stream: str, sample_rate: float = SILK_SAMPLE_RATE, n_codebooks: int | None = None) -> None:
        """Open a stream that encodes samples.

        Args:
            stream: name of the stream.
            sample_rate: sample rate of the input in Hz.
            n_codebooks: number of codebooks to return. None returns all codebooks.

        Raises:
            AudioError: the sample rate is not supported.
            ArgumentError: `n_codebooks` is out of range.
        """
        n_codebooks = self._codec.check_n_codebooks(n_codebooks)
        cutter = FrameCutter(self._codec.lookahead_samples, sample_rate)
        self._streams[stream] = _Stream("encode", cutter, None, n_codebooks)

    def open_decoder(self, stream: str) -> None:
        """Open a stream that decodes codes."""
        self._streams[stream] = _Stream("decode", None, self._codec.decoder_states())

    def feed(self, stream: str, values: ArrayLike) -> None:
        """Add samples [n] or integer codes [F, K] to a stream.

        Raises:
            AudioError: a sample is NaN or infinite.
            TokensError: the codes are out of range or have the wrong shape.
        """
        one = self._streams[stream]
        if one.cutter is None:
            one.add(list(self._codec.codes_to_levels(values)), self._clock())
        else:
            self._take(one, one.cutter, one.cutter.feed(values))

    def end(self, stream: str) -> None:
        """End a stream after its waiting frames have been processed."""
        one = self._streams[stream]
        if one.cutter is not None:
            self._take(one, one.cutter, one.cutter.flush())
        one.ended = True

    def drop(self, stream: str) -> None:
        """Remove a stream and its waiting frames."""
        self._streams.pop(stream, None)

    def _take(self, one: _Stream, cutter: FrameCutter, frames: Iterator[Wave]) -> None:
        cut = list(frames)
        if one.states is None and cut:
            one.states = self._codec.encoder_states(prime=cutter.prime)
        one.add(cut, self._clock())

    @property
    def n_waiting(self) -> int:
        """Return the number of waiting frames in all streams."""
        return sum(len(one.frames) for one in self._streams.values())

    def finished(self) -> list[tuple[str, int]]:
        """Remove the streams that have ended and have no waiting frames.

        Returns:
            One pair per removed stream: its name, and its length in samples at 24 kHz.
        """
        done = [name for name, one in self._streams.items() if one.ended and not one.frames]
        return [(name, self._n_samples(self._streams.pop(name))) for name in done]

    def _n_samples(self, one: _Stream) -> int:
        return one.n_done * FRAME_SAMPLES if one.cutter is None else one.cutter.n_samples

    def step(self) -> tuple[str, list[Answer]]:
        """Run the model once, to encode or to decode the most urgent frames.

        Returns:
            Two values: the task ("encode" or "decode"), and a list with one answer for each stream in the batch. The
            list is empty if no frame is waiting.
        """
        ready = [(one.frames[0][0], name) for name, one in self._streams.items() if one.frames]
        if not ready:
            return "encode", []
        ready.sort()
        task = self._streams[ready[0][1]].task
        names = [name for _, name in ready if self._streams[name].task == task]
        size = max(size for size in self._sizes if size <= len(names))
        batch = [self._streams[name] for name in names[:size]]
        frames = np.stack([one.frames.popleft()[1] for one in batch])
        states = [one.states for one in batch if one.states is not None]
        values, states = run_batch(self._codec, OUTPUTS[task], frames, states)
        answers = []
        for name, one, value, after in zip(names, batch, values, states, strict=False):
            one.states = after
            if one.cutter is not None:
                value = levels_to_codes(value)[:, : one.n_codebooks]
            answers.append(Answer(name, one.n_done, value))
            one.n_done += 1
        return task, answers


def run_batch(
    codec: Silk, output: str, frames: NDArray[Any], states: Sequence[States]
) -> tuple[NDArray[Any], list[States]]:
    """Run the model once for B streams.

    Args:
        codec: codec that contains the model.
        output: output to compute: "levels", "latent" or "wave".
        frames: levels (uint8 [B, 128]) if `output` is "wave"; otherwise samples (float32 [B, 9600]).
        states: model states of the B streams.

    Returns:
        Two values: the output, and the next states of the streams. Levels are uint8 [B, 1, 128], latents are float32
        [B, 1, 128], and samples are float32 [B, 9600].
    """
    stacked = [np.concatenate(parts) for parts in zip(*states, strict=True)]
    values, after = codec.call(output, frames[:, None] if output == "wave" else frames, stacked)
    if len(frames) == 1:
        return values, [after]
    # Copy the parts, because a view of one row would keep the states of all streams in memory.
    return values, [[part[b : b + 1].copy() for part in after] for b in range(len(frames))]


def exact_sizes(codec: Silk, largest: int, n_frames: int = 2) -> list[int]:
    """Return the batch sizes whose results on this machine are bit-identical to those of single-stream calls.

    Args:
        codec: codec to test.
        largest: maximum batch size. Only powers of two are tested.
        n_frames: number of consecutive frames to compare.
    """
    sizes = [2**i for i in range(1, largest.bit_length()) if 2**i <= largest]
    if not sizes:
        return [1]
    probe = Silk(codec.folder, threads=codec.threads)  # a second instance, so that the graph with latents is released
    rng, shape, exact = np.random.default_rng(0), (n_frames, sizes[-1]), set(sizes)
    noise = (0.1 * rng.standard_normal((*shape, FRAME_SAMPLES))).astype(np.float32)
    levels = rng.integers(0, N_LEVELS, (*shape, LATENT_WIDTH)).astype(np.uint8)
    for output, frames, fresh in (("latent", noise, probe.encoder_states), ("wave", levels, probe.decoder_states)):
        states = [[fresh()] for _ in range(shape[1])]  # per stream, the state before each frame
        values = np.empty((n_frames, shape[1]), dtype=object)
        for t, b in np.ndindex(shape):
            values[t, b], (after,) = run_batch(probe, output, frames[t, b : b + 1], [states[b][-1]])
            states[b].append(after)
        for size in sizes:
            for t in range(n_frames):
                value, stacked = run_batch(probe, output, frames[t, :size], [states[b][t] for b in range(size)])
                if not _same_bits(value, values[t, :size], stacked, [states[b][t + 1] for b in range(size)]):
                    exact.discard(size)
    return [1, *sorted(exact)]


def _same_bits(value: NDArray[Any], values: Any, states: Sequence[States], single: Sequence[States]) -> bool:
    same = value.tobytes() == np.concatenate(list(values)).tobytes()
    pairs = ((a, b) for one, other in zip(states, single, strict=True) for a, b in zip(one, other, strict=True))
    return same and all(a.tobytes() == b.tobytes() for a, b in pairs)
