"""The engine for one machine: processes, each with a codec and one thread, a shard at a time.

A process that dies (killed for memory, crashed by a codec) is noticed at once: a new one does its shard again. It
tells of every recording before it reads it, so it is known which one it died of; after the third time that recording
is refused, and the others of its shard go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from silkcodec.corpus.plan import Plan, Shard
from silkcodec.corpus.shard import Job, Record, check_worker, load_codec, tokenize_shard
from silkcodec.errors import SilkError

MAX_DEATHS = 3  # of one recording: two can be chance

Starts = Callable[[int], None]
"""Called with how many recordings have begun since the last call."""


def tokenize(job: Job, plan: Plan, todo: Sequence[int], n_workers: int, starts: Starts) -> Iterator[Record]:
    """The records of the shards in `todo`, as they are done.

    Raises:
        SilkError: of a worker, where no single recording is to blame.
    """
    waiting = deque(todo)
    crashed: dict[int, dict[int, str]] = {}  # by shard, by item: how
    deaths: Counter[tuple[int, int]] = Counter()
    workers: list[_Worker] = []

    def give(worker: _Worker) -> bool:
        if waiting:
            index = waiting.popleft()
            worker.give(plan.shard(index), crashed.get(index, {}))
        return worker.shard is not None

    try:
        for _ in range(min(n_workers, len(waiting))):
            workers.append(_Worker(job))
            give(workers[-1])
        while workers:
            ready = wait([worker.answers for worker in workers])
            for worker in [worker for worker in workers if worker.answers in ready]:
                answer = worker.answer()
                if answer is True:
                    continue
                if isinstance(answer, int):
                    starts(1)
                elif isinstance(answer, dict):
                    yield answer
                    if not give(worker):
                        workers.remove(worker)
                        worker.end()
                elif answer is None:
                    how = worker.how_it_died()
                    workers.remove(worker)
                    worker.end()
                    if not worker.ready:
                        raise SilkError(f"No worker could load '{job.codec}': {how}")
                    assert worker.shard is not None
                    at = worker.shard.index, worker.item
                    deaths[at] += 1
                    if deaths[at] >= MAX_DEATHS:
                        crashed.setdefault(at[0], {})[at[1]] = how
                    waiting.appendleft(at[0])
                    workers.append(_Worker(job))
                    give(workers[-1])
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that does shards.

    Attributes:
        ready: it has loaded its codec. shard: in work. item: the number of the recording that it is at.
    """

    def __init__(self, job: Job) -> None:
        # Spawned, not forked: a fork copies the thread pools of a loaded model in an unusable state.
        context = multiprocessing.get_context("spawn")
        self.answers, theirs = context.Pipe()
        self.ready = False
        self.shard: Shard | None = None
        self.item = 0
        self._process = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen here

    def give(self, shard: Shard, crashed: dict[int, str]) -> None:
        self.shard, self.item = shard, 0
        with suppress(OSError):  # it has died; answer() tells so
            self.answers.send((shard, crashed))

    def answer(self) -> int | Record | bool | None:
        """The number of a recording that begins, the record of the shard that is done, True: ready, None: it died."""
        try:
            answer = self.answers.recv()
        except (EOFError, OSError):
            return None
        if isinstance(answer, SilkError):
            raise answer
        if isinstance(answer, str):
            raise RuntimeError(f"a worker has met a bug of ours:\n{answer}")
        if answer is True:
            self.ready = True
        elif isinstance(answer, int):
            self.item = answer
        else:
            self.shard = None
        return answer

    def how_it_died(self) -> str:
        from silkcodec.evaluate.workers import death  # which no worker needs, and which would cost each a while

        self._process.join()
        return death(self._process.exitcode)

    def end(self) -> None:
        """An idle process ends by itself as its pipe is closed; one at work is not waited for."""
        self.answers.close()
        if self.shard is None:
            self._process.join(5)
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(tasks: Connection, job: Job) -> None:
    """The worker's side, until the other end is closed, by its will or its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the run ends its workers itself
    signal.signal(signal.SIGTERM, _terminate)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a foreign codec prints is not the result
    try:
        one_thread()
        codec = load_codec(job.codec, job.settings.provider)
        check_worker(codec, job)
        tasks.send(True)
        while True:
            shard, crashed = tasks.recv()
            tasks.send(tokenize_shard(codec, shard, job, crashed, tasks.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SilkError as error:  # a disk that is full, say
        tasks.send(error)
    except Exception:
        tasks.send(traceback.format_exc())


def _terminate(*_: Any) -> None:
    raise SystemExit(128 + signal.SIGTERM)  # through every `with`, so that the unfinished shard is removed


def one_thread() -> None:
    """Hold foreign codecs to one thread, before their libraries are imported: see shard.py."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
