"""Encode and decode streams: `feed` the next input, get the complete output, `flush` at the end.

This is the only path through the model. `Silk.encode` feeds the whole wave, the command line feeds a file block by
block, and a live application feeds 20 ms at a time. The tokens are bit-identical in all cases.

    samples -> FrameCutter -> frames -> FrameModel -> levels -> codes     StreamEncoder
    codes -> levels -> FrameModel -> samples                              StreamDecoder

A call of the model takes up to `FrameModel.FRAMES_PER_CALL` frames. The result for a frame is the same to the last
bit for any number of frames in a call, because every operation of the network treats each frame alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

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
"""Maximum time from the arrival of a sample to the tokens of its frame, without computation: 400 + 20 ms."""

FADE_FRAMES = 3  # frames in which a concealed loss fades to silence: 1.2 s
RISE_SAMPLES = 480  # samples in which the frame after a loss fades in: 20 ms


class StreamEncoder:
    """Encode a stream of samples to a stream of codes.

    Args:
        codec: a loaded Silk. Any number of streams can share it, from any threads.
        sample_rate: sample rate of the input, Hz; each chunk is resampled when it is fed.
        n_codebooks: keep only the first n_codebooks of the 19.

    Attributes:
        n_samples: number of samples fed so far, at 24 kHz; at the end it equals `Tokens.n_samples`.
        n_frames: number of frames returned so far.

    >>> codec = silkcodec.load()                                            # doctest: +SKIP
    >>> stream = StreamEncoder(codec, sample_rate=48_000)                   # doctest: +SKIP
    >>> for chunk in microphone:                                            # doctest: +SKIP
    ...     send(stream.feed(chunk))                                        # int64 [F, 19], F is usually 0
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
        """Return the number of samples fed so far, at 24 kHz."""
        return self._cutter.n_samples

    @property
    def n_frames(self) -> int:
        """Return the number of frames returned so far."""
        return self._cutter.n_frames

    def feed(self, chunk: ArrayLike) -> Codes:
        """Encode the next samples.

        Args:
            chunk: the next samples, [n] or [n, C]; n may be 0; see `audio.as_block`.

        Returns:
            int64 [F, K]: the frames that became complete, often none.

        Raises:
            AudioError: NaN or Inf, or not the shape or type of a wave. ArgumentError: after `flush`.
        """
        return self._codes(self.feed_levels(chunk))

    def flush(self) -> Codes:
        """End the stream and return the remaining frames, padded with silence: int64 [F, K].

        Raises:
            ArgumentError: the stream was flushed before.
        """
        return self._codes(self.flush_levels())

    def feed_levels(self, chunk: ArrayLike, *, checked: bool = False) -> Levels:
        """Encode the next samples like `feed`, but return levels of all dimensions: uint8 [F, 128] in 0..7.

        Args:
            checked: the chunk is a block of an `audio.Reader`, which has checked it.
        """
        return self._encode(self._cutter.feed(chunk, checked=checked))

    def flush_levels(self) -> Levels:
        """End the stream like `flush`, but return levels: uint8 [F, 128]."""
        return self._encode(self._cutter.flush())

    def _encode(self, frames: Iterator[Wave]) -> Levels:
        levels = []
        while part := list(islice(frames, self._codec.FRAMES_PER_CALL)):
            if self._states is None:
                self._states = self._codec.encoder_states(prime=self._cutter.prime)
            part_levels, self._states = self._codec.encode_frames(np.concatenate(part), self._states)
            levels.append(part_levels)
        return np.concatenate(levels) if levels else np.zeros((0, LATENT_WIDTH), dtype=np.uint8)

    def _codes(self, levels: Levels) -> Codes:
        return levels_to_codes(levels)[:, : self._n_codebooks]


