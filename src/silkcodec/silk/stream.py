"""Encode and decode streams incrementally.

Call `feed` for each new piece of input and `flush` at the end. The tokens do not depend on the size of the pieces.

    samples -> FrameCutter -> frames -> FrameModel -> levels -> codes     StreamEncoder
    codes -> levels -> FrameModel -> samples                              StreamDecoder
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.audio import Wave
from silkcodec.bare_codes import check_frames
from silkcodec.errors import ArgumentError
from silkcodec.silk.framing import FrameCutter
from silkcodec.silk.graphs import States
from silkcodec.silk.model import MIDDLE_LEVEL, FrameModel
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, LATENT_WIDTH, SILK_SAMPLE_RATE
from silkcodec.tokens import codebook_sizes, codes_to_levels, levels_to_codes

Codes = NDArray[np.int64]
"""Integer codes, int64 [F, K]."""

Levels = NDArray[np.uint8]
"""FSQ levels, uint8 [F, 128] in 0..7."""

FADE_FRAMES = 3
"""Number of frames over which a concealed loss fades to silence (1.2 s)."""

RISE_SAMPLES = 480
"""Number of samples over which the frame after a loss fades in (20 ms)."""


class StreamEncoder:
    """Encode a stream of samples.

    Args:
        codec: a loaded Silk codec. Any number of streams and threads can share it.
        sample_rate: sample rate of the input in Hz.
        n_codebooks: number of codebooks to return, 1 to 19. None returns all codebooks.

    Attributes:
        n_samples: number of samples fed so far, at 24 kHz.
        n_frames: number of frames returned so far.

    Raises:
        ArgumentError: `codec` is not a loaded Silk codec, or `n_codebooks` is out of range.
        AudioError: `sample_rate` is not supported.

    >>> import silkcodec
    >>> stream = StreamEncoder(silkcodec.load())
    >>> [stream.feed(chunk).shape for chunk in np.split(np.zeros(24_000), 4)]
    [(0, 19), (1, 19), (0, 19), (1, 19)]
    >>> stream.flush().shape
    (1, 19)
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

    def feed(self, chunk: ArrayLike, *, checked: bool = False) -> Codes:
        """Encode the next samples.

        Args:
            chunk: samples [n] or [n, C]. n can be 0. See `audio.as_block`.
            checked: whether `audio.Reader` or `audio.as_wave` has already checked the chunk.

        Returns:
            The codes of the frames completed by the chunk, int64 [F, K]. F can be 0.

        Raises:
            AudioError: the samples contain NaN or infinity, or have an unsupported shape or type.
            ArgumentError: the stream was flushed.
        """
        return self._codes(self.feed_levels(chunk, checked=checked))

    def flush(self) -> Codes:
        """End the stream and encode the remaining samples. The last frame is zero-padded.

        Returns:
            The codes of the remaining frames, int64 [F, K].

        Raises:
            ArgumentError: the stream was already flushed.
        """
        return self._codes(self.flush_levels())

    def feed_levels(self, chunk: ArrayLike, *, checked: bool = False) -> Levels:
        """Encode the next samples like `feed`, but return FSQ levels.

        Args:
            chunk, checked: see `feed`.

        Returns:
            The levels of the frames completed by the chunk, uint8 [F, 128] in 0..7.

        Raises:
            AudioError, ArgumentError: see `feed`.
        """
        return self._encode(self._cutter.feed(chunk, checked=checked))

    def flush_levels(self) -> Levels:
        """End the stream like `flush`, but return FSQ levels.

        Returns:
            The levels of the remaining frames, uint8 [F, 128] in 0..7.

        Raises:
            ArgumentError: see `flush`.
        """
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
    """Decode a stream of codes. Each frame is immediately decoded to 9,600 samples.

    Args:
        codec: a loaded Silk codec; see `StreamEncoder`.
        dims_per_token: number of FSQ dimensions per code; see `Tokens.regroup`.
        n_codebooks: number of codebooks in the codes, if the encoder omitted some. None means all.
        first_frame: index of the stream's first frame in the recording.

    `conceal` replaces lost frames. It continues the voice and fades it to silence. The frame after the loss fades in:

        frame t  | lost     | lost     | lost     | lost     | frame t + 5
        1 -------|--.__     |          |          |          |  .---------
                 |     `--__|          |          |          | /
                 |          |`--.___   |          |          ||
               0 |          |       `--|--.._____ |__________||

    Attributes:
        n_frames: number of frames returned so far, including concealed frames.
        n_concealed: number of concealed frames so far.

    Raises:
        ArgumentError: `codec` is not a loaded Silk codec, `dims_per_token` or `n_codebooks` is out of range, or
            `n_codebooks` is combined with a `dims_per_token` other than the default.

    >>> import silkcodec
    >>> codec = silkcodec.load()
    >>> first, lost, third = np.stack(codec.encode(np.zeros(28_800), 24_000).codes, axis=1)
    >>> stream = StreamDecoder(codec)
    >>> stream.feed(first[None]).shape, stream.conceal().shape, stream.feed(third[None]).shape
    ((9600,), (9600,), (9600,))
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
                    f"n_codebooks must be None if dims_per_token is not {DIMS_PER_TOKEN}; got {n_codebooks}."
                )
            self._n_codebooks = codec.check_n_codebooks(n_codebooks)
        self._states = codec.decoder_states(first_frame)
        self._n_lost = FADE_FRAMES  # Consecutive lost frames. With this initial value, losses at the start are silent.
        self.n_frames = 0
        self.n_concealed = 0

    def feed(self, codes: ArrayLike) -> Wave:
        """Decode the next codes.

        Args:
            codes: integers [F, K], e.g. np.stack(tokens.codes, axis=1). F can be 0.

        Returns:
            The samples, float32 [F * 9600] at 24 kHz. The last frame of a recording is padded, so trim the
            decoded recording to n_samples.

        Raises:
            TokensError: the codes are out of range or have the wrong shape.
        """
        codes = check_frames(codes, self._n_codebooks, "Codes in a stream")
        if self._dims_per_token == DIMS_PER_TOKEN:
            levels = self._codec.codes_to_levels(codes)
        else:
            levels = codes_to_levels(codes, self._dims_per_token)
        return self.feed_levels(levels)

    def feed_levels(self, levels: NDArray[np.uint8]) -> Wave:
        """Decode FSQ levels instead of codes. The levels are not checked.

        Args:
            levels: FSQ levels, uint8 [F, 128] in 0..7. F can be 0.

        Returns:
            The samples, float32 [F * 9600] at 24 kHz.
        """
        wave = self._decode(levels)
        if len(levels):
            if self.n_concealed and self._n_lost:
                wave[:RISE_SAMPLES] *= np.linspace(_fade(self._n_lost, 1)[0], 1, RISE_SAMPLES, dtype=np.float32)
            self._n_lost = 0
        self.n_frames += len(levels)
        return wave

    def conceal(self, n_frames: int = 1) -> Wave:
        """Replace lost frames. The returned samples continue the speech and fade to silence within 1.2 s.

        Args:
            n_frames: number of lost frames, at least 0. Two calls with 1 are equivalent to one call with 2.

        Returns:
            The samples, float32 [n_frames * 9600]. They are silent if no frame has been received yet.

        Raises:
            ArgumentError: n_frames is not a non-negative integer.
        """
        if isinstance(n_frames, bool) or not isinstance(n_frames, (int, np.integer)) or n_frames < 0:
            raise ArgumentError(f"n_frames must be a non-negative integer; got {n_frames!r}.")
        n_frames = int(n_frames)  # Products of small NumPy integers overflow.
        wave = np.zeros(n_frames * FRAME_SAMPLES, dtype=np.float32)
        n_audible = min(max(FADE_FRAMES - self._n_lost, 0), n_frames)
        if n_audible:
            audible = self._decode(np.full((n_audible, LATENT_WIDTH), MIDDLE_LEVEL, dtype=np.uint8))
            wave[: len(audible)] = audible * _fade(self._n_lost, len(audible))
        self._n_lost += n_frames
        self.n_frames += n_frames
        self.n_concealed += n_frames
        return wave

    def _decode(self, levels: NDArray[np.uint8]) -> Wave:
        wave = np.empty(len(levels) * FRAME_SAMPLES, dtype=np.float32)
        for start in range(0, len(levels), self._codec.FRAMES_PER_CALL):
            part = levels[start : start + self._codec.FRAMES_PER_CALL]
            at = start * FRAME_SAMPLES
            wave[at : at + len(part) * FRAME_SAMPLES], self._states = self._codec.decode_frames(part, self._states)
        return wave


def _streaming(codec: FrameModel) -> FrameModel:
    """Return `codec`, or raise ArgumentError if it is not a loaded Silk codec."""
    if not hasattr(codec, "encoder_states"):
        raise ArgumentError(f"codec must be a loaded Silk codec, e.g. from silkcodec.load(); got {codec!r}.")
    return codec


def _fade(n_lost: int, n_samples: int) -> Wave:
    """Return the gain of the next `n_samples` samples after `n_lost` lost frames, float32 [n_samples]."""
    samples = n_lost * FRAME_SAMPLES + np.arange(n_samples)
    return (0.5 + 0.5 * np.cos(np.pi * np.minimum(samples / (FADE_FRAMES * FRAME_SAMPLES), 1))).astype(np.float32)
