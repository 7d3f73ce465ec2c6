"""Two families of discriminators, each returning scores and the feature maps that feature matching compares.

Multi-period (Kong et al., HiFi-GAN, 2020, https://arxiv.org/abs/2010.05646) folds the wave at prime periods;
multi-resolution complex STFT (Defossez et al., EnCodec, 2022, https://arxiv.org/abs/2210.13438) sees real and
imaginary parts. The FFT sizes share no common factor with the model's own windows.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

Judgement = tuple[Tensor, list[Tensor]]  # scores of any shape, feature maps


class PeriodDiscriminator(nn.Module):
    def __init__(self, period: int, width: int):
        super().__init__()
        self.period = period
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(channels)
        )
        self.judge = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T] -> scores and features."""
        x = functional.pad(wave, (0, -wave.shape[-1] % self.period)).unflatten(-1, (-1, self.period))[:, None]
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.1)
            features.append(x)
        return self.judge(x), features


class STFTDiscriminator(nn.Module):
    def __init__(self, n_fft: int, width: int):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # Time is the last axis but one; frequency is halved three times.
        layers = [(2, 7, 1), (width, 7, 2), (width, 7, 2), (width, 7, 2), (width, 3, 1)]  # channels, kernel, stride
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(channels, width, (3, kernel), (1, stride), (1, kernel // 2)))
            for channels, kernel, stride in layers
        )
        self.judge = weight_norm(nn.Conv2d(width, 1, (3, 3), 1, (1, 1)))

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T] -> scores and features."""
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.stft(
                wave.float(), self.n_fft, self.n_fft // 4, self.n_fft, self.window, normalized=True, return_complex=True
            )
            x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.1)
            features.append(x)
        return self.judge(x), features


class Discriminators(nn.Module):
    """All discriminators as one module. `width` sets their cost: 32 on a GPU, 8 on a CPU."""

    def __init__(self, periods: tuple[int, ...], fft_sizes: tuple[int, ...], width: int):
        super().__init__()
        self.parts = nn.ModuleList(
            [PeriodDiscriminator(period, width) for period in periods]
            + [STFTDiscriminator(n_fft, width) for n_fft in fft_sizes]
        )

    def forward(self, wave: Tensor) -> list[Judgement]:
        """wave float32 [B, T] -> one judgement a discriminator."""
        return [part(wave) for part in self.parts]


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Hinge loss (Lim and Ye, 2017): real scores above 1, fake ones below -1; mean over discriminators."""
    terms = [
        functional.relu(1 - r).float().mean() + functional.relu(1 + f).float().mean()
        for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def adversarial_losses(real: list[Judgement], fake: list[Judgement]) -> dict[str, Tensor]:
    """For the generator: ``adversarial`` (hinge) and ``features``, the relative L1 distance of feature maps."""
    scores = torch.stack([functional.relu(1 - f).float().mean() for f, _ in fake]).mean()
    distances = [
        functional.l1_loss(f.float(), r.detach().float()) / r.detach().float().abs().mean().clamp(min=1e-4)
        for (_, real_maps), (_, fake_maps) in zip(real, fake, strict=True)
        for r, f in zip(real_maps, fake_maps, strict=True)
    ]
    return {"adversarial": scores, "features": torch.stack(distances).mean()}
