"""Batch frames of concurrent streams for the model. This module uses neither sockets nor threads.

    feed(stream, ...)   |stream 1| frame frame          step(): one frame from each of the most urgent streams
    feed(stream, ...)   |stream 2| frame            ->     waves [B, 9600], states [B, ...] -> codes, states
    feed(stream, ...)   |stream 3| frame frame frame       (streams that decode are batched in the same way)

**No waiting.** `step` processes the frames that are waiting and does not wait for a full batch. A single stream gets
its answers immediately. Under load, frames arrive while the model computes, so batches become larger.

**Exact tokens.** The tokens must be identical to those from `Silk.encode`. Calls with different input shapes can give
results that differ in the last bit (see `stream.py`). Whether this happens depends on the kernels that ONNX Runtime
selects for the processor. The selection depends on the shapes of the inputs, not on their values. `exact_sizes`
therefore tests each batch size at startup. It compares all latents and model states from batched calls with those from
calls for one stream. The batcher uses only the sizes for which they are bit-identical. bench/server.json contains the
results of this test and the speedup from batching.

**Fairness.** A stream has at most one frame in a batch. The frames with the earliest due times are processed first. A
frame is due when it arrives, but not earlier than one frame duration after the previous frame of its stream was due. If
a client sends an hour of audio at once, it gets only the capacity that live streams do not need.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.silk import FrameCutter, Silk, States
from silkcodec.spec import FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, SILK_SAMPLE_RATE
from silkcodec.tokens import levels_to_codes

Wave = NDArray[np.float32]
OUTPUTS = {"encode": "levels", "decode": "wave"}  # task -> output of the model
FRAME_S = FRAME_SAMPLES / SILK_SAMPLE_RATE


@dataclass(frozen=True)
class Answer:
    """Hold the result for one frame of a stream: codes, int64 [1, K], or samples, float32 [9600]."""

    stream: str
    frame: int
    value: NDArray[Any]


class _Stream:
    """Hold a stream's waiting frames with their due times, and the model state after the last processed frame."""

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
        codec: a loaded codec that is limited to one thread. To use more cores, run more worker processes.
        sizes: batch sizes to use, as returned by `exact_sizes`. Size 1 is always used.
        clock: monotonic clock in seconds.
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
            n_codebooks: number of codebooks whose codes are returned; None: all.

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
        """Add samples [n] or integer codes [F, K] to a stream. See `StreamEncoder.feed` and `StreamDecoder.feed`.

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
        """End a stream. After `step` has returned the remaining answers, `finished` returns the stream's name."""
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
        """Remove the streams that have ended and have no waiting frames, and return their names and lengths.

        Returns:
            A list of (name of the stream, number of samples at 24 kHz).
        """
        done = [name for name, one in self._streams.items() if one.ended and not one.frames]
        return [(name, self._n_samples(self._streams.pop(name))) for name in done]

    def _n_samples(self, one: _Stream) -> int:
        return one.n_done * FRAME_SAMPLES if one.cutter is None else one.cutter.n_samples

    def step(self) -> tuple[str, list[Answer]]:
        """Call the model once for a batch of the most urgent frames. All frames in a batch are for the same task.

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
    """Call the model once for B streams.

    Args:
        codec: codec whose model is called.
        output: output to compute: "levels", "latent" or "wave".
        frames: for "wave", levels, uint8 [B, 128]; otherwise samples, float32 [B, 9600].
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
    """Return the batch sizes whose results on this machine are bit-identical to those of calls for one stream.

    The candidates are 2, 4, 8, ... up to `largest`. The result always includes 1. The function encodes noise and
    decodes random levels. It compares the latents before FSQ rounds them, the samples, and the next states.

    Args:
        codec: codec to test.
        largest: maximum batch size.
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
