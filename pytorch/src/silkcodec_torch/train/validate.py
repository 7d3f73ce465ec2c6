"""Validate a model during training on a few held-out clips."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from silkcodec import audio
from silkcodec.evaluate import metrics
from silkcodec.evaluate.codebooks import perplexity
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.train.data import Pack

METRICS = ["pesq_wb", "stoi", "mel_distance"]


def spread_clips(source: Pack, n_clips: int, clip_s: float) -> list[np.ndarray]:
    """Return up to `n_clips` evenly spaced clips from `source`, cut to `clip_s` seconds, float32 [T] each."""
    count = min(n_clips, len(source.clips))
    chosen = [source.clips[i * len(source.clips) // count] for i in range(count)]
    n_samples = int(clip_s * SAMPLE_RATE)
    return [source.wave(clip, 0, min(n_samples, clip.n_samples)) for clip in chosen]


def validate(model: SilkNetwork, waves: list[np.ndarray], folder: Path | None = None) -> dict[str, float]:
    """Measure the mean PESQ-WB, STOI and mel distance of a model, and the mean perplexity of its codebooks.

    Args:
        model: network in evaluation mode, on any device.
        waves: original clips at 24 kHz, float32 [T] each.
        folder: folder for the original and decoded clips. None means that no audio is written.

    Returns:
        The mean of each metric over the clips for which it is defined (NaN if there are none), and ``perplexity``. For
            FSQ, the perplexity is computed over the levels of each dimension.
    """
    device = next(model.parameters()).device
    measures = metrics.find_metrics(METRICS)
    scores: dict[str, list[float]] = {name: [] for name in METRICS}
    seen: list[np.ndarray] = []
    for i, wave in enumerate(waves):
        codes = model.encode(torch.from_numpy(wave)[None].to(device))
        decoded = model.decode(codes, len(wave))[0].float().cpu().numpy()
        seen.append(codes[0].cpu().numpy())
        values, _, _ = metrics.measure_all(metrics.Pair(wave, decoded), measures)
        for name, value in values.items():
            if value is not None:  # None means silence, for which the metric is undefined.
                scores[name].append(value)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # A resumed run may validate the same step again.
            audio.write(folder / f"{i:02d}_original.wav", wave, SAMPLE_RATE, overwrite=True)
            audio.write(folder / f"{i:02d}_silk.wav", decoded, SAMPLE_RATE, overwrite=True)
    result = {name: float(np.mean(values)) if values else math.nan for name, values in scores.items()}
    return result | {"perplexity": float(np.mean([perplexity(codes) for codes in np.concatenate(seen).T]))}
