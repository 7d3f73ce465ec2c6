"""Write a decoded wave to a sound file, and count its samples beyond full scale or scale the whole wave down."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio
from silkcodec.errors import ArgumentError, OutputError

FULL_SCALE = 32_767 / 32_768  # the highest sample that 16 bits hold
BLOCK_BYTES = 1 << 20  # of a held wave, at once

Wave = NDArray[np.float32]


def sample_type_of(name: str) -> str | None:
    """Return libsndfile's name of a sample type; None for "", the default of the format. Raises ArgumentError."""
    known = {"": None, "16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
    if name not in known:
        raise ArgumentError(f"--subtype must be 16, 24 or float; got '{name}'.")
    return known[name]


class WaveFile:
    """Write a decoded wave to a sound file, and count its samples beyond full scale or scale the whole wave down.

    Speech with a peak near full scale often decodes to a little more than full scale, which integers cannot hold.

    Args:
        target, sample_rate, overwrite, n_samples, subtype: see `audio.Writer`.
        rescale: if the peak is beyond full scale, scale the whole wave down to it. The wave is held in a temporary
            file until its peak is known.

    Attributes:
        n_clipped: samples that were clipped. peak: of the wave as it was decoded.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        sample_rate: float = audio.DEFAULT_RATE,
        *,
        overwrite: bool = False,
        n_samples: int | None = None,
        subtype: str | None = None,
        rescale: bool = False,
    ) -> None:
        self.peak = 0.0
        self._files = ExitStack()
        self._writer = self._files.enter_context(
            audio.Writer(target, sample_rate, overwrite=overwrite, n_samples=n_samples, subtype=subtype)
        )
        self._held: Any = None
        if rescale:
            self._held = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `_files` closes it

    @property
    def n_clipped(self) -> int:
        return self._writer.n_clipped

    def write(self, wave: Wave) -> None:
        """Append float32 [n]."""
        if self._held is None:
            self._writer.write(wave)
            self.peak = self._writer.peak
            return
        if len(wave):
            self.peak = max(self.peak, float(np.abs(wave).max()))
        try:
            self._held.write(wave.tobytes())
        except OSError as error:
            raise OutputError(f"The decoded wave could not be held in {tempfile.gettempdir()}: {error}.") from error

    def _write_held(self) -> None:
        scale = np.float32(min(1.0, FULL_SCALE / self.peak) if self.peak > FULL_SCALE else 1.0)
        self._held.seek(0)
        while held := self._held.read(BLOCK_BYTES):
            self._writer.write(np.frombuffer(held, dtype=np.float32) * scale)

    def __enter__(self) -> WaveFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._held is not None:
            try:
                self._write_held()
            except BaseException as late:
                self._files.__exit__(type(late), late, late.__traceback__)
                raise
        self._files.__exit__(kind, error, trace)
