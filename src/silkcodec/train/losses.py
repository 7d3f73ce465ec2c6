"""Reconstruction losses: how far a decoded wave is from the original, at several resolutions.

Losses are keyed by name; a stage's config gives each a weight, and the total is the weighted sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silkcodec.mel import SAMPLE_RATE, filterbank

RESOLUTIONS = {2048: 128, 1024: 96, 512: 64, 256: 32}  # STFT window in samples -> mel bands
NAMES = ("mel", "convergence", "magnitude", "loudness")
SOFT_FLOOR = 1e-2  # added to magnitudes (1024-sample window) before the logarithm; a full-scale sine has 256


class SpectralLoss(nn.Module):
    """Multi-resolution spectral losses between two waves, float32 [B, T] each.

    Returns:
        ``mel``: mean absolute difference of natural-log mel magnitudes, averaged over resolutions
            (Kong et al., HiFi-GAN, 2020; several resolutions as in Kumar et al., DAC, 2023). The soft floor
            keeps the noise between words from weighing as much as the words.
        ``convergence``: ||S - S'|| / ||S|| over magnitudes (Arik et al., 2019), averaged over resolutions.
        ``magnitude``: mean absolute difference of natural-log STFT magnitudes, every bin (Yamamoto et al.,
            Parallel WaveGAN, 2020): harmonics, which mel bands blur.
        ``loudness``: mean absolute difference of the square root of mel magnitudes, relative to the target's
            mean: close to the ear's compression (Zwicker's exponent 0.23 of power, as PESQ uses), so loud
            bands weigh more than in a logarithm and less than in ``convergence``.
    """

    def __init__(self) -> None:
        super().__init__()
        for window, n_mels in RESOLUTIONS.items():
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            filters = torch.from_numpy(filterbank(n_mels, window, SAMPLE_RATE).copy())
            self.register_buffer(f"filters_{window}", filters, persistent=False)

    def forward(self, wave: Tensor, target: Tensor) -> dict[str, Tensor]:
        losses = {name: wave.new_zeros(()) for name in NAMES}
        both = torch.cat([wave, target])  # one transform for both
        for n_fft in RESOLUTIONS:
            window, filters = getattr(self, f"window_{n_fft}"), getattr(self, f"filters_{n_fft}")
            spectrum = torch.stft(both, n_fft, n_fft // 4, n_fft, window, return_complex=True)
            # The tiny addend keeps the square root's gradient finite at silence.
            power = spectrum.real.square() + spectrum.imag.square()
            floor = SOFT_FLOOR * n_fft / 1024
            magnitude = torch.sqrt(power + 1e-9).transpose(1, 2)  # [2 B, frames, bins]
            bands = magnitude @ filters + floor
            log_mel, loudness = torch.log(bands), torch.sqrt(bands)
            ours, theirs = magnitude.chunk(2)
            losses["mel"] += nn.functional.l1_loss(*log_mel.chunk(2))
            error = torch.linalg.vector_norm(ours - theirs, dim=(1, 2))
            losses["convergence"] += (error / torch.linalg.vector_norm(theirs, dim=(1, 2)).clamp(min=1.0)).mean()
            loud, heard = loudness.chunk(2)
            losses["loudness"] += ((loud - heard).abs().mean((1, 2)) / heard.mean((1, 2))).mean()
            losses["magnitude"] += nn.functional.l1_loss(torch.log(ours + floor), torch.log(theirs + floor))
        return {name: value / len(RESOLUTIONS) for name, value in losses.items()}
