"""Measure how the quantization error of codebooks and FSQ depends on the number of bits.

    clips -> vectors [N, D] -> quantizers of 1 to 12 bits, fitted to training speech -> error on held-out speech

Two kinds of vectors are quantized: log-mel patches, and groups of four values from Silk's latents before rounding. Silk
rounds each value to 8 levels, so a group has 12 bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silkcodec import mel
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.statistics import bootstrap
from silkcodec.silk import Silk
from silkcodec_lab.chains import LLOYD_STEPS, ResidualChain, ScalarGrid, bits_of, split_bits
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.pages import Result, head
from silkcodec_lab.selection import Part, select, waves

BITS = tuple(range(1, 13))  # bits per vector, i.e. codebooks of 2 to 4,096 entries
PATCH_COLUMNS, PATCH_BANDS = 4, 4  # A mel patch covers 40 ms and 4 bands.
SILK_DIMS = 4  # numbers per vector of Silk's latents
MAX_VECTORS = 100_000  # maximum number of training vectors, drawn at random
FEWEST_PER_ENTRY = 2  # minimum number of training vectors per entry
QUANTIZERS = ("vq", "rvq2", "rvq4", "fsq", "fsq_pca")
CHAIN = {"vq": 1, "rvq2": 2, "rvq4": 4}  # number of codebooks

Vectors = NDArray[np.float32]
Progress = Callable[[int, int, str], None]  # fits done, total fits, current kind of vectors


def quantization_error(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    splits: tuple[str, str] | None = None,
    train_minutes: float = 30.0,
    held_out_minutes: float = 10.0,
    seed: int = 0,
    n_seeds: int = 3,
    bits: Sequence[int] = BITS,
    progress: Progress | None = None,
) -> Result:
    """Measure how the quantization error of VQ, RVQ and FSQ depends on the number of bits.

    Args:
        inputs: Audio files, folders, or a manifest.
        splits: Training split and held-out split of the manifest. None: hold out a tenth of the clips at random.
        train_minutes: Maximum duration of the training speech in minutes.
        held_out_minutes: Maximum duration of the held-out speech in minutes.
        seed: First random seed.
        n_seeds: Number of fits per quantizer and size, with consecutive seeds.
        bits: Bit budgets to measure, in bits per vector.
        progress: Progress callback.

    Returns:
        The contents of quantization-error.json.

    Raises:
        ArgumentError: An argument is invalid, or there is too little speech.
        AudioError: A clip cannot be read.
    """
    if n_seeds < 1:
        raise ArgumentError(f"--seeds must be at least 1; got {n_seeds}.")
    speech = select(inputs, splits, 60 * train_minutes, 60 * held_out_minutes, seed)
    conditions = Conditions()
    codec = Silk()
    sources: dict[str, Callable[[NDArray[np.float32]], Vectors]] = {
        "mel": log_mel_patches,
        "silk": lambda wave: silk_vectors(codec, wave),
    }
    seeds = range(seed, seed + n_seeds)
    latents, done, total = {}, 0, len(sources) * len(bits) * len(QUANTIZERS) * n_seeds
    for name, vectors_of in sources.items():

        def advance(of: str = name) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total, of)

        train, clips = (_vectors(parts, vectors_of, of=name) for parts in (speech.train, speech.held_out))
        latents[name] = compare(np.concatenate(train), clips, bits, seeds, advance)
        latents[name]["vectors_per_second"] = sum(map(len, train)) / speech.train_s
        if name == "silk":
            latents[name]["own_rounding"] = own_rounding(clips, latents[name]["mean"], seed)
    return {
        **head("quantization-error"),
        "settings": {
            "splits": splits,
            "train_minutes": train_minutes,
            "held_out_minutes": held_out_minutes,
            "seed": seed,
            "n_seeds": n_seeds,
            "bits": list(bits),
            "max_vectors": MAX_VECTORS,
            "fewest_per_entry": FEWEST_PER_ENTRY,
            "lloyd_steps": LLOYD_STEPS,
        },
        "codec_id": codec.codec_id,
        "speech": speech.facts(),
        "machine": conditions.facts(),
        "latents": latents,
    }


def compare(
    train: Vectors, held_out: Sequence[Vectors], bits: Sequence[int], seeds: Sequence[int], advance: Callable[[], None]
) -> dict[str, Any]:
    """Measure the error of each quantizer in `QUANTIZERS` for each number of bits.

    Args:
        train: Training vectors, [N, D].
        held_out: Held-out vectors, one array [N, D] per clip.
        bits: Bit budgets in bits per vector.
        seeds: Random seeds for the fits.
        advance: Callback that is called after each fit.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    variances = [float(np.square(clip - mean).sum()) for clip in held_out]
    figures: dict[str, list[dict[str, Any] | None]] = {name: [] for name in QUANTIZERS}
    for name in QUANTIZERS:
        for n_bits in bits:
            runs = []
            for seed in seeds:
                runs.append(_run(name, n_bits, train, held_out, seed))
                advance()
            figures[name].append(_summary(n_bits, runs, variances, mean, seeds[0]))
    return {
        "dim": train.shape[1],
        "n_train": min(len(train), MAX_VECTORS),
        "n_held_out": sum(map(len, held_out)),
        "mean": mean.tolist(),
        "variance": sum(variances) / sum(map(len, held_out)),
        "quantizers": figures,
    }


