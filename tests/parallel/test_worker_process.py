"""Test the answers, crashes and errors of worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from silkcodec.errors import ArgumentError
from silkcodec.parallel.worker_process import WorkerExited, WorkerProcess, reason_of


def serve(tasks: Connection, factor: int) -> None:
    while True:
        task = tasks.recv()
        if task == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "user error":
            raise ArgumentError("The number must be even; got 3.")
        print("what a worker prints is not the leader's output")
        tasks.send(factor * task)


@pytest.fixture
def start() -> Iterator[Callable[[], WorkerProcess]]:
    started: list[WorkerProcess] = []

    def begin() -> WorkerProcess:
        started.append(WorkerProcess(serve, 3))
        return started[-1]

    yield begin
    for worker in started:
        worker.end(idle=True)


def ask(worker: WorkerProcess, task: Any) -> Any:
    worker.send(task)
    return worker.receive()


def test_a_worker_answers_until_it_is_killed(start: Callable[[], WorkerProcess], capfd: Any) -> None:
    worker = start()
    assert [ask(worker, task) for task in (1, 2)] == [3, 6]
    with pytest.raises(WorkerExited, match="SIGKILL"):
        ask(worker, "kill")
    with pytest.raises(WorkerExited, match="SIGKILL"):
        ask(worker, 1)
    assert capfd.readouterr().out == ""


def test_the_leader_raises_the_errors_of_a_worker(start: Callable[[], WorkerProcess]) -> None:
    with pytest.raises(ArgumentError, match="must be even"):
        ask(start(), "user error")
    with pytest.raises(RuntimeError, match="TypeError"):
        ask(start(), None)


def test_the_reason_names_the_signal_or_the_exit_code() -> None:
    assert "SIGSEGV" in reason_of(-signal.SIGSEGV) and "code 3" in reason_of(3) and "signal 99" in reason_of(-99)
