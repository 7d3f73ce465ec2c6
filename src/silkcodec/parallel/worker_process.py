"""A process that answers tasks, and that may crash or be killed without harm to the one that started it.

    leader                                     worker
    WorkerProcess(serve, *arguments)   --->    serve(tasks, *arguments): a loop of tasks.recv() and tasks.send(answer)
    send(task), receive() -> answer

A worker is spawned, not forked: a fork copies the thread pools of a loaded model in an unusable state. What it prints
goes to standard error, so that a foreign library cannot disturb the output. Ctrl-C is left to the leader.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from silkcodec.errors import SilkError

PATIENCE_S = 5.0  # that a process has to end by itself, and then after SIGTERM


class WorkerDied(Exception):
    """A worker has ended; the text says how, as the end of a sentence."""


class WorkerProcess:
    """The leader's side of a worker.

    Args:
        serve: called in the worker with its end of the pipe and the arguments. It returns or raises EOFError when the
            pipe is closed. A SilkError that it raises is raised by `receive`.

    Attributes:
        connection: to wait for answers of several workers with `multiprocessing.connection.wait`.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, serve, arguments), daemon=True)
        self._process.start()
        theirs.close()  # so that the death of the worker closes the pipe

    def send(self, task: Any) -> None:
        """Send a task. If the worker has died, `receive` raises."""
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> Any:
        """Wait for an answer.

        Raises:
            WorkerDied: the process has ended. SilkError: the worker's.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerDied(reason_of(self._process.exitcode)) from None
        if isinstance(answer, SilkError):
            raise answer
        if isinstance(answer, _Bug):
            raise RuntimeError(f"a worker has met a bug of ours:\n{answer.traceback}")
        return answer

    def end(self, *, idle: bool) -> None:
        """End the process: an idle one ends by itself as its pipe is closed, one at work is terminated."""
        self.connection.close()
        if idle:
            self._process.join(PATIENCE_S)
        self._process.terminate()
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def reason_of(exit_code: int | None) -> str:
    """Return why a process has ended: `the process that ran it was ended by SIGKILL, ...`."""
    if exit_code is None or exit_code >= 0:
        return f"the process that ran it ended by itself, with exit code {exit_code}."
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = ", perhaps for lack of memory; fewer --jobs need less" if number == 9 else ""
    return f"the process that ran it was ended by {name}{hint}."


class _Bug:
    """An error that is nobody's fault but ours, on its way to the leader."""

    def __init__(self, text: str) -> None:
        self.traceback = text


def _run(tasks: Connection, serve: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Serve until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # by number: a stream may be closed, or stand for another
    try:
        serve(tasks, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SilkError as error:  # a full disk, say
        tasks.send(error)
    except Exception:
        tasks.send(_Bug(traceback.format_exc()))