def _run(name: str, bits: int, train: Vectors, held_out: Sequence[Vectors], seed: int) -> dict[str, Any] | None:
    """Fit a quantizer, and return its error on the training vectors and on each held-out clip.

    Return None if there are too few training vectors or bits for the quantizer.
    """
    drawn = np.random.default_rng(seed).permutation(len(train))[:MAX_VECTORS]
    fitted = torch.from_numpy(train[drawn])
    quantizer: ResidualChain | ScalarGrid
    if name in CHAIN:
        sizes = split_bits(bits, CHAIN[name])
        if 1 in sizes or max(sizes) * FEWEST_PER_ENTRY > len(fitted):
            return None
        quantizer = ResidualChain.fit(fitted, sizes, seed)
    else:
        quantizer = ScalarGrid(fitted, bits, rotated=name == "fsq_pca")
        sizes = quantizer.sizes
    assert bits_of(sizes) == bits, (name, bits, sizes)
    spread = float((fitted - fitted.mean(dim=0)).square().sum())
    return {
        "sizes": sizes,
        "train": _squared_error(quantizer, fitted) / max(spread, 1e-30),
        "clips": [_squared_error(quantizer, torch.from_numpy(clip)) for clip in held_out],
    }


def _squared_error(quantizer: ResidualChain | ScalarGrid, vectors: torch.Tensor) -> float:
    return float((vectors - quantizer.quantize(vectors)).double().square().sum())


def _summary(
    bits: int, runs: Sequence[dict[str, Any] | None], variances: Sequence[float], mean: Any, seed: int
) -> dict[str, Any] | None:
    """Summarize fits with different seeds. Errors are relative to the variance of the vectors."""
    made = [run for run in runs if run is not None]
    if not made:
        return None
    clips = np.array([run["clips"] for run in made])  # [seeds, clips]
    total = sum(variances)
    return {
        "bits": bits,
        "sizes": made[0]["sizes"],
        "train": float(np.mean([run["train"] for run in made])),
        "held_out": _over_clips(clips.mean(axis=0), variances, seed),
        "seeds": (clips.sum(axis=1) / total).tolist(),
    }


def _over_clips(errors: NDArray[np.float64], variances: Sequence[float], seed: int) -> dict[str, Any]:
    """Return the mean error relative to the variance, with a bootstrap interval over clips."""
    shares = [error / max(variance, 1e-30) for error, variance in zip(errors, variances, strict=True)]
    return bootstrap(shares, seed, weights=variances)


def own_rounding(clips: Sequence[Vectors], mean: Sequence[float], seed: int) -> dict[str, Any]:
    """Return the error of Silk's quantizer, which rounds each value to one of 8 levels."""
    variances = [float(np.square(clip - np.array(mean)).sum()) for clip in clips]
    errors = np.array([float(np.square(clip - np.rint(clip), dtype=np.float64).sum()) for clip in clips])
    return {"bits": 3 * SILK_DIMS, "held_out": _over_clips(errors, variances, seed)}


def log_mel_patches(wave: NDArray[np.float32]) -> Vectors:
    """Split the log-mel spectrogram of a 24 kHz waveform into patches of 4 columns by 4 bands, float32 [N, 16]."""
    n_columns = max(0, len(wave) - mel.LOOKAHEAD) // mel.HOP // PATCH_COLUMNS * PATCH_COLUMNS
    cut = mel.log_mel(wave)[:n_columns].reshape(-1, PATCH_COLUMNS, mel.N_MELS // PATCH_BANDS, PATCH_BANDS)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1, PATCH_COLUMNS * PATCH_BANDS)


def silk_vectors(codec: Silk, wave: NDArray[np.float32]) -> Vectors:
    """Return Silk's latents for a 24 kHz waveform, in groups of four values, float32 [32 * n_frames, 4]."""
    n_frames = len(wave) // mel.FRAME
    if n_frames == 0:
        return np.zeros((0, SILK_DIMS), dtype=np.float32)
    return codec.latents(wave)[:n_frames].reshape(-1, SILK_DIMS)


def _vectors(parts: Sequence[Part], vectors_of: Callable[[NDArray[np.float32]], Vectors], *, of: str) -> list[Vectors]:
    """Return the vectors of each clip.

    Raises:
        ArgumentError: All clips are too short.
    """
    clips = []
    for part in parts:
        blocks = [vectors_of(wave) for wave in waves(part)]
        if blocks and sum(map(len, blocks)):
            clips.append(np.concatenate(blocks))
    if not clips:
        raise ArgumentError(f"Measuring '{of}' requires at least one clip of 400 ms or more; all clips are shorter.")
    return clips
