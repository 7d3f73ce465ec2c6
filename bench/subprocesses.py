"""Run commands in new processes, and write results together with the conditions of the measurement.

Benchmarks do not import large libraries in their main process, because on Linux the peak memory of a child process
starts at that of its parent.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silkcodec.evaluate import results
from silkcodec.evaluate.machine import Clocks, clocks, conditions, others_cores
from silkcodec.parallel.worker_process import max_rss_mb

Figures = dict[str, Any]


class CommandError(Exception):
    """Raised if a command fails. The message contains the command and its output."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(command)}\nexited with {code}: {output}")
        self.output = output


@dataclass(frozen=True)
class Run:
    """Hold the wall time, processor time, peak resident memory and output of a process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def run_command(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> Run:
    """Run a command and wait until it exits.

    Args:
        command: program and its arguments.
        variables: additional environment variables.

    Raises:
        CommandError: the command failed.
    """
    words = [str(part) for part in command]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        child = subprocess.Popen(words, stdout=stdout, stderr=stderr, env={**os.environ, **(variables or {})})
        # wait4 reports only this child, whereas getrusage(RUSAGE_CHILDREN) reports the largest child so far.
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != 0:
            raise CommandError(words, child.returncode, stderr.read().decode(errors="replace").strip())
        return Run(wall_s, usage.ru_utime + usage.ru_stime, max_rss_mb(usage), stdout.read().decode())


def idle_conditions(seconds: float = 5.0) -> Figures:
    """Return `conditions()` together with the load from other processes during a short wait."""
    found, since = conditions(), clocks()
    time.sleep(seconds)
    return {**found, "others_cores": others_cores(since, clocks())}


def write_result(path: Path, kind: str, quick: bool, found: Figures, since: Clocks, figures: Figures) -> float:
    """Write a measurement as JSON, with its kind, date, duration, conditions and figures.

    Args:
        path: output file.
        kind: kind of the result.
        quick: whether this was a trial run.
        found: `conditions()` before the measurement.
        since: `clocks()` before the measurement.
        figures: measured values.

    Returns:
        The duration of the measurement in seconds.
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
