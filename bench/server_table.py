"""Build the server tables in docs/results.md and docs/server.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.evaluate.markdown import number, table

KIND = "silk server"
NEIGHBOR_KIND = "silk server neighbor"
NOT_YET = "Not measured yet. Run `python bench/server.py --out bench/server.json`."
MODES = {
    "encode": "encoding streams",
    "decode": "decoding streams",
    "both": "voice agents, with one encoding and one decoding stream each",
}


def _result(bench: Path) -> Figures | None:
    result = findings.read_result(bench / "server.json", KIND)
    return None if result is None or result["quick"] else result


def capacity(bench: Path) -> str:
    """Return a table of the maximum number of concurrent streams for which no frame is late."""
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
    header = ["load", "maximum number", "response time of", "p50, ms", "p99, ms", "max, ms", "frames per call"]
    header += ["total memory, MB", "MB per stream", "server, cores", "load generator, cores"]
    return f"{table(header, rows)}\n\n{_conditions(bench, result)}"


def summary(bench: Path) -> str:
    """Return a summary for docs/server.md."""
    result = _result(bench)
    if result is None:
        return NOT_YET
    encode, decode, both = (result[mode]["largest"] for mode in MODES)
    agents, cores = result["both"]["held"], result["conditions"]["cores"]
    times = " and ".join(
        f"{number(agents[task]['p50_ms'], 0)} ms for {name} (99th percentile: {number(agents[task]['p99_ms'], 0)} ms)"
        for task, name in (("encode", "encoding"), ("decode", "decoding"))
        if "p50_ms" in agents.get(task, {})
    )
    return (
        f"The server and the load generator shared {cores} cores. In runs of {agents['seconds']:g} s, the server"
        " handled each of these loads without a late frame. It ran with `--max-streams 2000`, because the default of 64"
        " allows only 32 voice agents.\n\n"
        f"- **{encode}** encoding streams\n"
        f"- **{decode}** decoding streams\n"
        f"- **{both}** voice agents, each with one encoding and one decoding stream\n\n"
        "A frame is late if its response arrives more than 400 ms after its last sample. For the voice agents, the"
        f" median response time was {times}."
    )


def stacking(bench: Path) -> str:
    """Return a table that compares batched model calls with single calls."""
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
        "streams per call",
        "encode, ms per frame",
        "differing values",
        "decode, ms per frame",
        "differing values",
    ]
    frames = result["stacking"][0]["frames"]
    return (
        f"{table(header, rows)}\n\nThe processor time was measured with {frames} frames of speech and 1 thread, and"
        " includes the stacking of inputs. *Differing values* is the number of values in the outputs and states that"
        " differ from those of single calls."
    )


def faults(bench: Path) -> str:
    """Return a table of the injected faults and their effect on other streams."""
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
        ["concurrent slow uploads", str(done["slow_uploads"])],
        ["workers killed with SIGKILL", "1"],
        ["streams on the killed worker that were closed with `worker_lost`", str(found["told_of_worker"])],
        ["other streams that ended with all frames correct", str(found["outcomes"].get("ended", 0))],
        ["missing, wrong and late frames of other streams", f"{found['missing']}, {found['wrong']}, {found['late']}"],
        ["time until a new worker accepted streams", f"{number(found['restart_s'], 1)} s"],
    ]
    return table(["event", "result"], rows)


def neighbors(bench: Path) -> str:
    """Return a table of the effect of a flooding client on the response times of other clients."""
    result = findings.read_result(bench / "server_neighbor.json", NEIGHBOR_KIND)
    if result is None:
        return "Not measured yet. Run `python bench/server_neighbor.py --out bench/server_neighbor.json`."
    rows = []
    for row in result["rows"]:
        times = [
            f"{number(row['without'][f'{name}_ms'], 0)} -> {number(row['with'][f'{name}_ms'], 0)}"
            for name in ("p50", "p99")
        ]
        met = "yes" if row["p99_ratio"] <= result["target"] else "**no**"
        rows.append([row["flood"], *times, number(row["p99_ratio"], 2), met])
    header = [
        "one stream floods the server with",
        "p50 of other streams, ms",
        "p99 of other streams, ms",
        "p99 ratio",
    ]
    header.append(f"target met: at most {result['target']:g}")
    found = result["conditions"]
    return (
        f"{table(header, rows)}\n\nThe other streams are {result['streams']} live encoding streams of"
        f" {result['seconds']:g} s. The value before each arrow is their response time without the flood, and the value"
        " after it is their response time with the flood. Conditions: 1 worker; the server and the clients"
        f" shared {found['cores']} cores, {found['cpu']}; the load average before the run was"
        f" {found['load_before']:.1f}."
    )


def _conditions(bench: Path, result: Figures) -> str:
    found, server = result["conditions"], result["server"]
    held_s = result["both"]["held"]["seconds"]
    sentences = [
        f"Each load ran for {held_s:g} s. Each message to an encoding stream contained {server['chunk_ms']:g} ms of",
        "audio, and each message to a decoding stream contained the codes of one frame. Every frame was compared with",
        "the result of `codec.encode` or `codec.decode` for the same speech. *Maximum number* is the largest number of",
        "streams or voice agents for which no frame was late. A frame is late if its response arrives more than 400 ms",
        f"after the last sample of the frame. *MB per stream* is the increase in memory from {_streams(result, 0)} to",
        f"{_streams(result, 1)} streams, divided by the number of added streams. Conditions:",
        f"{server['workers']} workers and the load generator on the same {found['cores']} cores, {found['cpu']};",
        f"{server['codec']}{findings.not_embedded(bench, server['codec'], times=True)}; {result['created'][:10]}.",
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
    "server-neighbors": neighbors,
}
