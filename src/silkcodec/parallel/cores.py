"""Count the processor cores that this process can use.

The count respects the affinity mask and the CPU quota of control groups, e.g. `docker run --cpus 2`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")  # control groups of this process, one line ID:CONTROLLERS:PATH per group
MOUNT = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return the number of cores that this process can use. Fractional quotas are rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float:
    """Return the lowest CPU quota, in cores, among this process's control groups, or infinity if none has a quota."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux, or /proc is not mounted
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
    """Yield the folders of a control group and of its parents, up to the mount point."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for n in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:n])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _ratio(words: list[str]) -> float:
    """Divide a quota by its period. A quota of "max" or -1 counts as infinite."""
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0 or int(words[0]) == 0:
        return math.inf
    return int(words[0]) / int(words[1])
