"""Measure how one client that floods `silk serve` affects the response times of other clients.

    python bench/server_neighbor.py --out bench/server_neighbor.json        # about 4 minutes

A separate process sends data on one stream as fast as the server reads it. Meanwhile, other clients stream noise in
real time. Rounds with and without a flood alternate. The latency of a frame is the time from the scheduled time of its
last sample until its tokens arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import program
import subprocesses
from websockets.asyncio.client import connect

from silkcodec.evaluate import machine
from silkcodec.silk import EMBEDDED
from silkcodec.spec import FRAME_SAMPLES, LOOKAHEAD, SILK_SAMPLE_RATE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from servercase import TOKEN, Server

KIND = "silk server neighbor"
CHUNK_S = 0.1
DRAIN_S = 20.0
TARGET = 2.0  # largest acceptable ratio of the p99 latencies with and without a flood
PAD = ",".join(["[]"] * 20_000)


def frame(kind: int, payload: bytes) -> bytes:
    """Return a WebSocket frame from a client, with a mask of zeros."""
    n = len(payload)
    if n < 126:
        size = bytes([128 | n])
    else:
        size = b"\xfe" + n.to_bytes(2, "big") if n < 65_536 else b"\xff" + n.to_bytes(8, "big")
    return bytes([128 | kind]) + size + bytes(4) + payload


CODES = json.dumps({"type": "tokens", "codes": [[5] * 19]}).encode()
FLOODS: dict[str, tuple[dict[str, Any], bytes]] = {  # name -> fields of the first message, bytes that are repeated
    "pings": ({"task": "encode"}, frame(9, b"") * 10_000),
    "empty messages": ({"task": "encode"}, frame(2, b"") * 10_000),
    "messages with one sample": ({"task": "encode"}, frame(2, bytes(2)) * 10_000),
    "messages with one frame of codes": ({"task": "decode"}, frame(1, CODES) * 1_000),
    "padded JSON": ({"task": "decode"}, frame(1, CODES[:-1] + f',"pad":[{PAD}]}}'.encode())),
    "samples at 1 MHz": ({"task": "encode", "sample_rate": 1_000_000}, frame(2, bytes(1_000_000))),
}


def flood(url: str, name: str) -> None:
    """Send a flood until this process is killed."""
    start, data = FLOODS[name]
    address = urlsplit(url)
    while True:
        with suppress(OSError), socket.create_connection((address.hostname, address.port)) as connection:
            head = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            key = base64.b64encode(os.urandom(16)).decode()
            head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            connection.sendall(head.encode() + frame(1, json.dumps({"type": "start", **start}).encode()))
            connection.setblocking(False)
            view = memoryview(data)
            while True:
                readable, writable, _ = select.select([connection], [connection], [])
                if readable and connection.recv(1 << 20) == b"":
                    break
                if writable:
                    view = view[connection.send(view) :] or memoryview(data)
        time.sleep(0.1)  # Do not open streams in a busy loop.


async def live(url: str, seconds: float, latencies: list[float]) -> None:
    """Run one real-time stream, and append the latency of each frame in seconds to `latencies`."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    chunk = (3000 * np.random.default_rng(0).standard_normal(round(CHUNK_S * SILK_SAMPLE_RATE))).astype("<i2").tobytes()
    async with connect(f"ws{url.removeprefix('http')}/v1/stream", additional_headers=headers) as stream:
        await stream.send(json.dumps({"type": "start", "task": "encode"}))
        await stream.recv()
        started = time.perf_counter()

        async def read() -> None:
            async for message in stream:
                answer = json.loads(message)
                if answer["type"] == "ended":
                    return
                needed = LOOKAHEAD + FRAME_SAMPLES * (answer["frame"] + 1)
                chunks = math.ceil(needed / (CHUNK_S * SILK_SAMPLE_RATE))
                latencies.append(time.perf_counter() - started - chunks * CHUNK_S)

        reader = asyncio.create_task(read())
        for n in range(1, round(seconds / CHUNK_S) + 1):
            await asyncio.sleep(max(0.0, started + n * CHUNK_S - time.perf_counter()))
            await stream.send(chunk)
        await stream.send('{"type": "end"}')
        await asyncio.wait_for(reader, DRAIN_S)


async def measure(url: str, n_streams: int, seconds: float) -> list[float]:
    """Run concurrent real-time streams, and return the latencies of all frames in seconds."""
    latencies: list[float] = []

    async def one(n: int) -> None:
        await asyncio.sleep(0.4 * n / n_streams)
        await live(url, seconds, latencies)

    await asyncio.gather(*map(one, range(n_streams)))
    return latencies


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Return the number of latencies, and their median and 99th percentile in ms."""
    p50, p99 = np.percentile(latencies, (50, 99))
    return {"frames": len(latencies), "p50_ms": round(1e3 * p50, 1), "p99_ms": round(1e3 * p99, 1)}


def main() -> None:
    """Measure all floods, print a table, and write the result if `--out` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=program.output_file)
    parser.add_argument("--streams", type=int, default=8, help="number of live streams")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4, help="number of rounds per flood")
    parser.add_argument("--flood", nargs=2, metavar=("URL", "NAME"), help="only send this flood, until killed")
    arguments = parser.parse_args()
    if arguments.flood:
        flood(*arguments.flood)
    conditions, since = machine.conditions(), machine.clocks()
    server = Server("--rate", "100000", weights=EMBEDDED)
    rows = []
    try:
        for name in FLOODS:
            found: tuple[list[float], list[float]] = ([], [])
            for _ in range(arguments.rounds):  # Rounds alternate, because the load from other programs changes.
                found[0].extend(asyncio.run(measure(server.url, arguments.streams, arguments.seconds)))
                beside = subprocess.Popen([sys.executable, __file__, "--flood", server.url, name])
                try:
                    time.sleep(1.0)
                    found[1].extend(asyncio.run(measure(server.url, arguments.streams, arguments.seconds)))
                finally:
                    beside.kill()
                    beside.wait()
            alone, flooded = map(percentiles, found)
            ratio = round(flooded["p99_ms"] / alone["p99_ms"], 2)
            rows.append({"flood": name, "without": alone, "with": flooded, "p99_ratio": ratio})
            print(f"{name:32} p50 {alone['p50_ms']:6.0f} -> {flooded['p50_ms']:6.0f} ms", end="   ")
            print(f"p99 {alone['p99_ms']:6.0f} -> {flooded['p99_ms']:6.0f} ms   x {ratio}", flush=True)
    finally:
        server.stop(signal.SIGKILL)
    if arguments.out:
        figures = {"target": TARGET, "streams": arguments.streams, "seconds": arguments.rounds * arguments.seconds}
        subprocesses.write_result(arguments.out, KIND, False, conditions, since, {**figures, "rows": rows})


if __name__ == "__main__":
    program.run(main)
