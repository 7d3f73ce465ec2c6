"""Provide fake codecs that keep the audio in memory. Some of them have a fault."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distributions
from silkcodec import audio
from silkcodec.errors import ArgumentError, MissingExtraError, TokensError
from silkcodec.tokens import Tokens

RATE = 24_000
WEIGHTS: dict[str, str] = {}  # name -> hash in the codec id
ENCODED: dict[str, int] = {}  # name -> number of encoded recordings that are longer than a warm-up of 0.5 s


class Kept:
    """Decode to the encoded audio times `gain`. The tokens are 0 1 2 3 0 1 ... at 100 Hz."""

    sample_rate = RATE
    codebook_sizes: tuple[int, ...] = (4,)
    frame_rates: tuple[float, ...] = (100.0,)
    quantizer = "none"
    latency_s = 0.25

    def __init__(self, name: str, gain: float = 1.0) -> None:
        self.name, self.gain = name, gain
        self.waves: dict[int, Any] = {}

    def encode(self, wave: Any, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        wave = audio.as_wave(wave, sample_rate, RATE)
        ENCODED[self.name] = ENCODED.get(self.name, 0) + (len(wave) > RATE // 2)
        self.waves[len(wave)] = wave
        n_frames = int(np.ceil(len(wave) * min(self.frame_rates) / RATE))
        codes = tuple(np.arange(round(n_frames * rate / min(self.frame_rates))) % 4 for rate in self.frame_rates)
        identity = f"{self.name}@{WEIGHTS.get(self.name, '000000000000')}"
        return Tokens(codes, self.codebook_sizes, self.frame_rates, RATE, len(wave), identity)

    def decode(self, tokens: Tokens) -> Any:
        return self.gain * self.waves[tokens.n_samples]


class Scales(Kept):
    codebook_sizes = (4, 8)
    frame_rates = (50.0, 100.0)
    latency_s = None  # type: ignore[assignment]


class Failing(Kept):
    """Fail for audio longer than a second."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(name)
        self.fault = fault

    def decode(self, tokens: Tokens) -> Any:
        if tokens.n_samples <= RATE:
            return super().decode(tokens)
        print(f"{self.name} fails")  # Output of a codec must not end up in results that are printed as JSON.
        if self.fault == "refuses":
            raise TokensError("tokens must be short; got long ones.")
        if self.fault == "raises":
            raise ZeroDivisionError("by zero")
        if self.fault == "nan":
            return np.full(tokens.n_samples, np.nan, dtype=np.float32)
        if self.fault == "crashes":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGSEGV)
        while Path(os.environ["FAKE_HANGS"]).exists():  # "hangs"
            time.sleep(0.1)
        return super().decode(tokens)


def half(preset: str | None) -> Kept:
    return Kept("half", 0.5)


def same(preset: str | None, *, source: str | None = None) -> Kept:
    if preset not in (None, "a", "b"):
        raise ArgumentError(f"The preset of same must be a or b; got '{preset}'.")
    return Kept("same" if preset is None else f"same:{preset}")


def mute(preset: str | None) -> Kept:
    return Kept("mute", 0.0)


def scales(preset: str | None) -> Kept:
    return Scales("scales")


def failing(preset: str | None) -> Kept:
    return Failing(f"failing:{preset}", str(preset))


def unloadable(preset: str | None) -> Kept:
    if preset == "exits":
        os._exit(3)
    if preset == "raises":
        raise OSError("no such library")
    raise MissingExtraError("The codec 'unloadable'", "nonesuch", "eval")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the fake codecs in this process and its child processes."""
    names = ("half", "same", "mute", "scales", "failing", "unloadable")
    points = {name: f"fakecodecs:{name}" for name in names}
    distributions.install(folder, "fakecodecs", {"silkcodec.codecs": points}, monkeypatch)
    WEIGHTS.clear()
    ENCODED.clear()
