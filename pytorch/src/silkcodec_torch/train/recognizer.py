"""Use the hidden features of a speech recognizer to compare decoded audio with its original.

Unlike spectral losses, a loss on these features reflects intelligibility. Prior art:

- L1 distance between hidden layers of WavLM (Parker et al., Stable Codec, 2024, https://arxiv.org/abs/2411.19842).
- Reconstruction of self-supervised representations as the main loss of a streaming codec (Lee et al., JHCodec, 2026,
  https://arxiv.org/abs/2603.05887).
- Whisper as an evaluator of the spoken content (2026, https://arxiv.org/abs/2602.06213).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from silkcodec.errors import ArgumentError
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn.slaney_mel import mel_filters
from silkcodec_torch.train.config import RecognizerConfig
from silkcodec_torch.train.whisper import WhisperEncoder, load_encoder, log_mel

SILENT = 1e-3  # crops with a lower peak (-60 dBFS) are ignored


class RecognizerLoss(nn.Module):
    """Compute the distance between decoded and original audio in the feature space of a frozen Whisper encoder.

    The loss is the mean absolute difference between the features. It is 0 for identical audio and about 1 for unrelated
    speech. Each feature is divided by its standard deviation over the originals in the batch.

    Args:
        encoder: frozen encoder, which computes in the data type of its weights.
        layers: layers to compare, counted from 1. By default, every second layer up to the last.

    Raises:
        ArgumentError: one of the layers does not exist in the encoder.
    """

    def __init__(self, encoder: WhisperEncoder, layers: tuple[int, ...] = ()):
        super().__init__()
        n_layers = len(encoder.layers)
        if not all(1 <= layer <= n_layers for layer in layers):
            raise ArgumentError(
                f"recognizer.layers must be between 1 and {n_layers} for these weights; got {list(layers)}."
            )
        self.encoder = encoder
        self.layers = tuple(sorted(set(layers))) or tuple(range(n_layers, 0, -2))[::-1]
        self.register_buffer("filters", mel_filters(encoder.n_mels, SAMPLE_RATE), persistent=False)

    def features(self, wave: Tensor) -> list[Tensor]:
        """Return the features of each compared layer (float32 [B, T / 480, D]) for 24 kHz audio (float32 [B, T])."""
        mel = log_mel(wave, self.filters, SAMPLE_RATE)
        hidden = self.encoder(mel.to(self.encoder.position.dtype), self.layers[-1])
        return [hidden[layer - 1].float() for layer in self.layers]

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """Return a scalar loss. Gradients are computed only for `wave`.

        Args:
            wave: decoded audio, float32 [B, T] at 24 kHz, at most 30 s.
            target: originals, float32 [B, T].
        """
        with torch.no_grad():
            theirs = self.features(target)
            is_audible = (target.abs().amax(dim=1) > SILENT).float()  # [B]
        total = wave.new_zeros(())
        for our, their in zip(self.features(wave), theirs, strict=True):
            deviation = their.std(dim=(0, 1)) + 1e-3 * their.std()  # [D]; never 0
            total = total + (((our - their) / deviation).abs().mean(dim=(1, 2)) * is_audible).mean()
        return total / len(theirs)


def load_recognizer(config: RecognizerConfig, dtype: torch.dtype) -> RecognizerLoss:
    """Load the configured recognizer, convert its weights to `dtype`, and return a loss that uses it.

    Raises:
        WeightsError: `config.weights` is not a folder of Whisper weights.
        ArgumentError: the encoder does not have the configured layers.
    """
    return RecognizerLoss(load_encoder(Path(config.weights)).to(dtype), config.layers)
