"""Estimate the time to tokenize 10^5 and 10^7 hours of speech, with formulas and with a simulation.

    python bench/scaling.py --corpus bench/corpus.json --out bench/scaling.json                 # about a minute
    python bench/scaling.py ... --price 0.04 --mtbf-hours 24 --slow-share 0.05                  # other assumptions

bench/corpus.json contains measurements: the time of each shard, the startup time of a worker, and the numbers of bytes
that are read and written. Options set the assumptions: how often workers are lost, how long their replacement takes,
and how many workers are slow. Without --price, the cost is given only in core-hours.

In the simulation, workers take shards from a queue, as in `silk tokenize`. If a worker is lost, its shard returns to
the queue and a new worker starts. The processing times are drawn from the measured times.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import findings
import program
import subprocesses
from subprocesses import Figures

from silkcodec.errors import ArgumentError
from silkcodec.evaluate import machine

KIND = "silk scaling"
PLANS = ((1e5, 100), (1e5, 1_000), (1e7, 1_000), (1e7, 10_000))  # hours, workers
SHARD_HOURS = (0.1, 1.0, 10.0, 100.0)
DEFAULT_SHARD_HOURS = 10.0
RUN_HOURS = 1e5  # practical limit for one output folder, because a single process makes its plan
MANY = 50  # Sums of more draws than this use the normal approximation.
MAX_SHARDS = 2_000_000  # Larger plans are not simulated.
LIMITS = {  # lowest and highest value of each assumption
    "mtbf_hours": (1, 1e6), "slow_share": (0, 1), "slow_factor": (1, 100), "replace_s": (0, 1e6), "price": (0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Assumptions:
    """Hold the assumptions that were not measured.

    Attributes:
        mtbf_hours: mean time until a worker is lost, for example because its machine fails.
        slow_share: share of slow workers.
        slow_factor: time that a slow worker takes relative to a normal worker.
        replace_s: time from the loss of a worker until its replacement starts, in seconds.
        price: price of a core-hour in any currency, or None if it is unknown.
    """

    mtbf_hours: float = 100.0
    slow_share: float = 0.02
    slow_factor: float = 3.0
    replace_s: float = 60.0
    price: float | None = None

    def check(self) -> None:
        """Raise ArgumentError if an assumption is out of range."""
        for name, (lowest, highest) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                option = f"--{name.replace('_', '-')}"
                raise ArgumentError(f"{option} must be between {lowest:,.0f} and {highest:,.0f}; got {value:g}.")


@dataclass(frozen=True)
class ShardTimes:
    """Hold the audio duration and the processing time of each shard, and the startup time of a worker, in seconds."""

    sound_s: tuple[float, ...]
    wall_s: tuple[float, ...]
    start_s: float

    @property
    def work_per_sound(self) -> float:
        return sum(self.wall_s) / sum(self.sound_s)


class Shards:
    """Draw random processing times for shards with `shard_hours` of audio."""

    def __init__(self, measured: ShardTimes, shard_hours: float, rng: random.Random) -> None:
        self._rng = rng
        unit_s = statistics.mean(measured.sound_s)
        # Scale the work of each measured shard to the mean duration.
        self._units = [w * unit_s / s for s, w in zip(measured.sound_s, measured.wall_s, strict=True)]
        self._n = max(1, round(3600 * shard_hours / unit_s))
        self._scale = 3600 * shard_hours / (self._n * unit_s)
        self._mean, self._deviation = measured.work_per_sound * unit_s, statistics.pstdev(self._units)

    def draw(self) -> float:
        """Return a random processing time in seconds."""
        if self._n > MANY:
            total = self._n * self._mean + math.sqrt(self._n) * self._deviation * self._rng.gauss(0, 1)
            return self._scale * max(0.0, total)
        return self._scale * sum(self._rng.choices(self._units, k=self._n))


def simulate(durations: Sequence[float], n_workers: int, start_s: float, assumed: Assumptions, seed: int) -> Figures:
    """Simulate a run with slow and lost workers.

    Args:
        durations: processing time of each shard on a normal worker, in seconds.
        n_workers: number of workers.
        start_s: startup time of a worker in seconds.
        assumed: assumptions.
        seed: random seed.

    Returns:
        A dict with these keys. wall_s: total time. work_s: time spent on completed shards. lost_s: lost work. losses:
            number of lost workers. idle_tail_s: time between the start of the last shard and the end of the run.
    """
    rng = random.Random(seed)
    slow = [assumed.slow_factor if rng.random() < assumed.slow_share else 1.0 for _ in range(n_workers)]
    free = [(start_s, worker) for worker in range(n_workers)]
    heapq.heapify(free)
    waiting = list(range(len(durations) - 1, -1, -1))
    returns: list[tuple[float, int]] = []  # (time at which the shard of a lost worker returns to the queue, shard)
    end = work = lost = empty_since = 0.0
    losses = 0
    while waiting or returns:
        now, worker = heapq.heappop(free)
        while returns and returns[0][0] <= now:
            waiting.append(heapq.heappop(returns)[1])
        if not waiting:  # All remaining shards are still on workers that will be lost.
            heapq.heappush(free, (max(now, returns[0][0]), worker))
            continue
        index = waiting.pop()
        empty_since = now
        takes = durations[index] * slow[worker]
        until_lost = rng.expovariate(1 / (3600 * assumed.mtbf_hours)) if math.isfinite(assumed.mtbf_hours) else math.inf
        if until_lost < takes:
            losses += 1
            lost += until_lost
            heapq.heappush(returns, (now + until_lost, index))
            heapq.heappush(free, (now + until_lost + assumed.replace_s + start_s, worker))
        else:
            work += takes
            end = max(end, now + takes)
            heapq.heappush(free, (now + takes, worker))
    return {"wall_s": end, "work_s": work, "lost_s": lost, "losses": losses, "idle_tail_s": end - empty_since}


def on_paper(hours: float, shard_hours: float, n_workers: int, measured: ShardTimes, assumed: Assumptions) -> Figures:
    """Use formulas to estimate the quantities that `simulate` returns.

    Workers are lost at the rate r, and a replacement starts after the delay d. A shard that takes the time t without
    losses then takes (1/r + d) (e^(r t) - 1) on average.
    """
    rate, again = 1 / (3600 * assumed.mtbf_hours), assumed.replace_s + measured.start_s
    takes = measured.work_per_sound * 3600 * shard_hours

    def expected(t: float) -> float:
        return t if rate == 0 else (1 / rate + again) * math.expm1(rate * t)

    usual, slow = expected(takes), expected(takes * assumed.slow_factor)
    per_s = n_workers * ((1 - assumed.slow_share) / usual + assumed.slow_share / slow)
    n_shards = math.ceil(hours / shard_hours)
    last = slow if assumed.slow_share * n_workers >= 1 else usual
    return {
        "core_hours_of_work": hours * measured.work_per_sound,
        "wall_s": measured.start_s + n_shards / per_s - usual / 2 + last,
        "expected_shard_s": usual,
    }


def read(path: Path) -> tuple[Figures, ShardTimes]:
    """Return the contents of bench/corpus.json, and the processing times for the simulation."""
    found = findings.read_result(path, "silk corpus")
    if found is None:
        raise ArgumentError(f"File not found: '{path}'. Run bench/corpus.py first.")
    local = found["engines"]["local"]
    sound = tuple(shard["sound_s"] for shard in local["shards"])
    return found, ShardTimes(sound, tuple(shard["wall_s"] for shard in local["shards"]), max(0.0, local["start_s"]))


def replay(found: Figures, measured: ShardTimes) -> Figures:
    """Simulate the measured run, for comparison with the measurement."""
    workers = found["conditions"]["workers"]
    ideal = Assumptions(mtbf_hours=math.inf, slow_share=0.0)
    got = simulate(measured.wall_s, workers, measured.start_s, ideal, seed=0)
    wall_s = found["engines"]["local"]["wall_s"]
    return {"workers": workers, "measured_s": wall_s, "simulated_s": got["wall_s"], "ratio": got["wall_s"] / wall_s}


def plan(
    hours: float, workers: int, shard_hours: float, found: Figures, measured: ShardTimes, a: Assumptions
) -> Figures:
    """Return the estimated times and numbers of bytes for one row of the tables."""
    n_shards = math.ceil(hours / shard_hours)
    shards = Shards(measured, shard_hours, random.Random(1))
    paper = on_paper(hours, shard_hours, workers, measured, a)
    row: Figures = {"hours": hours, "workers": workers, "shard_hours": shard_hours, "shards": n_shards, "paper": paper}
    if n_shards <= MAX_SHARDS:
        drawn = [shards.draw() for _ in range(n_shards)]
        done = simulate(drawn, workers, measured.start_s, a, seed=2)
        billed_s = workers * done["wall_s"]
        row["simulated"] = done | {
            "ratio_to_paper": done["wall_s"] / paper["wall_s"],
            "lost_share": done["lost_s"] / billed_s,
            "tail_share": done["idle_tail_s"] / done["wall_s"],
            "billed_core_hours": billed_s / 3600,
        }
    report = found["engines"]["local"]["report"]
    speed = hours / (row.get("simulated", paper)["wall_s"] / 3600)  # hours of audio per hour
    row |= {
        "read_mb_per_s": speed * found["input_bytes"] / report["hours"] / 3600 / 1e6,
        "write_mb_per_s": speed * report["bytes"] / report["hours"] / 3600 / 1e6,
        "written_gb": hours * report["bytes"] / report["hours"] / 1e9,
        "shard_mb": shard_hours * report["bytes"] / report["hours"] / 1e6,
        "ledger_lines_per_s": n_shards / row.get("simulated", paper)["wall_s"],
        "runs": math.ceil(hours / RUN_HOURS),
        "plan_gb_per_run": min(hours, RUN_HOURS) * found["plan_bytes"] / report["hours"] / 1e9,
        "recordings_per_run": min(hours, RUN_HOURS) * found["recordings"] / report["hours"],
        "cost": a.price * row["simulated"]["billed_core_hours"] if a.price is not None and "simulated" in row else None,
    }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimate the time and cost of large corpora.")
    parser.add_argument("--corpus", type=Path, required=True, help="JSON file written by bench/corpus.py")
    parser.add_argument("--out", type=program.output_file, required=True)
    parser.add_argument("--price", type=float, default=None, help="price of a core-hour")
    for name, usual in asdict(Assumptions()).items():
        if name != "price":
            parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=usual)
    options = parser.parse_args()
    assumed = Assumptions(**{name: getattr(options, name) for name in asdict(Assumptions())})
    assumed.check()
    found, since = machine.conditions(), machine.clocks()
    corpus, measured = read(options.corpus)
    figures: Figures = {
        "assumed": asdict(assumed),
        "measured": {
            "codec": corpus["conditions"]["codec"],
            "x_realtime_per_worker": 1 / measured.work_per_sound,
            "start_s": measured.start_s,
            "shards": len(measured.wall_s),
            "quick": corpus["quick"],
        },
        "replay": replay(corpus, measured),
        "plans": [plan(h, n, DEFAULT_SHARD_HOURS, corpus, measured, assumed) for h, n in PLANS],
        "shard_sizes": [plan(1e5, 1_000, size, corpus, measured, assumed) for size in SHARD_HOURS],
    }
    took_s = subprocesses.write_result(options.out, KIND, corpus["quick"], found, since, figures)
    print(f"wrote {options.out} in {took_s:.0f} s")


if __name__ == "__main__":
    program.run(main)
