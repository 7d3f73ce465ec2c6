"""Measure speaker similarity as the cosine similarity of two speaker embeddings.

Select the model with `silk compare --model speaker=VALUE`. VALUE is one of:

- the Hugging Face name or folder of a `transformers` model for speaker verification (AutoModelForAudioXVector), e.g.
  microsoft/wavlm-base-plus-sv, the most common model in the literature.
- the path of Resemblyzer's weights, `pretrained.pt` (GE2E, arXiv 1710.10467). This module implements Resemblyzer's
  network. If the `resemblyzer` package is installed, its weights are the default.

Similarities from different models are not comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import mel
from silkcodec.errors import MissingExtraError, WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, is_installed, rms_dbfs
from silkcodec.evaluate.metrics.foreign import package_file
from silkcodec_torch.metrics.inference import one_torch_thread

Embedding = NDArray[np.float32]  # [width], of length 1

SPEAKER_RATE = 16_000  # Hz
SPEAKER_MIN_S = 1.0  # Shorter clips give unreliable embeddings.
MAX_PART_S = 20.0  # Longer clips are embedded in equal parts, because memory grows with the square of the duration.

GE2E_STEP = 77  # columns: 1.3 windows per second
GE2E_COVERAGE = 0.75  # minimum share of the last window that the audio must cover


def speaker_similarity(pair: Pair, model: str | None) -> float:
    """Return the cosine similarity of the speaker embeddings of the reference and the output, from -1 to 1.

    Raises:
        UndefinedMetric: the clip is shorter than 1 s.
        WeightsError: the model cannot be loaded.
    """
    if pair.duration_s < SPEAKER_MIN_S:
        raise UndefinedMetric(
            f"Speaker similarity needs at least {SPEAKER_MIN_S} s of audio; got {pair.duration_s:.3f} s."
        )
    source = model or str(_packaged())
    reference, output = pair.both(f"speaker by {source}", _embedder(source), SPEAKER_RATE)
    return float(reference @ output)


@cache
def _embedder(source: str) -> Callable[[Wave], Embedding]:
    """Return a function that computes the speaker embedding of a waveform, float32 [T] at 16 kHz."""
    return _ge2e(Path(source)) if source.endswith(".pt") else _xvector(source)


def _xvector(source: str) -> Callable[[Wave], Embedding]:
    from transformers import AutoFeatureExtractor, AutoModelForAudioXVector

    try:
        features = AutoFeatureExtractor.from_pretrained(source)
        network = AutoModelForAudioXVector.from_pretrained(source).eval()
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"The 'speaker' model must be an x-vector model that transformers can load; got '{source}': {error}"
        ) from error
    if features.sampling_rate != SPEAKER_RATE:
        raise WeightsError(
            f"The 'speaker' model must take audio at {SPEAKER_RATE} Hz; "
            f"got '{source}', which takes {features.sampling_rate} Hz."
        )

    def embed(wave: Wave) -> Embedding:
        n_parts = int(np.ceil(len(wave) / (MAX_PART_S * SPEAKER_RATE)))
        with one_torch_thread():
            parts = [
                network(**features(part, sampling_rate=SPEAKER_RATE, return_tensors="pt")).embeddings[0].numpy()
                for part in np.array_split(wave, n_parts)
            ]
        return _mean_direction(parts)

    return embed


def _ge2e(file: Path) -> Callable[[Wave], Embedding]:
    """Load Resemblyzer's network and return a function that computes embeddings.

    The embedding of a clip is the mean over its windows of 1.6 s. Windows in pauses are skipped.
    """
    import torch

    from silkcodec_torch.nn import ge2e

    network = ge2e.load_speaker_encoder(file)

    def embed(wave: Wave) -> Embedding:
        raised = wave * np.float32(10.0 ** (max(0.0, ge2e.LEVEL_DBFS - rms_dbfs(wave)) / 20.0))
        with one_torch_thread():
            parts = network(torch.from_numpy(_ge2e_windows(raised))).numpy()
        return _mean_direction(list(parts))

    return embed


def _ge2e_windows(wave: Wave) -> NDArray[np.float32]:
    """Cut a waveform into windows, and return the mel energies of those with speech, float32 [windows, 160, 40]."""
    from silkcodec_torch.nn import ge2e
    from silkcodec_torch.nn.slaney_mel import mel_filters

    starts = list(range(0, max(1, len(wave) // ge2e.HOP + 2 - ge2e.WINDOW + GE2E_STEP), GE2E_STEP))
    span = ge2e.WINDOW * ge2e.HOP
    if len(starts) > 1 and len(wave) - starts[-1] * ge2e.HOP < GE2E_COVERAGE * span:
        starts.pop()
    half = ge2e.FFT // 2
    padded = np.zeros(half + starts[-1] * ge2e.HOP + span + half, dtype=np.float32)
    kept = wave[: len(padded) - half]
    padded[half : half + len(kept)] = kept
    columns = np.lib.stride_tricks.sliding_window_view(padded, ge2e.FFT)[:: ge2e.HOP]
    power = np.square(np.abs(np.fft.rfft(columns * mel.hann(ge2e.FFT), axis=1))).astype(np.float32)
    energies = power @ mel_filters(ge2e.BANDS, ge2e.SAMPLE_RATE).numpy()
    windows = np.stack([energies[start : start + ge2e.WINDOW] for start in starts])
    loudness = windows.sum(axis=(1, 2))
    kept_windows: NDArray[np.float32] = windows[loudness >= loudness.max() * 10.0 ** (-ge2e.PAUSE_DB / 10.0)]
    return kept_windows


def _mean_direction(parts: list[Any]) -> Embedding:
    """Return the mean direction of vectors as a vector of length 1."""
    tiny = 1e-12  # prevents division by zero if the output of the ReLU is all zeros
    mean = np.mean([part / max(float(np.linalg.norm(part)), tiny) for part in parts], axis=0)
    direction: Embedding = (mean / max(float(np.linalg.norm(mean)), tiny)).astype(np.float32)
    return direction


def _packaged() -> Path | None:
    return package_file("resemblyzer", "pretrained.pt")


def _lacks(model: str | None) -> str | None:
    if model is None and _packaged() is None:
        return (
            "Speaker similarity needs a model. Pass --model speaker=microsoft/wavlm-base-plus-sv (or another "
            "AutoModelForAudioXVector), or --model speaker=pretrained.pt (the weights of Resemblyzer)."
        )
    if model is not None and model.endswith(".pt"):
        return None if Path(model).is_file() else f"File not found: '{model}'. Pass the path of the speaker model."
    if model is not None and not is_installed("transformers"):
        return str(MissingExtraError("The metric 'Speaker similarity'", "transformers", "hf", "./pytorch"))
    return None


METRIC = Metric(
    "speaker_similarity",
    "Speaker similarity",
    "cosine",
    "higher",
    speaker_similarity,
    worst=0.0,
    what="cosine similarity between the speaker embeddings of the output and the original; at most 1",
    source="an x-vector model from `transformers`, or GE2E (arXiv 1710.10467)",
    packages=("torch",),
    extra="hf",
    distribution="./pytorch",
    model_key="speaker",
    lacks=_lacks,
)
