"""Encode shards in worker processes on one machine.

If a worker crashes, a new worker encodes its shard again. A recording that causes three crashes is rejected.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from silkcodec.corpus.plan import Plan, Shard
from silkcodec.corpus.shard import Record, ShardJob, check_worker, load_codec, tokenize_shard
from silkcodec.errors import SilkError
from silkcodec.parallel.worker_process import WorkerExited, WorkerProcess

MAX_CRASHES = 3  # A recording is rejected after this number of crashes. Fewer crashes can have another cause.

Starts = Callable[[int], None]
"""Progress callback, which receives the number of recordings started since the last call."""


def tokenize(job: ShardJob, plan: Plan, todo: Sequence[int], n_workers: int, starts: Starts) -> Iterator[Record]:
    """Encode shards in worker processes, and yield their ledger records in order of completion.

    Args:
        job: settings for the workers.
        plan: plan of the corpus.
        todo: numbers of the shards to encode.
        n_workers: number of processes.
        starts: progress callback.

    Raises:
        SilkError: a worker failed, and no single recording is the cause.
    """
    waiting = deque(todo)
    crashed: dict[int, dict[int, str]] = {}  # shard -> item -> description of the crash
    n_crashes: Counter[tuple[int, int]] = Counter()
    workers: list[_ShardWorker] = []

    def assign(worker: _ShardWorker) -> bool:
        if waiting:
            index = waiting.popleft()
            worker.start(plan.shard(index), crashed.get(index, {}))
        return worker.shard is not None

    try:
        workers += [_ShardWorker(job) for _ in range(min(n_workers, len(waiting)))]
        for worker in workers:  # after all have started, because sending a large shard waits for its worker
            assign(worker)
        while workers:
            ready = wait([worker.answers for worker in workers])
            for worker in [worker for worker in workers if worker.answers in ready]:
                try:
                    answer = worker.answer()
                except WorkerExited as crash:
                    workers.remove(worker)
                    worker.end()
                    if not worker.ready:
                        raise SilkError(f"A worker cannot load '{job.codec}': {crash}") from crash
                    assert worker.shard is not None
                    at = worker.shard.index, worker.item
                    n_crashes[at] += 1
                    if n_crashes[at] >= MAX_CRASHES:
                        crashed.setdefault(at[0], {})[at[1]] = str(crash)
                    waiting.appendleft(at[0])
                    workers.append(_ShardWorker(job))
                    assign(workers[-1])
                    continue
                if answer is True:
                    continue
                if isinstance(answer, int):
                    starts(1)
                elif isinstance(answer, dict):
                    yield answer
                    if not assign(worker):
                        workers.remove(worker)
                        worker.end()
    finally:
        for worker in workers:
            worker.end()


class _ShardWorker:
    """A worker process that encodes shards.

    Attributes:
        ready: whether the process has loaded the codec.
        shard: shard that the process is encoding, or None if it is idle.
        item: number of the current recording in the shard.
    """

    def __init__(self, job: ShardJob) -> None:
        self.ready = False
        self.shard: Shard | None = None
        self.item = 0
        self._process = WorkerProcess(_serve, job)
        self.answers = self._process.connection

    def start(self, shard: Shard, crashed: dict[int, str]) -> None:
        """Send a shard to the process."""
        self.shard, self.item = shard, 0
        self._process.send((shard, crashed))

    def answer(self) -> int | Record | bool:
        """Return the next message from the process: True when ready, the number of a started recording, or a record.

        Raises:
            WorkerExited: the process has exited.
        """
        answer: int | Record | bool = self._process.receive()
        if answer is True:
            self.ready = True
        elif isinstance(answer, int):
            self.item = answer
        else:
            self.shard = None
        return answer

    def end(self) -> None:
        self._process.end(idle=self.shard is None)


def _serve(tasks: Connection, job: ShardJob) -> None:
    """Encode shards in a worker process until the main process closes the connection or exits."""
    # The exception ends all `with` blocks, which removes the unfinished shard.
    signal.signal(signal.SIGTERM, lambda received, _: sys.exit(128 + received))
    one_thread()
    codec = load_codec(job.codec, job.settings.provider)
    check_worker(codec, job)
    tasks.send(True)
    while True:
        shard, crashed = tasks.recv()
        tasks.send(tokenize_shard(codec, shard, job, crashed, tasks.send))


def one_thread() -> None:
    """Limit baseline codecs to one thread. Call this function before a codec is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
