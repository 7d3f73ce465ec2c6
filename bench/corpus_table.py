"""Build tables of docs/results.md and docs/scaling.md from corpus.json and scaling.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.evaluate.markdown import number, table

NO_CORPUS = "Not measured yet: `python bench/corpus.py --speech FOLDER --out bench/corpus.json`."
NO_SCALING = "Not computed yet: `python bench/scaling.py --corpus bench/corpus.json --out bench/scaling.json`."


def corpus(bench: Path) -> str:
    """Return the tables of throughput and memory of both engines, and of the interrupted runs."""
    result = findings.read_result(bench / "corpus.json", "silk corpus")
    if result is None:
        return NO_CORPUS
    single, rows = result["single"], []
    rows.append(["one process that only encodes, 1 thread", number(single["x_realtime"], 1), "", "", "", ""])
    for engine, found in result["engines"].items():
        cells = [found["x_realtime"], 100 * found["efficiency"], found["start_s"]]
        memory = [number(found["worker_peak_mb"], 0), number(found["worker_peak_growth_mb"], 1)]
        label = f"`--engine {engine}`, {result['conditions']['workers']} workers"
        rows.append([label, *(number(cell, 1) for cell in cells), *memory])
    headers = ["", "x real time", "% of workers x one process", "start, s", "peak MB of a worker", "its growth, MB"]
    kills = []
    for engine, found in result["killed"].items():
        done = ", ".join(map(str, found["shards_done_at_kills"]))
        kills.append([f"`--engine {engine}`", str(found["kills"]), done, str(found["rows"]), "yes"])
    same, hours = result["same"], result["engines"]["local"]["report"]["hours"]
    note = (
        f"{result['recordings']} recordings, {hours:.2f} h, {same['shards']} shards."
        f" All {same['runs']} runs gave the same bytes: SHA-256 of their checksums {same['sha256_of_all'][:16]}."
        " Growth: the highest peak in the last quarter of the shards minus that in the first."
    )
    columns = ["killed with -9", "times", "shards done at each kill", "rows at the end"]
    columns.append("same bytes as an uninterrupted run")
    return "\n\n".join([table(headers, rows), table(columns, kills), f"{note} {_conditions(bench, result)}"])


def summary(bench: Path) -> str:
    """Return the same in one sentence, for README."""
    result = findings.read_result(bench / "corpus.json", "silk corpus")
    if result is None:
        return NO_CORPUS
    engines = ", ".join(
        f"`{engine}` {number(found['x_realtime'], 0)} x real time ({number(100 * found['efficiency'], 0)} % of workers"
        f" x one process, {number(found['worker_peak_mb'], 0)} MB per worker)"
        for engine, found in result["engines"].items()
    )
    kills = max(found["kills"] for found in result["killed"].values())
    hours = result["engines"]["local"]["report"]["hours"]
    return (
        f"Measured on {hours:.1f} h of speech with {result['conditions']['workers']} workers: {engines}; all"
        f" {result['same']['runs']} runs, including those killed {kills} times, gave the same bytes."
    )


def _conditions(bench: Path, result: Figures) -> str:
    found = result["conditions"]
    versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items())
    sentences = [
        f"{found['codec']}{findings.not_embedded(bench, found['codec'], times=True)}; {found['cores']} cores, "
        f"{found['cpu']}, {found['system']}; {versions}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)


def _scaling(bench: Path) -> Figures | None:
    return findings.read_result(bench / "scaling.json", "silk scaling")


def scaling(bench: Path) -> str:
    """Return the table of plans: time, core-hours, lost work and bytes."""
    result = _scaling(bench)
    if result is None:
        return NO_SCALING
    rows = []
    for plan in result["plans"]:
        simulated = plan.get("simulated")
        days = [number(plan["paper"]["wall_s"] / 86_400, 2), number(simulated and simulated["wall_s"] / 86_400, 2)]
        rows.append(
            [
                f"{plan['hours']:,.0f}",
                f"{plan['workers']:,}",
                number(plan["paper"]["core_hours_of_work"], 0),
                *days,
                number(simulated and simulated["paid_core_hours"], 0),
                number(simulated and 100 * simulated["lost_share"], 2),
                number(plan["read_mb_per_s"], 0),
                number(plan["write_mb_per_s"], 1),
                number(plan["written_gb"], 0),
            ]
        )
    headers = ["hours", "workers", "core-hours of work", "days, on paper", "days, simulated", "core-hours paid"]
    headers += ["% lost", "read, MB/s", "written, MB/s", "written, GB"]
    return f"{table(headers, rows)}\n\n{_assumed(result)}"


def _assumed(result: Figures) -> str:
    assumed, measured = result["assumed"], result["measured"]
    quick = " **From a quick measurement, with too little speech for reliable results.**" if result["quick"] else ""
    return (
        f"Measured: {measured['codec']} at {measured['x_realtime_per_worker']:.1f} x real time per worker,"
        f" {measured['shards']} shards, {measured['start_s']:.1f} s to start. Assumed: a worker is lost every"
        f" {assumed['mtbf_hours']:g} h, and replaced after {assumed['replace_s']:g} s;"
        f" {100 * assumed['slow_share']:g} % of the workers take {assumed['slow_factor']:g} times as long.{quick}"
    )


def shard_sizes(bench: Path) -> str:
    """Return the table of shard sizes: number of files, lost work and waiting."""
    result = _scaling(bench)
    if result is None:
        return NO_SCALING
    rows = []
    for plan in result["shard_sizes"]:
        simulated = plan["simulated"]
        rows.append(
            [
                f"{plan['shard_hours']:g}",
                f"{plan['shards']:,}",
                number(plan["shard_mb"], 2),
                number(plan["paper"]["expected_shard_s"] / 60, 1),
                number(100 * simulated["lost_share"], 2),
                number(100 * simulated["tail_share"], 1),
                number(simulated["wall_s"] / 3600, 2),
                number(plan["ledger_lines_per_s"], 2),
            ]
        )
    headers = ["hours in a shard", "shards", "MB", "minutes of work", "% lost", "% of the time with an empty queue"]
    return table([*headers, "hours in all", "ledger lines/s"], rows)


def checks(bench: Path) -> str:
    """Return the table that compares the simulation with the measurement, and the arithmetic with the simulation."""
    result = _scaling(bench)
    if result is None:
        return NO_SCALING
    replay = result["replay"]
    what = f"the measured run, {replay['workers']} workers: simulated / measured"
    rows = [[what, number(replay["simulated_s"], 1), number(replay["measured_s"], 1), number(replay["ratio"], 3)]]
    for plan in [*result["plans"], *result["shard_sizes"]]:
        if "simulated" in plan:
            label = f"{plan['hours']:,.0f} h, {plan['workers']:,} workers, shards of {plan['shard_hours']:g} h"
            seconds = [number(plan["simulated"]["wall_s"], 0), number(plan["paper"]["wall_s"], 0)]
            rows.append([f"{label}: simulated / on paper", *seconds, number(plan["simulated"]["ratio_to_paper"], 3)])
    return table(["", "simulated, s", "measured or on paper, s", "ratio"], rows)


def limits(bench: Path) -> str:
    """Return the table of the limits of one output folder, given by the size of its plan."""
    result = _scaling(bench)
    if result is None:
        return NO_SCALING
    rows = [
        [
            f"{plan['hours']:,.0f}",
            str(plan["runs"]),
            number(plan["recordings_per_run"] / 1e6, 1),
            number(plan["plan_gb_per_run"], 2),
        ]
        for plan in {plan["hours"]: plan for plan in result["plans"]}.values()
    ]
    return table(["hours", "output folders", "million recordings in each", "GB of plan in each"], rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "corpus": corpus,
    "corpus-summary": summary,
    "scaling": scaling,
    "scaling-shards": shard_sizes,
    "scaling-checks": checks,
    "scaling-limits": limits,
}
