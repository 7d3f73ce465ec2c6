"""Encode and decode whole recordings with Silk, using the streams of `stream.py`.

wave [T] -> StreamEncoder -> 19 codes per frame -> Tokens
Tokens -> levels [F, 128] -> StreamDecoder -> wave [F * 9600] -> cut to n_samples
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
from silkcodec.tokens import Tokens, n_frames


class Silk(FrameModel):
    """Encode and decode speech with Silk: 19 tokens every 400 ms.

    Args:
        folder: folder of the weights: config.json, encoder.onnx, decoder.onnx; None: the embedded weights.
        threads: CPU threads of one call; None uses up to `MAX_THREADS` of the available cores.
        provider: "cpu" or "cuda". Silk never falls back to another provider.

    Attributes:
        name, sample_rate, codebook_sizes, frame_rates: see `Codec`.
        codec_id: name and hash of the weights, as stored in the tokens: "silk@0a1b2c3d4e5f".
        quantizer, latency_s, batch_exact: see `Codec`; the latency is a frame and the look-ahead.

    Raises:
        WeightsError: files are missing, damaged or of a newer format. The graphs themselves are read on first use,
            so encoding does not load the decoder.
        ProviderError: the provider is not available on this machine. ArgumentError: threads is below 1.
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
        """Pickle the constructor arguments; the receiving process loads its own model. See `rebuilt.py`."""
        return recipe(self, **self._made_from)

    def __repr__(self) -> str:
        return f"Silk({self.codec_id!r}, threads={self.threads}, provider={self.provider!r})"

    def encode(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> Tokens:
        """Return the tokens of a wave; see `Codec.encode`.

        The tokens store the length of the wave at 24 kHz, which is exact if the wave has that rate.

        Args:
            wave: [T], [T, C] or [C, T].
            sample_rate: sample rate of `wave`, Hz.
            n_codebooks: keep only the first n_codebooks of the 19 groups. The groups are dimensions, not refinements.
                The model was not trained with missing groups, so quality drops quickly.

        Raises:
            AudioError: no samples, NaN or Inf, or not a wave. ArgumentError: n_codebooks is outside 1..19.
        """
        stream = StreamEncoder(self, n_codebooks=n_codebooks)
        codes = np.concatenate([stream.feed(audio.as_wave(wave, sample_rate)), stream.flush()])
        return self.tokens(codes, stream.n_samples)

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Return the wave of these tokens, float32 [n_samples] at 24 kHz. Regrouped and partial tokens are accepted.

        Args:
            tokens: the result of `encode`; or bare codes, int [K, F], one row per codebook, as in `Tokens.codes`.
            n_samples: number of samples of the wave, for bare codes only; None: 9,600 per frame.
            n_codebooks: K, for bare codes only; None: 19.

        Raises:
            TokensError: the tokens are from another codec or other weights; codes are of another shape or out of range.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        levels = self._levels(tokens)
        return StreamDecoder(self).feed_levels(levels)[: tokens.n_samples]

    def latents(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE) -> NDArray[np.float32]:
        """Return the latents before FSQ rounding, float32 [F, 128]: `rint(latents) + 4` are the levels.

        The values are bounded slightly beyond -4..3. They serve to inspect the model; `decode` does not use them.
        Raises AudioError, like `encode`.
        """
        cutter = FrameCutter(self.lookahead_samples)
        frames = [*cutter.feed(audio.as_wave(wave, sample_rate)), *cutter.flush()]
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
        """Return the tokens of many clips of any lengths, bit-identical to the results of `encode`.

        Each clip is encoded in its own thread. The clips are not padded into one array, so the tokens of a clip
        cannot depend on the other clips.
        """
        self.prepare(encode=True)
        return self._map(lambda wave: self.encode(wave, sample_rate, n_codebooks=n_codebooks), waves)

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """Return the waves of many clips, bit-identical to the results of `decode`."""
        self.prepare(decode=True)
        return self._map(self.decode, many)

    def _map(self, call: Any, items: Sequence[Any]) -> list[Any]:
        check_batch(items)
        with ThreadPoolExecutor(min(self.threads, max(1, len(items)))) as pool:
            return list(pool.map(call, items))

    def tokens(self, codes: ArrayLike, n_samples: int) -> Tokens:
        """Return the codes of a stream, int [F, K], as Tokens of this model. Raises TokensError."""
        columns = np.asarray(codes).T
        k = len(columns)
        sizes, rates = self.codebook_sizes[:k], self.frame_rates[:k]
        tokens = Tokens(tuple(columns), sizes, rates, SILK_SAMPLE_RATE, n_samples, self.codec_id)
        self._check_lengths(tokens)
        return tokens

    def _levels(self, tokens: Tokens) -> NDArray[np.uint8]:
        self.check_codec_id(tokens.codec)
        if tokens.dims_per_token is not None:
            return tokens.to_levels().astype(np.uint8)
        k = len(tokens.codes)
        if tokens.codebook_sizes != self.codebook_sizes[:k] or tokens.frame_rates != self.frame_rates[:k]:
            raise TokensError(f"Silk tokens must use the first K of the 19 codebooks; got {tokens!r}.")
        self._check_lengths(tokens)
        return self.codes_to_levels(np.stack(tokens.codes, axis=1))

    def _check_lengths(self, tokens: Tokens) -> None:
        """Check the number of frames against the length of the wave; Tokens check it only with all 19 groups."""
        lengths = {len(codes) for codes in tokens.codes}
        if lengths != {n_frames(tokens.n_samples)}:
            wanted, got = n_frames(tokens.n_samples), ", ".join(map(str, sorted(lengths)))
            raise TokensError(f"{tokens.n_samples} samples need {wanted} Silk frames in every codebook; got {got}.")


def load(preset: str | None = None, *, threads: int | None = None, provider: str = "cpu") -> Silk:
    """Return the embedded model. This is the factory in the registry. Raises ArgumentError for a preset."""
    if preset is not None:
        raise ArgumentError(f"The codec 'silk' has no presets; got '{preset}'. For other weights, pass their folder.")
    return Silk(threads=threads, provider=provider)
