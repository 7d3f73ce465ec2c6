"""Define the dimensions of the network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Hold the dimensions of the network.

    The frame size and the number of values per frame are not configurable, because the token format defines them.
    """

    conv_width: int = 256  # channels at 100 Hz
    conv_expansion: int = 3  # ratio of hidden to outer channels in a ConvNeXt block
    encoder_convs: int = 2  # ConvNeXt blocks before the encoder's transformer
    decoder_convs: int = 4  # ConvNeXt blocks after the decoder's transformer
    width: int = 320  # channels at 25 Hz
    heads: int = 5  # attention heads; width / heads must be even (RoPE)
    ff_expansion: int = 3  # ratio of hidden to outer channels in the feed-forward network
    encoder_layers: int = 4  # transformer layers in the encoder
    decoder_layers: int = 4  # transformer layers in the decoder
    past_frames: int = 4  # past frames in the attention window, 400 ms each
    mel_floor: float = 1e-3  # the encoder raises smaller magnitudes to this (108 dB below a full-scale sine)
    mel_mean: float = -1.6  # mean of the log-mel values, subtracted before the first layer
    mel_std: float = 3.2  # standard deviation of the log-mel values, which are divided by it
    noise: bool = False  # whether the decoder adds noise with a predicted spectrum; see nn/decoder.py
    quantizer: str = "fsq"  # "vq", "rvq" and "multiscale" are for experiments; only "fsq" can be exported
