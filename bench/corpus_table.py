"""Build the corpus processing tables in docs/results.md, docs/corpus.md and docs/scaling.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.evaluate.markdown import number, table

NO_CORPUS = "Not measured yet. Run `python bench/corpus.py --speech FOLDER --out bench/corpus.json`."
NO_SCALING = "Not computed yet. Run `python bench/scaling.py --corpus bench/corpus.json --out bench/scaling.json`."


def corpus(bench: Path) -> str:
    """Return a table of throughput and memory for both engines, and a table of the interrupted runs."""
    result = findings.read_result(bench / "corpus.json", "silk corpus")
    if result is None:
        return NO_CORPUS
    single, rows = result["single"], []
    rows.append(["baseline: one process that only encodes, 1 thread", number(single["x_realtime"], 1), "", "", "", ""])
    for engine, found in result["engines"].items():
        cells = [found["x_realtime"], 100 * found["efficiency"], found["start_s"]]
        memory = [number(found["worker_peak_mb"], 0), number(found["worker_peak_growth_mb"], 1)]
        label = f"`--engine {engine}`, {result['conditions']['workers']} workers"
        rows.append([label, *(number(cell, 1) for cell in cells), *memory])
    headers = ["engine", "speed, x real time", "parallel efficiency, %", "startup, s", "peak memory per worker, MB"]
    headers.append("memory growth, MB")
    kills = []
    for engine, found in result["killed"].items():
        done = ", ".join(map(str, found["shards_done_at_kills"]))
        kills.append([f"`--engine {engine}`", str(found["kills"]), done, str(found["rows"]), "yes"])
    same, hours = result["same"], result["engines"]["local"]["report"]["hours"]
    note = (
        f"The input consists of {result['recordings']} recordings ({hours:.2f} h) in {same['shards']} shards. *Parallel"
        " efficiency* is the speed per worker divided by the speed of the baseline. *Memory growth* is the highest peak"
        " in the last quarter of the shards minus the highest peak in the first quarter. All"
        f" {same['runs']} runs wrote the same bytes."
    )
    columns = ["run killed with `kill -9`", "kills", "finished shards at each kill", "rows at the end"]
    columns.append("same bytes as an uninterrupted run")
    return "\n\n".join([table(headers, rows), table(columns, kills), f"{note} {_conditions(bench, result)}"])


def summary(bench: Path) -> str:
    """Return a two-sentence summary for docs/corpus.md."""
    result = findings.read_result(bench / "corpus.json", "silk corpus")
    if result is None:
        return NO_CORPUS
    engines = " and at ".join(
        f"{number(found['x_realtime'], 0)} x real time with `--engine {engine}`"
        f" ({number(found['worker_peak_mb'], 0)} MB per worker)"
        for engine, found in result["engines"].items()
    )
    kills = max(found["kills"] for found in result["killed"].values())
    hours = result["engines"]["local"]["report"]["hours"]
    return (
        f"With {result['conditions']['workers']} workers, `silk tokenize` processed {hours:.1f} h of speech at"
        f" {engines}. Runs that were killed and resumed {kills} times wrote the same bytes as uninterrupted runs."
    )


def _conditions(bench: Path, result: Figures) -> str:
    found = result["conditions"]
    sentences = [
        f"Conditions: {found['codec']}{findings.not_embedded(bench, found['codec'], times=True)}; "
        f"{found['cores']} cores, {found['cpu']}, {found['system']}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)


def _scaling(bench: Path) -> Figures | None:
    return findings.read_result(bench / "scaling.json", "silk scaling")


def scaling(bench: Path) -> str:
    """Return a table of the estimated time, core-hours, lost work and transferred bytes for large corpora."""
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
                number(simulated and simulated["billed_core_hours"], 0),
                number(simulated and 100 * simulated["lost_share"], 2),
                number(plan["read_mb_per_s"], 0),
                number(plan["write_mb_per_s"], 1),
                number(plan["written_gb"], 0),
            ]
        )
    headers = ["hours of speech", "workers", "core-hours of work", "days, calculated", "days, simulated"]
    headers += ["billed core-hours", "lost work, %", "read, MB/s", "written, MB/s", "written, GB"]
    return f"{table(headers, rows)}\n\n{_assumed(result)}"


def _assumed(result: Figures) -> str:
    assumed, measured = result["assumed"], result["measured"]
    quick = " **This was a quick measurement, with too little speech for reliable results.**" if result["quick"] else ""
    return (
        f"- **Measured** with {measured['codec']} on {measured['shards']} shards: a worker encodes at"
        f" {measured['x_realtime_per_worker']:.1f} x real time and starts in {measured['start_s']:.1f} s.\n"
        f"- **Assumed**: each worker crashes once in {assumed['mtbf_hours']:g} h on average and is replaced after"
        f" {assumed['replace_s']:g} s. {100 * assumed['slow_share']:g} % of the workers take"
        f" {assumed['slow_factor']:g} times as long as the rest.{quick}"
    )


def shard_sizes(bench: Path) -> str:
    """Return a table of the number of shards, the lost work and the idle time for several shard sizes."""
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
    headers = ["hours of speech per shard", "shards", "MB per shard", "minutes of work per shard", "lost work, %"]
    return table([*headers, "time with an empty queue, %", "duration of the run, h", "ledger lines/s"], rows)


def checks(bench: Path) -> str:
    """Return a table that compares the simulation with the measurement and with the formulas."""
    result = _scaling(bench)
    if result is None:
        return NO_SCALING
    replay = result["replay"]
    what = f"the measured run with {replay['workers']} workers: simulated / measured"
    rows = [[what, number(replay["simulated_s"], 1), number(replay["measured_s"], 1), number(replay["ratio"], 3)]]
    for plan in [*result["plans"], *result["shard_sizes"]]:
        if "simulated" in plan:
            label = f"{plan['hours']:,.0f} h with {plan['workers']:,} workers and {plan['shard_hours']:g} h shards"
            seconds = [number(plan["simulated"]["wall_s"], 0), number(plan["paper"]["wall_s"], 0)]
            row = [f"{label}: simulated / calculated", *seconds, number(plan["simulated"]["ratio_to_paper"], 3)]
            if row not in rows:  # One plan is in both lists.
                rows.append(row)
    return table(["comparison", "simulated, s", "measured or calculated, s", "ratio"], rows)


def limits(bench: Path) -> str:
    """Return a table of the number of output folders that a corpus needs, and the size of their plans."""
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
    headers = ["hours of speech", "output folders", "million recordings per folder", "plan size per folder, GB"]
    return table(headers, rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "corpus": corpus,
    "corpus-summary": summary,
    "scaling": scaling,
    "scaling-shards": shard_sizes,
    "scaling-checks": checks,
    "scaling-limits": limits,
}
