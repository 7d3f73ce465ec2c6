"""Measure how many real-time streams `silk serve` supports, what they cost, and how faults affect them.

    python bench/server.py --out bench/server.json           # about 25 minutes on an idle machine
    python bench/server.py --out /tmp/server.json --quick    # trial run of about a minute
    python bench/server.py --out bench/server.json --memory  # 2 minutes; updates only the memory figures

The load generator (`server_load.py`) runs on the same machine. The program searches for the maximum number of streams
for which no frame is late. A frame is late if its response arrives more than 400 ms after its last sample.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import findings
import program
import subprocesses
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from silkcodec.evaluate import machine
from silkcodec.evaluate.results import to_json
from silkcodec.parallel.cores import available_cores

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from servercase import Server  # noqa: E402 - from tests/helpers

KIND = "silk server"
MODES = ("encode", "decode", "both")
CHUNK_MS = 100.0
BACK_OFF = 0.9
Figures = dict[str, Any]


def memory_mb(pids: list[int]) -> float:
    """Return the resident memory of processes in MB (10^6 bytes), with shared memory counted once."""
    total_kb = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb * 1.024e-3


def cpu_s(pids: list[int]) -> float:
    """Return the total processor time of processes in seconds."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def all_pids(server: Server) -> list[int]:
    return [server.process.pid, *server.workers("streams"), *server.workers("files")]


