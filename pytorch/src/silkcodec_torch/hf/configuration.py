"""Define SilkConfig, the configuration of a Silk model in `transformers`."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from transformers import PreTrainedConfig

from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, N_LEVELS, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import codebook_sizes
from silkcodec_torch.nn.sizes import ModelConfig

SIZES = tuple(field.name for field in fields(ModelConfig) if field.name != "quantizer")


class SilkConfig(PreTrainedConfig):
    """Store the dimensions of the network and the codec id of its tokens.

    Args:
        codec: codec id of the tokens, which includes a hash of the weights, e.g. "silk@0a1b2c3d4e5f". Change it after
            fine-tuning the weights.
        sizes: network sizes, with the field names and defaults of `silkcodec_torch.nn.sizes.ModelConfig`.
    """

    model_type = "silkcodec"

    def __init__(self, codec: str = "silk", **sizes: Any) -> None:
        defaults = asdict(ModelConfig())
        for name in SIZES:
            setattr(self, name, sizes.pop(name, defaults[name]))
        self.codec = codec
        # The token format fixes these values. They are in config.json for information, and are ignored on loading.
        for name, value in (
            ("sampling_rate", SILK_SAMPLE_RATE),
            ("audio_channels", 1),
            ("frame_samples", FRAME_SAMPLES),
            ("frame_rate", SILK_FRAME_RATE),
            ("n_levels", N_LEVELS),
            ("dims_per_token", DIMS_PER_TOKEN),
            ("codebook_sizes", list(codebook_sizes())),
        ):
            sizes.pop(name, None)
            setattr(self, name, value)
        super().__init__(**sizes)

    def network(self) -> ModelConfig:
        """Return the network sizes as a `ModelConfig`."""
        return ModelConfig(**{name: getattr(self, name) for name in SIZES})
