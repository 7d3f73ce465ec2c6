"""Run tasks in a worker process, so that a crash does not affect the main process.

    main process                               worker
    WorkerProcess(serve, *arguments)   --->    serve(tasks, *arguments), which loops over tasks.recv(), tasks.send()
    send(task), receive() -> answer

Workers are spawned, because a forked process gets unusable copies of a model's thread pools.
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

EXIT_TIMEOUT_S = 5.0  # time that a process has to exit by itself, and then again after SIGTERM


class WorkerExited(Exception):
    """Raised when a worker process has exited unexpectedly."""


class WorkerProcess:
    """Start a worker process, and exchange tasks and answers with it.

    Args:
        serve: function that runs in the worker. Its arguments are the worker's end of the pipe and `arguments`. It must
            return or raise EOFError when the pipe is closed. If it raises a SilkError, `receive` raises the same error.
        arguments: additional arguments for `serve`.

    Attributes:
        connection: this process's end of the pipe, e.g. for `multiprocessing.connection.wait`.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, serve, arguments), daemon=True)
        self._process.start()
        theirs.close()  # If this end stayed open, the pipe would not close when the worker exits.

    def send(self, task: Any) -> None:
        """Send a task to the worker."""
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> Any:
        """Wait for the next answer from the worker, and return it.

        Raises:
            WorkerExited: the worker process has exited.
            SilkError: the worker raised this error.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerExited(reason_of(self._process.exitcode)) from None
        if isinstance(answer, SilkError):
            raise answer
        if isinstance(answer, _Bug):
            raise RuntimeError(f"A worker failed because of a bug in silkcodec:\n{answer.traceback}")
        return answer

    def end(self, *, idle: bool) -> None:
        """End the worker process. Wait briefly for an idle process to exit, but terminate a busy one at once."""
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
    """Return a clause that states why a process exited, such as "the worker process exited with code 1."."""
    if exit_code is None or exit_code >= 0:
        return f"the worker process exited with code {exit_code}."
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    hint = ", possibly because memory ran out; use fewer processes" if number == 9 else ""
    return f"the worker process was killed by {name}{hint}."


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process in MB, or None if the system does not report it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib * 1.024e-3
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return max_rss_mb(resource.getrusage(resource.RUSAGE_SELF))


def max_rss_mb(usage: Any) -> float:
    """Return the peak memory in MB from the result of `resource.getrusage` or `os.wait4`."""
    peak: float = usage.ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3)  # bytes on macOS, KiB on Linux
    return peak


class _Bug:
    """The traceback of an unexpected error in a worker."""

    def __init__(self, text: str) -> None:
        self.traceback = text


def _run(tasks: Connection, serve: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run `serve` in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # sys.stdout is not used, because it can be closed or replaced.
    try:
        serve(tasks, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SilkError as error:  # for example, if the disk is full
        tasks.send(error)
    except Exception:
        tasks.send(_Bug(traceback.format_exc()))
