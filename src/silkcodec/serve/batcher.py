"""Frames of concurrent streams, batched into calls of the model. No sockets, no clock of its own, no threads.

    feed(stream, ...)   |stream 1| frame frame          step(): of the most urgent streams one frame each
    feed(stream, ...)   |stream 2| frame            ->     waves [B, 9600], states [B, ...] -> codes, states
    feed(stream, ...)   |stream 3| frame frame frame       (streams that decode alike, in calls of their own)

**Never waits for a batch to fill.** `step` takes what is there. Alone, a stream is answered at once; under load
frames come while the model computes, and batches grow by themselves.

**Exact.** The tokens must be those of `Silk.encode` to the bit, and `stream.py` says how a call of another shape
could change the last bit. Whether it does depends on the kernels that ONNX Runtime has for a processor: on the
shapes in the call, in which order sums are made, not on the numbers in them. So it is measured, not assumed: at
start `exact_sizes` compares every latent and every number of the next state, of stacked against single calls, for
each batch size, and sizes of which one bit differs are not used. bench/server.json has what was found, and what
stacking gains.

**Fair.** A stream has one frame in a batch, and its place is by the frame's turn: when it came, but not before the
frame clock allows. A client that sends an hour at once is served with what the live ones leave.
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
OUTPUTS = {"encode": "levels", "decode": "wave"}  # task -> what its graph is asked for
FRAME_S = FRAME_SAMPLES / SILK_SAMPLE_RATE


@dataclass(frozen=True)
class Answer:
    """One frame of one stream: codes int64 [1, K], or samples float32 [9600]."""

    stream: str
    frame: int
    value: NDArray[Any]


class _Stream:
    """A stream's frames that wait, when the next one's turn is, and its state after the last one."""

    def __init__(
        self, task: str, cutter: FrameCutter | None, states: States | None, n_codebooks: int | None = None
    ) -> None:
        self.task = task
        self.cutter = cutter
        self.n_codebooks = n_codebooks  # that are wanted; None: all
        self.states = states  # None: encode, and not even the look-ahead has come
        self.frames: deque[tuple[float, NDArray[Any]]] = deque()  # (its turn, the frame)
        self.last_turn = -np.inf
        self.n_done = 0
        self.ended = False

    def add(self, frames: Sequence[NDArray[Any]], now: float) -> None:
        for frame in frames:
            self.last_turn = max(now, self.last_turn + FRAME_S)
            self.frames.append((self.last_turn, frame))


class Batcher:
    """Streams in, answers out.

    Args:
        codec: loaded, with 1 thread: more cores are used by more workers.
        sizes: of batches, as `exact_sizes` found them; 1 is always among them.
        clock: seconds, monotonic.
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
        """A stream of samples begins. Raises AudioError, ArgumentError."""
        n_codebooks = self._codec.check_n_codebooks(n_codebooks)
        cutter = FrameCutter(self._codec.lookahead_samples, sample_rate)
        self._streams[stream] = _Stream("encode", cutter, None, n_codebooks)

    def open_decoder(self, stream: str) -> None:
        """A stream of codes begins."""
        self._streams[stream] = _Stream("decode", None, self._codec.decoder_states())

    def feed(self, stream: str, values: ArrayLike) -> None:
        """Samples [n], or codes int [F, K], as `StreamEncoder.feed` and `StreamDecoder.feed` take them.

        Raises:
            AudioError: NaN or Inf. TokensError: codes out of range or of another shape.
        """
        one = self._streams[stream]
        if one.cutter is None:
            one.add(list(self._codec.codes_to_levels(values)), self._clock())
        else:
            self._take(one, one.cutter, one.cutter.feed(values))

    def end(self, stream: str) -> None:
        """Nothing more will be fed; what is still to come is answered by `step`, and `finished` tells of the end."""
        one = self._streams[stream]
        if one.cutter is not None:
            self._take(one, one.cutter, one.cutter.flush())
        one.ended = True

    def drop(self, stream: str) -> None:
        """Forget a stream, whatever of it waits."""
        self._streams.pop(stream, None)

    def _take(self, one: _Stream, cutter: FrameCutter, frames: Iterator[Wave]) -> None:
        cut = list(frames)
        if one.states is None and cut:
            one.states = self._codec.encoder_states(prime=cutter.prime)
        one.add(cut, self._clock())

    @property
    def n_waiting(self) -> int:
        """Frames that wait."""
        return sum(len(one.frames) for one in self._streams.values())

    def finished(self) -> list[tuple[str, int]]:
        """Streams that have ended and are answered to the last frame, and are now forgotten.

        Returns:
            (stream, samples at 24 kHz) of each.
        """
        done = [name for name, one in self._streams.items() if one.ended and not one.frames]
        return [(name, self._n_samples(self._streams.pop(name))) for name in done]

    def _n_samples(self, one: _Stream) -> int:
        return one.n_done * FRAME_SAMPLES if one.cutter is None else one.cutter.n_samples

    def step(self) -> tuple[str, list[Answer]]:
        """One call of the model, for the most urgent frame and as many of its task as fit beside it.

        Returns:
            The task, and one answer for each of up to max(sizes) streams; none if no frame waits.
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
        values, states = run(self._codec, OUTPUTS[task], frames, states)
        answers = []
        for name, one, value, after in zip(names, batch, values, states, strict=False):
            one.states = after
            if one.cutter is not None:
                value = levels_to_codes(value)[:, : one.n_codebooks]
            answers.append(Answer(name, one.n_done, value))
            one.n_done += 1
        return task, answers


def run(codec: Silk, output: str, frames: NDArray[Any], states: Sequence[States]) -> tuple[NDArray[Any], list[States]]:
    """One call of the model.

    Args:
        output: "levels", "latent" or "wave".
        frames: float32 [B, 9600], or levels uint8 [B, 128] for "wave"; `states`: of each of the B streams.

    Returns:
        uint8 or float32 [B, 1, 128], or samples float32 [B, 9600]; the next states, of each of the B streams.
    """
    stacked = [np.concatenate(parts) for parts in zip(*states, strict=True)]
    values, after = codec.call(output, frames[:, None] if output == "wave" else frames, stacked)
    if len(frames) == 1:
        return values, [after]
    # Copies: a view of its row would keep the states of all of them alive for as long as any of them lives.
    return values, [[part[b : b + 1].copy() for part in after] for b in range(len(frames))]


def exact_sizes(codec: Silk, largest: int, n_frames: int = 2) -> list[int]:
    """The batch sizes, 1 and of 2, 4, 8 ... up to `largest`, in which no bit differs from single calls on this machine.

    Compared are the latents (before FSQ rounds them), the samples, and the states after them, over 200,000 numbers a
    frame, over some frames of noise.
    """
    sizes = [2**i for i in range(1, largest.bit_length()) if 2**i <= largest]
    if not sizes:
        return [1]
    probe = Silk(codec.folder, threads=codec.threads)  # its own: the graph that shows latents is not kept
    rng, shape, exact = np.random.default_rng(0), (n_frames, sizes[-1]), set(sizes)
    noise = (0.1 * rng.standard_normal((*shape, FRAME_SAMPLES))).astype(np.float32)
    levels = rng.integers(0, N_LEVELS, (*shape, LATENT_WIDTH)).astype(np.uint8)
    for output, frames, fresh in (("latent", noise, probe.encoder_states), ("wave", levels, probe.decoder_states)):
        states = [[fresh()] for _ in range(shape[1])]  # of each stream, before each frame
        values = np.empty((n_frames, shape[1]), dtype=object)
        for t, b in np.ndindex(shape):
            values[t, b], (after,) = run(probe, output, frames[t, b : b + 1], [states[b][-1]])
            states[b].append(after)
        for size in sizes:
            for t in range(n_frames):
                value, stacked = run(probe, output, frames[t, :size], [states[b][t] for b in range(size)])
                if not _same_bits(value, values[t, :size], stacked, [states[b][t + 1] for b in range(size)]):
                    exact.discard(size)
    return [1, *sorted(exact)]


def _same_bits(value: NDArray[Any], values: Any, states: Sequence[States], single: Sequence[States]) -> bool:
    same = value.tobytes() == np.concatenate(list(values)).tobytes()
    pairs = ((a, b) for one, other in zip(states, single, strict=True) for a, b in zip(one, other, strict=True))
    return same and all(a.tobytes() == b.tobytes() for a, b in pairs)
