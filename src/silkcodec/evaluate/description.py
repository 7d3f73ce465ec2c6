"""Describe a codec and measure its peak memory in a separate process.

    python -m silkcodec.evaluate.description CODEC CLIP ANSWER.json

The command loads the codec, encodes and decodes the first minute of the clip, and writes a description to ANSWER.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.codec import Codec, load
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.parallel.worker_process import peak_memory_mb, reason_of

MAX_CLIP_S = 60.0
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Described:
    """A description of a codec.

    Attributes:
        failed: reason why the codec cannot be used; empty if it can be used.
        refused: whether `failed` reports an unknown name or preset.
        codec_id: codec name and hash of the weights, as stored in the tokens.
        layout: codec name, codebook sizes and frame rates as JSON.
        quantizer: kind of quantizer, e.g. "RVQ", or None if unknown.
        latency_ms: algorithmic latency in milliseconds, or None if unknown.
        peak_memory_mb: peak memory of the process in MB, or None if not measured.
    """

    failed: str = ""
    refused: bool = False
    codec_id: str = ""
    layout: str = ""
    quantizer: str | None = None
    latency_ms: float | None = None
    peak_memory_mb: float | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return the fields to include in a result."""
        if self.failed:
            return {"failed": self.failed}
        return {key: getattr(self, key) for key in ("quantizer", "latency_ms", "peak_memory_mb")}


def describe(name: str) -> Described:
    """Load a codec in this process and describe it."""
    return _described(name)[0]


def describe_in_new_process(name: str, clip: Path, threads: int) -> Described:
    """Describe a codec in a new process and measure its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "silkcodec.evaluate.description", name, os.path.abspath(clip), str(answer)]
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return Described(failed=f"Loading, encoding and decoding took more than {TIMEOUT_S:g} s.")
        if answer.exists():
            return Described(**json.loads(answer.read_text(encoding="utf-8")))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return Described(failed=f"{reason_of(done.returncode)} {said[-1] if said else ''}".strip())


def _described(name: str) -> tuple[Described, Codec | None]:
    """Load a codec, and return its description and the codec itself (None if it cannot be used)."""
    refused = True
    try:
        codec = load(name)
        refused = False
        tokens = codec.encode(np.zeros(codec.sample_rate // 10, dtype=np.float32), codec.sample_rate)
        latency_s = getattr(codec, "latency_s", None)
        described = Described(
            codec_id=tokens.codec,
            layout=json.dumps([codec.name, list(codec.codebook_sizes), list(codec.frame_rates)]),
            quantizer=getattr(codec, "quantizer", None),
            latency_ms=None if latency_s is None else 1000.0 * latency_s,
        )
        return described, codec
    except SilkError as error:
        return Described(failed=str(error), refused=refused and isinstance(error, ArgumentError)), None
    except Exception as error:  # A baseline codec may raise any exception. The result reports it.
        return Described(failed=f"{type(error).__name__}: {error}"), None


def main(name: str, clip: str, answer: str) -> None:
    """Write the description of a codec to `answer`, first without and then with the peak memory."""
    described, codec = _described(name)
    _write(described, answer)
    if codec is None:
        return
    wave = next(audio.blocks(clip, MAX_CLIP_S))
    try:
        codec.decode(codec.encode(wave, audio.DEFAULT_RATE))
    except Exception:  # The row of this clip reports the error.
        return
    _write(replace(described, peak_memory_mb=peak_memory_mb()), answer)


def _write(described: Described, answer: str) -> None:
    part = Path(f"{answer}.part")
    part.write_text(json.dumps(asdict(described)), encoding="utf-8")
    os.replace(part, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
