"""Streaming: `feed` what has come, get what is ready, `flush` at the end.

This is the only path through the model: `Silk.encode` feeds the whole wave, the command line feeds a file
block by block, a microphone feeds 20 ms at a time, and all get the same tokens to the bit.

    samples -> FrameCutter -> frames -> FrameModel -> levels -> codes     StreamEncoder
    codes -> levels -> FrameModel -> samples                              StreamDecoder

The encoder is always called with one frame, because the same frame computed in a call of another shape may
differ in the last bit, and FSQ turns the last bit into another token once in a while.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.bare_codes import check_frames
from silkcodec.errors import ArgumentError
from silkcodec.silk.framing import FrameCutter
from silkcodec.silk.graphs import States
from silkcodec.silk.model import MIDDLE_LEVEL, FrameModel
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, LATENT_WIDTH, SILK_SAMPLE_RATE
from silkcodec.tokens import codebook_sizes, codes_to_levels, levels_to_codes

Codes = NDArray[np.int64]
Levels = NDArray[np.uint8]
Wave = NDArray[np.float32]

LATENCY_S = 0.42
"""From a sample's arrival to the tokens of its frame, at most, without the time to compute: 400 + 20 ms."""

FADE_FRAMES = 3  # in which a concealed loss goes to silence: 1.2 s
RISE_SAMPLES = 480  # in which the frame after a loss comes back to its level: 20 ms


class StreamEncoder:
    """A stream of samples to a stream of codes.

    Args:
        codec: a loaded Silk. Any number of streams can share it, from any threads.
        sample_rate: of the samples that will be fed, Hz; they are resampled as they come.
        n_codebooks: keep only the first of the 19.

    Attributes:
        n_samples: at 24 kHz, so far: what `Tokens.n_samples` is at the end.
        n_frames: that have come out.

    >>> codec = silkcodec.load()                                            # doctest: +SKIP
    >>> stream = StreamEncoder(codec, sample_rate=48_000)                   # doctest: +SKIP
    >>> for chunk in microphone:                                            # doctest: +SKIP
    ...     send(stream.feed(chunk))                                        # int64 [F, 19], F is 0 mostly
    >>> send(stream.flush())                                                # doctest: +SKIP
    """

    def __init__(
        self, codec: FrameModel, sample_rate: float = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None
    ) -> None:
        self._codec = _streaming(codec)
        self._n_codebooks = codec.check_n_codebooks(n_codebooks)
        self._cutter = FrameCutter(codec.lookahead_samples, sample_rate)
        self._states: States | None = None

    @property
    def n_samples(self) -> int:
        return self._cutter.n_samples

    @property
    def n_frames(self) -> int:
        return self._cutter.n_frames

    def feed(self, chunk: ArrayLike) -> Codes:
        """Encode the next samples.

        Args:
            chunk: the next samples, [n] or [n, C], any n, 0 too; see `audio.as_block`.

        Returns:
            int64 [F, K]: the frames that became complete, often none.

        Raises:
            AudioError: NaN or Inf, or not the shape or type of a wave. ArgumentError: after `flush`.
        """
        return self._codes(self.feed_levels(chunk))

    def flush(self) -> Codes:
        """End the stream: int64 [F, K], the frames not yet complete, filled up with silence.

        Raises:
            ArgumentError: the second time.
        """
        return self._codes(self.flush_levels())

    def feed_levels(self, chunk: ArrayLike) -> Levels:
        """Encode the next samples as `feed` does, to levels of all dimensions: uint8 [F, 128] in 0..7."""
        return self._encode(self._cutter.feed(chunk))

    def flush_levels(self) -> Levels:
        """End the stream as `flush` does, with levels: uint8 [F, 128]."""
        return self._encode(self._cutter.flush())

    def _encode(self, frames: Iterator[Wave]) -> Levels:
        levels = []
        for frame in frames:
            if self._states is None:
                self._states = self._codec.encoder_states(prime=self._cutter.prime)
            frame_levels, self._states = self._codec.encode_frame(frame, self._states)
            levels.append(frame_levels)
        return np.concatenate(levels) if levels else np.zeros((0, LATENT_WIDTH), dtype=np.uint8)

    def _codes(self, levels: Levels) -> Codes:
        return levels_to_codes(levels)[:, : self._n_codebooks]


