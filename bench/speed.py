"""Measure Silk's speed, memory and file size on this machine, and write the results as JSON.

    python bench/speed.py --out bench/speed.json        # about 4 minutes on two idle cores
    python bench/speed.py --out /tmp/quick.json --quick # trial run with short files

Each measurement runs in a new process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import program
import subprocesses
from subprocesses import Figures, Run

from silkcodec.evaluate import machine

BENCH = Path(__file__).resolve().parent
SAMPLES = BENCH.parent / "samples"
WORKER = BENCH / "speed_worker.py"


@dataclass(frozen=True)
class SpeedSizes:
    """Set the durations of speech in seconds, and the numbers of runs."""

    short_s: float = 600.0  # duration of the file that is used to measure speed
    long_s: float = 3600.0  # duration of the file that is used to measure peak memory
    stream_s: float = 120.0
    batch_clips: int = 24
    help_runs: int = 7
    cold_runs: int = 5


QUICK = SpeedSizes(short_s=8.0, long_s=16.0, stream_s=4.0, batch_clips=3, help_runs=2, cold_runs=1)


def silk(*arguments: str | Path) -> Run:
    """Run the `silk` command that is installed for this Python."""
    script = Path(sys.executable).parent / "silk"
    found = str(script) if script.exists() else shutil.which("silk")
    if found is None:
        sys.exit("The 'silk' command is not installed for this Python. Run: pip install -e .")
    return subprocesses.run_command([found, *arguments])


def worker(*arguments: str | Path | float) -> Figures:
    """Run one measurement of `speed_worker.py` in a new process and return its result."""
    return json.loads(subprocesses.run_command([sys.executable, WORKER, *map(str, arguments)]).stdout)


def median_of(n_runs: int, measure: Callable[[], float]) -> Figures:
    """Return statistics of `n_runs` wall times in seconds, after one extra run that is not measured."""
    measure()
    times = [measure() for _ in range(n_runs)]
    return {"median_s": statistics.median(times), "lowest_s": min(times), "highest_s": max(times), "n_runs": n_runs}


def measure_command(short: Path, long: Path, sizes: SpeedSizes, folder: Path) -> tuple[Figures, Figures]:
    """Measure the speed and the peak memory of `silk encode` and `silk decode`."""
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
            decoded.unlink(missing_ok=True)  # An hour of decoded audio takes 173 MB.
        memory[verb] = {"short_mb": peaks[0], "long_mb": peaks[1], "growth_mb": peaks[1] - peaks[0]}
    return speed, memory


def measure(sizes: SpeedSizes, folder: Path) -> Figures:
    """Measure everything, and return the figures."""
    ten_s, short, long = folder / "ten.wav", folder / "short.wav", folder / "long.wav"
    for path, duration_s in ((ten_s, 10.0), (short, sizes.short_s), (long, sizes.long_s)):
        say(f"writing {duration_s:g} s of speech")
        worker("tile", SAMPLES, path, duration_s)

    figures: Figures = {}
    say("startup")
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


def say(what: str) -> None:
    print(f"speed: {what}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed, latency, memory and size of the default codec.")
    parser.add_argument(
        "--out", type=program.output_file, required=True, help="JSON file for the results; it is overwritten"
    )
    parser.add_argument("--quick", action="store_true", help="trial run with short files; the times are meaningless")
    options = parser.parse_args()
    found, before = machine.conditions(), machine.clocks()
    found |= worker("versions")
    with tempfile.TemporaryDirectory(prefix="silk-bench-") as folder:
        figures = measure(QUICK if options.quick else SpeedSizes(), Path(folder))
    took_s = subprocesses.write_result(options.out, "silk speed", options.quick, found, before, figures)
    say(f"wrote {options.out} in {took_s:.0f} s")


if __name__ == "__main__":
    program.run(main)
