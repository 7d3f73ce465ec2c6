"""A codec in a process of its own: that it can be used at all, what it is, and the memory it takes.

    python -m silkcodec.evaluate.memory CODEC CLIP ANSWER.json

loads the codec, takes the first minute of the clip there and back, and writes what `Described` holds. The
memory is that of the whole process, with Python and the libraries that the codec needs: what running it costs.
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
from silkcodec.parallel.worker_process import reason_of

MAX_CLIP_S = 60.0
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Described:
    """What a codec says of itself.

    Attributes:
        failed: why it cannot be used here; empty: it can, and the rest is known.
        refused: whether that is its name's fault: there is no such codec or preset.
        codec_id: name and weights' hash, as its tokens carry it.
        layout: its name, sizes and rates of the codebooks: what distinguishes presets of the same weights.
        latency_ms: algorithmic; None: it needs the whole clip, or does not tell.
        peak_memory_mb: of the process; None: not measured.
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
        """What a result says of it."""
        if self.failed:
            return {"failed": self.failed}
        return {key: getattr(self, key) for key in ("quantizer", "latency_ms", "peak_memory_mb")}


def describe(name: str) -> Described:
    """A codec, loaded in this process."""
    return _described(name)[0]


def describe_apart(name: str, clip: Path, threads: int) -> Described:
    """The same in a fresh process, with its memory: a codec that dies while it loads has failed, that is all."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "silkcodec.evaluate.memory", name, os.path.abspath(clip), str(answer)]
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return Described(failed=f"it must be loaded and used within {TIMEOUT_S:g} s; it was not.")
        if answer.exists():
            return Described(**json.loads(answer.read_text(encoding="utf-8")))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return Described(failed=f"{reason_of(done.returncode)} {said[-1] if said else ''}".strip())


def peak_memory_mb() -> float | None:
    """The most memory that this process has had resident so far, MB; None where the system does not tell.

    Linux: VmHWM, not getrusage: there a process begins with the peak of the one that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib * 1.024e-3
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1e-6 if sys.platform == "darwin" else 1.024e-3)


def _described(name: str) -> tuple[Described, Codec | None]:
    """What is known of a codec, and the codec; a tenth of a second goes through to learn which weights it has."""
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
    except Exception as error:  # a baseline codec may raise anything: it is reported, the others go on
        return Described(failed=f"{type(error).__name__}: {error}"), None


def main(name: str, clip: str, answer: str) -> None:
    """Writes the answer twice: should the codec crash on the clip, what it is is known."""
    described, codec = _described(name)
    _write(described, answer)
    if codec is None:
        return
    wave = next(audio.blocks(clip, MAX_CLIP_S))
    try:
        codec.decode(codec.encode(wave, audio.DEFAULT_RATE))
    except Exception:  # its row will tell why; here it only means that there is no figure
        return
    _write(replace(described, peak_memory_mb=peak_memory_mb()), answer)


def _write(described: Described, answer: str) -> None:
    part = Path(f"{answer}.part")
    part.write_text(json.dumps(asdict(described)), encoding="utf-8")
    os.replace(part, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