class StreamDecoder:
    """A stream of codes to a stream of samples, without delay: a frame in, its 9,600 samples out.

    Args:
        codec: a loaded Silk; see `StreamEncoder`.
        dims_per_token: the grouping of the codes that will be fed; see `Tokens.regroup`.
        n_codebooks: how many of the 19 codebooks will be fed, if the encoder kept only the first; None: all.

    A frame that did not come is concealed: the decoder is given the middle of all levels in its place and goes on from
    its state, in the voice it has in mind, and a fade takes that to silence. What comes after the loss rises from
    where the fade has got to:

        frame t  | lost     | lost     | lost     | lost     | frame t + 5
        1 -------|--.__     |          |          |          |  .---------
                 |     `--__|          |          |          | /
                 |          |`--.___   |          |          ||
               0 |          |       `--|--.._____ |__________||

    Attributes:
        n_frames: that have come out, concealed ones too.
        n_concealed: how many of them were concealed.

    >>> stream = StreamDecoder(silkcodec.load())                            # doctest: +SKIP
    >>> for codes in received:                                              # doctest: +SKIP
    ...     play(stream.conceal() if codes is None else stream.feed(codes))
    """

    def __init__(
        self, codec: FrameModel, *, dims_per_token: int = DIMS_PER_TOKEN, n_codebooks: int | None = None
    ) -> None:
        self._codec = _streaming(codec)
        self._dims_per_token = dims_per_token
        self._n_codebooks = len(codebook_sizes(dims_per_token))
        if n_codebooks is not None:
            if dims_per_token != DIMS_PER_TOKEN:
                raise ArgumentError("n_codebooks must be None for codes that are grouped differently.")
            self._n_codebooks = codec.check_n_codebooks(n_codebooks)
        self._states = codec.decoder_states()
        self._n_lost = FADE_FRAMES  # frames since the last one that came: nothing has come, so nothing goes on
        self.n_frames = 0
        self.n_concealed = 0

    def feed(self, codes: ArrayLike) -> Wave:
        """Codes in, samples out.

        Args:
            codes: int [F, K], any F, 0 too, K being 19, or what `n_codebooks` or the grouping says. Groups that are
                missing get their middle level. `Tokens.codes` is the other way round: np.stack(tokens.codes, axis=1).

        Returns:
            float32 [F * 9600] at 24 kHz. The last frame of a recording is filled up: cut at n_samples.

        Raises:
            TokensError: codes out of range or of another shape.
        """
        codes = check_frames(codes, self._n_codebooks, "codes of a stream")
        if self._dims_per_token == DIMS_PER_TOKEN:
            levels = self._codec.codes_to_levels(codes)
        else:
            levels = codes_to_levels(codes, self._dims_per_token).astype(np.uint8)
        return self.feed_levels(levels)

    def feed_levels(self, levels: NDArray[np.uint8]) -> Wave:
        """Levels in, uint8 [F, 128], as `Tokens.to_levels` gives them, otherwise as `feed`; not checked."""
        wave = self._decode(levels)
        if len(levels):
            if self.n_concealed and self._n_lost:
                wave[:RISE_SAMPLES] *= np.linspace(_fade(self._n_lost, 1)[0], 1, RISE_SAMPLES, dtype=np.float32)
            self._n_lost = 0
        self.n_frames += len(levels)
        return wave

    def conceal(self, n_frames: int = 1) -> Wave:
        """Samples in the place of frames that were lost: what the state goes on to, fading to silence in 1.2 s.

        The middle of all levels keeps more intelligibility (STOI) at about the same PESQ than the last frame's levels
        again, or levels between the last and the next frame's, for which one would have to wait: `silk lab robustness`.

        The state goes on with what was put in. A loss of any length computes FADE_FRAMES frames at most, then the
        state waits. Before any frame has come there is nothing to go on with: the loss is silence.

        Args:
            n_frames: how many, 0 too. Two calls of 1 give what one of 2 gives.

        Returns:
            float32 [n_frames * 9600].

        Raises:
            ArgumentError: n_frames is not a whole number, or below 0.
        """
        if isinstance(n_frames, bool) or not isinstance(n_frames, (int, np.integer)) or n_frames < 0:
            raise ArgumentError(f"n_frames must be a whole number of at least 0; got {n_frames!r}.")
        wave = np.zeros(n_frames * FRAME_SAMPLES, dtype=np.float32)
        n_heard = min(max(FADE_FRAMES - self._n_lost, 0), int(n_frames))
        if n_heard:
            heard = self._decode(np.full((n_heard, LATENT_WIDTH), MIDDLE_LEVEL, dtype=np.uint8))
            wave[: len(heard)] = heard * _fade(self._n_lost, len(heard))
        self._n_lost += int(n_frames)
        self.n_frames += int(n_frames)
        self.n_concealed += int(n_frames)
        return wave

    def _decode(self, levels: NDArray[np.uint8]) -> Wave:
        wave = np.empty(len(levels) * FRAME_SAMPLES, dtype=np.float32)
        for start in range(0, len(levels), self._codec.DECODE_FRAMES):
            part = levels[start : start + self._codec.DECODE_FRAMES]
            at = start * FRAME_SAMPLES
            wave[at : at + len(part) * FRAME_SAMPLES], self._states = self._codec.decode_frames(part, self._states)
        return wave


def _streaming(codec: FrameModel) -> FrameModel:
    """Refuse what cannot stream: the name of a codec, or another codec than Silk. Raises ArgumentError."""
    if not hasattr(codec, "encoder_states"):
        raise ArgumentError(f"A stream must have a loaded Silk, such as silkcodec.load(); got {codec!r}.")
    return codec


def _fade(n_lost: int, n_samples: int) -> Wave:
    """The gain of the samples that follow `n_lost` lost frames: half a cosine from 1 to 0 in FADE_FRAMES frames."""
    samples = n_lost * FRAME_SAMPLES + np.arange(n_samples)
    return (0.5 + 0.5 * np.cos(np.pi * np.minimum(samples / (FADE_FRAMES * FRAME_SAMPLES), 1))).astype(np.float32)
