"""Compute the log-mel spectrogram in PyTorch.

`SilkNetwork.encode` and the exported graph use the same matrix product, so their tokens agree. Training uses an FFT,
which is faster, but whose rounding errors differ between implementations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from silkcodec.mel import FLOOR, HOP, N_FFT, filterbank, hann

HOPS = -(-N_FFT // HOP)  # hops per window: four whole ones and 64 samples of a fifth


def cosine_table(n: int) -> np.ndarray:
    """Return cos(2 pi m / n) for m = 0 .. n - 1, float32 [n]."""
    return np.cos(2 * np.pi * np.arange(n) / n).astype(np.float32)


def windowed_dft() -> Tensor:
    """Return the matrix of a windowed DFT, float32 [1024, 1026]: 513 columns of cosines, then 513 columns of sines."""
    steps = np.arange(N_FFT)[:, None] * np.arange(N_FFT // 2 + 1)[None, :]
    both = np.concatenate([steps, steps + 3 * N_FFT // 4], axis=1) % N_FFT
    return torch.from_numpy(cosine_table(N_FFT)[both] * hann(N_FFT)[:, None])


def log_mel(seen: Tensor, basis: Tensor, filters: Tensor) -> Tensor:
    """Return the natural-log mel spectrogram, [B, T / 240, 128].

    Args:
        seen: 784 past samples followed by T new ones, float32 [B, 784 + T].
        basis: matrix of the windowed DFT, [1024, 1026].
        filters: mel filters, [513, 128].
    """
    padded = torch.cat([seen, seen[:, : HOPS * HOP - N_FFT]], dim=1)  # whole hops; the padding is removed below
    hops = padded.unflatten(1, (-1, HOP))  # [B, T / 240 + 4, 240]
    columns = hops.shape[1] - (HOPS - 1)
    windows = torch.cat([hops[:, i : i + columns] for i in range(HOPS)], dim=2)[:, :, :N_FFT]
    real, imaginary = (windows @ basis).chunk(2, dim=-1)  # [B, T / 240, 513] each
    return log_bands(real, imaginary, filters)


def log_bands(real: Tensor, imaginary: Tensor, filters: Tensor) -> Tensor:
    """Return the natural log of the magnitude in each mel band, [B, T, 128].

    Args:
        real, imaginary: spectra, float32 [B, T, 513] each.
        filters: mel filters, [513, 128].
    """
    magnitude = torch.sqrt(real * real + imaginary * imaginary)
    return torch.log(torch.clamp(magnitude @ filters, min=FLOOR))


class LogMel(nn.Module):
    """Compute the log-mel spectrogram with a window of 1024 samples and a hop of 240 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", windowed_dft(), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filterbank().copy()), persistent=False)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the log-mel spectrogram ([B, T / 240, 128]) of audio (float32 [B, 784 + T])."""
        return log_mel(seen, self.basis, self.filters)

    def by_fft(self, seen: Tensor) -> Tensor:
        """Return the same spectrogram as `forward`, except for rounding errors, in less time."""
        window = torch.hann_window(N_FFT, device=seen.device)
        spectrum = torch.stft(seen, N_FFT, HOP, window=window, center=False, return_complex=True)
        return log_bands(spectrum.real.mT, spectrum.imag.mT, self.filters)
