"""Compute losses that imitate PESQ and STOI.

They make the scores of these two metrics optimistic. The model card says so for every run that uses them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.mel import SAMPLE_RATE

# Critical bands of P.862.2: number of bins (31.25 Hz), factor from power to power density, center in Bark, and hearing
# threshold as a power density
# fmt: off
BAND_BINS = (
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6,
    7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20,
)
BAND_DENSITY = (
    100.0, 99.999992, 100.0, 100.000008, 100.000008, 100.000015, 99.999992, 99.999969, 50.000027, 100.0, 99.999969,
    100.000015, 99.999947, 100.000061, 53.047077, 110.000046, 117.991989, 65.0, 68.760147, 69.999931, 71.428818,
    75.000038, 76.843384, 80.968781, 88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192, 80.950836,
    64.135651, 54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822, 58.144047, 57.004543, 64.126297,
    54.311001, 61.114979, 55.077751, 56.849335, 55.628868, 53.137054, 54.985844, 79.546974,
)
BAND_CENTER = (
    0.078672, 0.316341, 0.636559, 0.961246, 1.290450, 1.624217, 1.962597, 2.305636, 2.653383, 3.005889, 3.363201,
    3.725371, 4.092449, 4.464486, 4.841533, 5.223642, 5.610866, 6.003256, 6.400869, 6.803755, 7.211971, 7.625571,
    8.044611, 8.469146, 8.899232, 9.334927, 9.776288, 10.223374, 10.676242, 11.134952, 11.599563, 12.070135,
    12.546731, 13.029408, 13.518232, 14.013264, 14.514566, 15.022202, 15.536238, 16.056736, 16.583761, 17.117382,
    17.657663, 18.204674, 18.758478, 19.319147, 19.886751, 20.461355, 21.043034,
)
BAND_THRESHOLD = (
    51286152.0, 2454709.5, 70794.59375, 4897.788574, 1174.897705, 389.045166, 104.712860, 45.708820, 17.782795,
    9.772372, 4.897789, 3.090296, 1.905461, 1.258925, 0.977237, 0.724436, 0.562341, 0.457088, 0.389045, 0.331131,
    0.295121, 0.269153, 0.257040, 0.251189, 0.251189, 0.251189, 0.251189, 0.263027, 0.288403, 0.309030, 0.338844,
    0.371535, 0.398107, 0.436516, 0.467735, 0.489779, 0.501187, 0.501187, 0.512861, 0.524807, 0.524807, 0.524807,
    0.512861, 0.478630, 0.426580, 0.371535, 0.363078, 0.416869, 0.537032,
)
# fmt: on


def power_spectrum(wave: Tensor, window: Tensor, overlap: int = 4) -> Tensor:
    """Return the power spectrogram ([B, frames, bins]) of waveforms ([B, T]) with a hop of window / overlap samples."""
    n_fft = len(window)
    spectrum = torch.stft(wave, n_fft, n_fft // overlap, n_fft, window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)


class LoudnessLoss(nn.Module):
    """Compute the audible difference between decoded audio and its original in PESQ points, as in P.862.2 (wide band).

    It is 4.5 minus a differentiable estimate of the raw PESQ score. Unlike P.862.2, it aligns neither the delay nor the
    spectrum of the whole recording. The level of each frame is aligned. See ITU-T P.862 (2001), P.862.2 (2007), and
    torch-pesq (https://github.com/audiolabs/torch-pesq), which documents the details of the reference implementation.
    """

    WINDOW = 768  # samples: 32 ms; the hop is half of it
    LEVEL = 1e7  # mean square of the aligned original from 350 to 3,250 Hz, in 16-bit units
    QUIETEST = 1e-7  # mean square at full scale 1; quieter originals are not aligned further
    POWER_SCALE = 6.910853e-6
    LOUDNESS_SCALE, EXPONENT = 0.1866055, 0.23  # Zwicker's law; the exponent is larger below 4 Bark
    MASKED = 0.25  # differences below this share of the smaller loudness are inaudible
    MEMORY, TAPS = 0.2, 5  # smoothing of the gain per frame: share of the previous frame, and length in frames
    LIMIT = 45.0  # of the difference in a frame
    SYLLABLE = 20  # frames: 320 ms
    SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # PESQ points per unit

    def __init__(self) -> None:
        super().__init__()
        hz = np.linspace(0, SAMPLE_RATE / 2, self.WINDOW // 2 + 1)
        # The bins have the same width as those of P.862.2, 512 samples at 16 kHz, but contain more power.
        scale = self.POWER_SCALE * (512 / self.WINDOW) ** 2
        filters = np.zeros((len(hz), len(BAND_BINS)))
        bands = np.repeat(np.arange(len(BAND_BINS)), BAND_BINS)  # band of each bin
        filters[np.arange(len(bands)), bands] = np.array(BAND_DENSITY)[bands] * scale
        filters[0] = 0
        delay = np.exp(-2j * np.pi * hz / 16_000)
        high_pass = 2.740826 * (1 - delay) ** 2 / (1 - 1.9444777 * delay + 0.94597794 * delay**2)
        bark = np.array(BAND_CENTER)
        width = np.gradient(bark)
        width[0] = 0  # The first band contains only the offset, which does not count.
        smoothing = self.MEMORY ** np.arange(self.TAPS - 1.0, -1, -1)  # the first tap stands for all earlier frames
        smoothing[1:] *= 1 - self.MEMORY
        buffers = {
            "filters": filters * np.abs(high_pass[:, None]) ** 2,
            "width": width,
            "threshold": np.array(BAND_THRESHOLD),
            "exponent": self.EXPONENT * np.clip(6 / (bark + 2), 1, 2) ** 0.15,
            "speech_band": (hz >= 350) & (hz <= 3250),
            "smoothing": smoothing,
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """Return a scalar loss, which is 0 if the decoded audio is identical to the original.

        Args:
            wave: decoded audio, float32 [B, T].
            target: originals, float32 [B, T].
        """
        with torch.no_grad():
            spectrum = power_spectrum(target, self.window, overlap=2)
            mean_square = 2 * (spectrum @ self.speech_band).mean(dim=1) / (self.WINDOW * self.window.square().sum())
            gain = (self.LEVEL / mean_square.clamp(min=self.QUIETEST))[:, None, None]  # shared by both
            original = (spectrum * gain) @ self.filters  # [B, frames, bands]
            audible_power = self._audible(original)  # [B, frames]
            theirs = self._loudness(original)
        power = (power_spectrum(wave, self.window, overlap=2) * gain) @ self.filters
        power = power * self._frame_gain(audible_power, self._audible(power))[:, :, None]
        ours = self._loudness(power)
        difference = functional.relu((ours - theirs).abs() - self.MASKED * torch.minimum(ours, theirs))
        with torch.no_grad():  # Added energy is more audible than missing energy.
            added = ((power + 50) / (original + 50)) ** 1.2
            added = torch.where(added < 3, 0.0, added.clamp(max=12.0))
            weight = ((audible_power + 1e5) / 1e7) ** -0.04
        total = self.width.sum()
        symmetric = torch.linalg.vector_norm(difference * self.width, dim=2) * total.sqrt()
        asymmetric = (difference * added * self.width).sum(dim=2)
        symmetric, asymmetric = ((frames * weight).clamp(max=self.LIMIT) for frames in (symmetric, asymmetric))
        points = self.SYMMETRIC * self._over_time(symmetric) + self.ASYMMETRIC * self._over_time(asymmetric)
        return points.mean()

    def _audible(self, power: Tensor) -> Tensor:
        """Return the power above the hearing threshold, [B, frames]."""
        return torch.where(power > self.threshold, power, 0.0).sum(dim=2)

    def _frame_gain(self, original: Tensor, decoded: Tensor) -> Tensor:
        """Return the gain for each decoded frame, [B, frames], which makes it about as loud as the original."""
        ratio = functional.pad((original + 5e3) / (decoded + 5e3), (self.TAPS - 1, 0), value=1.0)
        return (ratio.unfold(1, self.TAPS, 1) @ self.smoothing).clamp(3e-4, 5.0)

    def _loudness(self, power: Tensor) -> Tensor:
        """Return the loudness in sone per Bark for the power density in each band, [B, frames, bands]."""
        base = self.LOUDNESS_SCALE * (self.threshold / 0.5) ** self.exponent
        return functional.relu(base * ((0.5 + 0.5 * power / self.threshold) ** self.exponent - 1))

    def _over_time(self, frames: Tensor) -> Tensor:
        """Return the mean of frames ([B, frames]) with power 6 in syllables and with power 2 over syllables, [B].

        Short, strong differences count more than in a plain mean.
        """
        size = min(self.SYLLABLE, frames.shape[1])
        step = max(1, size // 2)
        padded = functional.pad(frames, (0, (size - frames.shape[1]) % step))
        syllables = torch.linalg.vector_norm(padded.unfold(1, size, step), 6, dim=2) / size ** (1 / 6)
        return torch.linalg.vector_norm(syllables, dim=1) / syllables.shape[1] ** 0.5


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
