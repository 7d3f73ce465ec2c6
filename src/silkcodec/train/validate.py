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
    """Mean PESQ-WB, STOI and mel distance, and the mean perplexity of a codebook (of FSQ: of a dimension's 8 levels).

    Args:
        model: in eval mode, on any device.
        waves: float32 [T] each, 24 kHz.
        folder: where to write ``00_original.wav`` and ``00_silk.wav``, over those of an earlier attempt.

    Returns:
        each metric over the clips that it is defined for (NaN where it is for none), and ``perplexity``, at least 1.
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
            if value is not None:  # None: silence, there is nothing to measure
                scores[name].append(value)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # A run that was killed after this step comes by here again.
            audio.write(folder / f"{i:02d}_original.wav", wave, SAMPLE_RATE, overwrite=True)
            audio.write(folder / f"{i:02d}_silk.wav", decoded, SAMPLE_RATE, overwrite=True)
    result = {name: float(np.mean(values)) if values else math.nan for name, values in scores.items()}
    return result | {"perplexity": float(np.mean([perplexity(codes) for codes in np.concatenate(seen).T]))}


def perplexity(codes: np.ndarray) -> float:
    """e to the entropy of what was seen of one codebook, int [n]: how many codes, used equally, would be as varied."""
    share = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(np.exp(-(share * np.log(share)).sum()))
