"""Measure `silk tokenize` with both engines, with and without interruptions, and write the results as JSON.

    python bench/corpus.py --speech FOLDER --out bench/corpus.json         # about 10 minutes on two idle cores
    python bench/corpus.py --speech FOLDER --out /tmp/quick.json --quick   # trial run with a few minutes of speech

FOLDER must contain an INDEX.tsv with a duration_s column. The program tokenizes randomly selected speech four times:
with local processes and with Ray, each once without interruption and once with three kills (`kill -9`). All runs must
write the same bytes and contain every recording exactly once. Otherwise the program exits with 1 and writes no results.
The throughput is compared with that of a single process that only encodes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import program
import subprocesses
from subprocesses import Figures

from silkcodec.audio import manifest
from silkcodec.evaluate import machine

SCRIPT = Path(__file__).resolve()
SEED = 6
SHARD_ITEMS = 8
ENGINES = ("local", "ray")
PATIENCE_S = 3600.0  # time limit for one run


@dataclass(frozen=True)
class CorpusSizes:
    """Set the hours of speech to tokenize, the hours of speech for a single process, and the number of kills."""

    hours: float = 2.0
    single_hours: float = 0.5
    kills: int = 3


QUICK = CorpusSizes(hours=0.1, single_hours=0.01, kills=1)


def choose(speech: Path, hours: float, target: Path) -> list[dict[str, Any]]:
    """Select the given number of hours of speech at random, write a manifest, and return its rows."""
    rows = [row for row in manifest.read(speech / manifest.INDEX_NAME) if row.get("duration_s")]
    random.Random(SEED).shuffle(rows)
    chosen: list[dict[str, Any]] = []
    left_s = 3600 * hours
    for row in rows:
        if left_s <= 0:
            break
        known = {key: row[key] for key in ("speaker", "language") if key in row}
        chosen.append({"path": str((speech / row["path"]).resolve()), "id": row["path"], **known})
        left_s -= float(row["duration_s"])
    if left_s > 0:
        sys.exit(f"'{speech}' must contain at least {hours:g} h of speech; got {hours - left_s / 3600:.2f} h.")
    target.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return chosen


def command(engine: str, listed: Path, out: Path, workers: int) -> list[str]:
    silk = [sys.executable, "-m", "silkcodec.cli", "tokenize", str(listed), "-o", str(out)]
    options = ["--engine", engine, "--workers", str(workers), "--shard-items", str(SHARD_ITEMS)]
    return [*silk, *options, "--allow-outside", "--json"]


def uninterrupted(engine: str, listed: Path, out: Path, workers: int) -> Figures:
    """Run `silk tokenize` without interruption. Return the throughput, the memory and the time of each shard."""
    done = subprocesses.run_command(command(engine, listed, out, workers))
    report = json.loads(done.stdout)
    records = ledger(out)
    quarter = max(1, len(records) // 4)
    return {
        "wall_s": done.wall_s,
        "x_realtime": 3600 * report["hours"] / done.wall_s,
        "start_s": start(engine, listed, out.with_name(f"{engine}-one")),
        "worker_peak_mb": max(record["peak_mb"] for record in records),
        "worker_peak_growth_mb": max(r["peak_mb"] for r in records[-quarter:])
        - max(r["peak_mb"] for r in records[:quarter]),
        "report": {key: report[key] for key in ("rows", "hours", "tokens", "bits", "bytes", "shards", "quarantined")},
        "shards": [
            {"sound_s": record["samples"] / 24_000, "wall_s": record["wall_s"], "cpu_s": record["cpu_s"]}
            for record in records
        ],
    }


def start(engine: str, listed: Path, out: Path) -> float:
    """Return the startup time of a run in seconds."""
    one = listed.with_name("one.jsonl")
    one.write_text(listed.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
    done = subprocesses.run_command(command(engine, one, out, 1))
    return done.wall_s - sum(record["wall_s"] for record in ledger(out))


def interrupted(engine: str, listed: Path, out: Path, workers: int, kills: int) -> Figures:
    """Run `silk tokenize`, kill it `kills` times at regular intervals, and resume it each time."""
    words = command(engine, listed, out, workers)
    n_shards: int | None = None
    seen = []
    for number in range(1, kills + 1):
        with tempfile.TemporaryFile() as stderr:
            run = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=stderr)
            until = time.monotonic() + PATIENCE_S
            while True:
                if n_shards is None and (out / "plan.json").exists():
                    n_shards = json.loads((out / "plan.json").read_text())["n_shards"]
                if n_shards is not None and len(ledger(out)) >= max(1, n_shards * number // (kills + 1)):
                    break
                if run.poll() is not None or time.monotonic() > until:
                    stderr.seek(0)
                    sys.exit(f"The run ended with {run.poll()} before it could be killed: {stderr.read()!r}")
                time.sleep(0.02)
            family = descendants(run.pid)
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            if survivors := bury(family):
                sys.exit(f"{survivors} worker processes were still running after the main process was killed.")
        seen.append(len(ledger(out)))
    done = subprocesses.run_command(words)
    report = json.loads(done.stdout)
    return {
        "kills": kills,
        "shards_done_at_kills": seen,
        "rows": report["rows"],
        "quarantined": report["quarantined"],
    }


def ledger(out: Path) -> list[dict[str, Any]]:
    """Return the entries of the ledger in an output folder."""
    try:
        content = (out / "ledger.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def descendants(pid: int) -> list[int]:
    """Return the IDs of all descendants of a process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found, waiting = [], [pid]
    while waiting:
        above = waiting.pop()
        below = [child for child, parent in parents.items() if parent == above]
        found += below
        waiting += below
    return found


