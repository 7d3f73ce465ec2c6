"""Validation during training: a few held-out clips through the averaged weights, measured and kept to listen to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from silkcodec import audio
from silkcodec.evaluate import metrics
from silkcodec.mel import SAMPLE_RATE
from silkcodec.nn.model import SilkModel
from silkcodec.train.config import LogConfig
from silkcodec.train.data import Pack

METRICS = ["pesq_wb", "stoi", "mel_distance"]


def validation_waves(source: Pack, config: LogConfig) -> list[np.ndarray]:
    """The same few clips every time, spread evenly over the split; float32 [T] each."""
    count = min(config.validate_clips, len(source.clips))
    chosen = [source.clips[i * len(source.clips) // count] for i in range(count)]
    n_samples = int(config.validate_clip_s * SAMPLE_RATE)
    return [source.wave(clip, 0, min(n_samples, clip.n_samples)) for clip in chosen]


def validate(model: SilkModel, waves: list[np.ndarray], folder: Path | None = None) -> dict[str, float]:
    """Mean PESQ-WB, STOI and mel distance, and the mean perplexity of a dimension's 8 levels.

    Args:
        model: in eval mode, on any device.
        waves: float32 [T] each, 24 kHz.
        folder: where to write ``00_original.wav`` and ``00_silk.wav``, over those of an earlier attempt.

    Returns:
        each metric over the clips that it is defined for (NaN where it is for none), and ``perplexity``, 1..8.
    """
    device = next(model.parameters()).device
    measures = metrics.find_metrics(METRICS)
    scores: dict[str, list[float]] = {name: [] for name in METRICS}
    counts = np.zeros((128, 8))
    for i, wave in enumerate(waves):
        levels = model.encode(torch.from_numpy(wave)[None].to(device))
        decoded = model.decode(levels, len(wave))[0].float().cpu().numpy()
        for level in range(8):
            counts[:, level] += (levels[0].cpu().numpy() == level).sum(axis=0)
        values, _, _ = metrics.measure_all(metrics.Pair(wave, decoded), measures)
        for name, value in values.items():
            if value is not None:  # None: silence, there is nothing to measure
                scores[name].append(value)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # A run that was killed after this step comes by here again.
            audio.write(folder / f"{i:02d}_original.wav", wave, SAMPLE_RATE, overwrite=True)
            audio.write(folder / f"{i:02d}_silk.wav", decoded, SAMPLE_RATE, overwrite=True)
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1)
    result = {name: float(np.mean(values)) if values else math.nan for name, values in scores.items()}
    return result | {"perplexity": float(np.exp(entropy).mean())}
