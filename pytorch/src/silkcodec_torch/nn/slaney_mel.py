"""Compute mel spectrograms like those that speech recognizers and speaker encoders are trained on.

They have Slaney's filters up to 8 kHz, windows of 25 ms and 100 columns per second.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from silkcodec.mel import filterbank, hz_to_mel, mel_to_hz

REFERENCE_RATE = 16_000  # sample rate of the training data of these networks in Hz
COLUMNS_PER_S = 100


def mel_filters(n_mels: int, sample_rate: int) -> Tensor:
    """Return Slaney's mel filters, float32 [bins up to 8 kHz, n_mels], for windows of 25 ms."""
    edges = mel_to_hz(np.linspace(0, float(hz_to_mel(REFERENCE_RATE / 2)), n_mels + 2))
    filters = filterbank(n_mels, REFERENCE_RATE // 40, REFERENCE_RATE) * (2 / (edges[2:] - edges[:-2]))
    # A DFT sums over the samples of a window, so 600 samples at 24 kHz give 1.5 times the magnitude of 400 samples at
    # 16 kHz. The filters apply to the power, so the factor is squared.
    return torch.from_numpy(filters * (REFERENCE_RATE / sample_rate) ** 2).float()


def mel_power(wave: Tensor, filters: Tensor, sample_rate: int) -> Tensor:
    """Return the power in each mel band, float32 [B, n_mels, T / hop + 1], of waveforms, float32 [B, T].

    Audio at any sample rate is accepted without resampling, because the window is always 25 ms long.
    """
    n_fft = sample_rate // 40
    window = torch.hann_window(n_fft, device=wave.device)
    spectrum = torch.stft(wave, n_fft, sample_rate // COLUMNS_PER_S, n_fft, window, return_complex=True)
    spectrum = spectrum[:, : len(filters)]
    power = spectrum.real.square() + spectrum.imag.square()  # [B, bins, columns]
    return filters.T @ power