def bury(family: Sequence[int], patience_s: float = 15.0) -> int:
    """Wait until processes have ended, and kill those that do not end. Return the number of killed processes."""
    until = time.monotonic() + patience_s
    while (alive := [pid for pid in family if _is_alive(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in alive:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(alive)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def checksums(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("tokens-*"))}


def check(rows: Sequence[dict[str, Any]], outs: Sequence[Path], quarantined: int) -> Figures:
    """Exit with an error unless all runs wrote the same bytes and contain every recording exactly once."""
    from silkcodec.corpus import read

    found = [checksums(out) for out in outs]
    ids = [row.id for row in read(outs[0], verify=True)]
    problems = []
    if any(other != found[0] for other in found):
        problems.append("the runs wrote different shards")
    if len(ids) != len(set(ids)) or not set(ids) <= {row["id"] for row in rows}:
        problems.append("a row is duplicated, or its recording is not in the manifest")
    if len(ids) + quarantined != len(rows):
        problems.append(f"{len(rows)} recordings gave {len(ids)} rows, and {quarantined} were quarantined")
    if problems:
        sys.exit(f"corpus: {'; '.join(problems)}; see {outs[0].parent}")
    whole = hashlib.sha256("".join(f"{name} {value}\n" for name, value in found[0].items()).encode())
    return {"runs": len(outs), "shards": len(found[0]), "rows": len(ids), "sha256_of_all": whole.hexdigest()}


def single(listed: Path, hours: float) -> None:
    """Encode recordings in this process with one thread, and print the figures as JSON."""
    from silkcodec import audio
    from silkcodec.silk import Silk

    codec = Silk(threads=1)
    codec.prepare(encode=True)
    sound_s, started = 0.0, time.perf_counter()
    for row in manifest.read(listed):
        tokens = codec.encode(audio.read(row["path"]), 24_000)
        sound_s += tokens.duration_s
        if sound_s >= 3600 * hours:
            break
    wall_s = time.perf_counter() - started
    print(json.dumps({"codec": codec.codec_id, "sound_s": sound_s, "wall_s": wall_s, "x_realtime": sound_s / wall_s}))


def measure(speech: Path, work: Path, out: Path, sizes: CorpusSizes, quick: bool) -> None:
    listed = work / "speech.jsonl"
    rows = choose(speech, sizes.hours, listed)
    found, since = subprocesses.idle_conditions(), machine.clocks()
    workers = int(found["cores"])
    print(f"{len(rows)} recordings; one process", flush=True)
    words = [sys.executable, SCRIPT, "--single", listed, "--hours", str(sizes.single_hours)]
    alone = json.loads(subprocesses.run_command([str(word) for word in words]).stdout)
    figures: Figures = {"single": alone, "engines": {}, "killed": {}}
    for engine in ENGINES:
        print(f"{engine}, uninterrupted", flush=True)
        result = uninterrupted(engine, listed, work / engine, workers)
        result["efficiency"] = result["x_realtime"] / (workers * alone["x_realtime"])
        figures["engines"][engine] = result
        print(f"{engine}, killed {sizes.kills} times", flush=True)
        figures["killed"][engine] = interrupted(engine, listed, work / f"{engine}-killed", workers, sizes.kills)
    outs = [work / f"{engine}{how}" for engine in ENGINES for how in ("", "-killed")]
    quarantined = figures["engines"]["local"]["report"]["quarantined"]
    figures["same"] = check(rows, outs, quarantined)
    figures["input_bytes"] = sum(os.path.getsize(row["path"]) for row in rows)
    figures["recordings"] = len(rows)
    figures["plan_bytes"] = (outs[0] / "plan.jsonl").stat().st_size
    found |= {
        "workers": workers,
        "shard_items": SHARD_ITEMS,
        "codec": alone.pop("codec"),
        "versions": machine.versions("numpy", "onnxruntime", "pyarrow", "ray"),
    }
    took_s = subprocesses.write_result(out, "silk corpus", quick, found, since, figures)
    print(f"{out}: in {took_s:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure silk tokenize.")
    parser.add_argument("--speech", type=Path, help="folder with an INDEX.tsv")
    parser.add_argument("--out", type=program.output_file, help="JSON file for the results")
    parser.add_argument("--hours", type=float, default=None, help="hours of speech (default: 2)")
    parser.add_argument("--quick", action="store_true", help="trial run with a few minutes of speech")
    parser.add_argument("--single", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.single:
        single(options.single, options.hours)
        return
    if options.speech is None or options.out is None:
        parser.error("--speech and --out are required.")
    sizes = QUICK if options.quick else CorpusSizes()
    if options.hours is not None:
        sizes = CorpusSizes(options.hours, min(sizes.single_hours, options.hours), sizes.kills)
    with tempfile.TemporaryDirectory(prefix="silk-corpus-") as work:
        measure(options.speech, Path(work), options.out, sizes, options.quick)


if __name__ == "__main__":
    program.run(main)
