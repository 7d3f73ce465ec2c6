"""The front's side of the workers: starts, watches and replaces them; pins streams to them; queues file jobs.

A worker's death shows as the end of its socket, at once. Its streams get a `Lost` event, the file job it was at is
done once more by the next worker (and refused if that dies of it too), and a new process takes its place: at once
the first time, then after a pause that doubles, so that a model that cannot load does not eat a core.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from silkcodec.errors import SilkError
from silkcodec.serve import wire
from silkcodec.serve.metrics import Metrics
from silkcodec.serve.settings import Settings

log = logging.getLogger("silkcodec.serve")

STABLE_S = 30.0  # a worker that lived so long did not die of its start
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
STOP_S = 5.0  # for a worker to end by itself


class RefusedError(SilkError):
    """A worker refused what a client sent. `code`: as the client is told."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class BusyError(SilkError):
    """No worker can take it now; come again. The text says why."""


class LostError(SilkError):
    """The worker that did it has died."""


@dataclass(frozen=True)
class Frame:
    """A frame of a stream, done: codes as int32 [K], or samples, as bytes."""

    number: int
    body: bytes


@dataclass(frozen=True)
class Ended:
    """A stream has been answered to its end."""

    n_samples: int


@dataclass(frozen=True)
class Lost:
    """The stream's worker has died, and its state with it."""


Event = Frame | Ended | Lost | RefusedError


