"""What every measurement here needs: commands in processes of their own, and results with their conditions.

A benchmark's own process imports this and nothing heavy: on Linux a child's peak memory starts at that of the
process it was forked from.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silkcodec.evaluate import results
from silkcodec.evaluate.machine import Clocks, clocks, conditions, others_cores

Figures = dict[str, Any]


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


def idle_conditions(seconds: float = 5.0) -> Figures:
    """`conditions()`, and how busy others are while we wait.

    For a benchmark that leaves processes to the system (kills their parents, starts daemons): by the end their work
    would count as that of others.
    """
    found, since = conditions(), clocks()
    time.sleep(seconds)
    return {**found, "others_cores": others_cores(since, clocks())}


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
        **results.head(kind, 1),
        "quick": quick,
        "took_s": now[0] - since[0],
        "conditions": {"others_cores": others_cores(since, now), **found},
        **figures,
    }
    path.write_text(results.to_json(results.rounded(result)), encoding="utf-8")
    return now[0] - since[0]
