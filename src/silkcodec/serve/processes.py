"""Manage a worker process from the server process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from silkcodec.errors import SilkError
from silkcodec.serve import wire
from silkcodec.serve.prometheus import Metrics
from silkcodec.serve.settings import Settings

log = logging.getLogger("silkcodec.serve")

PING_S = 10.0  # interval between pings to a worker
SILENT_S = 60.0  # A worker that sends nothing for longer than this is killed.
STOP_S = 5.0  # time limit for a worker to exit by itself or to stop a job


class RefusedError(SilkError):
    """Raised when a worker rejects a client's data. `code` is the error code of the response."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class LostError(SilkError):
    """Raised when a worker crashes while it is processing a request."""


@dataclass(frozen=True)
class Frame:
    """The result for a frame: its index in the stream, and its codes or samples as bytes."""

    number: int
    body: bytes


@dataclass(frozen=True)
class Ended:
    """An event that reports the end of a stream. `n_samples` is the length of the stream in samples at 24 kHz."""

    n_samples: int


@dataclass(frozen=True)
class Lost:
    """An event that reports the crash of the stream's worker."""


Event = Frame | Ended | Lost | RefusedError


class Stream:
    """A stream processed by a worker. Its results arrive in the `events` queue."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    async def feed(self, body: bytes, k: int | None = None) -> None:
        """Send samples or int32 codes [F, k] to the worker, as bytes. `k` is None for samples."""
        await self.worker.send({"do": "feed", "id": self.name, "k": k}, body)

    async def end(self) -> None:
        """Tell the worker that the stream has no more data."""
        await self.worker.send({"do": "end", "id": self.name})

    def close(self) -> None:
        """Remove the stream from its worker."""
        if self.worker.streams.pop(self.name, None) is not None:
            self.worker.post({"do": "drop", "id": self.name})


class Worker:
    """Run one worker process and exchange messages with it.

    Attributes:
        role: "streams" or "files".
        ready: whether the worker has loaded the model.
        codec: codec id of the model, or "" before the worker is ready.
        sizes: batch sizes that give the same results as single frames, or None before they are measured.
        streams: streams that this worker processes, keyed by name.
        job: name of the current file job and the future for its result, or None.
        started: start time of the worker in seconds, on the monotonic clock.
    """

    def __init__(self, role: str, settings: Settings, metrics: Metrics, sizes: list[int] | None) -> None:
        self.role = role
        self.ready = False
        self.codec = ""
        self.sizes = sizes
        self.streams: dict[str, Stream] = {}
        self.job: tuple[str, asyncio.Future[float]] | None = None
        self.started = time.monotonic()
        self._settings = settings
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._hung_up = False
        self._last_message = self.started

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start the process, and handle its messages until it exits."""
        ours, theirs = socket.socketpair()
        with theirs:
            weights = None if self._settings.weights is None else os.fspath(self._settings.weights)
            options = {"fd": theirs.fileno(), "role": self.role, "weights": weights}
            options |= {"batch": self._settings.batch, "sizes": self.sizes}
            options["memory"] = self._settings.limits.worker_bytes
            command = (sys.executable, "-m", "silkcodec.serve.worker", json.dumps(options))
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        if self._hung_up:
            self._writer.close()
        self._last_message = time.monotonic()
        watch = asyncio.create_task(self._watch())
        try:
            while (message := await wire.read(reader)) is not None:
                self._last_message = time.monotonic()
                if message[0]["is"] == "ready":
                    self.ready, self.codec, self.sizes = True, message[0]["codec"], message[0]["sizes"]
                    log.info("worker ready", extra={"pid": self.pid, "role": self.role, "batches": self.sizes})
                    on_ready()
                else:
                    self._dispatch(*message)
        finally:
            watch.cancel()
            self.ready = False
            self._writer.close()
            self._lost()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            if not self.ready:
                continue  # The worker is loading the model, for which there is no time limit.
            if time.monotonic() - self._last_message > SILENT_S:
                log.error("worker silent", extra={"pid": self.pid, "role": self.role})
                self.kill()
                return
            self.post({"do": "ping", "id": ""})

    @property
    def pid(self) -> int | None:
        """Return the process id, or None if the process has not been started."""
        return None if self._process is None else self._process.pid

    def _dispatch(self, head: wire.Head, body: bytes) -> None:
        kind, name = head["is"], head.get("id", "")
        if kind == "batch":
            self._metrics.batch(head["task"], head["size"], head["seconds"])
        elif self.job is not None and name == self.job[0]:
            future, self.job = self.job[1], None
            if not future.done():
                if kind == "done":
                    future.set_result(head["seconds"])
                else:
                    future.set_exception(RefusedError(head["code"], head["text"]))
        elif (stream := self.streams.get(name)) is not None:
            if kind == "frame":
                stream.events.put_nowait(Frame(head["frame"], body))
            elif kind == "ended":
                stream.events.put_nowait(Ended(head["n_samples"]))
            else:
                stream.events.put_nowait(RefusedError(head["code"], head["text"]))

    def _lost(self) -> None:
        for stream in self.streams.values():
            stream.events.put_nowait(Lost())
        self.streams.clear()
        if self.job is not None and not self.job[1].done():
            self.job[1].set_exception(LostError("The worker process crashed while converting the upload."))
        self.job = None

    def post(self, head: wire.Head, body: bytes = b"") -> None:
        """Send a message to the worker without waiting."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(wire.pack(head, body))

    async def send(self, head: wire.Head, body: bytes = b"") -> None:
        """Send a message to the worker, and wait while the send buffer is full."""
        self.post(head, body)
        if self._writer is not None:
            with suppress(OSError):  # A `Lost` event reports the crash.
                await self._writer.drain()

    async def exit_code(self) -> int | None:
        """Wait for the process to exit, and return its exit code, or None if the process was never started.

        A process that does not exit within `STOP_S` seconds is killed.
        """
        if self._process is None:
            return None
        try:
            async with asyncio.timeout(STOP_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def hang_up(self) -> None:
        """Close the socket to the process, which makes the process exit."""
        self._hung_up = True
        if self._writer is not None:
            self._writer.close()
