"""Define SilkFeatureExtractor, which converts audio to model inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import logging

from silkcodec import audio
from silkcodec.spec import SILK_SAMPLE_RATE

logger = logging.get_logger(__name__)


class SilkFeatureExtractor(SequenceFeatureExtractor):
    """Convert audio to `input_values` [B, 1, T] and `padding_mask` [B, T], the inputs of SilkModel.

    The audio is resampled to `sampling_rate`, by default 24 kHz, and its channels are averaged.

    Args:
        feature_size: number of channels of the output. `SilkModel` requires 1.
        sampling_rate: sample rate of the output in Hz. `SilkModel` requires 24,000.
        padding_value: value of the padding after a recording.
        kwargs: additional options for `SequenceFeatureExtractor`.
    """

    model_input_names = ["input_values", "padding_mask"]  # noqa: RUF012 - as in transformers

    def __init__(self, feature_size: int = 1, sampling_rate: int = SILK_SAMPLE_RATE, padding_value: float = 0.0, **kwargs: Any):  # fmt: skip # noqa: E501
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

    def __call__(
        self,
        raw_audio: ArrayLike | Sequence[ArrayLike],
        padding: bool | str = True,
        truncation: bool = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        """Convert one recording or a list of recordings to a batch.

        Args:
            raw_audio: an array of shape [T], [T, C] or [C, T], a list of floats, or a list of these. Floats have a full
                scale of 1.
            padding, truncation, max_length, pad_to_multiple_of: as for any feature extractor, with lengths in samples
                at 24 kHz. By default, all recordings are padded to the length of the longest.
            return_tensors: "pt" or "np". By default, the batch contains lists of arrays.
            sampling_rate: sample rate of `raw_audio` in Hz. If None, 24 kHz is assumed and a warning is logged.

        Raises:
            AudioError: the input is not audio, is empty, or contains NaN or infinity.
        """
        if sampling_rate is None:
            logger.warning("SilkFeatureExtractor assumes 24 kHz because no sampling_rate was passed.")
        batched = isinstance(raw_audio, (list, tuple)) and len(raw_audio) > 0 and np.ndim(raw_audio[0]) > 0
        waves = list(raw_audio) if batched else [raw_audio]  # type: ignore[arg-type]
        rate = sampling_rate or self.sampling_rate
        rows = [audio.as_wave(np.asarray(wave), rate, self.sampling_rate) for wave in waves]
        padded = self.pad(
            BatchFeature({"input_values": rows}),
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=True,
        )
        inputs = BatchFeature(
            {
                "input_values": [np.asarray(row, dtype=np.float32)[None] for row in padded["input_values"]],
                "padding_mask": [np.asarray(mask) for mask in padded["attention_mask"]],
            }
        )
        return inputs.convert_to_tensors(return_tensors) if return_tensors is not None else inputs
