"""Describe the machine and its load during a measurement, because measured times depend on both.

This module does not import large libraries, because they would increase the measured peak memory.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import silkcodec
from silkcodec.parallel.cores import available_cores

Clocks = tuple[float, float | None, float]


def conditions() -> dict[str, Any]:
    """Return the processor, the number of usable cores, the operating system and the one-minute load average."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # 0 means idle
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, silkcodec and the given packages."""
    found = {"python": platform.python_version(), "silkcodec": silkcodec.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def clocks() -> Clocks:
    """Return the wall time, the CPU time of all processes and the CPU time of this process in seconds.

    The CPU time of all processes is None on systems other than Linux.
    """
    own = os.times()
    ours_s = own.user + own.system + own.children_user + own.children_system
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return time.perf_counter(), None, ours_s
    # The fields are user, nice, system, idle, iowait, irq, softirq and steal. All but idle and iowait count as used,
    # including time that the host gives to other virtual machines (steal).
    ticks = sum(int(field) for i, field in enumerate(fields[:8]) if i not in (3, 4))
    return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), ours_s


def others_cores(before: Clocks, after: Clocks) -> float | None:
    """Return the mean number of cores that other processes used between two calls to `clocks`, or None if unknown."""
    if before[1] is None or after[1] is None:
        return None
    return max(0.0, (after[1] - before[1]) - (after[2] - before[2])) / max(after[0] - before[0], 1e-9)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    numbers = [f"{label} {found[key]}" for label, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return f"{found.get('model name', 'unknown')} ({', '.join(numbers)})"
