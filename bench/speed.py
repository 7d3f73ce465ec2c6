"""How fast and how large Silk is on this machine: every figure from a fresh process, all in one JSON file.

    python bench/speed.py --out bench/speed.json        # about 4 minutes on two quiet cores
    python bench/speed.py --out /tmp/quick.json --quick # the same on short files: does it run?

What needs the codec in memory is measured inside `speed_worker.py`, a process per figure; what a user waits for
at the command line is measured from here, start-up included. This process imports nothing heavy: on Linux a
child's peak memory starts at that of the process it was forked from.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
SAMPLES = BENCH.parent / "samples"
WORKER = BENCH / "speed_worker.py"
FORMAT = 1

Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured. All in seconds of speech, except the numbers of runs."""

    short_s: float = 600.0  # the file that speed is measured on
    long_s: float = 3600.0  # the file whose peak memory is compared with the short one's
    stream_s: float = 120.0
    batch_clips: int = 24
    help_runs: int = 7
    cold_runs: int = 5


QUICK = Sizes(short_s=8.0, long_s=16.0, stream_s=4.0, batch_clips=3, help_runs=2, cold_runs=1)


@dataclass(frozen=True)
class Run:
    """A process that has ended: its wall time, its processor time, its peak resident memory, what it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def run(command: Sequence[str | Path]) -> Run:
    """Runs a command to its end; one that fails ends the benchmark with what it said."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=stdout, stderr=stderr)
        # wait4 tells of this child alone; getrusage(RUSAGE_CHILDREN) tells of the largest so far.
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != 0:
            said = stderr.read().decode(errors="replace").strip()
            sys.exit(f"{' '.join(map(str, command))}\nended with {child.returncode}: {said}")
        kilo = 1e-6 if sys.platform == "darwin" else 1.024e-3  # ru_maxrss: bytes there, KiB here
        return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * kilo, stdout.read().decode())


def silk(*arguments: str | Path) -> Run:
    """The command as users type it: the script that pip made, beside this Python."""
    script = Path(sys.executable).parent / "silk"
    found = str(script) if script.exists() else shutil.which("silk")
    if found is None:
        sys.exit("The command 'silk' must be installed beside this Python; run: pip install -e .")
    return run([found, *arguments])


def worker(*arguments: str | Path | float) -> Figures:
    """One measurement of `speed_worker.py` in a process of its own."""
    return json.loads(run([sys.executable, WORKER, *map(str, arguments)]).stdout)


def median_of(n_runs: int, measure: Callable[[], float]) -> Figures:
    """Wall times in seconds, after one run that is not counted: it fills the disk cache."""
    measure()
    times = [measure() for _ in range(n_runs)]
    return {"median_s": statistics.median(times), "lowest_s": min(times), "highest_s": max(times), "n_runs": n_runs}


def measure_command(short: Path, long: Path, sizes: Sizes, folder: Path) -> tuple[Figures, Figures]:
    """`silk encode` and `silk decode` on both files -> (speed on the short one, peak memory on both)."""
    speed: Figures = {"duration_s": sizes.short_s}
    memory: Figures = {"short_s": sizes.short_s, "long_s": sizes.long_s}
    for verb in ("encode", "decode"):
        peaks = []
        for source, duration_s in ((short, sizes.short_s), (long, sizes.long_s)):
            packed, decoded = folder / f"{source.stem}.silk", folder / f"{source.stem}.decoded.wav"
            paths = (source, packed) if verb == "encode" else (packed, decoded)
            done = silk(verb, paths[0], "-o", paths[1])
            peaks.append(done.peak_mb)
            if source is short:
                speed[f"{verb}_times_real_time"] = duration_s / done.wall_s
                speed[f"{verb}_cpu_s"] = done.cpu_s
            decoded.unlink(missing_ok=True)  # an hour is 173 MB
        memory[verb] = {"short_mb": peaks[0], "long_mb": peaks[1], "growth_mb": peaks[1] - peaks[0]}
    return speed, memory


def measure(sizes: Sizes, folder: Path) -> Figures:
    """All figures, one after another: nothing else must run meanwhile."""
    ten_s, short, long = folder / "ten.wav", folder / "short.wav", folder / "long.wav"
    for path, duration_s in ((ten_s, 10.0), (short, sizes.short_s), (long, sizes.long_s)):
        say(f"writing {duration_s:g} s of speech")
        worker("tile", SAMPLES, path, duration_s)

    figures: Figures = {}
    say("start-up")
    figures["start"] = {
        "help": median_of(sizes.help_runs, lambda: silk("--help").wall_s),
        "encode_10_s": median_of(
            sizes.cold_runs, lambda: silk("encode", ten_s, "-o", folder / "ten.silk", "--force").wall_s
        ),
        "import": median_of(sizes.help_runs, lambda: worker("import")["wall_s"]),
        "load": median_of(sizes.cold_runs, lambda: worker("load")["wall_s"]),
    }
    say("library")
    figures["library"] = worker("library", short)
    figures["library_one_thread"] = worker("library", short, "--threads", 1, "--limit-s", sizes.short_s / 10)
    say("batch")
    figures["batch"] = worker("batch", short, "--clips", sizes.batch_clips)
    say("stream")
    figures["stream"] = worker("stream", short, "--limit-s", sizes.stream_s)
    say("command line")
    figures["command"], figures["memory"] = measure_command(short, long, sizes, folder)
    say("file sizes")
    figures["size"] = worker("size", SAMPLES)
    return figures


def conditions() -> Figures:
    """The machine, and how busy it was in the minute before anything is measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],  # of the last minute; 0: quiet
        **worker("versions"),
    }


def clocks() -> tuple[float, float | None, float]:
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


def others_cores(before: tuple[float, float | None, float], after: tuple[float, float | None, float]) -> float | None:
    """How many cores everybody else kept busy between two calls of `clocks`, on average."""
    if before[1] is None or after[1] is None:
        return None
    return max(0.0, (after[1] - before[1]) - (after[2] - before[2])) / (after[0] - before[0])


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    numbers = [f"{label} {found[key]}" for label, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return f"{found.get('model name', 'unknown')} ({', '.join(numbers)})"


def say(what: str) -> None:
    print(f"speed: {what}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed, latency, memory and size of the default codec.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures; overwritten")
    parser.add_argument("--quick", action="store_true", help="short files: tells whether it runs, not how fast")
    options = parser.parse_args()
    if not options.out.resolve().parent.is_dir():
        parser.error(f"--out must lie in a folder that exists; got '{options.out}'.")
    found, before = conditions(), clocks()
    with tempfile.TemporaryDirectory(prefix="silk-bench-") as folder:
        figures = measure(QUICK if options.quick else Sizes(), Path(folder))
    after = clocks()
    result = {
        "kind": "silk speed",
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "took_s": after[0] - before[0],
        "conditions": {**found, "others_cores": others_cores(before, after)},
        **figures,
    }
    options.out.write_text(json.dumps(_rounded(result), indent=1) + "\n", encoding="utf-8")
    say(f"wrote {options.out} in {result['took_s']:.0f} s")


def _rounded(value: Any) -> Any:
    """Six significant digits: the rest of a clock is noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
