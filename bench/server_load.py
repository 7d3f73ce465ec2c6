"""Run N concurrent real-time streams against `silk serve`, check every response, and print JSON.

    python bench/server_load.py '{"url": ..., "token": ..., "mode": "both", "n": 8, "seconds": 15, "chunk_ms": 100}'

All streams send the same speech in real time, but start at random times within 400 ms. The latency of a frame is the
time from the scheduled time of its last sample until its response arrives. In "both" mode, each client has one
encoding and one decoding stream.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import silkcodec
from silkcodec import audio
from silkcodec.spec import FRAME_SAMPLES, LOOKAHEAD, SILK_SAMPLE_RATE

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
FRAME_S = FRAME_SAMPLES / SILK_SAMPLE_RATE
GRACE_S = 15.0  # time to wait for the last frames
TOLERANCE = 1e-4 + 1 / 32_768  # allowed difference of samples, including 16-bit rounding


class SentSpeech:
    """Hold the speech that all streams send, and the expected responses."""

    def __init__(self, seconds: float) -> None:
        n_frames = int(seconds / FRAME_S)
        n_samples = n_frames * FRAME_SAMPLES + LOOKAHEAD  # The last frame is complete with the last sample.
        parts = [audio.read(path) for path in sorted(SAMPLES.glob("*.flac"))]
        wave = np.resize(np.concatenate(parts), n_samples)
        self.pcm = np.clip(np.rint(wave * 32_768), -32_768, 32_767).astype("<i2")
        codec = silkcodec.load()
        tokens = codec.encode(self.pcm)
        self.codes = np.stack(tokens.codes, axis=1).astype("<i4")[:n_frames]
        whole = codec.tokens(self.codes.astype(np.int64), n_frames * FRAME_SAMPLES)
        self.wave = codec.decode(whole).reshape(n_frames, FRAME_SAMPLES)
        self.n_frames = n_frames


class StreamCounts:
    """Count the results of one stream."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.latencies: list[float] = []
        self.wrong = 0
        self.outcome = "open"


def agenda(task: str, speech: SentSpeech, chunk_ms: float) -> tuple[list[tuple[float, bytes]], list[float]]:
    """Return all messages with their send times, and the times at which frames are complete, in seconds."""
    if task == "decode":
        times = [(t + 1) * FRAME_S for t in range(speech.n_frames)]
        return [(at, speech.codes[t].tobytes()) for t, at in enumerate(times)], times
    step = round(chunk_ms * SILK_SAMPLE_RATE / 1000)
    n = len(speech.pcm)
    ends = [*range(step, n, step), n]
    messages = [(end / SILK_SAMPLE_RATE, speech.pcm[begin:end].tobytes()) for begin, end in pairwise([0, *ends])]
    needed = [LOOKAHEAD + (t + 1) * FRAME_SAMPLES for t in range(speech.n_frames)]
    return messages, [next(end for end in ends if end >= samples) / SILK_SAMPLE_RATE for samples in needed]


async def stream(
    options: dict[str, Any], task: str, speech: SentSpeech, begin: asyncio.Future[float], tally: StreamCounts
) -> None:
    messages, complete = agenda(task, speech, options["chunk_ms"])
    phase = random.random() * FRAME_S
    headers = {"Authorization": f"Bearer {options['token']}"}
    url = options["url"].replace("http", "ws", 1) + "/v1/stream"
    try:
        async with connect(url, additional_headers=headers, compression=None, max_size=1 << 22) as socket:
            await socket.send(json.dumps({"type": "start", "task": task, "tokens": "binary"}))
            await socket.recv()
            start = await begin + phase

            async def send() -> None:
                for at, message in messages:
                    await asyncio.sleep(max(0.0, start + at - time.monotonic()))
                    await socket.send(message)
                await socket.send('{"type":"end"}')

            sender = asyncio.create_task(send())
            try:
                async with asyncio.timeout(options["seconds"] + GRACE_S):
                    async for message in socket:
                        if isinstance(message, bytes):
                            take(tally, message, speech, start, complete)
                        elif (reply := json.loads(message))["type"] == "error":
                            tally.outcome = reply["code"]
                        elif reply["type"] == "ended":
                            tally.outcome = "ended"
                            break
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
    except ConnectionClosed as error:
        if tally.outcome == "open":
            tally.outcome = f"closed {error.rcvd.code if error.rcvd else 1006}"
    except InvalidStatus as error:
        tally.outcome = f"refused {error.response.status_code}"
    except (OSError, TimeoutError) as error:
        tally.outcome = type(error).__name__
    if tally.outcome == "open":
        tally.outcome = "closed"


def take(tally: StreamCounts, message: bytes, speech: SentSpeech, start: float, complete: list[float]) -> None:
    """Check the response for one frame."""
    t = len(tally.latencies)
    if t >= len(complete):  # The frame after the last one, from the 20 ms of look-ahead.
        return
    tally.latencies.append(time.monotonic() - start - complete[t])
    if tally.task == "encode":
        tally.wrong += not np.array_equal(np.frombuffer(message, "<i4"), speech.codes[t])
    else:
        samples = np.frombuffer(message, "<i2") / np.float32(32_768)
        tally.wrong += not np.allclose(samples, np.clip(speech.wave[t], -1, 1), rtol=0, atol=TOLERANCE)


async def load(options: dict[str, Any]) -> dict[str, Any]:
    random.seed(options.get("seed", 0))
    speech = SentSpeech(options["seconds"])
    tasks = {"both": ("encode", "decode")}.get(options["mode"], (options["mode"],))
    tallies = [StreamCounts(task) for _ in range(options["n"]) for task in tasks]
    begin: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    streams = []
    for tally in tallies:
        streams.append(asyncio.create_task(stream(options, tally.task, speech, begin, tally)))
        await asyncio.sleep(0.01)  # This test does not measure many simultaneous handshakes.
    await asyncio.sleep(1.0)
    print("begin", file=sys.stderr, flush=True)
    cpu_s, wall_s = time.process_time(), time.monotonic()
    begin.set_result(time.monotonic() + 0.2)
    await asyncio.gather(*streams)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    return summary(tallies, speech.n_frames, cpu_s / wall_s)


def summary(tallies: list[StreamCounts], n_frames: int, generator_cores: float) -> dict[str, Any]:
    """Return the totals over all streams, and the latencies."""
    outcomes: dict[str, int] = {}
    for tally in tallies:
        outcomes[tally.outcome] = outcomes.get(tally.outcome, 0) + 1
    ended = [tally for tally in tallies if tally.outcome == "ended"]
    result: dict[str, Any] = {
        "n_streams": len(tallies),
        "outcomes": outcomes,
        "frames": sum(len(tally.latencies) for tally in tallies),
        "missing": sum(n_frames - len(tally.latencies) for tally in ended),
        "wrong": sum(tally.wrong for tally in tallies),
        "generator_cores": generator_cores,
        "late": 0,
    }
    for task in sorted({tally.task for tally in tallies}):
        times = np.array([latency for tally in ended if tally.task == task for latency in tally.latencies])
        if len(times):
            p50, p99, worst = (1e3 * float(np.percentile(times, q)) for q in (50, 99, 100))
            late = int((times > FRAME_S).sum())
            result["late"] += late
            result[task] = {"p50_ms": p50, "p99_ms": p99, "max_ms": worst, "frames": len(times), "late": late}
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(json.loads(sys.argv[1])))))
