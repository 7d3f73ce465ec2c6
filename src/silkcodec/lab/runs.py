"""The model of a training run behind the Codec protocol: any quantizer, straight from its checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.errors import WeightsError
from silkcodec.tokens import SILK_FRAME_RATE, SILK_SAMPLE_RATE, Tokens

Wave = NDArray[np.float32]


class RunCodec:
    """A model of a training run behind the Codec protocol: any quantizer, weights from a checkpoint.

    Args:
        run: its folder, with config.toml and checkpoint.safetensors.

    Attributes:
        model: the network, with the averaged weights, in evaluation mode.
        config: of the run.

    Raises:
        WeightsError: no run, or a damaged one. ArgumentError: its config.
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        from silkcodec.nn.model import SilkModel
        from silkcodec.train.requirements import require

        require("A training run", ("torch", "safetensors"))
        from silkcodec.train import checkpoint
        from silkcodec.train.config import load_config

        file = Path(run) / "checkpoint.safetensors"
        if not file.exists():
            raise WeightsError(f"a run must hold {file.name}; '{run}' does not; train it first: silk train CONFIG.")
        self.config = config = load_config(Path(run) / "config.toml")
        groups, progress = checkpoint.load(file)
        self.model = SilkModel(config.model).eval()
        checkpoint.fill(self.model, groups, "ema", file)
        self.name = f"run:{config.model.quantizer}"
        self.codec_id = f"{self.name}:{progress.get('step', 0)}"
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = tuple(getattr(self.model.quantizer, "codebook_sizes", (8,) * 128))
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        import torch

        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        codes = self.model.encode(torch.from_numpy(mono)[None])[0].numpy()
        return Tokens(tuple(codes.T), self.codebook_sizes, self.frame_rates, self.sample_rate, len(mono), self.codec_id)

    def decode(self, tokens: Tokens) -> Wave:
        import torch

        codes = torch.from_numpy(np.stack(tokens.codes, axis=1))
        wave: Wave = self.model.decode(codes[None], tokens.n_samples)[0].numpy()
        return wave
