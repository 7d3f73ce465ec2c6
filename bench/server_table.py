"""Build tables of docs/results.md from server.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.evaluate.markdown import number, table

KIND = "silk server"
NEIGHBOUR_KIND = "silk server neighbour"
NOT_YET = "Not measured yet: `python bench/server.py --out bench/server.json`."
MODES = {
    "encode": "streams that encode",
    "decode": "streams that decode",
    "both": "voice agents: one stream of each",
}


def _result(bench: Path) -> Figures | None:
    result = findings.read_result(bench / "server.json", KIND)
    return None if result is None or result["quick"] else result


def capacity(bench: Path) -> str:
    """Return the table of the largest numbers of streams without a late frame."""
    result = _result(bench)
    if result is None:
        return NOT_YET
    rows = []
    for mode, label in MODES.items():
        held = result[mode]["held"]
        for task in ("encode", "decode"):
            if task not in held or "p50_ms" not in held[task]:
                continue
            times = [number(held[task][f"{name}_ms"], 0) for name in ("p50", "p99", "max")]
            shape = [number(held[task].get("frames_per_call"), 1), number(held["held_mb"], 0)]
            shape.append(number(result["memory"][mode]["mb_per_stream"], 2))
            cores = [number(held["server_cores"], 2), number(held["generator_cores"], 2)]
            rows.append([label, str(result[mode]["largest"]), task, *times, *shape, *cores])
    header = ["what", "most at once", "answers of", "p50 ms", "p99 ms", "max ms", "frames per call"]
    header += ["MB in all", "MB per stream", "cores, server", "cores, generator"]
    return f"{table(header, rows)}\n\n{_conditions(bench, result)}"


def summary(bench: Path) -> str:
    """Return the same in two sentences, for README."""
    result = _result(bench)
    if result is None:
        return NOT_YET
    most = ", or ".join(f"**{result[mode]['largest']}** {label.replace(':', ',')}" for mode, label in MODES.items())
    agents, cores = result["both"]["held"], result["conditions"]["cores"]
    times = ", ".join(
        f"{task} {number(agents[task]['p50_ms'], 0)} and {number(agents[task]['p99_ms'], 0)} ms"
        for task in ("encode", "decode")
        if "p50_ms" in agents.get(task, {})
    )
    return (
        f"Concurrent streams for {agents['seconds']:g} s without a late frame, on {cores} cores shared with the load"
        f" generator: {most}. Median and 99th percentile of the response time after a frame's last sample, with that"
        f" number of agents: {times}."
    )


def stacking(bench: Path) -> str:
    """Return the table that compares stacked calls with single ones."""
    result = _result(bench)
    if result is None:
        return NOT_YET
    rows = []
    for row in result["stacking"]:
        differ = [
            sum(row[f"{output}{part}_differ"] for output in outputs for part in ("", "_states"))
            for outputs in (("latent", "levels"), ("wave",))
        ]
        times = [number(row[f"{task}_ms"], 2) for task in ("encode", "decode")]
        rows.append([str(row["size"]), times[0], str(differ[0]), times[1], str(differ[1])])
    header = [
        "streams in a call",
        "encode, ms per frame",
        "numbers that differ",
        "decode, ms per frame",
        "numbers that differ",
    ]
    frames = result["stacking"][0]["frames"]
    return f"{table(header, rows)}\n\nProcessor time for {frames} frames of speech, 1 thread, stacking included."


def faults(bench: Path) -> str:
    """Return the table of the injected faults and their effect on other streams."""
    result = _result(bench)
    if result is None:
        return NOT_YET
    found = result["faults"]
    done = found["faults"]
    rows = [
        ["voice agents during the faults", str(found["n"])],
        ["streams reset by the client", str(done["disconnects"])],
        ["invalid requests and messages sent", str(done["garbage"])],
        ["oversized uploads", str(done["oversized"])],
        ["slow uploads, concurrent", str(done["slow_uploads"])],
        ["workers killed with SIGKILL", "1"],
        ["streams of that worker, closed with `worker_lost`", str(found["told_of_worker"])],
        ["other streams, ended with all frames correct", str(found["outcomes"].get("ended", 0))],
        ["frames of other streams: missing, wrong, late", f"{found['missing']}, {found['wrong']}, {found['late']}"],
        ["time until a new worker accepted streams", f"{number(found['restart_s'], 1)} s"],
    ]
    return table(["what", "count"], rows)


def neighbours(bench: Path) -> str:
    """Return the table of the effect of one flooding client on the response times of others."""
    result = findings.read_result(bench / "server_neighbour.json", NEIGHBOUR_KIND)
    if result is None:
        return "Not measured yet: `python bench/server_neighbour.py --out bench/server_neighbour.json`."
    rows = []
    for row in result["rows"]:
        times = [
            f"{number(row['without'][f'{name}_ms'], 0)} -> {number(row['with'][f'{name}_ms'], 0)}"
            for name in ("p50", "p99")
        ]
        met = "yes" if row["p99_ratio"] <= result["target"] else "**no**"
        rows.append([row["flood"], *times, number(row["p99_ratio"], 2), met])
    header = ["one stream floods with", "other streams: p50 ms, without -> with", "p99 ms", "ratio", "at most 2"]
    found = result["conditions"]
    return (
        f"{table(header, rows)}\n\nResponse times of {result['streams']} live streams that encode,"
        f" {result['seconds']:g} s each, 1 worker, clients on the same {found['cores']} cores, {found['cpu']},"
        f" load {found['load_before']:.1f}."
    )


def _conditions(bench: Path, result: Figures) -> str:
    found, server = result["conditions"], result["server"]
    held_s = result["both"]["held"]["seconds"]
    sentences = [
        f"Held for {held_s:g} s, with every frame compared with the library's output for the same speech. A frame is",
        "late if its response arrives more than 400 ms after its last sample.",
        f"{server['workers']} workers and the generator on the same {found['cores']} cores, {found['cpu']};",
        f"samples in messages of {server['chunk_ms']:g} ms.",
        "MB per stream: memory of all processes of a new server with",
        f"{_streams(result, 1)} streams minus that with {_streams(result, 0)}, per stream. Part of the state fits into",
        f"memory that loading the models has freed. {server['codec']}"
        f"{findings.not_embedded(bench, server['codec'], times=True)}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)


def _streams(result: Figures, which: int) -> int:
    return int(result["memory"]["encode"]["streams"][which])


TABLES: dict[str, Callable[[Path], str]] = {
    "server": capacity,
    "server-summary": summary,
    "server-stacking": stacking,
    "server-faults": faults,
    "server-neighbours": neighbours,
}
