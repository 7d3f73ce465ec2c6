"""Wrap the model of a training run as a `Codec`. The model can have any quantizer.

Each code position in a frame counts as a codebook. Coarse codes come first, so that a low value of `n_codebooks` omits
the last stages of a residual quantizer:

    rvq          ordered by stage, then by vector: the first 8 codes are stage 1 of the 8 vectors
    multiscale   ordered by scale, with 2, 4, 8 and 16 codes per frame
    vq           ordered by vector; all codes have the same resolution
    fsq          ordered by dimension; all codes have the same resolution
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from silkcodec import audio
from silkcodec.audio import Wave
from silkcodec.bare_codes import check_n_codebooks
from silkcodec.codec import Codec, is_silk, load
from silkcodec.errors import ArgumentError, TokensError, WeightsError
from silkcodec.spec import LATENT_WIDTH, N_LEVELS, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens
from silkcodec_lab.metric_tables import quantizer_label
from silkcodec_torch.quantizers import FSQ, RVQ, VQ, MultiScaleRVQ


class RunCodec:
    """Encode and decode with the model of a training run.

    Args:
        run: Folder of the run, with config.toml and checkpoint.safetensors.

    Attributes:
        model: Network with averaged weights, in evaluation mode.
        config: Configuration of the run.
        n_steps: Number of training steps before the checkpoint.
        stages: Values of `n_codebooks` that keep whole stages of the quantizer. The last value keeps all codes.

    Raises:
        WeightsError: The checkpoint is missing or damaged.
        ArgumentError: The configuration is invalid.
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        from silkcodec_torch.nn.model import SilkNetwork
        from silkcodec_torch.train import checkpoint
        from silkcodec_torch.train.config import load_config

        file = Path(run) / "checkpoint.safetensors"
        if not file.exists():
            raise WeightsError(
                f"A training run must contain {file.name}; '{run}' does not. Run `silk train CONFIG --run {run}` first."
            )
        self.config = config = load_config(Path(run) / "config.toml")
        groups, progress = checkpoint.load(file)
        self.model = SilkNetwork(config.model).eval()
        checkpoint.fill(self.model, groups, "ema", file)
        self.name = f"run:{config.model.quantizer}"
        self.n_steps = int(progress.get("step", 0))
        self.codec_id = f"{self.name}:{self.n_steps}"
        self.quantizer = quantizer_label(self.name)
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = tuple(getattr(self.model.quantizer, "codebook_sizes", (N_LEVELS,) * LATENT_WIDTH))
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)
        self.stages = stages(self.model.quantizer, len(self.codebook_sizes))
        self._streams = coarse_first(self.model.quantizer, len(self.codebook_sizes))

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Encode a waveform; see `Codec.encode`.

        Raises:
            ArgumentError: `n_codebooks` is out of range.
        """
        k = self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        codes = self.model.encode(torch.from_numpy(mono)[None])[0].numpy()[:, self._streams[:k]]
        sizes, rates = self.codebook_sizes[:k], self.frame_rates[:k]
        return Tokens(tuple(codes.T), sizes, rates, self.sample_rate, len(mono), self.codec_id)

    def decode(self, tokens: Tokens) -> Wave:
        """Decode tokens into a waveform, float32 [T].

        Raises:
            TokensError: The tokens come from a different codec.
        """
        from silkcodec_torch.nn.model import fresh_states

        k = len(tokens.codes)
        if tokens.codec != self.codec_id or tokens.codebook_sizes != self.codebook_sizes[:k]:
            raise TokensError(
                f"Tokens must use the codebooks of '{self.codec_id}' in order, starting with the first; got {tokens!r}."
            )
        codes = np.full((tokens.n_frames, len(self.codebook_sizes)), -1, dtype=np.int64)
        codes[:, self._streams[:k]] = np.stack(tokens.codes, axis=1)
        with torch.inference_mode():
            latent = decode_cut(self.model.quantizer, torch.from_numpy(codes)[None])
            states = fresh_states(self.model.decoder.state_shapes(), 1, latent.device)
            wave: Wave = self.model.decoder(latent, states)[0][0, : tokens.n_samples].numpy()
        return wave

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """Return `n_codebooks`, or the total number of codebooks if it is None.

        Raises:
            ArgumentError: `n_codebooks` is out of range.
        """
        return check_n_codebooks(self, n_codebooks)


def load_codecs(
    names: Iterable[str], runs: Iterable[str | os.PathLike[str]], *, threads: int | None = None
) -> dict[str, Codec]:
    """Load codecs and the models of training runs, and return them, keyed by codec name.

    Args:
        names: Codec names, as for `silkcodec.load`.
        runs: Folders of training runs.
        threads: Number of CPU threads of Silk. None chooses it automatically.

    Raises:
        ArgumentError: Two codecs have the same name, or a name is unknown.
        MissingExtraError, WeightsError: A codec cannot be loaded.
    """
    loaded: dict[str, Codec] = {}
    for codec in [*(_load(name, threads) for name in names), *map(RunCodec, runs)]:
        if codec.name in loaded:
            raise ArgumentError(f"Codecs must have different names; got '{codec.name}' twice.")
        loaded[codec.name] = codec
    return loaded


def _load(name: str, threads: int | None) -> Codec:
    return load(name, threads=threads) if is_silk(name) else load(name)


def coarse_first(quantizer: nn.Module, n_codes: int) -> NDArray[np.int64]:
    """Return the indices that sort the codes of a frame from coarse to fine, int64 [K].

    >>> coarse_first(RVQ(latent_width=4, vectors=2, codebooks=3, entries=2), 6).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    streams = np.arange(n_codes)
    return streams.reshape(quantizer.vectors, -1).T.ravel() if isinstance(quantizer, RVQ) else streams


def stages(quantizer: nn.Module, n_codes: int) -> tuple[int, ...]:
    """Return the cumulative number of codes after each stage of a quantizer.

    >>> stages(MultiScaleRVQ(entries=2), 30), stages(RVQ(entries=2), 32), stages(FSQ(), 3)
    ((2, 6, 14, 30), (8, 16, 24, 32), (1, 2, 3))
    """
    if isinstance(quantizer, MultiScaleRVQ):
        return tuple(int(n) for n in np.cumsum(quantizer.codes_per_frame))
    step = quantizer.vectors if isinstance(quantizer, RVQ) else 1
    return tuple(range(step, n_codes + 1, step))


def decode_cut(quantizer: nn.Module, codes: Tensor) -> Tensor:
    """Decode codes, some of which may be missing.

    Missing codes of a residual quantizer are skipped. A missing VQ vector is replaced with the mean of the training
    vectors. A missing FSQ dimension is set to the middle level.

    Args:
        quantizer: Quantizer of the model.
        codes: Codes in the order in which the network returns them, int64 [..., K]; -1 for missing codes.

    Returns:
        The quantized latent, float32 [..., D].
    """
    missing, chosen = codes < 0, codes.clamp(min=0)
    if isinstance(quantizer, FSQ):
        return quantizer.decode(torch.where(missing, quantizer.half_width, codes))
    if isinstance(quantizer, VQ):
        book = quantizer.codebook
        mean = (book.entries * book.counts[:, None]).sum(dim=0) / book.counts.sum()
        return torch.where(missing[..., None], mean, book(chosen)).flatten(-2)
    latent: Tensor = quantizer.decode(codes)  # Residual quantizers ignore codes of -1.
    return latent
