"""Which machine an experiment ran on, and what else ran there meanwhile: times mean nothing without it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

Clocks = tuple[float, float | None, float]


def conditions() -> dict[str, Any]:
    """Processor, cores, threads of PyTorch, system and versions."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }


def clocks() -> Clocks:
    """Seconds: of the clock; that all processes of the machine have computed (None: not Linux); and this one of it."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return time.perf_counter(), None, time.process_time()
    # user nice system IDLE IOWAIT irq softirq steal: what a neighbour steals is lost to us just the same.
    ticks = sum(int(field) for i, field in enumerate(fields[:8]) if i not in (3, 4))
    return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


def others_cores(before: Clocks, after: Clocks) -> float | None:
    """How many cores everybody else kept busy between two calls of `clocks`, on average; None: not known."""
    if before[1] is None or after[1] is None:
        return None
    return max(0.0, (after[1] - before[1]) - (after[2] - before[2])) / max(after[0] - before[0], 1e-9)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
