"""Tasks in processes of their own: a foreign codec that crashes takes its clip along, not the run.

Each worker is asked for one row at a time, so that when it dies it is known what of: that row has failed, a
new worker takes its place. All tasks of one clip go to one worker, which has read it already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from silkcodec.cores import available_cores
from silkcodec.errors import SilkError
from silkcodec.evaluate.measure import Measurer, Task, failure
from silkcodec.evaluate.rows import Row


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
        # Spawned, not forked: a fork copies the thread pools of a loaded model in an unusable state.
        context = multiprocessing.get_context("spawn")
        self.answers, theirs = context.Pipe()
        self.tasks = tasks
        arguments = (theirs, list(metric_names), dict(models), threads)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen here
        self.ask()

    def ask(self) -> None:
        with suppress(OSError):  # it has died; answer() tells so
            self.answers.send(self.tasks[0])

    def answer(self) -> tuple[Row, bool]:
        """The row of the task in work, and whether the process lives on."""
        task = self.tasks.popleft()
        try:
            answer = self.answers.recv()
        except (EOFError, OSError):
            self._process.join()
            known = {"key": task.key, "clip": task.clip.name, "codec": task.codec, "columns": task.clip.columns}
            return known | failure(death(self._process.exitcode)), False
        if isinstance(answer, str):
            raise RuntimeError(f"a worker has met a bug of ours:\n{answer}")
        if isinstance(answer, SilkError):
            raise answer
        return answer, True

    def end(self) -> None:
        """An idle process ends by itself as its pipe is closed; one at work is not waited for."""
        self.answers.close()
        if not self.tasks:
            self._process.join(5)
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def death(exit_code: int | None) -> str:
    """Why a process has ended, in words."""
    if exit_code is None or exit_code >= 0:
        return f"the process that ran it ended by itself, with exit code {exit_code}."
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = ", perhaps for lack of memory; fewer --jobs need less" if number == 9 else ""
    return f"the process that ran it was ended by {name}{hint}."


def _serve(tasks: Connection, metric_names: list[str], models: dict[str, str], threads: int) -> None:
    """The worker's side: a task comes, a row goes, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the run ends its workers itself
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a foreign codec prints is not the result
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # PyTorch's, and ViSQOL's; neither is imported yet
        os.environ.setdefault(name, str(threads))
    try:
        measurer = Measurer(metric_names, models, threads)
        while True:
            tasks.send(measurer(tasks.recv()))
    except (EOFError, BrokenPipeError):
        return
    except SilkError as error:  # a disk that is full, say
        tasks.send(error)
    except Exception:
        tasks.send(traceback.format_exc())
