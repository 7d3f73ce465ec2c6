"""Provide DAC, the Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546), using the `transformers` package.

There are three models, each with one preset. All codebooks have 1,024 entries.

- `dac:16k`: 12 codebooks, 50 frames/s.
- `dac:24k`: 32 codebooks, 75 frames/s.
- `dac:44k`: 9 codebooks, 86.13 frames/s (44,100 / 512).

The models are not causal, but they consist only of convolutions, so their look-ahead is finite. Long clips are
processed in pieces to limit memory use.

The 16 and 24 kHz decoders return 8 samples fewer than the frames cover. If this would cut off the end of a clip, one
more frame is encoded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from silkcodec.baselines.presets import choose
from silkcodec.parallel.rebuilt import absolute
from silkcodec_torch.baselines import neural
from silkcodec_torch.baselines.receptive_field import pieces, snake_decoder, snake_encoder
from silkcodec_torch.baselines.weights import find_weights, load_transformer, require

if TYPE_CHECKING:
    import torch

MODELS = {"16k": "descript/dac_16khz", "24k": "descript/dac_24khz", "44k": "descript/dac_44khz"}
RATES = {"16k": 16_000, "24k": 24_000, "44k": 44_100}  # Hz
PRESETS = tuple(MODELS)
DEFAULT_PRESET = "44k"


class Dac(neural.NeuralCodec):
    """Encode and decode with one of the DAC models. Pass `n_codebooks` to `encode` to use fewer codebooks.

    Args:
        preset: one of `PRESETS`. None means "44k".
        source: folder or Hugging Face repository with the weights. None means the published weights.

    Raises:
        ArgumentError, WeightsError, MissingExtraError: see `silkcodec.load`.
    """

    presets = PRESETS

    def __init__(self, preset: str | None = None, *, source: str | None = None) -> None:
        preset = choose("dac", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"dac:{preset}"
        self.source = absolute(source)
        require(self.name, "torch", "transformers", "safetensors")
        from transformers import DacModel

        weights = find_weights(self.name, source or MODELS[preset])
        weights.check("sampling_rate", RATES[preset], self.name)
        self._model: Any = load_transformer(self.name, DacModel, weights)
        self.codec_id = weights.codec_id(MODELS[preset].split("/")[1])
        config = self._model.config
        self.sample_rate = int(config.sampling_rate)
        self._hop = int(config.hop_length)
        n = int(config.n_codebooks)
        self.set_codebooks([int(config.codebook_size)] * n, [self.sample_rate / self._hop] * n, n)
        encoder, decoder = snake_encoder(config.downsampling_ratios, 3), snake_decoder(config.upsampling_ratios)
        self._halos = encoder.frames(self._hop), decoder.frames(self._hop)
        self.delay_samples = _shortfall(config)
        self.latency_s = (encoder.right + decoder.right + 1) / self.sample_rate

    def _n_frames(self, n_samples: int) -> int:
        return math.ceil((n_samples + self.delay_samples) / self._hop)

    def count_codes(self, n_samples: int) -> tuple[int, ...]:
        return (self._n_frames(n_samples),) * len(self.all_codebook_sizes)

    def encode_wave(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        import torch

        n_frames = self._n_frames(len(wave))
        padded = torch.nn.functional.pad(wave, (0, n_frames * self._hop - len(wave)))[None, None]
        codes = []
        for part in pieces(n_frames, self.piece_frames(self._hop), *self._halos[0]):
            chunk = padded[..., part.left * self._hop : part.right * self._hop]
            codes.append(self._model.encode(chunk, n_quantizers=k).audio_codes[0, :, part.keep()])
        return list(torch.cat(codes, dim=-1))

    def decode_codes(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        import torch

        stacked, waves = torch.stack(codes)[None], []  # [1, k, F]
        for part in pieces(stacked.shape[-1], self.piece_frames(self._hop), *self._halos[1]):
            wave = self._model.decode(audio_codes=stacked[..., part.left : part.right]).audio_values[0]
            waves.append(wave[part.keep(self._hop)])
        return torch.cat(waves)


def _shortfall(config: Any) -> int:
    """Return the number of samples by which the decoder's output is shorter than the frames it decodes.

    Each upsampling layer with an odd stride drops one value.
    """
    length = 0  # length of the output for zero frames, which is negative if samples are lost
    for stride in config.upsampling_ratios:
        length = length * stride - (stride % 2)
    return -length