@contextmanager
def generator(server: Server, mode: str, n: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Start the load generator, wait until its streams have started, and yield its process."""
    options = {"url": server.url, "token": server.token, "mode": mode, "n": n, "seconds": seconds, "chunk_ms": CHUNK_MS}
    command = [sys.executable, str(HERE / "server_load.py"), json.dumps(options)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        while (line := child.stderr.readline()) and line.strip() != "begin":
            print(line, end="", file=sys.stderr)
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def result_of(child: subprocess.Popen[str]) -> Figures:
    """Wait until the load generator ends, and return its result."""
    stdout, stderr = child.communicate()
    if child.returncode:
        raise SystemExit(f"The load generator failed:\n{stderr}")
    found: Figures = json.loads(stdout)
    return found


def hold(server: Server, mode: str, n: int, seconds: float) -> Figures:
    """Run `n` streams for the given time, and return the result."""
    pids = all_pids(server)
    sums = {task: batches(server, task) for task in ("encode", "decode")}
    with generator(server, mode, n, seconds) as child:
        began, used_s = time.monotonic(), cpu_s(pids)
        time.sleep(seconds / 2)
        middle_mb = memory_mb(pids)
        server_cores = (cpu_s(pids) - used_s) / (time.monotonic() - began)
        found = result_of(child)
    found |= {"n": n, "seconds": seconds, "server_cores": server_cores, "held_mb": middle_mb}
    for task, (frames, calls) in sums.items():
        now_frames, now_calls = batches(server, task)
        if now_calls > calls:
            found.setdefault(task, {})["frames_per_call"] = (now_frames - frames) / (now_calls - calls)
    found["good"] = found["outcomes"] == {"ended": found["n_streams"]} and not (
        found["late"] or found["wrong"] or found["missing"]
    )
    print(
        f"{mode:>6} {n:4d} for {seconds:g} s: {'good' if found['good'] else 'not good'}, late {found['late']}, "
        f"wrong {found['wrong']}, {found['outcomes']}",
        flush=True,
    )
    return found


def batches(server: Server, task: str) -> tuple[float, float]:
    """Return the number of frames and the number of model calls so far."""
    lines = server.get("/metrics")[1].decode().splitlines()
    names = (f'silk_batch_frames_{part}{{task="{task}"}}' for part in ("sum", "count"))
    found = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}
    frames, calls = (found.get(name, 0.0) for name in names)
    return frames, calls


def search(server: Server, mode: str, first: int, short_s: float, long_s: float, most: int) -> Figures:
    """Return the maximum number of streams for which no frame is late, and the result of the run with it."""
    good, bad, tried = 0, most + 1, []
    n = min(first, most)
    while bad - good > max(1, good // 16):
        tried.append(hold(server, mode, n, short_s))
        good, bad = (n, bad) if tried[-1]["good"] else (good, n)
        n = min(2 * good, most) if bad > most and good < most else (good + bad) // 2
    n, held = max(1, good), None
    while held is None or (not held["good"] and n > 1):
        n = n if held is None else max(1, int(n * BACK_OFF))
        held = hold(server, mode, n, long_s)
    brief = [{key: run[key] for key in ("n", "good", "late", "server_cores")} for run in tried]
    return {"largest": n if held["good"] else 0, "held": held, "tried": brief}


def faults(server: Server, n: int, seconds: float) -> Figures:
    """Run `n` voice agents, inject faults, and return the effect on the agents."""
    counts = {"disconnects": 0, "garbage": 0, "oversized": 0, "slow_uploads": 0}
    stop = threading.Event()
    actors = [threading.Thread(target=act, args=(server, counts, stop)) for act in (vanish, chatter, oversize, trickle)]
    with generator(server, "both", n, seconds) as child:
        for actor in actors:
            actor.start()
        time.sleep(seconds / 2)
        victim, n_workers = server.workers("streams")[0], len(server.workers("streams"))
        os.kill(victim, signal.SIGKILL)
        server.wait_for("worker crashed", pid=victim)
        began = time.monotonic()
        server.wait_for_workers("streams", n_workers)
        restart_s = time.monotonic() - began
        time.sleep(seconds / 8)
        stop.set()
        found = result_of(child)
    for actor in actors:
        actor.join()
    lost = found["outcomes"].get("worker_lost", 0)
    others = found["outcomes"].get("ended", 0)
    found |= {"n": n, "seconds": seconds, "faults": counts, "restart_s": restart_s, "told_of_worker": lost}
    print(f"faults: {counts}, {found['outcomes']}, late {found['late']}, restart {restart_s:.1f} s", flush=True)
    if lost + others != found["n_streams"] or found["wrong"] or found["missing"]:
        raise SystemExit("The faults affected streams that were not on the killed worker. No results were written.")
    return found


def open_stream(server: Server) -> ClientConnection:
    """Open a WebSocket connection that can also send invalid messages."""
    headers = {"Authorization": f"Bearer {server.token}"}
    address = f"ws://127.0.0.1:{server.port}/v1/stream"
    connection = connect(address, additional_headers=headers, subprotocols=[Subprotocol("silk.v1")], compression=None)
    connection.send(json.dumps({"type": "start", "task": "encode", "samples": "f32le", "tokens": "binary"}))
    connection.recv(timeout=120)
    return connection


def vanish(server: Server, counts: Figures, stop: threading.Event) -> None:
    """Open streams repeatedly, and reset each connection in the middle of a frame."""
    while not stop.wait(0.5):
        with suppress(Exception), open_stream(server) as stream:
            stream.send(b"\0" * 40_000)
            reset(stream.socket)
        counts["disconnects"] += 1


def chatter(server: Server, counts: Figures, stop: threading.Event) -> None:
    """Send random bytes as uploads, as WebSocket messages and as HTTP requests."""
    while not stop.wait(0.5):
        junk = secrets.token_bytes(2_000)
        with suppress(Exception):
            server.client.encode(junk)
        with suppress(Exception), open_stream(server) as stream:
            stream.send(json.dumps({"type": junk.hex()[:50]}))
            for _ in stream:  # Read until the server closes the connection.
                pass
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            raw.sendall(junk)
        counts["garbage"] += 3


def oversize(server: Server, counts: Figures, stop: threading.Event) -> None:
    """Send uploads that exceed the size limit."""
    while not stop.wait(2.0):
        with suppress(Exception):
            server.client.encode(bytes(40 << 20))
        counts["oversized"] += 1


def trickle(server: Server, counts: Figures, stop: threading.Event) -> None:
    """Send twenty concurrent uploads at one byte per second each."""
    head = (
        f"POST /v1/encode HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 99999\r\n\r\n"
    )
    raws = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for raw in raws:
        raw.sendall(head.encode())
        counts["slow_uploads"] += 1
    while not stop.wait(1.0):
        for raw in raws:
            with suppress(OSError):
                raw.sendall(b"R")
    for raw in raws:
        raw.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)


def start(workers: int) -> Server:
    from silkcodec.silk import EMBEDDED

    limits = ("--rate", "1000000", "--max-streams", "2000", "--drain", "5")
    return Server(*limits, weights=EMBEDDED, workers=workers, patient=False)


def settle(server: Server) -> None:
    """Wait until all processes of the server have loaded their models."""
    before_mb, now_mb = 0.0, memory_mb(all_pids(server))
    while abs(now_mb - before_mb) > 1:
        time.sleep(3)
        before_mb, now_mb = now_mb, memory_mb(all_pids(server))


def memory(mode: str, workers: int, few: int, many: int, seconds: float) -> Figures:
    """Return the memory per stream, measured with few and then with many streams on the same server."""
    server = start(workers)
    try:
        settle(server)
        runs = [hold(server, mode, n, seconds) for n in (few, many)]
    finally:
        server.stop()
    streams, held_mb = ([run[key] for run in runs] for key in ("n_streams", "held_mb"))
    return {
        "streams": streams,
        "held_mb": held_mb,
        "mb_per_stream": (held_mb[1] - held_mb[0]) / (streams[1] - streams[0]),
    }


def stacking(n_frames: int) -> list[Figures]:
    """Compare batched model calls with single calls, in a separate process."""
    done = subprocesses.run_command([sys.executable, HERE / "server_stack.py", str(n_frames)], {"OMP_NUM_THREADS": "1"})
    rows: list[Figures] = json.loads(done.stdout)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=program.output_file, required=True)
    parser.add_argument("--quick", action="store_true", help="trial run with few streams")
    parser.add_argument("--seconds", type=float, default=120.0, help="duration of the run with the most streams")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--memory", action="store_true", help="measure only memory, and update an existing result")
    options = parser.parse_args()
    short_s, long_s, most = (4.0, 4.0, 2) if options.quick else (15.0, options.seconds, 512)
    sizes = (1, 2, 4.0) if options.quick else (4, 40, 15.0)
    if options.memory:
        result = findings.read_result(options.out, KIND)
        if result is None:
            parser.error(f"--memory updates an existing result, but '{options.out}' does not exist.")
        result["memory"] = {mode: memory(mode, options.workers, *sizes) for mode in MODES}
        options.out.write_text(to_json(result), encoding="utf-8")
        return
    found, since = machine.conditions(), machine.clocks()
    figures: Figures = {"stacking": stacking(2 if options.quick else 40)}
    figures["memory"] = {mode: memory(mode, options.workers, *sizes) for mode in MODES}
    server = start(options.workers)
    try:
        batch_sizes = server.wait_for("worker ready", role="streams")["batches"]
        figures["server"] = {"workers": options.workers, "batches": batch_sizes, "chunk_ms": CHUNK_MS}
        figures["server"]["codec"] = server.client.codecs()["serving"]["codec"]
        for mode in MODES:
            figures[mode] = search(server, mode, 2 if options.quick else 16, short_s, long_s, most)
        n = max(1, figures["both"]["largest"] // 2)
        figures["faults"] = faults(server, n, 12.0 if options.quick else 60.0)
        figures["faults"]["exit_code"] = server.stop()
    finally:
        server.stop(signal.SIGKILL)
    took_s = subprocesses.write_result(options.out, KIND, options.quick, found, since, figures)
    print(f"wrote {options.out} in {took_s:.0f} s")


if __name__ == "__main__":
    program.run(main)
