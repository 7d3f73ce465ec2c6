"""Define the sizes of the network, which are needed to rebuild it from its weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Configure the sizes of the network. The format fixes the frame (400 ms, 40 mel columns, 128 values, 8 levels)."""

    conv_width: int = 256  # channels at 100 Hz
    conv_expansion: int = 3  # hidden / outer channels of a ConvNeXt block
    encoder_convs: int = 2  # ConvNeXt blocks before the encoder's transformer
    decoder_convs: int = 4  # ConvNeXt blocks after the decoder's transformer
    width: int = 320  # channels at 25 Hz
    heads: int = 5  # attention heads; width / heads must be even (RoPE)
    ff_expansion: int = 3  # hidden / outer channels of the feed-forward
    encoder_layers: int = 4  # transformer layers in the encoder
    decoder_layers: int = 4  # transformer layers in the decoder
    past_frames: int = 4  # frames before the current one in the attention window (400 ms each)
    mel_floor: float = 1e-3  # the encoder clamps magnitudes below this (-108 dB of a full-scale sine)
    mel_mean: float = -1.6  # natural-log mel magnitude, subtracted before the first layer
    mel_std: float = 3.2
    noise: bool = False  # whether the decoder's head adds noise with a predicted spectrum; see nn/decoder.py
    quantizer: str = "fsq"  # "vq", "rvq" and "multiscale" are for experiments; only "fsq" can be exported
