"""What config.json of a Silk model for `transformers` says."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from transformers import PreTrainedConfig

from silkcodec.nn.config import ModelConfig
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, N_LEVELS, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import codebook_sizes

SIZES = tuple(field.name for field in fields(ModelConfig) if field.name != "quantizer")


class SilkConfig(PreTrainedConfig):
    """The sizes of the network, and whose tokens it makes.

    Args:
        codec: the name and the hash of the weights, as the package's codec marks its tokens with it:
            "silk@0a1b2c3d4e5f". Who trains the weights on gives another.
        sizes: those of `silkcodec.nn.config.ModelConfig`, by name; the ones left out have its defaults. What the
            token format fixes (the frame, the levels, the groups) is no argument.
    """

    model_type = "silkcodec"

    def __init__(self, codec: str = "silk", **sizes: Any) -> None:
        defaults = asdict(ModelConfig())
        for name in SIZES:
            setattr(self, name, sizes.pop(name, defaults[name]))
        self.codec = codec
        # Written into config.json for those who read it, and put right if it says otherwise.
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
        """The sizes as the network takes them."""
        return ModelConfig(**{name: getattr(self, name) for name in SIZES})
