"""What every measurement here needs: commands in processes of their own, and what machine they ran on.

A benchmark's own process imports this and nothing heavy: on Linux a child's peak memory starts at that of the
process it was forked from.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Clocks = tuple[float, float | None, float]


class CommandError(Exception):
    """A command ended with an error; the text is the command and what it said."""

    def __init__(self, command: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"{' '.join(command)}\nended with {code}: {said}")
        self.said = said


@dataclass(frozen=True)
class Run:
    """A process that has ended: its wall time, its processor time, its peak resident memory, what it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def run(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> Run:
    """Runs a command to its end.

    Args:
        variables: of the environment, over those of this process.

    Raises:
        CommandError: it ended with an error.
    """
    words = [str(part) for part in command]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        child = subprocess.Popen(words, stdout=stdout, stderr=stderr, env={**os.environ, **(variables or {})})
        # wait4 tells of this child alone; getrusage(RUSAGE_CHILDREN) tells of the largest so far.
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != 0:
            raise CommandError(words, child.returncode, stderr.read().decode(errors="replace").strip())
        return Run(wall_s, usage.ru_utime + usage.ru_stime, max_rss_mb(usage), stdout.read().decode())


def max_rss_mb(usage: Any) -> float:
    """Peak resident memory of what `resource.getrusage` or `os.wait4` returned, in MB of 10^6 bytes."""
    return usage.ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)  # bytes there, KiB here


def conditions() -> Figures:
    """The machine, and how busy it was in the minute before anything is measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],  # of the last minute; 0: quiet
    }


def idle_conditions(seconds: float = 5.0) -> Figures:
    """`conditions()`, and how busy others are while we wait.

    For a benchmark that leaves processes to the system (kills their parents, starts daemons): by the end their work
    would count as that of others.
    """
    found, since = conditions(), clocks()
    time.sleep(seconds)
    return {**found, "others_cores": others_cores(since, clocks())}


def clocks() -> Clocks:
    """Seconds: of the clock; that all processes of the machine have computed (None: not Linux); and ours of that."""
    own = os.times()
    ours_s = own.user + own.system + own.children_user + own.children_system
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return time.perf_counter(), None, ours_s
    # user nice system IDLE IOWAIT irq softirq steal: what a neighbour steals is lost to us just the same.
    ticks = sum(int(field) for i, field in enumerate(fields[:8]) if i not in (3, 4))
    return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), ours_s


def others_cores(before: Clocks, after: Clocks) -> float | None:
    """How many cores everybody else kept busy between two calls of `clocks`, on average."""
    if before[1] is None or after[1] is None:
        return None
    return max(0.0, (after[1] - before[1]) - (after[2] - before[2])) / (after[0] - before[0])


def write_result(path: Path, kind: str, quick: bool, found: Figures, since: Clocks, figures: Figures) -> float:
    """A measurement as JSON: what it is, when, how long it took, under which conditions, and its figures.

    Args:
        found: `conditions()` and whatever else was found before anything was measured.
        since: `clocks()` of then.

    Returns:
        The seconds it took.
    """
    now = clocks()
    result = {
        "kind": kind,
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "took_s": now[0] - since[0],
        "conditions": {"others_cores": others_cores(since, now), **found},
        **figures,
    }
    path.write_text(json.dumps(_rounded(result), indent=1) + "\n", encoding="utf-8")
    return now[0] - since[0]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    numbers = [f"{label} {found[key]}" for label, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return f"{found.get('model name', 'unknown')} ({', '.join(numbers)})"


def _rounded(value: Any) -> Any:
    """Six significant digits: the rest of a clock is noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
