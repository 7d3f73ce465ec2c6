"""Use the embeddings of a frozen speaker encoder to compare the voices in decoded and original audio."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn import ge2e
from silkcodec_torch.nn.slaney_mel import mel_filters, mel_power

WINDOW = ge2e.WINDOW * SAMPLE_RATE * ge2e.HOP // ge2e.SAMPLE_RATE  # samples


class SpeakerLoss(nn.Module):
    """Compute 1 minus the cosine similarity between the speaker embeddings of decoded and original audio.

    It is the mean over windows of 1.6 s, without windows in pauses.

    Args:
        encoder: frozen speaker encoder.
    """

    def __init__(self, encoder: ge2e.SpeakerEncoder):
        super().__init__()
        self.encoder = encoder.train()  # On a GPU, the backward pass needs this mode. It does not change the output.
        self.register_buffer("filters", mel_filters(ge2e.BANDS, SAMPLE_RATE), persistent=False)

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """Return a scalar loss between 0 and 1. Gradients are computed only for `wave`.

        Args:
            wave: decoded audio, float32 [B, T] at 24 kHz, with T >= 38,400.
            target: originals, float32 [B, T].
        """
        with torch.no_grad():
            rms = target.square().mean(dim=1, keepdim=True).sqrt()  # [B, 1]
            gain = (10 ** (ge2e.LEVEL_DBFS / 20) / rms.clamp(min=1e-5)).clamp(min=1.0)
            energies = self._windows(target * gain)
            theirs = self.encoder(energies)  # [windows, 256]
            loudness = energies.sum(dim=(1, 2)).unflatten(0, (len(target), -1))  # [B, windows per crop]
            quietest = 10 ** (-ge2e.PAUSE_DB / 10) * loudness.amax(dim=1, keepdim=True)
            is_speech = (loudness > quietest).float().flatten()
        ours = self.encoder(self._windows(wave * gain))
        similarity = functional.cosine_similarity(ours, theirs, dim=1)
        return ((1 - similarity) * is_speech).sum() / is_speech.sum().clamp(min=1.0)

    def _windows(self, wave: Tensor) -> Tensor:
        """Return the mel energies of windows without overlap, float32 [windows, 160, 40]."""
        n_windows = wave.shape[1] // WINDOW
        energies = mel_power(wave[:, : n_windows * WINDOW], self.filters, SAMPLE_RATE)[:, :, :-1]
        return energies.unflatten(2, (n_windows, ge2e.WINDOW)).permute(0, 2, 3, 1).flatten(0, 1)


def load_speaker_loss(weights: str) -> SpeakerLoss:
    """Return a loss that uses the speaker encoder in a file, Resemblyzer's `pretrained.pt`.

    Raises:
        WeightsError: the file cannot be read or contains other weights.
    """
    return SpeakerLoss(ge2e.load_speaker_encoder(Path(weights)))
