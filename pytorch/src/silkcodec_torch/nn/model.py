"""Define the complete network for training: audio -> encoder -> quantizer -> decoder -> audio."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from silkcodec.mel import FRAME, HISTORY, LOOKAHEAD
from silkcodec_torch.nn.decoder import Decoder
from silkcodec_torch.nn.encoder import Encoder
from silkcodec_torch.nn.sizes import ModelConfig
from silkcodec_torch.quantizers import QUANTIZERS, Quantized


class Reconstruction(NamedTuple):
    """Hold the output of the network for a batch of audio."""

    wave: Tensor  # float32 [N * B, F * 9600]: the batch, decoded once per draw of the decoder's noise (N)
    codes: Tensor  # int64 [B, F, K]: for FSQ the levels, K = 128
    latent: Tensor  # float32 [B, F, 128]: the quantized latent, with straight-through gradients
    loss: Tensor  # scalar, the quantizer's own loss


def fresh_states(shapes: dict[str, tuple[int, ...]], batch: int, device: torch.device) -> list[Tensor]:
    """Return one tensor of zeros per shape, for the start of a stream."""
    return [torch.zeros(batch, *shape, device=device) for shape in shapes.values()]


class SilkNetwork(nn.Module):
    """Combine the encoder, the quantizer and the decoder.

    Use `forward` for training. `encode` and `decode` process whole recordings.
    """

    def __init__(self, config: ModelConfig | None = None):
        super().__init__()
        self.config = config or ModelConfig()
        self.encoder = Encoder(self.config)
        self.quantizer = QUANTIZERS[self.config.quantizer]()
        self.decoder = Decoder(self.config)
        self.apply(initialize)

    def forward(self, wave: Tensor, positions: Tensor | None = None) -> Reconstruction:
        """Encode, quantize and decode a batch of audio.

        Args:
            wave: samples of F frames and 480 samples of look-ahead, float32 [B, F * 9600 + 480].
            positions: start positions of the decoder's noise, in columns, float32 [N, B]. The batch is decoded N times,
                once per row. By default, it is decoded once, with the noise from position 0 on.
        """
        quantized = self._quantized(wave, self.encoder.mel.by_fft)
        states = fresh_states(self.decoder.state_shapes(), len(wave), wave.device)
        if positions is None:
            decoded, _ = self.decoder(quantized.latent, states)
            return Reconstruction(decoded, quantized.codes, quantized.latent, quantized.loss)
        columns, before = self.decoder.columns(quantized.latent, states)
        head = states[len(before)].repeat(len(positions), 1, 1)
        decoded, _ = self.decoder.head(columns, head, positions[..., None])
        return Reconstruction(decoded, quantized.codes, quantized.latent, quantized.loss)

    @torch.inference_mode()
    def encode(self, wave: Tensor) -> Tensor:
        """Encode waveforms (float32 [B, T]) to codes (int64 [B, ceil(T / 9600), K]).

        For FSQ, the codes are the 128 quantization levels of each frame.
        """
        padding = -wave.shape[1] % FRAME + LOOKAHEAD
        return self._quantized(nn.functional.pad(wave, (0, padding)), self.encoder.mel).codes

    @torch.inference_mode()
    def decode(self, codes: Tensor, n_samples: int) -> Tensor:
        """Decode codes (int64 [B, F, K]) to waveforms (float32 [B, n_samples])."""
        states = fresh_states(self.decoder.state_shapes(), len(codes), codes.device)
        wave, _ = self.decoder(self.quantizer.decode(codes), states)
        return wave[:, :n_samples]

    def _quantized(self, wave: Tensor, log_mel: Callable[[Tensor], Tensor]) -> Quantized:
        """Encode and quantize F frames from the start of a stream.

        Args:
            wave: samples, float32 [B, F * 9600 + 480].
            log_mel: function that returns the log-mel spectrogram of `wave` and the 304 samples before it.
        """
        with torch.autocast(wave.device.type, enabled=False):
            mel = log_mel(nn.functional.pad(wave, (HISTORY, 0)))
        _, *states = fresh_states(self.encoder.state_shapes(), len(wave), wave.device)  # without `state_wave`
        latent, _ = self.encoder(mel, states)
        return self.quantizer(latent)


def with_noise(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the noise parameters of a network to weights of a network whose decoder adds no noise.

    The noise of a new network is faint (about -60 dBFS), so the decoded audio hardly changes.

    Args:
        network: network that `weights` will be loaded into, with the parameters of `SilkNetwork`.
        weights: parameters, keyed by name. They are returned unchanged if `network` adds no noise, or if they already
            contain the noise parameters.
    """
    ours = {name: p.detach() for name, p in network.named_parameters() if name.startswith("decoder.head.noise.")}
    return ours | weights


def initialize(module: nn.Module) -> None:
    """Initialize a linear layer with small random weights and zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
