"""Manage the worker processes: start, watch and replace them, assign streams to them, and queue file jobs.

A worker that crashes or does not respond for a minute is replaced. Its streams receive a `Lost` event, and its file job
is retried once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any

from silkcodec.errors import SilkError
from silkcodec.serve.processes import STOP_S, LostError, Stream, Worker
from silkcodec.serve.prometheus import Metrics
from silkcodec.serve.settings import Settings

log = logging.getLogger("silkcodec.serve")

STABLE_S = 30.0  # A worker that ran for longer than this before it crashed is restarted without a pause.
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)


class BusyError(SilkError):
    """Raised when no worker can accept a request at the moment."""


class Pool:
    """The worker processes of a server.

    Attributes:
        codec: codec id of the model, or "" before a worker has loaded it.
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
        self._free: deque[asyncio.Future[None]] = deque()  # file jobs waiting for a worker
        self._n_jobs = 0
        self._sizes: list[int] | None = None  # exact batch sizes from the first worker; the other workers reuse them
        self._closing = asyncio.Event()

    def start(self) -> None:
        """Start the workers."""
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(len(self._roles))]

    async def close(self) -> None:
        """Stop the workers."""
        self._closing.set()
        for worker in self._workers:
            if worker is not None:
                worker.hang_up()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def workers(self, role: str) -> list[Worker]:
        """Return the ready workers with the given role, "streams" or "files"."""
        return [worker for worker in self._workers if worker is not None and worker.ready and worker.role == role]

    @property
    def is_ready(self) -> bool:
        """Return whether at least one stream worker and one file worker are ready."""
        return bool(self.workers("streams") and self.workers("files"))

    async def _keep(self, slot: int) -> None:
        """Run a worker, and replace it whenever it exits, until the pool is closed."""
        n_failures = 0
        while not self._closing.is_set():
            worker = self._workers[slot] = Worker(self._roles[slot], self._settings, self._metrics, self._sizes)
            try:
                await worker.run(lambda worker=worker: self._on_ready(worker))  # type: ignore[misc]
            except (OSError, ValueError):  # The process did not start, or it sent an invalid message.
                log.exception("worker lost")
            code = await worker.exit_code()
            self._count_ready()
            if self._closing.is_set():
                return
            lived_s = time.monotonic() - worker.started
            n_failures = 0 if lived_s > STABLE_S else n_failures + 1
            log.error(
                "worker crashed", extra={"pid": worker.pid, "role": worker.role, "exit_code": code, "lived_s": lived_s}
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
        """Open a stream on the worker with the fewest streams.

        Args:
            options: settings of the stream; see `protocol.Start.for_worker`.

        Raises:
            BusyError: no worker is ready.
        """
        workers = self.workers("streams")
        if not workers:
            raise BusyError("No worker is ready. Try again in a few seconds.")
        worker = min(workers, key=lambda one: len(one.streams))
        stream = Stream(f"s{next(self._names)}", worker)
        worker.streams[stream.name] = stream
        await worker.send({"do": "open", "id": stream.name, **options})
        return stream

    # --- file jobs

    async def run_job(self, fields: dict[str, Any]) -> float:
        """Run a file job on a free worker. Canceling the call cancels the job.

        Args:
            fields: fields of `filejobs.FileJob`.

        Returns:
            The duration of the processed audio in seconds.

        Raises:
            BusyError: too many jobs are waiting.
            RefusedError: the upload is invalid.
            TimeoutError: the job took longer than `Limits.job_s`.
            LostError: two workers crashed during the job.
        """
        if self._n_jobs >= self._settings.limits.files:
            raise BusyError("Too many uploads are waiting. Try again in a few seconds.")
        self._n_jobs += 1
        self._metrics.files.set(self._n_jobs)
        try:
            async with asyncio.timeout(self._settings.limits.job_s):
                try:
                    return await self._once(fields)
                except LostError:
                    return await self._once(fields)  # The job may not have caused the crash, so try it once more.
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
        """Cancel the job of a worker, and kill the worker if it does not stop in time."""
        if worker.job is None or worker.job[0] != name:
            return
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        future.add_done_callback(self._given_up)
        worker.job = name, future
        worker.post({"do": "cancel", "id": name})
        asyncio.get_running_loop().call_later(STOP_S, lambda: None if future.done() else worker.kill())

    def _given_up(self, done: asyncio.Future[float]) -> None:
        if not done.cancelled():
            done.exception()  # marks the exception as retrieved
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
                    self._wake()  # passes the turn to the next job
                raise

    def _wake(self) -> None:
        """Notify the next waiting job that a worker may be free."""
        while self._free:
            turn = self._free.popleft()
            if not turn.done():
                turn.set_result(None)
                return
