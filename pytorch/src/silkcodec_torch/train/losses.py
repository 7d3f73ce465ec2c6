"""Compute spectral losses between decoded audio and its original."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.mel import SAMPLE_RATE, filterbank
from silkcodec_torch.train.augment import LOW_PASS_ORDER
from silkcodec_torch.train.perceptual import EnvelopeLoss, LoudnessLoss, power_spectrum

RESOLUTIONS = {2048: 128, 1024: 96, 512: 64, 256: 32}  # STFT window in samples -> mel bands
BAND_MARGIN = 0.93  # share of a bandwidth that the losses use, because recordings fade out below their bandwidth
SOFT_FLOOR = 1e-2  # added to magnitudes before the logarithm, for a window of 1024; a full-scale sine has 256
NAMES = ("mel", "convergence", "magnitude", "loudness", "envelope")


class SpectralLoss(nn.Module):
    """Compute multi-resolution spectral losses between decoded audio (float32 [N * B, T]) and originals ([B, T]).

    If the decoder adds noise, each crop is decoded twice (N = 2). ``mel``, ``convergence`` and ``magnitude`` are then
    energy distances (Gritsenko et al., 2020, https://arxiv.org/abs/2008.01160). The other losses use only the first
    decoded version.

    Returns:
        ``mel``: mean absolute difference of natural-log mel magnitudes, averaged over resolutions (Kong et al.,
            HiFi-GAN, 2020; Kumar et al., DAC, 2023).
        ``convergence``: ||S - S'|| / ||S|| over magnitudes, averaged over resolutions (Arik et al., 2019).
        ``magnitude``: mean absolute difference of natural-log STFT magnitudes (Yamamoto et al., Parallel WaveGAN,
            2020).
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
        """Return all losses as scalars, keyed by name, for decoded audio ([N * B, T]) and originals ([B, T])."""
        losses = {name: wave.new_zeros(()) for name in ("mel", "convergence", "magnitude")}
        n_draws = len(wave) // len(target)
        for n_fft in RESOLUTIONS:
            with torch.no_grad():
                theirs = self._features(target, n_fft)
                scale = torch.linalg.vector_norm(theirs[0], dim=(1, 2), keepdim=True).clamp(min=1.0)
            ours = self._features(wave, n_fft)
            scaled = ours[0] / scale.repeat(n_draws, 1, 1), theirs[0] / scale
            losses["convergence"] += energy_distance(*scaled, mean_norm)
            losses["magnitude"] += energy_distance(ours[1], theirs[1], functional.l1_loss)
            losses["mel"] += energy_distance(ours[2], theirs[2], functional.l1_loss)
        losses = {name: value / len(RESOLUTIONS) for name, value in losses.items()}
        first = wave[: len(target)]
        return losses | {"loudness": self.loudness(first, target), "envelope": self.envelope(first, target)}

    def _features(self, wave: Tensor, n_fft: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the magnitudes, and the logarithms of the magnitudes and of the mel magnitudes, [B, frames, bins]."""
        window, filters = getattr(self, f"window_{n_fft}"), getattr(self, f"filters_{n_fft}")
        floor = SOFT_FLOOR * n_fft / 1024
        # The small constant keeps the gradient of the square root finite for silence.
        magnitude = torch.sqrt(power_spectrum(wave, window) + 1e-9)
        return magnitude, torch.log(magnitude + floor), torch.log(magnitude @ filters + floor)


def limit_band(wave: Tensor, bandwidth_hz: Tensor) -> Tensor:
    """Remove frequencies above 0.93 times a bandwidth, so that losses ignore them.

    Args:
        wave: decoded audio or originals, float32 [N * B, T] at 24 kHz.
        bandwidth_hz: bandwidth of each of the B crops, float32 [B]. Crops with infinity do not change.

    Returns:
        The filtered audio, float32 [N * B, T].
    """
    hz = torch.fft.rfftfreq(wave.shape[1], 1 / SAMPLE_RATE, device=wave.device)
    gain = 1 / (1 + (hz / (BAND_MARGIN * bandwidth_hz[:, None])) ** LOW_PASS_ORDER)  # [B, T / 2 + 1]
    n_draws = len(wave) // len(gain)
    limited = torch.fft.irfft(torch.fft.rfft(wave) * gain.repeat(n_draws, 1), wave.shape[1])
    return torch.where(bandwidth_hz.isinf().repeat(n_draws)[:, None], wave, limited)


def mean_norm(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distance between two batches of features, [B, frames, bins], averaged over the batch."""
    return torch.linalg.vector_norm(a - b, dim=(1, 2)).mean()


def energy_distance(draws: Tensor, original: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the energy distance between one or two decoded versions and the original.

    It is the mean distance of the versions from the original. If there are two versions, half the distance between them
    is subtracted.

    Args:
        draws: features of the N decoded versions, [N * B, ...], where N is 1 or 2.
        original: features of the original, [B, ...].
        distance: function that returns the distance between two batches of features, [B, ...], as a scalar.
    """
    if len(draws) == len(original):
        return distance(draws, original)
    first, second = draws.chunk(2)
    return 0.5 * (distance(first, original) + distance(second, original) - distance(first, second))
