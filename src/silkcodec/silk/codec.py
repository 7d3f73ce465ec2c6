"""Encode and decode whole recordings.

samples [T] -> StreamEncoder -> 19 codes per frame -> Tokens
Tokens -> levels [F, 128] -> StreamDecoder -> samples [F * 9600] -> cut to n_samples
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.bare_codes import as_tokens, check_batch
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.parallel.rebuilt import absolute, recipe
from silkcodec.silk.framing import FrameCutter
from silkcodec.silk.model import FrameModel, Wave
from silkcodec.silk.stream import StreamDecoder, StreamEncoder
from silkcodec.spec import SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, check_lengths


class Silk(FrameModel):
    """Encode speech to 19 tokens per 400 ms frame, and decode the tokens.

    Args:
        folder: weights folder with config.json, encoder.onnx and decoder.onnx. None loads the weights that ship with
            the package.
        threads: number of CPU threads per call. None uses one thread per available core, at most `MAX_THREADS`.
        provider: ONNX Runtime provider, "cpu" or "cuda".

    Attributes:
        name, sample_rate, codebook_sizes, frame_rates: see `Codec`.
        codec_id: codec name and hash of the weights, as stored in the tokens, e.g. "silk@0a1b2c3d4e5f".
        quantizer, latency_s, batch_exact: see `Codec`.

    Raises:
        WeightsError: the model files are missing or damaged, or have an unsupported format.
        ProviderError: the provider is not available on this machine.
        ArgumentError: threads is below 1.
    """

    quantizer = "FSQ"
    batch_exact = True

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        provider: str = "cpu",
    ) -> None:
        super().__init__(folder, threads=threads, provider=provider)
        self._made_from = {"folder": absolute(folder), "threads": threads, "provider": provider}

    def __reduce__(self) -> Any:
        """Pickle only the arguments of the constructor."""
        return recipe(self, **self._made_from)

    def __repr__(self) -> str:
        return f"Silk({self.codec_id!r}, threads={self.threads}, provider={self.provider!r})"

    def encode(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> Tokens:
        """Encode a waveform.

        Args:
            wave: samples [T], [T, C] or [C, T]; see `Codec.encode`.
            sample_rate: sample rate of `wave` in Hz. The waveform is resampled to 24 kHz.
            n_codebooks: number of codebooks to use, 1 to 19. None uses all. Silk was not trained with missing
                codebooks, so quality drops quickly if some are omitted.

        Returns:
            The tokens.

        Raises:
            AudioError: the waveform is empty, contains NaN or infinity, or has an unsupported shape or type.
            ArgumentError: n_codebooks is not between 1 and 19.
        """
        stream = StreamEncoder(self, n_codebooks=n_codebooks)
        codes = np.concatenate([stream.feed(audio.as_wave(wave, sample_rate), checked=True), stream.flush()])
        return self.tokens(codes, stream.n_samples)

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Decode tokens to a waveform.

        Args:
            tokens: Tokens in any grouping (see `Tokens.regroup`), or an integer array of codes [K, F].
            n_samples: length of the result in samples, if `tokens` is an array. None means 9,600 per frame.
            n_codebooks: number of codebooks K, if `tokens` is an array. None means 19.

        Returns:
            The samples, float32 [n_samples] at 24 kHz.

        Raises:
            TokensError: the tokens come from another codec or from incompatible weights, or the codes are out of range
                or have an unsupported shape.
            ArgumentError: n_codebooks is out of range, or n_samples or n_codebooks is passed together with Tokens.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        levels = self._levels(tokens)
        return StreamDecoder(self).feed_levels(levels)[: tokens.n_samples]

    def latents(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE) -> NDArray[np.float32]:
        """Compute the latents of a waveform, i.e. the output of the encoder before rounding to levels.

        Args:
            wave, sample_rate: see `encode`.

        Returns:
            The latents, float32 [F, 128]. The levels are `rint(latents) + 4`.

        Raises:
            AudioError: see `encode`.
        """
        cutter = FrameCutter(self.lookahead_samples)
        frames = [*cutter.feed(audio.as_wave(wave, sample_rate), checked=True), *cutter.flush()]
        states, rows = self.encoder_states(prime=cutter.prime), []
        for start in range(0, len(frames), self.FRAMES_PER_CALL):
            part = np.concatenate(frames[start : start + self.FRAMES_PER_CALL])
            latent, states = self.call("latent", part[None], states)
            rows.append(latent[0])
        return np.concatenate(rows)

    def encode_batch(
        self,
        waves: Sequence[ArrayLike],
        sample_rate: int = SILK_SAMPLE_RATE,
        *,
        n_codebooks: int | None = None,
    ) -> list[Tokens]:
        """Encode many clips in parallel threads. The results are bit-identical to those of `encode`.

        Args:
            waves: list of waveforms; see `encode`. They can have different lengths.
            sample_rate, n_codebooks: see `encode`.

        Returns:
            The tokens of each clip.

        Raises:
            AudioError, ArgumentError: see `encode`.
        """
        self.prepare(encode=True)
        return self._map(lambda wave: self.encode(wave, sample_rate, n_codebooks=n_codebooks), waves)

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """Decode many clips in parallel threads. The results are bit-identical to those of `decode`.

        Args:
            many: tokens of each clip; see `decode`.

        Returns:
            The samples of each clip, float32 [n_samples] at 24 kHz.

        Raises:
            TokensError: see `decode`.
        """
        self.prepare(decode=True)
        return self._map(self.decode, many)

    def _map(self, call: Any, items: Sequence[Any]) -> list[Any]:
        check_batch(items)
        with ThreadPoolExecutor(min(self.threads, max(1, len(items)))) as pool:
            return list(pool.map(call, items))

    def tokens(self, codes: ArrayLike, n_samples: int) -> Tokens:
        """Convert the codes of an encoded stream to Tokens.

        Args:
            codes: integers [F, K] from a stream. K can be less than 19.
            n_samples: length of the recording in samples at 24 kHz; see `StreamEncoder.n_samples`.

        Returns:
            The tokens.

        Raises:
            TokensError: the codes are invalid, or the number of frames does not match n_samples.
        """
        columns = np.asarray(codes).T
        k = len(columns)
        sizes, rates = self.codebook_sizes[:k], self.frame_rates[:k]
        tokens = Tokens(tuple(columns), sizes, rates, SILK_SAMPLE_RATE, n_samples, self.codec_id)
        check_lengths(tokens.codes, tokens.n_samples)
        return tokens

    def _levels(self, tokens: Tokens) -> NDArray[np.uint8]:
        self.check_codec_id(tokens.codec)
        if tokens.dims_per_token is not None:
            return tokens.to_levels()
        k = len(tokens.codes)
        if tokens.codebook_sizes != self.codebook_sizes[:k] or tokens.frame_rates != self.frame_rates[:k]:
            raise TokensError(f"Silk tokens must contain all codebooks, or only the first ones; got {tokens!r}.")
        check_lengths(tokens.codes, tokens.n_samples)
        return self.codes_to_levels(np.stack(tokens.codes, axis=1))


def load(preset: str | None = None, *, threads: int | None = None, provider: str = "cpu") -> Silk:
    """Load Silk with the weights that ship with the package.

    Args:
        preset: must be None, because Silk has no presets.
        threads: number of CPU threads per call. None chooses the number automatically.
        provider: ONNX Runtime provider, "cpu" or "cuda".

    Returns:
        The loaded codec.

    Raises:
        ArgumentError: a preset is given, or threads is below 1.
        ProviderError: the provider is not available on this machine.
    """
    if preset is not None:
        raise ArgumentError(
            f"The codec 'silk' has no presets; got '{preset}'. To use other weights, pass a weights folder."
        )
    return Silk(threads=threads, provider=provider)
