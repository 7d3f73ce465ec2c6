"""Decode 128 quantized values per 400 ms frame into audio.

    latent [B, F, 128] -> 10 time steps per frame -> transformer at 25 Hz -> 4 columns per time step
    -> ConvNeXt at 100 Hz -> magnitude and phase per column -> inverse STFT -> samples [B, F * 9600]

The output head is a causal variant of Vocos (Siuzdak, 2023, https://arxiv.org/abs/2306.00814). A column lasts 10 ms,
and its window starts where the column starts. The last window of a frame extends 480 samples into the next frame:

    samples   |<------------ frame t: 9600 ------------>|<-480->|
    column 38                               [---- 720 ----]
    column 39                                     [---- 720 ----]

If the config enables ``noise``, the head also predicts the magnitude of noise that it adds to the spectrum, which
improves fricatives (Serra and Smith, 1990, https://doi.org/10.2307/3680788). The noise comes from a fixed table, so
decoding is deterministic.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from silkcodec.mel import HOP, hann
from silkcodec.spec import LATENT_WIDTH, NOISE_LENGTH
from silkcodec_torch.nn.encoder import COLUMNS_PER_STEP
from silkcodec_torch.nn.layers import STEPS, ConvNeXtBlock, Transformer
from silkcodec_torch.nn.sizes import ModelConfig

OVERLAP = 3  # number of windows that cover each sample
WINDOW = OVERLAP * HOP  # 720 samples: 30 ms
BINS = WINDOW // 2 + 1
BINS_PER_KNOT = 6  # the log of the noise magnitude is interpolated linearly between knots 200 Hz apart
N_KNOTS = (BINS - 1) // BINS_PER_KNOT + 1
QUIET = -4.0  # natural log of the initial noise magnitude: about -60 dBFS
MAX_LOG_MAGNITUDE = 6.0  # e^6 = 403 exceeds 360, the largest magnitude of audio in -1..1 with this window


class InverseSTFTHead(nn.Module):
    """Synthesize audio from features of 10 ms columns: predict magnitude and phase, invert the STFT and overlap-add."""

    def __init__(self, width: int, noise: bool = False):
        super().__init__()
        self.project = nn.Linear(width, 2 * BINS)
        self.noise = nn.Linear(width, N_KNOTS) if noise else None
        if noise:
            self.register_buffer("noise_table", noise_table(), persistent=False)
        # With a hop of 240, overlapping hann(720)^2 windows sum to 3 * 3/8 everywhere. The division normalizes the sum.
        self.register_buffer("window", torch.from_numpy(hann(WINDOW)) / (OVERLAP * 3 / 8), persistent=False)
        self.state_shape = (OVERLAP - 1, WINDOW)

    def forward(self, x: Tensor, state: Tensor, position: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Synthesize audio from features of 10 ms columns.

        Args:
            x: features, [B, T, C].
            state: windowed output of the two previous columns, [N * B, 2, 720].
            position: stream index of the first column of `x`, modulo 7,919, float32 [B, 1]. For N versions with
                different noise, [N, B, 1]. It is used only if the head adds noise.

        Returns:
            The samples, float32 [N * B, T * 240], and the next state.
        """
        log_magnitude, phase = self.project(x).float().chunk(2, dim=-1)  # [B, T, 361] each
        magnitude = torch.exp(torch.clamp(log_magnitude, max=MAX_LOG_MAGNITUDE))
        real, imaginary = magnitude * torch.cos(phase), magnitude * torch.sin(phase)
        if self.noise is not None:
            level = self.noise_magnitude(x)  # [B, T, 361]
            noise = self.noise_table[self.noise_index(position, x.shape[1])]  # [B, T, 361, 2] or [N, B, T, 361, 2]
            real, imaginary = real + level * noise[..., 0], imaginary + level * noise[..., 1]
        frames = self.inverse(real, imaginary).flatten(end_dim=-3)  # [N * B, T, 720]
        seen = torch.cat([state, frames * self.window], dim=1)  # [B, 2 + T, 720]
        newest, middle, oldest = seen.split(HOP, dim=-1)
        wave = newest[:, 2:] + middle[:, 1:-1] + oldest[:, :-2]  # [N * B, T, 240]
        return wave.flatten(1), seen[:, -(OVERLAP - 1) :]

    def noise_magnitude(self, x: Tensor) -> Tensor:
        """Return the noise magnitude in each frequency bin ([B, T, 361]) for features of 10 ms columns ([B, T, C])."""
        assert self.noise is not None
        knots = torch.clamp(self.noise(x).float() + QUIET, max=MAX_LOG_MAGNITUDE)[..., None]  # [B, T, 61, 1]
        fraction = torch.arange(BINS_PER_KNOT, device=x.device, dtype=torch.float32) / BINS_PER_KNOT
        between = knots[:, :, :-1] + (knots[:, :, 1:] - knots[:, :, :-1]) * fraction  # [B, T, 60, 6]
        return torch.exp(torch.cat([between.flatten(2), knots[:, :, -1]], dim=-1))

    def noise_index(self, position: Tensor, n_columns: int | Tensor) -> Tensor:
        """Return the row index in the noise table for each column and frequency bin, int64 [..., T, 361].

        Args:
            position: stream index of the first column, [..., 1].
            n_columns: number of columns (T).
        """
        column = (position.long() + torch.arange(n_columns, device=position.device)) % NOISE_LENGTH  # [..., T]
        return (column[..., None] * BINS + torch.arange(BINS, device=position.device)) % NOISE_LENGTH

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the inverse real FFT ([B, T, 720]) of the spectra `real` + i `imaginary` ([B, T, 361])."""
        return torch.fft.irfft(torch.complex(real, imaginary), WINDOW)


def noise_table() -> Tensor:
    """Return complex Gaussian noise with unit power, float32 [7919, 2], rounded to float16.

    `RandomState` is used because NumPy guarantees that its random numbers never change.
    """
    noise = np.random.RandomState(24_000).standard_normal((NOISE_LENGTH, 2)) / np.sqrt(2)
    return torch.from_numpy(noise.astype(np.float16).astype(np.float32))


class Decoder(nn.Module):
    """Decode latent frames into audio with a transformer at 25 Hz, ConvNeXt blocks at 100 Hz and an inverse STFT."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.unfold = nn.Linear(LATENT_WIDTH, config.width * STEPS)
        self.transformer = Transformer(
            config.width, config.heads, config.ff_expansion, config.decoder_layers, config.past_frames
        )
        self.up = nn.Linear(config.width, config.conv_width * COLUMNS_PER_STEP)
        self.convs = nn.ModuleList(
            ConvNeXtBlock(config.conv_width, config.conv_expansion) for _ in range(config.decoder_convs)
        )
        self.norm = nn.LayerNorm(config.conv_width)
        self.head = InverseSTFTHead(config.conv_width, config.noise)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the streaming states, keyed by name, without the batch dimension.

        In a new stream, all states are zeros.
        """
        shapes = {f"state_layer{i}": shape for i, shape in enumerate(self.transformer.state_shapes)}
        shapes |= {f"state_conv{i}": block.state_shape for i, block in enumerate(self.convs)}
        shapes["state_head"] = self.head.state_shape
        return shapes | ({"state_position": (1,)} if self.head.noise is not None else {})

    def forward(self, latent: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode a latent. Return the samples (float32 [B, F * 9600]) and the next states.

        Args:
            latent: float32 [B, F, 128] in [-1, 1].
            states: one tensor per entry of `state_shapes`, in that order.
        """
        x, next_states = self.columns(latent, states)
        position = states[-1] if self.head.noise is not None else None
        wave, state = self.head(x, states[len(next_states)], position)
        next_states.append(state)
        if position is not None:
            next_states.append((position + x.shape[1]) % NOISE_LENGTH)
        return wave, next_states

    def columns(self, latent: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the features of the 10 ms columns of a latent, and the next states.

        The latent is [B, F, 128], and the features are [B, F * 40, C].
        """
        n_layers = len(self.transformer.layers)
        x = self.unfold(latent).unflatten(-1, (STEPS, -1))  # [B, F, 10, D]
        x, next_states = self.transformer(x, states[:n_layers])
        x = self.up(x).unflatten(-1, (COLUMNS_PER_STEP, -1)).flatten(1, 3)  # [B, F * 40, C]
        for block, state in zip(self.convs, states[n_layers:], strict=False):
            x, state = block(x, state)
            next_states.append(state)
        return self.norm(x), next_states
