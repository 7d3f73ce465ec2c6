"""Provide Mimi (Défossez et al. 2024, arXiv 2410.00037), Moshi's codec, using the `transformers` package.

Mimi is causal and has 12.5 frames/s at 24 kHz. The preset is the number of codebooks, 1 to 32, with 2,048 entries each.
Moshi uses `mimi:8`. The first ("semantic") codebook is trained to match the features of a speech model. The other
codebooks do not quantize the residual of the first, so the quantizer is called *split* RVQ.

Audio is padded with silence to whole frames, as in Moshi's code. `transformers` pads in each layer instead. The
difference affects only samples that are cut off after decoding.

Mimi needs 0.4 GB of memory per hour of audio. Its transformer layers process a clip block by block, with a key-value
cache.
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

MODEL = "kyutai/mimi"
PRESETS = tuple(str(k) for k in range(1, 33))
DEFAULT_PRESET = "8"
TRANSFORMER_STEPS = 250  # steps at 25 Hz per call of a transformer


class Mimi(neural.NeuralCodec):
    """Encode and decode with the first N of Mimi's codebooks.

    Args:
        preset: number of codebooks N, "1" to "32". None means "8".
        source: folder or Hugging Face repository with the weights. None means the published weights.

    Raises:
        ArgumentError, WeightsError, MissingExtraError: see `silkcodec.load`.
    """

    presets = PRESETS
    quantizer = "split RVQ"

    def __init__(self, preset: str | None = None, *, source: str | None = None) -> None:
        preset = choose("mimi", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"mimi:{preset}"
        self.source = absolute(source)
        require(self.name, "torch", "transformers", "safetensors")
        from transformers import MimiModel

        weights = find_weights(self.name, source or MODEL)
        self._model: Any = load_transformer(self.name, MimiModel, weights)
        self.codec_id = weights.codec_id("mimi")
        config = self._model.config
        self.sample_rate = int(config.sampling_rate)
        self._hop = math.prod(config.upsampling_ratios)  # hop of the convolutions: 960 samples
        self._latent_stride = int(config.latent_stride)  # transformer steps per frame of codes
        self._frame = self._hop * self._latent_stride  # 1,920 samples
        n = int(config.num_quantizers)
        weights.check("num_quantizers", max(n, int(preset)), self.name)
        self.set_codebooks([int(config.codebook_size)] * n, [self.sample_rate / self._frame] * n, int(preset))
        self.latency_s = self._frame / self.sample_rate

    def count_codes(self, n_samples: int) -> tuple[int, ...]:
        return (math.ceil(n_samples / self._frame),) * len(self.all_codebook_sizes)

    def encode_wave(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        import torch

        encoder, n_frames = self._model.encoder, math.ceil(len(wave) / self._frame)
        padded = torch.nn.functional.pad(wave, (0, n_frames * self._frame - len(wave)))[None, None]
        left, _ = seanet_encoder(self._model.config).frames(self._hop)
        features = []
        for part in pieces(n_frames * self._latent_stride, self.piece_frames(self._hop), left, 0):
            chunk = padded[..., part.left * self._hop : part.right * self._hop]
            features.append(encoder.encoder_seanet(chunk)[..., part.keep()])
        steps = _transform(encoder.encoder_transformer, torch.cat(features, dim=-1))
        codes = self._model.quantizer.encode(encoder.downsample(steps), k)  # [k, 1, F]
        return list(codes[:, 0])

    def decode_codes(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        import torch

        decoder = self._model.decoder
        latent = self._model.quantizer.decode(torch.stack(codes)[None])
        steps = _transform(decoder.decoder_transformer, decoder.upsample(latent))
        left, _ = seanet_decoder(self._model.config).frames(self._hop)
        waves = []
        for part in pieces(steps.shape[-1], self.piece_frames(self._hop), left, 0):
            waves.append(decoder.decoder_seanet(steps[..., part.left : part.right])[0, 0, part.keep(self._hop)])
        return torch.cat(waves)


def _transform(transformer: Any, features: torch.Tensor) -> torch.Tensor:
    """Apply a causal transformer to features [1, C, S], one block of time steps at a time."""
    import torch

    cache, parts = None, []
    for start in range(0, features.shape[-1], TRANSFORMER_STEPS):
        chunk = features[..., start : start + TRANSFORMER_STEPS].transpose(1, 2)
        output = transformer(chunk, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        parts.append(output.last_hidden_state)
    return torch.cat(parts, dim=1).transpose(1, 2)
