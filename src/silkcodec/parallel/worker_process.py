"""Run tasks in a process that may crash or be killed without affecting the process that started it.

    leader                                     worker
    WorkerProcess(serve, *arguments)   --->    serve(tasks, *arguments): a loop of tasks.recv() and tasks.send(answer)
    send(task), receive() -> answer

A worker is spawned, not forked, because a fork copies the thread pools of a loaded model in an unusable state. Its
output goes to standard error, so that a third-party library cannot corrupt standard output. The worker ignores Ctrl-C;
the leader handles it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from silkcodec.errors import SilkError

EXIT_TIMEOUT_S = 5.0  # time for a process to exit by itself, and again after SIGTERM


class WorkerExited(Exception):
    """Report that a worker process has exited. The text gives the reason; see `reason_of`."""


class WorkerProcess:
    """Start a worker, and send it tasks from the leader.

    Args:
        serve: called in the worker with its end of the pipe and the arguments. It returns or raises EOFError when the
            pipe is closed. A SilkError that it raises is raised by `receive`.

    Attributes:
        connection: the leader's end of the pipe, for `multiprocessing.connection.wait` on several workers.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, serve, arguments), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the worker ends

    def send(self, task: Any) -> None:
        """Send a task. If the worker has ended, the next `receive` raises."""
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> Any:
        """Wait for an answer.

        Raises:
            WorkerExited: the process has exited. SilkError: raised in the worker.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerExited(reason_of(self._process.exitcode)) from None
        if isinstance(answer, SilkError):
            raise answer
        if isinstance(answer, _Bug):
            raise RuntimeError(f"a worker failed because of a bug in silkcodec:\n{answer.traceback}")
        return answer

    def end(self, *, idle: bool) -> None:
        """End the process. An idle process ends when its pipe is closed; a busy one is terminated."""
        self.connection.close()
        if idle:
            self._process.join(EXIT_TIMEOUT_S)
        self._process.terminate()
        self._process.join(EXIT_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def reason_of(exit_code: int | None) -> str:
    """Return why a process has exited, such as `the worker process was killed by SIGKILL, ...`."""
    if exit_code is None or exit_code >= 0:
        return f"the worker process exited with code {exit_code}."
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = ", possibly for lack of memory; fewer processes need less" if number == 9 else ""
    return f"the worker process was killed by {name}{hint}."


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB, or None if the system does not report it.

    On Linux it is VmHWM. The peak of getrusage starts at that of the parent process.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib * 1.024e-3
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1e-6 if sys.platform == "darwin" else 1.024e-3)


class _Bug:
    """Carry an unexpected error, a bug in this package, to the leader."""

    def __init__(self, text: str) -> None:
        self.traceback = text


def _run(tasks: Connection, serve: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run `serve` in the worker until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # by number, because a stream may be closed or replaced
    try:
        serve(tasks, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SilkError as error:  # such as a full disk
        tasks.send(error)
    except Exception:
        tasks.send(_Bug(traceback.format_exc()))
