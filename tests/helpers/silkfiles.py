"""Create Silk tokens and .silk files for tests."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from silkcodec import container
from silkcodec.tokens import Tokens

CODEC = "silk@0a1b2c3d4e5f"
HEADER_BYTES = 51  # size of a header with this codec name
FAST = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def random_levels(frames: int, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Return random levels that are similar to a model's output."""
    rng = np.random.default_rng(seed)
    return np.clip(np.round(rng.normal(rng.uniform(2, 5, 128), spread, (frames, 128))), 0, 7).astype(np.uint8)


def tokens_of(frames: int = 60, cut: int = 0, seed: int = 0, dims_per_token: int = 7) -> Tokens:
    levels = random_levels(frames, seed)
    return Tokens.from_levels(levels, n_samples=frames * 9600 - cut, codec=CODEC, dims_per_token=dims_per_token)


def to_bytes(tokens: Tokens, **options: Any) -> bytes:
    file = io.BytesIO()
    assert container.write(tokens, file, **options) == len(file.getvalue())
    return file.getvalue()


def from_bytes(data: bytes, **options: Any) -> Tokens:
    return container.read(io.BytesIO(data), **options)


class Pipe(io.RawIOBase):
    """Wrap bytes in a file that is not seekable and returns a few bytes per read."""

    def __init__(self, data: bytes, at_once: int = 7) -> None:
        self._file, self._at_once = io.BytesIO(data), at_once

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        return self._file.read(min(n, self._at_once))


@st.composite
def some_tokens(draw: st.DrawFn) -> Tokens:
    frames = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["random", "speech", "constant"]))
    seed = draw(st.integers(0, 2**32 - 1))
    levels = {
        "random": lambda: np.random.default_rng(seed).integers(0, 8, (frames, 128)),
        "speech": lambda: random_levels(frames, seed, 0.5),
        "constant": lambda: np.full((frames, 128), seed % 8),
    }[kind]()
    n_samples = (frames - 1) * 9600 + draw(st.integers(1, 9600))
    dims = draw(st.integers(1, 20))
    codec = draw(st.sampled_from([CODEC, "silk", "séide@1", "x" * 255]))
    return Tokens.from_levels(levels, n_samples=n_samples, codec=codec, dims_per_token=dims)
