"""Compute speaker embeddings with Resemblyzer's network (GE2E: Wan et al., 2018, https://arxiv.org/abs/1710.10467)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from silkcodec.errors import WeightsError

SAMPLE_RATE = 16_000  # sample rate of its training data in Hz
BANDS = 40  # mel bands up to 8 kHz
FFT, HOP = 400, 160  # samples: 25 ms and 10 ms
WINDOW = 160  # columns: 1.6 s
LEVEL_DBFS = -30.0  # quieter audio is amplified to this level
PAUSE_DB = 40.0  # windows this far below the loudest window are pauses
WIDTH = 256


class SpeakerEncoder(nn.Module):
    """Compute one embedding per window with three LSTM layers, a linear layer and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, WIDTH, 3, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, energies: Tensor) -> Tensor:
        """Return embeddings of any length, float32 [N, 256], for mel energies, float32 [N, 160, 40]."""
        _, (hidden, _) = self.lstm(energies)
        return torch.relu(self.linear(hidden[-1]))


def load_speaker_encoder(file: Path) -> SpeakerEncoder:
    """Load the frozen network from Resemblyzer's `pretrained.pt`.

    Raises:
        WeightsError: the file cannot be read or contains other weights.
    """
    network = SpeakerEncoder()
    names = network.state_dict().keys()
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        network.load_state_dict({name: state[name] for name in names})
    except Exception as error:  # The errors of torch.load have no common base class.
        reason = f"it does not contain {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"Cannot load '{file}': {reason}. Pass the path of Resemblyzer's pretrained.pt.") from error
    return network.eval().requires_grad_(False)
