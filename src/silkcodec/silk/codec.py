"""Silk, the default codec: whole recordings, through the streams of `stream.py`.

wave [T] -> StreamEncoder -> 19 codes a frame -> Tokens
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
    """Silk: 19 tokens every 400 ms.

    Args:
        folder: of the weights: config.json, encoder.onnx, decoder.onnx; None: the embedded ones.
        threads: CPU threads of one call; None takes up to `MAX_THREADS` of the machine's.
        provider: "cpu" or "cuda". Never is another one taken in its place.

    Attributes:
        name, sample_rate, codebook_sizes, frame_rates: see `Codec`.
        codec_id: name and hash of the weights, as its tokens carry it: "silk@0a1b2c3d4e5f".
        quantizer, latency_s, batch_exact: as the baselines have them; the latency is a frame and the look-ahead.

    Raises:
        WeightsError: files that are missing, damaged or of a newer format. The graphs themselves are read
            when they are first needed: encoding does not wait for the decoder.
        ProviderError: no such provider on this machine. ArgumentError: threads below 1.
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
        """Send this codec to another process as its arguments; there it loads its own model. See `rebuilt.py`."""
        return recipe(self, **self._made_from)

    def __repr__(self) -> str:
        return f"Silk({self.codec_id!r}, threads={self.threads}, provider={self.provider!r})"

    def encode(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave; see `Codec.encode`.

        The length that the tokens keep is that of the wave at 24 kHz: exact for a 24 kHz wave.

        Args:
            wave: [T], [T, C] or [C, T].
            sample_rate: of `wave`, Hz.
            n_codebooks: keep only the first of 19 groups. They are groups of dimensions, not refinements:
                the model was not trained to do without some, and quality falls quickly.

        Raises:
            AudioError: no samples, NaN or Inf, not a wave. ArgumentError: n_codebooks outside 1..19.
        """
        stream = StreamEncoder(self, n_codebooks=n_codebooks)
        codes = np.concatenate([stream.feed(audio.as_wave(wave, sample_rate)), stream.flush()])
        return self.tokens(codes, stream.n_samples)

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Return the wave of these tokens, regrouped or partial ones too: float32 [n_samples] at 24 kHz.

        Args:
            tokens: what `encode` returned; or bare codes, int [K, F], one row per codebook, as `Tokens.codes`.
            n_samples: of the wave, of bare codes only; None: all that the frames hold, 9,600 each.
            n_codebooks: K, of bare codes only; None: 19.

        Raises:
            TokensError: the tokens of another codec, or of other weights; codes of another shape or out of range.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        levels = self._levels(tokens)
        return StreamDecoder(self).feed_levels(levels)[: tokens.n_samples]

    def latents(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE) -> NDArray[np.float32]:
        """What FSQ rounds, float32 [F, 128]: bounded to a little beyond -4..3; `rint(latents) + 4` are the levels.

        For looking into the model; nothing of a recording is decoded from it. Raises AudioError, as `encode`.
        """
        cutter = FrameCutter(self.lookahead_samples)
        frames = [*cutter.feed(audio.as_wave(wave, sample_rate)), *cutter.flush()]
        states, rows = self.encoder_states(prime=cutter.prime), []
        for frame in frames:
            latent, states = self.call("latent", frame[None], states)
            rows.append(latent[0])
        return np.concatenate(rows)

    def encode_batch(
        self,
        waves: Sequence[ArrayLike],
        sample_rate: int = SILK_SAMPLE_RATE,
        *,
        n_codebooks: int | None = None,
    ) -> list[Tokens]:
        """Tokens of many clips, of any lengths: what `encode` makes of each, to the bit.

        The clips are encoded side by side, each in a thread of its own, not padded into one array: so a
        clip's tokens cannot depend on its neighbours.
        """
        self.prepare(encode=True)
        return self._map(lambda wave: self.encode(wave, sample_rate, n_codebooks=n_codebooks), waves)

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """The waves of many clips: what `decode` makes of each, to the bit."""
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
            raise TokensError(f"Tokens of Silk must be the first of its 19 codebooks; got {tokens!r}.")
        self._check_lengths(tokens)
        return self.codes_to_levels(np.stack(tokens.codes, axis=1))

    def _check_lengths(self, tokens: Tokens) -> None:
        """Hold the number of frames to the length of the wave: Tokens do so only where all 19 groups are there."""
        lengths = {len(codes) for codes in tokens.codes}
        if lengths != {n_frames(tokens.n_samples)}:
            wanted, got = n_frames(tokens.n_samples), ", ".join(map(str, sorted(lengths)))
            raise TokensError(f"{tokens.n_samples} samples make {wanted} Silk frames in every codebook; got {got}.")


def load(preset: str | None = None, *, threads: int | None = None, provider: str = "cpu") -> Silk:
    """The embedded model: the factory that the registry names. Raises ArgumentError for a preset."""
    if preset is not None:
        raise ArgumentError(f"The codec 'silk' has no presets; got '{preset}'; for other weights name a folder.")
    return Silk(threads=threads, provider=provider)
