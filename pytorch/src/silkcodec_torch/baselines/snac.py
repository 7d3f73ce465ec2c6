"""Provide the multi-scale codec SNAC (Siuzdak et al. 2024, arXiv 2410.14411), using the `snac` package.

SNAC has residual codebooks of 4,096 entries at different rates, ordered from coarse to fine:

- `snac:24k`, for speech: three codebooks at 11.7, 23.4 and 46.9 Hz (82.0 tokens/s).
- `snac:32k`, for music: four codebooks at 10.4 to 83.3 Hz.
- `snac:44k`, for music: four codebooks at 14.4 to 114.8 Hz.

**Noise.** SNAC's published decoder adds random noise. This module seeds the noise with the layer and the position in
the clip, so the same tokens always decode to the same audio. PyTorch's global generator is not used.

A clip is padded with silence to a multiple of 2,048 samples (85 ms) for `snac:24k`, and of 12,288 samples for
`snac:32k` (384 ms) and `snac:44k` (279 ms). Long clips are processed in pieces to limit memory use.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from silkcodec.baselines.presets import choose
from silkcodec.errors import WeightsError
from silkcodec.parallel.rebuilt import absolute
from silkcodec_torch.baselines import neural
from silkcodec_torch.baselines.receptive_field import pieces, snake_decoder, snake_encoder
from silkcodec_torch.baselines.weights import SAFETENSORS, TORCH_FILE, Weights, find_weights, load_state, require

if TYPE_CHECKING:
    import torch

MODELS = {"24k": "hubertsiuzdak/snac_24khz", "32k": "hubertsiuzdak/snac_32khz", "44k": "hubertsiuzdak/snac_44khz"}
RATES = {"24k": 24_000, "32k": 32_000, "44k": 44_100}  # Hz
PRESETS = tuple(MODELS)
DEFAULT_PRESET = "24k"
NOISE_BLOCK = 1 << 16  # samples of noise per seed


class Snac(neural.NeuralCodec):
    """Encode and decode audio with one of the SNAC models. Pass `n_codebooks` to `encode` to use fewer codebooks.

    Args:
        preset: "24k", "32k" or "44k". None means "24k".
        source: folder or Hugging Face repository that contains the weights. None means the published weights.

    Raises:
        ArgumentError, WeightsError, MissingExtraError: see `silkcodec.load`.
    """

    presets = PRESETS
    quantizer = "multi-scale RVQ"

    def __init__(self, preset: str | None = None, *, source: str | None = None) -> None:
        preset = choose("snac", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"snac:{preset}"
        self.source = absolute(source)
        require(self.name, "torch", "snac", "safetensors", "huggingface_hub")

        files = (SAFETENSORS, TORCH_FILE)
        weights = find_weights(self.name, source or MODELS[preset], files)
        weights.check("sampling_rate", RATES[preset], self.name)
        self._model: Any = _load(self.name, weights)
        self.codec_id = weights.codec_id(MODELS[preset].split("/")[1])
        self.sample_rate = int(self._model.sampling_rate)
        self._hop = int(self._model.hop_length)
        self._strides = [int(stride) for stride in self._model.vq_strides]
        window = int(self._model.attn_window_size or 1)
        self._window = math.lcm(self._strides[0], window)  # number of frames in a window
        sizes = [int(self._model.codebook_size)] * len(self._strides)
        rates = [self.sample_rate / (self._hop * stride) for stride in self._strides]
        self.set_codebooks(sizes, rates, len(sizes))

        encoder = snake_encoder(self._model.encoder_rates, 7, window)
        decoder = snake_decoder(self._model.decoder_rates, window)
        samples = self._hop * self._window
        self._halos = encoder.frames(samples), decoder.frames(samples)  # in windows
        coarse = (self._strides[0] - 1) * self._hop  # samples that a coarse code covers in addition to one frame
        self.latency_s = (encoder.right + coarse + decoder.right + 1) / self.sample_rate

    def _n_windows(self, n_samples: int) -> int:
        return math.ceil(n_samples / (self._hop * self._window))

    def count_codes(self, n_samples: int) -> tuple[int, ...]:
        return tuple(self._n_windows(n_samples) * self._window // stride for stride in self._strides)

    def encode_wave(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        import torch

        samples, n_windows = self._hop * self._window, self._n_windows(len(wave))
        padded = torch.nn.functional.pad(wave, (0, n_windows * samples - len(wave)))[None, None]
        codes: list[list[torch.Tensor]] = [[] for _ in range(k)]
        for part in pieces(n_windows, self.piece_frames(samples), *self._halos[0]):
            residual = self._model.encoder(padded[..., part.left * samples : part.right * samples])
            for row, quantizer in zip(codes, self._model.quantizer.quantizers[:k], strict=True):
                quantized, indices = quantizer(residual)
                residual = residual - quantized
                row.append(indices[0, part.keep(self._window // quantizer.stride)])
        return [torch.cat(row) for row in codes]

    def decode_codes(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        import torch

        latent = torch.zeros(())
        for row, quantizer in zip(codes, self._model.quantizer.quantizers, strict=False):
            vectors = quantizer.out_proj(quantizer.decode_code(row[None]))
            latent = latent + vectors.repeat_interleave(quantizer.stride, dim=-1)  # [1, D, F]
        waves, n_windows, samples = [], latent.shape[-1] // self._window, self._window * self._hop
        for part in pieces(n_windows, self.piece_frames(samples), *self._halos[1]):
            start, stop = part.left * self._window, part.right * self._window
            wave = self._synthesize(latent[..., start:stop], start)[0, 0]
            waves.append(wave[part.keep(samples)])
        return torch.cat(waves)

    def _synthesize(self, values: torch.Tensor, start: int) -> torch.Tensor:
        """Decode a latent [1, D, F] into a waveform [1, 1, T]. `start` is its position in the clip, in frames."""
        from snac.layers import DecoderBlock, NoiseBlock

        n_noises = 0
        for layer in self._model.decoder.model:
            if not isinstance(layer, DecoderBlock):
                values = layer(values)
                continue
            for part in layer.block:
                if isinstance(part, NoiseBlock):
                    noise = _noise(n_noises, start, values.shape[-1])
                    values = values + noise * part.linear(values)
                    n_noises += 1
                else:
                    before = values.shape[-1]
                    values = part(values)
                    start = start * values.shape[-1] // before  # A transposed convolution increases the rate.
        return values


def _noise(layer: int, start: int, n: int) -> torch.Tensor:
    """Return reproducible Gaussian noise ([n]) for one layer and the time steps starting at `start`."""
    import torch

    blocks = [
        np.random.default_rng((layer, block)).standard_normal(NOISE_BLOCK, dtype=np.float32)
        for block in range(start // NOISE_BLOCK, (start + n - 1) // NOISE_BLOCK + 1)
    ]
    return torch.from_numpy(np.concatenate(blocks)[start % NOISE_BLOCK :][:n])


def _load(name: str, weights: Weights) -> Any:
    import torch
    from snac import SNAC

    try:
        with torch.random.fork_rng(devices=[]):  # Layers are initialized with random numbers before loading.
            model = SNAC(**weights.config)
    except TypeError as error:
        raise WeightsError(f"The config.json in '{weights.folder}' does not describe a SNAC model: {error}.") from error
    state = load_state(weights)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"Cannot load the weights of '{name}' from '{weights.file}': {reason}") from error
    return model.eval()
