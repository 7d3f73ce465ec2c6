"""Count the processor cores that this process may use, from the affinity mask and the CPU quota of its control groups.

In a container limited with `docker run --cpus 2` the system still reports all cores of the host. If more threads run
than the quota allows, the kernel stops all of them until the next period begins.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")  # control groups of this process, one ID:CONTROLLERS:PATH per line
MOUNT = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1. A quota of half a core counts as 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float:
    """Return the lowest CPU quota of the control groups of this process, in cores; infinite without a quota.

    Both versions of control groups are read: cpu.max of version 2, and cpu.cfs_quota_us and cpu.cfs_period_us of
    version 1.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux, or no /proc
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            quotas += [_ratio(_words(folder / "cpu.max")) for folder in _up(mount, path)]
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                for folder in _up(mount / name, path):
                    quotas.append(_ratio(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")))
    return min(quotas)


def _up(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folders of a group and its parents. In a container only its own group may be mounted, at the root."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for n in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:n])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _ratio(words: list[str]) -> float:
    """Return a quota and a period, both in microseconds, as a number of cores. "max" and -1 mean no quota."""
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0 or int(words[0]) == 0:
        return math.inf
    return int(words[0]) / int(words[1])
