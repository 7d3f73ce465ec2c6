"""Run measurements in worker processes, so that a codec crash affects only one row.

A row contains the measurements of one codec on one clip. All measurements on a clip run in the same worker, so the clip
is read only once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait

from silkcodec.evaluate.measure import Measurer, Task, failure
from silkcodec.evaluate.stored_rows import Row
from silkcodec.parallel.cores import available_cores
from silkcodec.parallel.worker_process import WorkerExited, WorkerProcess


def measure_here(
    groups: Sequence[Sequence[Task]], metric_names: Sequence[str], models: Mapping[str, str]
) -> Iterator[Row]:
    """Run all tasks in this process and yield their rows."""
    measurer = Measurer(metric_names, models)
    for group in groups:
        yield from map(measurer, group)


def measure_in_processes(
    groups: Sequence[Sequence[Task]], metric_names: Sequence[str], models: Mapping[str, str], jobs: int
) -> Iterator[Row]:
    """Run all tasks in worker processes, and yield each row as soon as it is measured.

    Args:
        groups: tasks, grouped by clip.
        metric_names: names of the metrics; see `metrics.find_metrics`.
        models: models of the metrics; see `metrics.find_metrics`.
        jobs: maximum number of workers.
    """
    jobs = min(jobs, len(groups))
    threads = max(1, available_cores() // max(jobs, 1))
    waiting = deque(deque(group) for group in groups)
    workers: list[_MetricWorker] = []
    try:
        while len(workers) < jobs:
            workers.append(_MetricWorker(metric_names, models, threads, waiting.popleft()))
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
                        workers.append(_MetricWorker(metric_names, models, threads, worker.tasks))
                yield row
    finally:
        for worker in workers:
            worker.end()


class _MetricWorker:
    """A worker process and the remaining tasks for its current clip."""

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
        """Wait for the current task, and return its row and whether the process is still running."""
        task = self.tasks.popleft()
        try:
            return self._process.receive(), True
        except WorkerExited as death:
            known = {"key": task.key, "clip": task.clip.name, "codec": task.codec, "columns": task.clip.columns}
            return known | failure(str(death)), False

    def end(self) -> None:
        self._process.end(idle=not self.tasks)


def _serve(tasks: Connection, metric_names: list[str], models: dict[str, str], threads: int) -> None:
    """Receive tasks and send back rows. This function runs in the worker process."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # PyTorch and ViSQOL read these on import
        os.environ.setdefault(name, str(threads))
    measurer = Measurer(metric_names, models, threads)
    while True:
        tasks.send(measurer(tasks.recv()))