class Stream:
    """One stream, pinned to one worker. `events` is bounded by what the session lets be in work at once."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    async def feed(self, body: bytes, k: int | None = None) -> None:
        """Samples, or codes (int32 [F, k]), as bytes."""
        await self.worker.send({"do": "feed", "id": self.name, "k": k}, body)

    async def end(self) -> None:
        """Nothing more comes."""
        await self.worker.send({"do": "end", "id": self.name})

    def close(self) -> None:
        """Forget it, ended or not."""
        if self.worker.streams.pop(self.name, None) is not None:
            self.worker.post({"do": "drop", "id": self.name})


class Worker:
    """One process, and what it is doing."""

    def __init__(self, role: str, settings: Settings, metrics: Metrics, sizes: list[int] | None) -> None:
        self.role = role
        self.ready = False
        self.codec = ""
        self.sizes = sizes  # of batches; None: it finds out
        self.streams: dict[str, Stream] = {}
        self.job: tuple[str, asyncio.Future[float]] | None = None
        self.started = time.monotonic()
        self._settings = settings
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._hung_up = False

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start the process, and dispatch what it says until it is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            weights = None if self._settings.weights is None else os.fspath(self._settings.weights)
            options = {"fd": theirs.fileno(), "role": self.role, "weights": weights}
            options |= {"batch": self._settings.batch, "sizes": self.sizes}
            command = (sys.executable, "-m", "silkcodec.serve.worker", json.dumps(options))
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        if self._hung_up:
            self._writer.close()
        try:
            while (message := await wire.read(reader)) is not None:
                if message[0]["is"] == "ready":
                    self.ready, self.codec, self.sizes = True, message[0]["codec"], message[0]["sizes"]
                    log.info("worker ready", extra={"pid": self.pid, "role": self.role, "batches": self.sizes})
                    on_ready()
                else:
                    self._dispatch(*message)
        finally:
            self.ready = False
            self._writer.close()
            self._lost()

    @property
    def pid(self) -> int | None:
        """Of the process."""
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
            self.job[1].set_exception(LostError("The process that worked on the upload has died."))
        self.job = None

    def post(self, head: wire.Head, body: bytes = b"") -> None:
        """Send without waiting; to a dead worker, nothing."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(wire.pack(head, body))

    async def send(self, head: wire.Head, body: bytes = b"") -> None:
        """Send, and wait while the worker has much to read already."""
        self.post(head, body)
        if self._writer is not None:
            with suppress(OSError):  # its death is told by an event
                await self._writer.drain()

    async def exit_code(self) -> int | None:
        """Wait for the process's end; one that lives on without its socket is killed."""
        if self._process is None:
            return None
        try:
            async with asyncio.timeout(STOP_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    def kill(self) -> None:
        """At once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def hang_up(self) -> None:
        """Close the socket: the process ends by itself."""
        self._hung_up = True
        if self._writer is not None:
            self._writer.close()


class Pool:
    """All workers of a server.

    Attributes:
        codec: of the model, once a worker has loaded it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.codec = ""
        self._settings = settings
        self._metrics = metrics
        roles = ["streams"] * settings.workers + ["files"] * settings.file_workers
        self._workers: list[Worker | None] = [None] * len(roles)
        self._roles = roles
        self._keepers: list[asyncio.Task[None]] = []
        self._names = itertools.count(1)
        self._free: deque[asyncio.Future[None]] = deque()  # file jobs that wait for a worker
        self._n_jobs = 0
        self._sizes: list[int] | None = None  # what the first worker found, so that its successors start faster
        self._closing = asyncio.Event()

    def start(self) -> None:
        """Start the workers; `is_ready` becomes True when all have loaded the model."""
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(len(self._roles))]

    async def close(self) -> None:
        """Stop the workers."""
        self._closing.set()
        for worker in self._workers:
            if worker is not None:
                worker.hang_up()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def workers(self, role: str) -> list[Worker]:
        """Those that are ready."""
        return [worker for worker in self._workers if worker is not None and worker.ready and worker.role == role]

    @property
    def is_ready(self) -> bool:
        """Whether a worker of each role can take work."""
        return bool(self.workers("streams") and self.workers("files"))

    async def _keep(self, slot: int) -> None:
        """A worker in this slot, always."""
        n_failures = 0
        while not self._closing.is_set():
            worker = self._workers[slot] = Worker(self._roles[slot], self._settings, self._metrics, self._sizes)
            await worker.run(lambda worker=worker: self._on_ready(worker))  # type: ignore[misc]
            code = await worker.exit_code()
            self._count_ready()
            if self._closing.is_set():
                return
            lived_s = time.monotonic() - worker.started
            n_failures = 0 if lived_s > STABLE_S else n_failures + 1
            log.error(
                "worker died", extra={"pid": worker.pid, "role": worker.role, "exit_code": code, "lived_s": lived_s}
            )
            self._metrics.restarts.labels(worker.role).inc()
            pause_s = PAUSES_S[min(max(n_failures - 1, 0), len(PAUSES_S) - 1)]
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closing.wait()

    def _on_ready(self, worker: Worker) -> None:
        self.codec = worker.codec
        if worker.role == "streams":
            self._sizes = worker.sizes
        self._count_ready()
        self._wake()

    def _count_ready(self) -> None:
        for role in ("streams", "files"):
            self._metrics.workers.labels(role).set(len(self.workers(role)))

    # --- streams

    async def open_stream(self, options: dict[str, Any]) -> Stream:
        """A stream on the worker that has the fewest.

        Args:
            options: task, samples, and for "encode" sample_rate and n_codebooks.

        Raises:
            BusyError: no worker is ready.
        """
        workers = self.workers("streams")
        if not workers:
            raise BusyError("No worker is ready; come again in some seconds.")
        worker = min(workers, key=lambda one: len(one.streams))
        stream = Stream(f"s{next(self._names)}", worker)
        worker.streams[stream.name] = stream
        await worker.send({"do": "open", "id": stream.name, **options})
        return stream

    # --- file jobs

    async def run_job(self, fields: dict[str, Any]) -> float:
        """One file job, when a worker is free; cancelling the call cancels the job.

        Args:
            fields: of `filejobs.Job`.

        Returns:
            Seconds of sound that went through.

        Raises:
            BusyError: too many wait already. RefusedError: the upload is at fault. TimeoutError. LostError: a worker
            died of it, and the next one as well.
        """
        if self._n_jobs >= self._settings.limits.files:
            raise BusyError("Too many uploads wait already; come again in some seconds.")
        self._n_jobs += 1
        self._metrics.files.set(self._n_jobs)
        try:
            async with asyncio.timeout(self._settings.limits.job_s):
                try:
                    return await self._once(fields)
                except LostError:
                    return await self._once(fields)  # whoever killed it need not have meant this job
        finally:
            self._n_jobs -= 1
            self._metrics.files.set(self._n_jobs)

    async def _once(self, fields: dict[str, Any]) -> float:
        worker = await self._free_worker()
        name = f"j{next(self._names)}"
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        worker.job = name, future
        try:
            await worker.send({"do": "job", "id": name, **fields})
            return await future
        except asyncio.CancelledError:
            self._give_up(worker, name)
            raise
        finally:
            self._wake()

    def _give_up(self, worker: Worker, name: str) -> None:
        """Ask the worker to stop; it does between two blocks, or, where a library holds it, is replaced."""
        if worker.job is None or worker.job[0] != name:
            return
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        future.add_done_callback(self._given_up)
        worker.job = name, future
        worker.post({"do": "cancel", "id": name})
        asyncio.get_running_loop().call_later(STOP_S, lambda: None if future.done() else worker.kill())

    def _given_up(self, done: asyncio.Future[float]) -> None:
        if not done.cancelled():
            done.exception()  # seen
        self._wake()

    async def _free_worker(self) -> Worker:
        while True:
            for worker in self.workers("files"):
                if worker.job is None:
                    return worker
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._free.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn that this one will not take
                raise

    def _wake(self) -> None:
        """One waiting job looks for a worker."""
        while self._free:
            turn = self._free.popleft()
            if not turn.done():
                turn.set_result(None)
                return
