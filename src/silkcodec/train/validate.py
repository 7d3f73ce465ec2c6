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
        folder: where to write ``00_original.wav`` and ``00_silk.wav``; the originals once.
    """
    device = next(model.parameters()).device
    scores: dict[str, list[float]] = {"pesq_wb": [], "stoi": [], "mel_distance": []}
    counts = np.zeros((128, 8))
    for i, wave in enumerate(waves):
        levels = model.encode(torch.from_numpy(wave)[None].to(device))
        decoded = model.decode(levels, len(wave))[0].float().cpu().numpy()
        for level in range(8):
            counts[:, level] += (levels[0].cpu().numpy() == level).sum(axis=0)
        pair = metrics.Pair(wave, decoded)
        for name in scores:
            try:
                scores[name].append(getattr(metrics, name)(pair))
            except metrics.UndefinedMetric:
                continue  # silence: there is nothing to measure
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            original = folder / f"{i:02d}_original.wav"
            if not original.exists():
                audio.write(original, wave, SAMPLE_RATE)
            audio.write(folder / f"{i:02d}_silk.wav", decoded, SAMPLE_RATE)
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1)
    result = {name: float(np.mean(values)) if values else math.nan for name, values in scores.items()}
    return result | {"perplexity": float(np.exp(entropy).mean())}
