"""The model of a training run behind the Codec protocol: any quantizer, straight from its checkpoint.

Its codebooks are the streams of codes of a frame, coarse ones first, so that `n_codebooks` cuts as each quantizer can:

    rvq          stage by stage, in a stage vector by vector: of 8 vectors the first 8 are the first of each chain
    multiscale   scale by scale: 2, 4, 8 and 16 codes of a frame
    vq           vector by vector; nothing is coarse
    fsq          dimension by dimension; nothing is coarse
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from silkcodec import audio
from silkcodec.errors import ArgumentError, TokensError, WeightsError
from silkcodec.quantizers import FSQ, RVQ, VQ, MultiScaleRVQ
from silkcodec.spec import LATENT_WIDTH, N_LEVELS, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens

Wave = NDArray[np.float32]

QUANTIZERS = {"fsq": "FSQ", "vq": "VQ", "rvq": "RVQ", "multiscale": "multi-scale RVQ"}


class RunCodec:
    """A model of a training run behind the Codec protocol: any quantizer, weights from a checkpoint.

    Args:
        run: its folder, with config.toml and checkpoint.safetensors.

    Attributes:
        model: the network, with the averaged weights, in evaluation mode.
        config: of the run.
        stages: the values of n_codebooks at which a stage of the quantizer is whole; the last one is all.

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
        self.quantizer = QUANTIZERS[config.model.quantizer]
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = tuple(getattr(self.model.quantizer, "codebook_sizes", (N_LEVELS,) * LATENT_WIDTH))
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)
        self.stages = stages(self.model.quantizer, len(self.codebook_sizes))
        self._streams = coarse_first(self.model.quantizer, len(self.codebook_sizes))

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave; see `Codec.encode`. Raises AudioError; ArgumentError: n_codebooks is out of range."""
        k = self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        codes = self.model.encode(torch.from_numpy(mono)[None])[0].numpy()[:, self._streams[:k]]
        sizes, rates = self.codebook_sizes[:k], self.frame_rates[:k]
        return Tokens(tuple(codes.T), sizes, rates, self.sample_rate, len(mono), self.codec_id)

    def decode(self, tokens: Tokens) -> Wave:
        """The wave of these tokens, of a part of the codebooks too. Raises TokensError: of another codec."""
        from silkcodec.nn.model import fresh_states

        k = len(tokens.codes)
        if tokens.codec != self.codec_id or tokens.codebook_sizes != self.codebook_sizes[:k]:
            raise TokensError(f"Tokens must be the first of '{self.codec_id}'; got {tokens!r}.")
        codes = np.full((tokens.n_frames, len(self.codebook_sizes)), -1, dtype=np.int64)
        codes[:, self._streams[:k]] = np.stack(tokens.codes, axis=1)
        with torch.inference_mode():
            latent = decode_cut(self.model.quantizer, torch.from_numpy(codes)[None])
            states = fresh_states(self.model.decoder.state_shapes(), 1, latent.device)
            wave: Wave = self.model.decoder(latent, states)[0][0, : tokens.n_samples].numpy()
        return wave

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """n_codebooks as a number, all for None. Raises ArgumentError."""
        k = len(self.codebook_sizes)
        if n_codebooks is not None and n_codebooks not in range(1, k + 1):
            raise ArgumentError(f"n_codebooks must be 1..{k} for '{self.name}'; got {n_codebooks}.")
        return k if n_codebooks is None else int(n_codebooks)


def coarse_first(quantizer: nn.Module, n_codes: int) -> NDArray[np.int64]:
    """Which code of the network's frame each stream is, [K]: RVQ keeps the codes of a vector together, we its stages.

    >>> coarse_first(RVQ(latent_width=4, vectors=2, codebooks=3, entries=2), 6).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    streams = np.arange(n_codes)
    return streams.reshape(quantizer.vectors, -1).T.ravel() if isinstance(quantizer, RVQ) else streams


def stages(quantizer: nn.Module, n_codes: int) -> tuple[int, ...]:
    """The numbers of codes at which a stage is whole.

    >>> stages(MultiScaleRVQ(entries=2), 30), stages(RVQ(entries=2), 32), stages(FSQ(), 3)
    ((2, 6, 14, 30), (8, 16, 24, 32), (1, 2, 3))
    """
    if isinstance(quantizer, MultiScaleRVQ):
        return tuple(int(n) for n in np.cumsum(quantizer.codes_per_frame))
    step = quantizer.vectors if isinstance(quantizer, RVQ) else 1
    return tuple(range(step, n_codes + 1, step))


def decode_cut(quantizer: nn.Module, codes: Tensor) -> Tensor:
    """codes [..., K] in the network's order, -1 where one is left out -> latent float32 [..., D].

    What is left out adds nothing to a residual chain (RVQ, multi-scale), as quantizer dropout has trained RVQ for; a
    vector of VQ becomes the mean of its codebook's training vectors; a dimension of FSQ takes the middle level, 0 in
    the latent, as in Silk. Only RVQ has been trained to be cut.
    """
    left_out, chosen = codes < 0, codes.clamp(min=0)
    if isinstance(quantizer, FSQ):
        return quantizer.decode(torch.where(left_out, quantizer.half_width, codes))
    if isinstance(quantizer, VQ):
        book = quantizer.codebook
        mean = (book.entries * book.counts[:, None]).sum(dim=0) / book.counts.sum()
        return torch.where(left_out[..., None], mean, book(chosen)).flatten(-2)
    if isinstance(quantizer, MultiScaleRVQ):
        parts = []
        for book, stride, entries, out in zip(
            quantizer.codebooks,
            quantizer.strides,
            chosen.split(quantizer.codes_per_frame, dim=-1),
            left_out.split(quantizer.codes_per_frame, dim=-1),
            strict=True,
        ):
            parts.append((book(entries) * ~out[..., None]).repeat_interleave(stride, dim=-2))
        return torch.stack(parts).sum(dim=0).flatten(-2)
    latent: Tensor = quantizer.decode(codes)  # RVQ knows -1
    return latent
