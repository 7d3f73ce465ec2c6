"""Provide EnCodec (Défossez et al. 2022, arXiv 2210.13438), using the `transformers` package.

There are two models:

- **24 kHz**: mono and causal, with 75 frames/s and 32 residual codebooks of 1,024 entries. A preset uses the first 2 to
  32 codebooks, e.g. `encodec:6k` uses 8.
- **48 kHz**: stereo, e.g. `encodec:stereo-6k`. Mono input is copied to both channels, and the two decoded channels are
  averaged.

The 48 kHz model splits its input into chunks of 1 s that overlap by 1 %, and divides each chunk by its RMS level, the
*scale*. The codes do not include the scale. This module therefore encodes it as an additional first codebook with one
code per chunk. The 31,744 entries of this codebook are the non-negative finite float16 numbers. A chunk has 150 frames
and starts 0.99 s after the previous chunk, so the frame rate is 151.5 Hz instead of the nominal 150 Hz.

The 24 kHz model needs 0.6 GB of memory per hour of audio, because its LSTMs process the whole clip at once. The 48 kHz
model processes one chunk at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from silkcodec.baselines.presets import choose
from silkcodec.parallel.rebuilt import absolute
from silkcodec_torch.baselines import neural
from silkcodec_torch.baselines.receptive_field import pieces, seanet_decoder, seanet_encoder
from silkcodec_torch.baselines.weights import find_weights, load_transformer, require

if TYPE_CHECKING:
    import torch

MODELS = {False: "facebook/encodec_24khz", True: "facebook/encodec_48khz"}  # The key is True for the stereo model.
CODEBOOKS = {  # number of codebooks of each preset, without the codebook of the scale
    "1.5k": 2,
    "3k": 4,
    "6k": 8,
    "12k": 16,
    "24k": 32,
    "stereo-3k": 2,
    "stereo-6k": 4,
    "stereo-12k": 8,
    "stereo-24k": 16,
}
PRESETS = tuple(CODEBOOKS)
DEFAULT_PRESET = "6k"
N_SCALES = 0x7C00  # number of float16 bit patterns below infinity: 0 and the positive numbers, in ascending order


class Encodec(neural.NeuralCodec):
    """Encode and decode with EnCodec at one of its bit rates.

    Args:
        preset: one of `PRESETS`, e.g. "stereo-6k". None means "6k".
        source: folder or Hugging Face repository with the weights. None means the published weights.

    Raises:
        ArgumentError, WeightsError, MissingExtraError: see `silkcodec.load`.
    """

    presets = PRESETS

    def __init__(self, preset: str | None = None, *, source: str | None = None) -> None:
        preset = choose("encodec", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"encodec:{preset}"
        self._stereo = preset.startswith("stereo")
        self.source = absolute(source)
        require(self.name, "torch", "transformers", "safetensors")
        from transformers import EncodecModel

        weights = find_weights(self.name, source or MODELS[self._stereo])
        weights.check("audio_channels", 1 + self._stereo, self.name)
        weights.check("sampling_rate", 48_000 if self._stereo else 24_000, self.name)
        self._model: Any = load_transformer(self.name, EncodecModel, weights)
        self.codec_id = weights.codec_id(MODELS[self._stereo].split("/")[1])
        config = self._model.config
        self.sample_rate = int(config.sampling_rate)
        self._hop = int(config.hop_length)
        n, sizes = CODEBOOKS[preset], [int(config.codebook_size)] * int(config.num_quantizers)
        if self._stereo:
            self._chunk, self._stride = int(config.chunk_length), int(config.chunk_stride)
            self._chunk_frames = self._chunk // self._hop
            chunk_rate = self.sample_rate / self._stride  # Hz
            rates = [chunk_rate, *[chunk_rate * self._chunk_frames] * len(sizes)]
            self.set_codebooks([N_SCALES, *sizes], rates, 1 + n)
            self.latency_s = self._chunk / self.sample_rate
        else:
            self.set_codebooks(sizes, [self.sample_rate / self._hop] * len(sizes), n)
            self.latency_s = self._hop / self.sample_rate

    def count_codes(self, n_samples: int) -> tuple[int, ...]:
        if not self._stereo:
            return (math.ceil(n_samples / self._hop),) * len(self.all_codebook_sizes)
        chunks = self._n_chunks(n_samples)
        return (chunks, *(chunks * self._chunk_frames,) * (len(self.all_codebook_sizes) - 1))

    def encode_wave(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        return self._encode_stereo(wave, k) if self._stereo else self._encode_mono(wave, k)

    def decode_codes(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        return self._decode_stereo(codes, n_samples) if self._stereo else self._decode_mono(codes)

    # --- 24 kHz: The LSTM processes the whole clip, and all other layers process it in pieces.

    def _encode_mono(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        import torch

        convolutions, lstm, last = _around_lstm(self._model.encoder.layers)
        n_frames, piece = math.ceil(len(wave) / self._hop), self.piece_frames(self._hop)
        left, _ = seanet_encoder(self._model.config).frames(self._hop)
        features = []
        for part in pieces(n_frames, piece, left, 0):
            chunk = wave[part.left * self._hop : part.right * self._hop]
            features.append(_run(convolutions, chunk[None, None])[..., part.keep()])
        whole = lstm(torch.cat(features, dim=-1))  # [1, C, F]
        codes = []
        for part in pieces(n_frames, piece, self._model.config.last_kernel_size - 1, 0):
            latent = _run(last, whole[..., part.left : part.right])
            codes.append(self._quantize(latent, k)[:, part.keep()])
        return list(torch.cat(codes, dim=-1))

    def _decode_mono(self, codes: list[torch.Tensor]) -> torch.Tensor:
        import torch

        first, lstm, convolutions = _around_lstm(self._model.decoder.layers)
        whole = lstm(_run(first, self._latent(codes)))  # [1, C, F]
        left, _ = seanet_decoder(self._model.config).frames(self._hop)
        waves = []
        for part in pieces(whole.shape[-1], self.piece_frames(self._hop), left, 0):
            waves.append(_run(convolutions, whole[..., part.left : part.right])[0, 0, part.keep(self._hop)])
        return torch.cat(waves)

    # --- 48 kHz: chunks of 1 s that overlap by 10 ms

    def _n_chunks(self, n_samples: int) -> int:
        """Return the number of chunks that cover `n_samples` samples."""
        return 1 + max(0, math.ceil((n_samples - self._chunk) / self._stride))

    def _encode_stereo(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        import torch

        scales, codes = [], []
        for index in range(self._n_chunks(len(wave))):
            chunk = wave[index * self._stride :][: self._chunk]
            chunk = torch.nn.functional.pad(chunk, (0, self._chunk - len(chunk)))
            scale = chunk.pow(2).mean().sqrt() + 1e-8  # as in the published code; 1e-8 avoids division by zero
            scales.append(scale)
            latent = _run(self._model.encoder.layers, (chunk / scale).expand(1, 2, -1))
            codes.append(self._quantize(latent, k - 1))
        patterns = torch.stack(scales).half().view(torch.int16).long()  # the bits of a float16
        return [patterns, *torch.cat(codes, dim=-1)]

    def _decode_stereo(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        import torch

        scales = codes[0].to(torch.int16).view(torch.float16).float()
        latent = self._latent(codes[1:], n_frames=len(scales) * self._chunk_frames)
        overlap = self._chunk - self._stride
        fade = torch.arange(1, overlap + 1) / (overlap + 1)  # linear, as in the published code
        output = torch.zeros((len(scales) - 1) * self._stride + self._chunk)
        for index, scale in enumerate(scales):
            frames = latent[..., index * self._chunk_frames : (index + 1) * self._chunk_frames]
            chunk = scale * _run(self._model.decoder.layers, frames)[0].mean(dim=0)  # stereo -> mono
            if index > 0:
                chunk[:overlap] *= fade
            if index < len(scales) - 1:
                chunk[-overlap:] *= fade.flip(0)
            output[index * self._stride :][: self._chunk] += chunk
        return output

    # --- both models

    def _quantize(self, latent: torch.Tensor, k: int) -> torch.Tensor:
        """Quantize a latent [1, D, F] with the first k codebooks. Return the codes, int64 [k, F]."""
        import torch

        codes, residual = [], latent
        for layer in self._model.quantizer.layers[:k]:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return torch.cat(codes) if codes else torch.zeros((0, latent.shape[-1]), dtype=torch.int64)

    def _latent(self, codes: list[torch.Tensor], n_frames: int | None = None) -> torch.Tensor:
        """Return the latent [1, D, F] for a list of codes, one tensor [F] per codebook.

        If the list is empty, return `n_frames` frames of zeros.
        """
        import torch

        if not codes:
            assert n_frames is not None
            return torch.zeros((1, self._model.config.codebook_dim, n_frames))
        latent: torch.Tensor = self._model.quantizer.decode(torch.stack(codes)[:, None])
        return latent


def _run(layers: Any, values: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        values = layer(values)
    return values


def _around_lstm(layers: Any) -> tuple[list[Any], Any, list[Any]]:
    """Split a list of layers into those before the LSTM, the LSTM, and those after it."""
    at = next(i for i, layer in enumerate(layers) if type(layer).__name__ == "EncodecLSTM")
    return list(layers[:at]), layers[at], list(layers[at + 1 :])
