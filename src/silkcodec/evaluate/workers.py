"""Tasks in processes of their own: a baseline codec that crashes takes its clip along, not the run.

Each worker is asked for one row at a time, so that when it dies it is known what of: that row has failed, a
new worker takes its place. All tasks of one clip go to one worker, which has read it already.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait

from silkcodec.evaluate.measure import Measurer, Task, failure
from silkcodec.evaluate.rows import Row
from silkcodec.parallel.cores import available_cores
from silkcodec.parallel.worker_process import WorkerDied, WorkerProcess


def measure_here(
    groups: Sequence[Sequence[Task]], metric_names: Sequence[str], models: Mapping[str, str]
) -> Iterator[Row]:
    """Rows in this process, one after the other."""
    measurer = Measurer(metric_names, models)
    for group in groups:
        yield from map(measurer, group)


def measure_in_processes(
    groups: Sequence[Sequence[Task]], metric_names: Sequence[str], models: Mapping[str, str], jobs: int
) -> Iterator[Row]:
    """Rows as they come, of up to `jobs` workers that together use no more threads than there are cores.

    Args:
        groups: tasks, those of one clip together.
    """
    jobs = min(jobs, len(groups))
    threads = max(1, available_cores() // max(jobs, 1))
    waiting = deque(deque(group) for group in groups)
    workers: list[_Worker] = []
    try:
        while len(workers) < jobs:
            workers.append(_Worker(metric_names, models, threads, waiting.popleft()))
        while workers:
            ready = wait([worker.answers for worker in workers])
            for worker in [worker for worker in workers if worker.answers in ready]:
                row, alive = worker.answer()
                if not worker.tasks and waiting:
                    worker.tasks = waiting.popleft()
                if worker.tasks and alive:
                    worker.ask()
                else:
                    workers.remove(worker)
                    worker.end()
                    if worker.tasks:
                        workers.append(_Worker(metric_names, models, threads, worker.tasks))
                yield row
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that does tasks, and the tasks of the clip it is at; the first is in work."""

    def __init__(
        self, metric_names: Sequence[str], models: Mapping[str, str], threads: int, tasks: deque[Task]
    ) -> None:
        self.tasks = tasks
        self._process = WorkerProcess(_serve, list(metric_names), dict(models), threads)
        self.answers = self._process.connection
        self.ask()

    def ask(self) -> None:
        self._process.send(self.tasks[0])

    def answer(self) -> tuple[Row, bool]:
        """The row of the task in work, and whether the process lives on."""
        task = self.tasks.popleft()
        try:
            return self._process.receive(), True
        except WorkerDied as death:
            known = {"key": task.key, "clip": task.clip.name, "codec": task.codec, "columns": task.clip.columns}
            return known | failure(str(death)), False

    def end(self) -> None:
        self._process.end(idle=not self.tasks)


def _serve(tasks: Connection, metric_names: list[str], models: dict[str, str], threads: int) -> None:
    """The worker's side: a task comes, a row goes."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # PyTorch's, and ViSQOL's; neither is imported yet
        os.environ.setdefault(name, str(threads))
    measurer = Measurer(metric_names, models, threads)
    while True:
        tasks.send(measurer(tasks.recv()))
