"""The log-mel of `silkcodec.mel` in PyTorch; the exported graph computes this one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silkcodec.mel import FLOOR, HOP, N_FFT, filterbank, hann


class LogMel(nn.Module):
    """Windows of 1024 samples every 240 -> natural-log mel magnitudes, as `silkcodec.mel.log_mel`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.from_numpy(hann()), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filterbank().copy()), persistent=False)

    def forward(self, seen: Tensor) -> Tensor:
        """seen float32 [B, 784 + T], the stream from 304 samples before the first column -> [B, T / 240, 128]."""
        spectrum = torch.stft(seen, N_FFT, HOP, N_FFT, self.window, center=False, return_complex=True)
        return torch.log(torch.clamp(spectrum.abs().transpose(1, 2) @ self.filters, min=FLOOR))
