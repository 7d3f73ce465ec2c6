"""Provide a fake codec for corpus tests, which can fail on purpose.

It has two codebooks: the peak of every 10 ms in 256 steps, and the peak of every 20 ms in 4 steps.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distributions
from silkcodec import audio
from silkcodec.tokens import Tokens

RATE = 24_000
WARM_UP = RATE // 2  # length in samples of the silence that a run encodes first
KILLS, RAISES = 12_345, 12_346  # lengths in samples that make the codec fail


class Peaks:
    name = "peaks"
    sample_rate = RATE
    codebook_sizes = (256, 4)
    frame_rates = (100.0, 50.0)

    def encode(self, wave: Any, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        wave = audio.as_wave(wave, sample_rate, RATE)
        if len(wave) == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(wave) == RAISES:
            raise ZeroDivisionError("by zero")
        hangs_from = int(os.environ.get("PEAKS_HANGS_FROM", "0"))  # length in samples
        while hangs_from and len(wave) >= hangs_from and len(wave) != WARM_UP:
            time.sleep(0.1)
        codes = tuple(_peaks(wave, hop, size) for hop, size in ((240, 256), (480, 4)))
        weights = os.environ.get("PEAKS_WEIGHTS", "0123456789ab")
        return Tokens(codes, self.codebook_sizes, self.frame_rates, RATE, len(wave), f"peaks@{weights}")

    def decode(self, tokens: Tokens) -> Any:
        return np.repeat(tokens.codes[0] / np.float32(256), 240)[: tokens.n_samples].astype(np.float32)


def _peaks(wave: Any, hop: int, size: int) -> Any:
    padded = np.zeros(-(-len(wave) // hop) * hop, np.float32)
    padded[: len(wave)] = np.abs(wave)
    return np.minimum(padded.reshape(-1, hop).max(1) * size, size - 1).astype(np.int64)


def peaks(preset: str | None) -> Peaks:
    return Peaks()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the codec in this process and its child processes."""
    distributions.install(folder, "corpuscodecs", {"silkcodec.codecs": {"peaks": "corpuscodecs:peaks"}}, monkeypatch)


def shards(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each shard in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("tokens-*"))}


def clips(folder: Path, n: int, seconds: float = 0.5) -> Path:
    """Create a folder with n clips of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        rng = np.random.default_rng(i)
        wave = rng.uniform(-0.9, 0.9, round(seconds * RATE) + 240 * i) * (i + 1) / (n + 1)
        audio.write(folder / f"clip{i:03d}.wav", wave.astype(np.float32), RATE, overwrite=True)
    return folder
