"""Fuzz the parsers of untrusted inputs (see `TARGETS`) with coverage-guided mutation (atheris, which uses libFuzzer).

    python fuzz/fuzz.py --minutes 5                 fuzz all targets, with equal shares of the time
    python fuzz/fuzz.py --minutes 5 sound weights   fuzz only these targets
    python fuzz/fuzz.py --runs 1000                 try 1,000 inputs per target, also on a busy machine
    python fuzz/fuzz.py --replay FILE               run one input again and show the traceback

An input fails if it raises an exception other than SilkError, or needs more than 2 GB or 10 s (300 s with --runs). The
fuzzer writes it to fuzz/crashes and exits with 1. Fix the bug, and add the input to fuzz/corpus/TARGET, where a test
replays it. Inputs that reach new code are stored in the folder given with --work.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CRASHES = HERE / "crashes"
TARGETS = ("silk_file", "messages", "weights", "sound", "corpus_tar", "corpus_arrow", "manifest", "shard")
MAX_BYTES = 16_384
TIMEOUT_S, BUSY_TIMEOUT_S, MEMORY_MB = 10, 300, 2048


def main() -> int:
    """Fuzz targets or replay one input, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="targets (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="total time for all targets")
    parser.add_argument("--runs", type=int, help="number of inputs per target, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0, help="random seed; 0 selects a new seed in each run")
    parser.add_argument("--work", type=Path, help="folder for inputs that reach new code")
    parser.add_argument("--replay", type=Path, help="run only this input, from fuzz/crashes or fuzz/corpus")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: skipped, because atheris is not installed. On Linux, run: pip install '.[dev]'")
        return 0
    targets = options.targets or TARGETS
    limits = [f"-max_total_time={max(1, round(60 * options.minutes / len(targets)))}", f"-timeout={TIMEOUT_S}"]
    if options.runs:
        limits = [f"-runs={options.runs}", f"-timeout={BUSY_TIMEOUT_S}"]
    with tempfile.TemporaryDirectory(prefix="silk-fuzz-work-") as work:
        failed = [t for t in targets if fuzz(t, [*limits, f"-seed={options.seed}"], options.work or Path(work))]
    print(f"fuzz: {', '.join(failed)} failed; see {CRASHES}" if failed else "fuzz: no failures")
    return 1 if failed else 0


def fuzz(target: str, limits: list[str], work: Path) -> bool:
    """Fuzz one target in a new process with these options of libFuzzer, and return whether an input failed."""
    found, crashes = work / target, CRASHES / target
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "run_target.py"), target, str(found), str(HERE / "corpus" / target)]
    command += [*limits, f"-max_len={MAX_BYTES}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={crashes}/"]
    command += ["-print_final_stats=1", "-verbosity=1"]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lines = result.stderr.splitlines() + result.stdout.splitlines()
    runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
    coverage = next((word for line in reversed(lines) if " cov: " in line for word in [line.split(" cov: ")[1]]), "? ")
    print(f"fuzz: {target:<13} {runs} inputs, {coverage.split()[0]} edges, exit code {result.returncode}", flush=True)
    if result.returncode:
        print("\n".join(lines[-60:]))
    return result.returncode != 0


def replay(path: Path) -> int:
    """Run one input without the fuzzer. The name of its folder is the target."""
    sys.path.insert(0, str(HERE))
    import targets

    targets.run(path.resolve().parent.name, path.read_bytes())
    print("fuzz: this input no longer fails")
    return 0


if __name__ == "__main__":
    sys.exit(main())
