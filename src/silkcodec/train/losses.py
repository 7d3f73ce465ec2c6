"""Reconstruction losses: how far a decoded wave is from the original, at several resolutions and to the ear.

Losses are keyed by name; a stage's config gives each a weight, and the total is the weighted sum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.mel import SAMPLE_RATE, filterbank

RESOLUTIONS = {2048: 128, 1024: 96, 512: 64, 256: 32}  # STFT window in samples -> mel bands
SOFT_FLOOR = 1e-2  # added to magnitudes (1024-sample window) before the logarithm; a full-scale sine has 256
NAMES = ("mel", "convergence", "magnitude", "loudness", "envelope")


class SpectralLoss(nn.Module):
    """Multi-resolution spectral losses between decoded waves, float32 [N * B, T], and their originals, [B, T].

    With N = 2, the same recordings decoded with two draws of noise, the first three are energy distances: the mean
    distance of the draws to the original, less half the distance between the draws. Noise of the right spectrum then
    costs less than its mean, which has no grain (Gritsenko et al., 2020, https://arxiv.org/abs/2008.01160). The others
    compare the first draw.

    Returns:
        ``mel``: mean absolute difference of natural-log mel magnitudes, averaged over resolutions
            (Kong et al., HiFi-GAN, 2020; several resolutions as in Kumar et al., DAC, 2023). The soft floor
            keeps the noise between words from weighing as much as the words.
        ``convergence``: ||S - S'|| / ||S|| over magnitudes (Arik et al., 2019), averaged over resolutions.
        ``magnitude``: mean absolute difference of natural-log STFT magnitudes, every bin (Yamamoto et al.,
            Parallel WaveGAN, 2020): harmonics, which mel bands blur.
        ``loudness``: see `LoudnessLoss`.
        ``envelope``: see `EnvelopeLoss`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loudness, self.envelope = LoudnessLoss(), EnvelopeLoss()
        for window, n_mels in RESOLUTIONS.items():
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            filters = torch.from_numpy(filterbank(n_mels, window, SAMPLE_RATE).copy())
            self.register_buffer(f"filters_{window}", filters, persistent=False)

    def forward(self, wave: Tensor, target: Tensor) -> dict[str, Tensor]:
        losses = {name: wave.new_zeros(()) for name in ("mel", "convergence", "magnitude")}
        n_draws = len(wave) // len(target)
        together = torch.cat([wave, target])  # one transform for all
        for n_fft in RESOLUTIONS:
            window, filters = getattr(self, f"window_{n_fft}"), getattr(self, f"filters_{n_fft}")
            floor = SOFT_FLOOR * n_fft / 1024
            # The tiny addend keeps the square root's gradient finite at silence.
            magnitude = torch.sqrt(power_spectrum(together, window) + 1e-9)  # [(N + 1) B, frames, bins]
            scale = torch.linalg.vector_norm(magnitude[-len(target) :], dim=(1, 2)).clamp(min=1.0)
            losses["mel"] += energy_distance(torch.log(magnitude @ filters + floor), n_draws, functional.l1_loss)
            losses["magnitude"] += energy_distance(torch.log(magnitude + floor), n_draws, functional.l1_loss)
            scaled = magnitude / scale.repeat(n_draws + 1)[:, None, None]
            losses["convergence"] += energy_distance(scaled, n_draws, mean_norm)
        losses = {name: value / len(RESOLUTIONS) for name, value in losses.items()}
        both = torch.cat([wave[: len(target)], target])
        return losses | {"loudness": self.loudness(both), "envelope": self.envelope(both)}


def mean_norm(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of the features [B, frames, bins] of each wave, mean over the batch."""
    return torch.linalg.vector_norm(a - b, dim=(1, 2)).mean()


def energy_distance(together: Tensor, n_draws: int, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Distance of one draw to the original; of two draws, their mean less half the distance between the draws.

    Args:
        together: features of the draws, then of the original, [(N + 1) B, ...].
        n_draws: N, 1 or 2.
        distance: between features [B, ...] of two waves -> a scalar.
    """
    *draws, original = together.chunk(n_draws + 1)
    if n_draws == 1:
        return distance(draws[0], original)
    first, second = draws
    return 0.5 * (distance(first, original) + distance(second, original) - distance(first, second))


def power_spectrum(wave: Tensor, window: Tensor, overlap: int = 4) -> Tensor:
    """|STFT|^2 of [B, T] -> [B, frames, bins]; a column every window / overlap samples."""
    n_fft = len(window)
    spectrum = torch.stft(wave, n_fft, n_fft // overlap, n_fft, window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)


class LoudnessLoss(nn.Module):
    """What the ear would notice: differences of loudness per critical band, as in the model behind PESQ.

    The perceptual model of ITU-T P.862 without its alignments, as a loss (Martin-Donas et al., PMSQE, 2018,
    https://doi.org/10.1109/LSP.2018.2871419), with closed forms instead of the standard's tables: power in
    48 bands up to 8 kHz on Traunmueller's Bark scale, the hearing threshold of Terhardt (1979), Zwicker's loudness
    with exponent 0.23. Differences smaller than a quarter of the loudness itself are masked. What the codec
    adds is charged more than what it leaves out: up to 12 times, by the ratio of powers.
    """

    WINDOW = 768  # samples: 32 ms
    BANDS = 48
    LEVEL_DB = 70.0  # sound pressure level at which the target is taken to be played
    EXPONENT = 0.23
    SCALE = 0.1866  # sone per unit, as in P.862 wide band
    MASKED = 0.25  # share of the smaller loudness below which a difference is not heard
    ASYMMETRIC_WEIGHT = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)
        hz = np.linspace(0, SAMPLE_RATE / 2, self.WINDOW // 2 + 1)
        bark = 26.81 * hz / (1960 + hz) - 0.53
        edges = np.linspace(bark[1], 26.81 * 8000 / 9960 - 0.53, self.BANDS + 2)
        rising = (bark[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - bark[:, None]) / (edges[2:] - edges[1:-1])
        filters = np.maximum(0, np.minimum(rising, falling))
        khz = 1960 * (edges[1:-1] + 0.53) / (26.28 - edges[1:-1]) / 1000
        threshold_db = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("threshold", torch.from_numpy(10 ** (threshold_db / 10)).float(), persistent=False)

    def forward(self, both: Tensor) -> Tensor:
        """both [2 B, T]: B decoded waves, then their B originals. A scalar, 0 for equal waves."""
        power = power_spectrum(both, self.window, overlap=2) @ self.filters  # [2 B, frames, bands]
        target = power[len(power) // 2 :]
        # One gain for a clip and its original, from the original's louder half: its speech, not its pauses.
        frames = target.sum(dim=2)
        level = frames.topk(max(1, frames.shape[1] // 2), dim=1).values.mean(dim=1)
        gain = 10 ** (self.LEVEL_DB / 10) / level.clamp(min=1e-2)
        power = power * torch.cat([gain, gain])[:, None, None]
        base = (self.threshold / 0.5) ** self.EXPONENT
        loudness = self.SCALE * base * ((0.5 + 0.5 * power / self.threshold) ** self.EXPONENT - 0.5**self.EXPONENT)
        ours, theirs = loudness.chunk(2)
        heard = functional.relu((ours - theirs).abs() - self.MASKED * torch.minimum(ours, theirs))  # [B, frames, bands]
        with torch.no_grad():
            added = ((power[: len(target)] + 50) / (power[len(target) :] + 50)) ** 1.2
            added = torch.where(added < 3, 0.0, added.clamp(max=12.0))
        symmetric = torch.sqrt(heard.square().mean(dim=2) + 1e-6) - 1e-3
        return symmetric.mean() + self.ASYMMETRIC_WEIGHT * (heard * added).mean()


class EnvelopeLoss(nn.Module):
    """What carries the words: how the level of each third of an octave rises and falls over 0.4 s.

    1 - STOI (Taal et al., 2011, https://doi.org/10.1109/TASL.2011.2114881), as a loss (Kolbaek et al., 2018,
    https://doi.org/10.1109/ICASSP.2018.8462040), at the codec's own rate instead of 10 kHz: a window of 26.7 ms,
    segments of 387 ms, one every 53 ms. STOI cuts out columns that are 40 dB below the clip's loudest; here they weigh
    nothing where they are, and a segment weighs as much as it has others.
    """

    WINDOW = 640  # samples: 26.7 ms; a column every half of it
    BANDS, LOWEST = 15, 150.0  # thirds of an octave; the centre of the first, Hz
    SEGMENT, STEP = 29, 4  # columns
    CLIP = 1 + 10 ** (15 / 20)  # times the original: a band above it is as wrong as it can be
    PAUSE = 1e-4  # of the loudest column's power

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)
        hz = np.linspace(0, SAMPLE_RATE / 2, self.WINDOW // 2 + 1)
        centres = self.LOWEST * 2 ** (np.arange(self.BANDS) / 3)
        bands = (hz[:, None] >= centres * 2 ** (-1 / 6)) & (hz[:, None] < centres * 2 ** (1 / 6))
        self.register_buffer("bands", torch.from_numpy(bands).float(), persistent=False)

    def forward(self, both: Tensor) -> Tensor:
        """both [2 B, T]: B decoded waves, then their B originals, T >= 8,960. A scalar, 0 for equal waves."""
        power = power_spectrum(both, self.window, overlap=2)  # [2 B, columns, bins]
        with torch.no_grad():
            loudness = power[len(power) // 2 :].sum(dim=2)  # [B, columns]
            heard = (loudness > self.PAUSE * loudness.amax(dim=1, keepdim=True).clamp(min=1.0)).float()
            weights = heard.unfold(1, self.SEGMENT, self.STEP)[:, :, None]  # [B, segments, 1, columns]
            n_heard = weights.sum(dim=3)  # [B, segments, 1]
        levels = torch.sqrt(power @ self.bands + 1e-9).unfold(1, self.SEGMENT, self.STEP)
        ours, theirs = (levels * torch.cat([weights, weights])).chunk(2)  # [B, segments, bands, columns]
        gain = (_norm(theirs) / _norm(ours))[..., None]
        ours = torch.minimum(ours * gain, theirs * self.CLIP)
        n_columns = n_heard.clamp(min=1)[..., None]
        ours, theirs = ((x - x.sum(dim=3, keepdim=True) / n_columns) * weights for x in (ours, theirs))
        correlation = (ours * theirs).sum(dim=3) / (_norm(ours) * _norm(theirs))  # [B, segments, bands]
        missing = ((1 - correlation) * n_heard).sum(dim=(1, 2)) / self.BANDS
        return (missing / n_heard.sum(dim=(1, 2)).clamp(min=1)).mean()


def _norm(x: Tensor) -> Tensor:
    """Of the last axis, with a gradient at zero."""
    return torch.sqrt(x.square().sum(dim=-1) + 1e-9)
