"""Compute spectral and perceptual losses between decoded audio and its original."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.mel import SAMPLE_RATE, filterbank
from silkcodec_torch.train.augment import LOW_PASS_ORDER

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


def power_spectrum(wave: Tensor, window: Tensor, overlap: int = 4) -> Tensor:
    """Return the power spectrogram ([B, frames, bins]) of waveforms ([B, T]) with a hop of window / overlap samples."""
    n_fft = len(window)
    spectrum = torch.stft(wave, n_fft, n_fft // overlap, n_fft, window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)


class LoudnessLoss(nn.Module):
    """Compute the loudness difference per critical band between decoded audio and its original, as in PESQ (P.862).

    See Martin-Donas et al., PMSQE, 2018, https://doi.org/10.1109/LSP.2018.2871419. Formulas replace the tables of the
    standard: Traunmueller's Bark scale, Terhardt's hearing threshold (1979), and Zwicker's loudness with exponent 0.23.
    Added energy is penalized more than missing energy.
    """

    WINDOW = 768  # samples: 32 ms
    BANDS = 48
    LEVEL_DB = 70.0  # assumed playback level of the target, dB SPL
    EXPONENT = 0.23
    SCALE = 0.1866  # sone per unit, as in P.862 wide band
    MASKED = 0.25  # differences below this share of the smaller loudness are inaudible
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

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """Return a scalar loss, which is 0 if the decoded audio is identical to the original.

        Args:
            wave: decoded audio, float32 [B, T].
            target: originals, float32 [B, T].
        """
        with torch.no_grad():
            original = self._power(target)
            # A decoded crop and its original share one gain. Only the louder half of the original's frames determines
            # it, so that pauses do not change it.
            frames = original.sum(dim=2)
            level = frames.topk(max(1, frames.shape[1] // 2), dim=1).values.mean(dim=1)
            gain = (10 ** (self.LEVEL_DB / 10) / level.clamp(min=1e-2))[:, None, None]
            original = original * gain
            theirs = self._loudness(original)
        power = self._power(wave) * gain
        ours = self._loudness(power)
        difference = (ours - theirs).abs()  # [B, frames, bands]
        audible = functional.relu(difference - self.MASKED * torch.minimum(ours, theirs))
        with torch.no_grad():
            added = ((power + 50) / (original + 50)) ** 1.2
            added = torch.where(added < 3, 0.0, added.clamp(max=12.0))
        symmetric = torch.sqrt(audible.square().mean(dim=2) + 1e-6) - 1e-3
        return symmetric.mean() + self.ASYMMETRIC_WEIGHT * (audible * added).mean()

    def _power(self, wave: Tensor) -> Tensor:
        """Return the power in each critical band, [B, frames, bands]."""
        return power_spectrum(wave, self.window, overlap=2) @ self.filters

    def _loudness(self, power: Tensor) -> Tensor:
        """Return the loudness in sone for the power in each critical band, [B, frames, bands]."""
        base = (self.threshold / 0.5) ** self.EXPONENT
        return self.SCALE * base * ((0.5 + 0.5 * power / self.threshold) ** self.EXPONENT - 0.5**self.EXPONENT)


class EnvelopeLoss(nn.Module):
    """Compute 1 - STOI: the mismatch between temporal envelopes in third-octave bands.

    Kolbaek et al. (2018, https://doi.org/10.1109/ICASSP.2018.8462040) use STOI (Taal et al., 2011,
    https://doi.org/10.1109/TASL.2011.2114881) as a loss. Here, STOI is computed at the sample rate of the codec instead
    of 10 kHz, and pauses get a weight of zero instead of being cut out.
    """

    WINDOW = 640  # samples: 26.7 ms; the hop is half of it
    BANDS, LOWEST = 15, 150.0  # number of third-octave bands; center of the first in Hz
    SEGMENT, STEP = 29, 4  # in columns
    CLIP = 1 + 10 ** (15 / 20)  # levels above this multiple of the original are clipped
    PAUSE = 1e-4  # columns with less than this share of the loudest column's power are pauses

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)
        hz = np.linspace(0, SAMPLE_RATE / 2, self.WINDOW // 2 + 1)
        centers = self.LOWEST * 2 ** (np.arange(self.BANDS) / 3)
        bands = (hz[:, None] >= centers * 2 ** (-1 / 6)) & (hz[:, None] < centers * 2 ** (1 / 6))
        self.register_buffer("bands", torch.from_numpy(bands).float(), persistent=False)

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """Return a scalar loss, which is 0 if the decoded audio is identical to the original.

        Args:
            wave: decoded audio, float32 [B, T] with T >= 8,960.
            target: originals, float32 [B, T].
        """
        with torch.no_grad():
            power = power_spectrum(target, self.window, overlap=2)  # [B, columns, bins]
            loudness = power.sum(dim=2)  # [B, columns]
            is_speech = (loudness > self.PAUSE * loudness.amax(dim=1, keepdim=True).clamp(min=1.0)).float()
            weights = is_speech.unfold(1, self.SEGMENT, self.STEP)[:, :, None]  # [B, segments, 1, columns]
            n_speech = weights.sum(dim=3)  # [B, segments, 1]
            theirs = self._levels(power) * weights  # [B, segments, bands, columns]
        ours = self._levels(power_spectrum(wave, self.window, overlap=2)) * weights
        gain = (_norm(theirs) / _norm(ours))[..., None]
        ours = torch.minimum(ours * gain, theirs * self.CLIP)
        n_columns = n_speech.clamp(min=1)[..., None]
        ours, theirs = ((x - x.sum(dim=3, keepdim=True) / n_columns) * weights for x in (ours, theirs))
        correlation = (ours * theirs).sum(dim=3) / (_norm(ours) * _norm(theirs))  # [B, segments, bands]
        missing = ((1 - correlation) * n_speech).sum(dim=(1, 2)) / self.BANDS
        return (missing / n_speech.sum(dim=(1, 2)).clamp(min=1)).mean()

    def _levels(self, power: Tensor) -> Tensor:
        """Return the level in each third-octave band, [B, segments, bands, columns], of [B, columns, bins]."""
        return torch.sqrt(power @ self.bands + 1e-9).unfold(1, self.SEGMENT, self.STEP)


def _norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm over the last axis, with a finite gradient at zero."""
    return torch.sqrt(x.square().sum(dim=-1) + 1e-9)
