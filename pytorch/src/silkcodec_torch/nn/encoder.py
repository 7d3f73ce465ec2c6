"""Encode the log-mel spectrogram of audio into 128 continuous values per 400 ms frame.

samples [B, F * 9600] -> mel [B, F * 40, 128] -> ConvNeXt at 100 Hz -> 1 time step per 4 columns
-> transformer at 25 Hz -> 128 numbers per 10 time steps [B, F, 128]
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from silkcodec.mel import COLUMNS, HISTORY, LOOKAHEAD, N_MELS
from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.nn.layers import STEPS, ConvNeXtBlock, Transformer
from silkcodec_torch.nn.mel import LogMel
from silkcodec_torch.nn.sizes import ModelConfig

COLUMNS_PER_STEP = COLUMNS // STEPS


class Encoder(nn.Module):
    """Encode log-mel columns into latent frames with ConvNeXt blocks at 100 Hz and a transformer at 25 Hz."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.mel = LogMel()
        self.embed = nn.Linear(N_MELS, config.conv_width)
        self.convs = nn.ModuleList(
            ConvNeXtBlock(config.conv_width, config.conv_expansion) for _ in range(config.encoder_convs)
        )
        self.down = nn.Linear(config.conv_width * COLUMNS_PER_STEP, config.width)
        self.transformer = Transformer(
            config.width, config.heads, config.ff_expansion, config.encoder_layers, config.past_frames
        )
        self.fold = nn.Linear(config.width * STEPS, LATENT_WIDTH)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the streaming states, keyed by name, without the batch dimension.

        In a new stream, all states are zeros except `state_wave`; see `log_mel`.
        """
        shapes: dict[str, tuple[int, ...]] = {"state_wave": (HISTORY + LOOKAHEAD,)}
        shapes |= {f"state_conv{i}": block.state_shape for i, block in enumerate(self.convs)}
        shapes |= {f"state_layer{i}": shape for i, shape in enumerate(self.transformer.state_shapes)}
        return shapes

    def log_mel(self, wave: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-mel spectrogram ([B, F * 40, 128]) and the next state.

        Because of the look-ahead, `wave` starts 480 samples after the start of the first frame. For a new stream, the
        state is 304 zeros followed by the first 480 samples.

        Args:
            wave: samples, float32 [B, F * 9600].
            state: the 784 samples before `wave`, [B, 784].
        """
        seen = torch.cat([state, wave], dim=1)
        return self.mel(seen), seen[:, -(HISTORY + LOOKAHEAD) :]

    def forward(self, mel: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the unbounded latent [B, F, 128] and the next states.

        Args:
            mel: log-mel spectrogram, float32 [B, F * 40, 128].
            states: all states except `state_wave`, in the order of `state_shapes`.
        """
        # Next to a loud band, a band this quiet contains only float32 rounding errors, which differ between runtimes.
        # Clamping keeps the tokens equal.
        clamped = torch.clamp(mel, min=math.log(self.config.mel_floor))
        x = self.embed((clamped - self.config.mel_mean) / self.config.mel_std)  # [B, F * 40, C]
        next_states = []
        for block, state in zip(self.convs, states, strict=False):
            x, state = block(x, state)
            next_states.append(state)
        x = self.down(x.unflatten(1, (-1, STEPS, COLUMNS_PER_STEP)).flatten(3))  # [B, F, 10, D]
        x, layer_states = self.transformer(x, states[len(self.convs) :])
        return self.fold(x.flatten(2)), next_states + layer_states