class StreamDecoder:
    """Decode a stream of codes to a stream of samples, without delay: each frame gives its 9,600 samples.

    Args:
        codec: a loaded Silk; see `StreamEncoder`.
        dims_per_token: the grouping of the codes that will be fed; see `Tokens.regroup`.
        n_codebooks: the number of codebooks that will be fed, if the encoder kept only the first; None: all 19.
        first_frame: number of the first frame that will be fed, if decoding begins in the middle of a recording.

    `conceal` replaces a lost frame. It decodes the middle level in all dimensions from the current state, which
    continues the voice, and fades the result to silence. The frame after the loss fades in from the gain that the
    fade has reached:

        frame t  | lost     | lost     | lost     | lost     | frame t + 5
        1 -------|--.__     |          |          |          |  .---------
                 |     `--__|          |          |          | /
                 |          |`--.___   |          |          ||
               0 |          |       `--|--.._____ |__________||

    Attributes:
        n_frames: number of frames returned so far, including concealed ones.
        n_concealed: number of concealed frames among them.

    >>> stream = StreamDecoder(silkcodec.load())                            # doctest: +SKIP
    >>> for codes in received:                                              # doctest: +SKIP
    ...     play(stream.conceal() if codes is None else stream.feed(codes))
    """

    def __init__(
        self,
        codec: FrameModel,
        *,
        dims_per_token: int = DIMS_PER_TOKEN,
        n_codebooks: int | None = None,
        first_frame: int = 0,
    ) -> None:
        self._codec = _streaming(codec)
        self._dims_per_token = dims_per_token
        self._n_codebooks = len(codebook_sizes(dims_per_token))
        if n_codebooks is not None:
            if dims_per_token != DIMS_PER_TOKEN:
                raise ArgumentError(
                    f"n_codebooks must be None for codes in groups of {dims_per_token} dimensions; got {n_codebooks}."
                )
            self._n_codebooks = codec.check_n_codebooks(n_codebooks)
        self._states = codec.decoder_states(first_frame)
        self._n_lost = FADE_FRAMES  # Frames lost since the last received one. A loss before any frame is silence.
        self.n_frames = 0
        self.n_concealed = 0

    def feed(self, codes: ArrayLike) -> Wave:
        """Decode the next codes and return their samples.

        Args:
            codes: int [F, K]; F may be 0; K is 19 unless `n_codebooks` or the grouping sets another number. Missing
                groups get the middle level. `Tokens.codes` is transposed: pass np.stack(tokens.codes, axis=1).

        Returns:
            float32 [F * 9600] at 24 kHz. The last frame of a recording is padded, so cut the wave at n_samples.

        Raises:
            TokensError: codes are out of range or of another shape.
        """
        codes = check_frames(codes, self._n_codebooks, "codes of a stream")
        if self._dims_per_token == DIMS_PER_TOKEN:
            levels = self._codec.codes_to_levels(codes)
        else:
            levels = codes_to_levels(codes, self._dims_per_token).astype(np.uint8)
        return self.feed_levels(levels)

    def feed_levels(self, levels: NDArray[np.uint8]) -> Wave:
        """Decode levels, uint8 [F, 128], as returned by `Tokens.to_levels`. Like `feed`, but without checks."""
        wave = self._decode(levels)
        if len(levels):
            if self.n_concealed and self._n_lost:
                wave[:RISE_SAMPLES] *= np.linspace(_fade(self._n_lost, 1)[0], 1, RISE_SAMPLES, dtype=np.float32)
            self._n_lost = 0
        self.n_frames += len(levels)
        return wave

    def conceal(self, n_frames: int = 1) -> Wave:
        """Return samples that replace lost frames, continuing from the state and fading to silence in 1.2 s.

        The middle level was compared with two alternatives: repeating the levels of the last frame, and interpolating
        to the next frame, which adds delay. It gives higher intelligibility (STOI) than both, at about the same PESQ.
        See `silk lab robustness`.

        The decoder's state advances with the middle levels, by at most FADE_FRAMES frames for a loss of any length.
        If no frame has been received yet, the result is silence.

        Args:
            n_frames: number of lost frames; may be 0. Two calls with 1 return the same samples as one call with 2.

        Returns:
            float32 [n_frames * 9600].

        Raises:
            ArgumentError: n_frames is not a whole number, or is below 0.
        """
        if isinstance(n_frames, bool) or not isinstance(n_frames, (int, np.integer)) or n_frames < 0:
            raise ArgumentError(f"n_frames must be a whole number of at least 0; got {n_frames!r}.")
        wave = np.zeros(n_frames * FRAME_SAMPLES, dtype=np.float32)
        n_audible = min(max(FADE_FRAMES - self._n_lost, 0), int(n_frames))
        if n_audible:
            audible = self._decode(np.full((n_audible, LATENT_WIDTH), MIDDLE_LEVEL, dtype=np.uint8))
            wave[: len(audible)] = audible * _fade(self._n_lost, len(audible))
        self._n_lost += int(n_frames)
        self.n_frames += int(n_frames)
        self.n_concealed += int(n_frames)
        return wave

    def _decode(self, levels: NDArray[np.uint8]) -> Wave:
        wave = np.empty(len(levels) * FRAME_SAMPLES, dtype=np.float32)
        for start in range(0, len(levels), self._codec.FRAMES_PER_CALL):
            part = levels[start : start + self._codec.FRAMES_PER_CALL]
            at = start * FRAME_SAMPLES
            wave[at : at + len(part) * FRAME_SAMPLES], self._states = self._codec.decode_frames(part, self._states)
        return wave


def _streaming(codec: FrameModel) -> FrameModel:
    """Return `codec`. Raises ArgumentError if it cannot stream because it is a name or a codec other than Silk."""
    if not hasattr(codec, "encoder_states"):
        raise ArgumentError(f"A stream needs a loaded Silk codec, such as silkcodec.load(); got {codec!r}.")
    return codec


def _fade(n_lost: int, n_samples: int) -> Wave:
    """Return the gain of the samples after `n_lost` lost frames: half a cosine from 1 to 0 in FADE_FRAMES frames."""
    samples = n_lost * FRAME_SAMPLES + np.arange(n_samples)
    return (0.5 + 0.5 * np.cos(np.pi * np.minimum(samples / (FADE_FRAMES * FRAME_SAMPLES), 1))).astype(np.float32)
