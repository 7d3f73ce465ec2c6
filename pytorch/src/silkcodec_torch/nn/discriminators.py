"""Define two families of discriminators, which return scores and, for a feature matching loss, feature maps.

Multi-period discriminators (Kong et al., HiFi-GAN, 2020, https://arxiv.org/abs/2010.05646) fold the waveform at prime
periods. Multi-band complex STFT discriminators (Kumar et al., DAC, 2023, https://arxiv.org/abs/2306.06546) process the
real and imaginary parts of the spectrogram, with separate filters for each frequency band.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1  # negative slope of the leaky ReLU
BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # edges as fractions of half the sample rate

Output = tuple[Tensor, list[Tensor]]  # scores of any shape, feature maps


def convolution(n_in: int, n_out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    """Return a weight-normalized 2-D convolution with He initialization (He et al., 2015).

    With PyTorch's default initialization, the scores of clean and noisy speech hardly differ, and the discriminator
    does not start to learn.
    """
    conv = nn.Conv2d(n_in, n_out, kernel, stride, (kernel[0] // 2, kernel[1] // 2))
    nn.init.kaiming_normal_(conv.weight, a=SLOPE)
    nn.init.zeros_(conv.bias)
    return weight_norm(conv)  # Weight normalization starts with g = |v|, so the initial weights do not change.


class PeriodDiscriminator(nn.Module):
    """Score a waveform reshaped to [T / period, period], so that convolutions compare samples one period apart."""

    def __init__(self, period: int, width: int):
        super().__init__()
        self.period = period
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.convs = nn.ModuleList(convolution(a, b, (5, 1), (3, 1)) for a, b in pairwise(channels))
        self.score = convolution(channels[-1], 1, (3, 1))

    def forward(self, wave: Tensor) -> Output:
        """Return the scores and the feature maps for waveforms [B, T]."""
        x = functional.pad(wave, (0, -wave.shape[-1] % self.period)).unflatten(-1, (-1, self.period))[:, None]
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.score(x), features


class STFTDiscriminator(nn.Module):
    """Score the complex spectrogram of a waveform, with separate filters for each of five frequency bands."""

    def __init__(self, n_fft: int, width: int):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        n_bins = n_fft // 2 + 1
        edges = [round(edge * n_bins) for edge in BANDS]
        self.bands = list(pairwise(edges))
        self.stacks = nn.ModuleList(self.stack(end - begin, width) for begin, end in self.bands)
        self.score = convolution(width, 1, (3, 3))

    @staticmethod
    def stack(n_bins: int, width: int) -> nn.ModuleList:
        """Return the five convolutions for a frequency band of `n_bins` bins.

        The convolutions halve the number of bins only while it is at least 10, because PyTorch 2.13 returns NaN for
        narrower bands in bfloat16 on processors with AMX.
        """
        convs = nn.ModuleList([convolution(2, width, (3, 5))])
        for _ in range(3):
            stride = 2 if n_bins >= 10 else 1
            convs.append(convolution(width, width, (3, 5), (1, stride)))
            n_bins = -(-n_bins // stride)
        return convs.append(convolution(width, width, (3, 3)))

    def forward(self, wave: Tensor) -> Output:
        """Return the scores and the feature maps for waveforms [B, T]."""
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.stft(
                wave.float(), self.n_fft, self.n_fft // 4, self.n_fft, self.window, normalized=True, return_complex=True
            )
            x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        # On CPUs, the gradient of leaky_relu is 30 times as slow if it and the features have different memory layouts.
        x = x.contiguous()
        features, ends = [], []
        for (begin, end), stack in zip(self.bands, self.stacks, strict=True):
            y = x[..., begin:end]
            for conv in stack:
                y = functional.leaky_relu(conv(y), SLOPE)
                features.append(y)
            ends.append(y)
        return self.score(torch.cat(ends, dim=-1)), features


class Discriminators(nn.Module):
    """Combine all discriminators in one module.

    Args:
        periods: periods of the multi-period discriminators, in samples.
        fft_sizes: window lengths of the STFT discriminators, in samples.
        width: base number of channels. Use 32 on a GPU and 8 to 16 on a CPU.
    """

    def __init__(self, periods: tuple[int, ...], fft_sizes: tuple[int, ...], width: int):
        super().__init__()
        self.parts = nn.ModuleList(
            [PeriodDiscriminator(period, width) for period in periods]
            + [STFTDiscriminator(n_fft, width) for n_fft in fft_sizes]
        )

    def forward(self, wave: Tensor) -> list[Output]:
        """Return the scores and the feature maps of each discriminator for waveforms, float32 [B, T]."""
        return [part(wave) for part in self.parts]


def discriminator_loss(real: list[Output], fake: list[Output]) -> Tensor:
    """Return the hinge loss of the discriminators (Lim and Ye, 2017), averaged over all discriminators.

    Args:
        real: outputs for original audio.
        fake: outputs for decoded audio.
    """
    terms = [
        functional.relu(1 - r).float().mean() + functional.relu(1 + f).float().mean()
        for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def adversarial_losses(real: list[Output], fake: list[Output]) -> dict[str, Tensor]:
    """Return the codec's losses: ``adversarial`` (a hinge loss) and ``features`` (a feature matching loss).

    Args:
        real: outputs of the discriminators for original audio.
        fake: outputs of the discriminators for decoded audio.
    """
    scores = torch.stack([-f.float().mean() for f, _ in fake]).mean()
    distances = [
        functional.l1_loss(f.float(), r.detach().float()) / r.detach().float().abs().mean().clamp(min=1e-4)
        for (_, real_maps), (_, fake_maps) in zip(real, fake, strict=True)
        for r, f in zip(real_maps, fake_maps, strict=True)
    ]
    return {"adversarial": scores, "features": torch.stack(distances).mean()}
