"""What a speech recogniser hears: the distance between its hidden features of a decoded wave and of the original.

Intelligibility is what breaks first at low bit rates, and spectral losses do not see it: a wrong consonant costs
them no more than a breath. A frozen recogniser's features do. Prior art: L1 between WavLM's hidden layers (Parker
et al., Stable Codec, 2024, https://arxiv.org/abs/2411.19842); reconstructed self-supervised representations as the
main loss of a streaming codec (Lee et al., JHCodec, 2026, https://arxiv.org/abs/2603.05887); Whisper as a judge of
what was said (2026, https://arxiv.org/abs/2602.06213).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from silkcodec.errors import ArgumentError
from silkcodec.mel import SAMPLE_RATE
from silkcodec.train.config import RecognizerConfig
from silkcodec.train.whisper import WhisperEncoder, load_encoder, log_mel, mel_filters

SILENT = 1e-3  # a crop that nowhere reaches this level (-60 dBFS) says nothing


class RecognizerLoss(nn.Module):
    """Distance between what a frozen Whisper hears in two waves, float32 [B, T] each, at most 30 s.

    Per layer, every channel is shifted and scaled by the mean and the deviation that the original's has over the
    batch, since a few of a transformer's channels are a hundred times as large as the others; then the mean absolute
    difference. So 0 is equal, and about 1 is the distance to other speech.

    Args:
        encoder: frozen; its arithmetic is of the type of its weights, the spectrogram and the distance are float32.
        layers: whose features are compared, counted from 1; none given: every second one up to the last.
    """

    def __init__(self, encoder: WhisperEncoder, layers: tuple[int, ...] = ()):
        super().__init__()
        n_layers = len(encoder.layers)
        if not all(1 <= layer <= n_layers for layer in layers):
            raise ArgumentError(f"recognizer.layers must be 1..{n_layers} for these weights; got {list(layers)}.")
        self.encoder = encoder
        self.layers = tuple(sorted(set(layers))) or tuple(range(n_layers, 0, -2))[::-1]
        self.register_buffer("filters", mel_filters(encoder.n_mels, SAMPLE_RATE), persistent=False)

    def features(self, wave: Tensor) -> list[Tensor]:
        """wave float32 [B, T] at 24 kHz -> of each compared layer float32 [B, T / 480, D]."""
        mel = log_mel(wave, self.filters, SAMPLE_RATE)
        hidden = self.encoder(mel.to(self.encoder.position.dtype))
        return [hidden[layer - 1].float() for layer in self.layers]

    def forward(self, wave: Tensor, target: Tensor) -> Tensor:
        """A scalar; its gradient goes to `wave` only."""
        with torch.no_grad():
            theirs = self.features(target)
            heard = (target.abs().amax(dim=1) > SILENT).float()  # [B]
        total = wave.new_zeros(())
        for our, their in zip(self.features(wave), theirs, strict=True):
            deviation = their.std(dim=(0, 1)) + 1e-3 * their.std()  # [D]; a channel that never moves is no channel
            total = total + (((our - their) / deviation).abs().mean(dim=(1, 2)) * heard).mean()
        return total / len(theirs)


def load_recognizer(config: RecognizerConfig, dtype: torch.dtype) -> RecognizerLoss:
    """The loss with the weights that the config names, in the given arithmetic.

    Raises:
        WeightsError: `config.weights` is no folder of Whisper weights. ArgumentError: it has no such layers.
    """
    return RecognizerLoss(load_encoder(Path(config.weights)).to(dtype), config.layers)
