"""128 quantized numbers every 400 ms -> waveform.

    latent [B, F, 128] -> unfolded to 10 steps -> transformer at 25 Hz -> 1 step to 4 columns
    -> ConvNeXt at 100 Hz -> magnitude and phase per column -> inverse STFT -> wave [B, F * 9600]

The head follows Vocos (Siuzdak, 2023, https://arxiv.org/abs/2306.00814), made causal: the window of
column j starts where the column starts, so a sample depends on its own column and the two before it,
and never on a frame that has not come. The last window of a frame reaches 480 samples into the next
frame, as far as the encoder has looked ahead:

    samples   |<------------ frame t: 9600 ------------>|<-480->|
    column 38                               [---- 720 ----]
    column 39                                     [---- 720 ----]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silkcodec.mel import HOP, hann
from silkcodec.nn.config import ModelConfig
from silkcodec.nn.encoder import COLUMNS_PER_STEP, LATENT
from silkcodec.nn.layers import STEPS, ConvNeXtBlock, Transformer

OVERLAP = 3  # columns whose windows cover a sample
WINDOW = OVERLAP * HOP  # 720 samples: 30 ms
BINS = WINDOW // 2 + 1
MAX_LOG_MAGNITUDE = 6.0  # e^6 = 403 > 360, what a full-scale sine gives under this window


class InverseSTFTHead(nn.Module):
    """Column features -> log-magnitude and phase -> windowed frames, overlapped and added."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Linear(width, 2 * BINS)
        # Sum over overlapping columns of hann(720)^2 at hop 240 is 3 * 3/8 everywhere, so this divides it out.
        self.register_buffer("window", torch.from_numpy(hann(WINDOW)) / (OVERLAP * 3 / 8), persistent=False)
        self.state_shape = (OVERLAP - 1, WINDOW)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, C], state [B, 2, 720] (the last two columns' frames) -> wave float32 [B, T * 240], next state."""
        log_magnitude, phase = self.project(x).float().chunk(2, dim=-1)  # [B, T, 361] each
        magnitude = torch.exp(torch.clamp(log_magnitude, max=MAX_LOG_MAGNITUDE))
        frames = self.inverse(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
        seen = torch.cat([state, frames * self.window], dim=1)  # [B, 2 + T, 720]
        newest, middle, oldest = seen.split(HOP, dim=-1)
        wave = newest[:, 2:] + middle[:, 1:-1] + oldest[:, :-2]  # [B, T, 240]
        return wave.flatten(1), seen[:, -(OVERLAP - 1) :]

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Real inverse FFT, [B, T, 361] twice -> [B, T, 720]."""
        return torch.fft.irfft(torch.complex(real, imaginary), WINDOW)


class Decoder(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.unfold = nn.Linear(LATENT, config.width * STEPS)
        self.transformer = Transformer(
            config.width, config.heads, config.ff_expansion, config.decoder_layers, config.past_frames
        )
        self.up = nn.Linear(config.width, config.conv_width * COLUMNS_PER_STEP)
        self.convs = nn.ModuleList(
            ConvNeXtBlock(config.conv_width, config.conv_expansion) for _ in range(config.decoder_convs)
        )
        self.norm = nn.LayerNorm(config.conv_width)
        self.head = InverseSTFTHead(config.conv_width)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape (without the batch) of every streaming state; a fresh stream is all zeros."""
        shapes = {f"state_layer{i}": shape for i, shape in enumerate(self.transformer.state_shapes)}
        shapes |= {f"state_conv{i}": block.state_shape for i, block in enumerate(self.convs)}
        return shapes | {"state_head": self.head.state_shape}

    def forward(self, latent: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """latent float32 [B, F, 128] in [-1, 1], one state per block -> wave float32 [B, F * 9600], next states."""
        n_layers = len(self.transformer.layers)
        x = self.unfold(latent).unflatten(-1, (STEPS, -1))  # [B, F, 10, D]
        x, next_states = self.transformer(x, states[:n_layers])
        x = self.up(x).unflatten(-1, (COLUMNS_PER_STEP, -1)).flatten(1, 3)  # [B, F * 40, C]
        for block, state in zip(self.convs, states[n_layers:], strict=False):
            x, state = block(x, state)
            next_states.append(state)
        wave, state = self.head(self.norm(x), states[-1])
        return wave, [*next_states, state]
