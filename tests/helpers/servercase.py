"""Start `silk serve` in its own process on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from silkcodec.serve.client import Client
from waiting import PATIENCE_S

T = TypeVar("T")

TOKEN = "a-token-for-tests-0123"
# On a busy machine, a test may pause for longer than the server's limits for idle and slow clients.
PATIENT = f"""
from functools import partial
from silkcodec.serve import settings
settings.Limits = partial(settings.Limits, idle_s={PATIENCE_S}, send_s={PATIENCE_S})
from silkcodec.cli import main
main()
"""


class Server:
    """Run `silk serve`, and read its log.

    Args:
        words: options for `silk serve`.
        weights: folder of the weights.
        token: bearer token; None starts a server without a token.
        workers: number of workers for streams.
        patient: whether to raise the limits for idle and slow clients.
    """

    def __init__(
        self, *words: str, weights: Path, token: str | None = TOKEN, workers: int = 1, patient: bool = True
    ) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("SILK_TOKEN", None)
        if token is not None:
            environment["SILK_TOKEN"] = token
        command = [sys.executable, *(("-c", PATIENT) if patient else ("-m", "silkcodec.cli"))]
        command += ["serve", "--port", "0", "--workers", str(workers), "--weights", str(weights), *words]
        self.token = token
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.port = self.wait_for("listening")["port"]
            self.wait_for_workers("streams", workers)
            self.wait_for_workers("files", 1)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._add(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})
        self._add({"event": "gone"})

    def _add(self, line: dict[str, Any]) -> None:
        with self._changed:
            self.log.append(line)
            self._changed.notify_all()

    def _wait_until(self, condition: Callable[[], T], what: str) -> T:
        """Wait until a condition returns a true value, and return this value."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not (value := condition()):
                is_over = bool(self.log) and self.log[-1]["event"] == "gone"
                assert not is_over, f"the server exited before {what}: {self.log[-20:]}"
                assert time.monotonic() < deadline, f"waited in vain for {what}: {self.log[-20:]}"
                self._changed.wait(1.0)
        return value

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Return the first log line with this event and these fields. Wait for it if necessary."""

        def found() -> dict[str, Any] | None:
            lines = (line for line in self.log if line["event"] == event)
            return next((line for line in lines if fields.items() <= line.items()), None)

        line = self._wait_until(found, f"{event} {fields}")
        assert line is not None
        return line

    def wait_for_workers(self, role: str, n: int) -> None:
        """Wait until `n` workers of a role have loaded the model."""
        self._wait_until(lambda: len(self.workers(role)) >= n, f"{n} workers for {role}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Client:
        return Client(self.url, self.token, timeout_s=PATIENCE_S)

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET request, and return the status and the body."""
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metric(self, name: str) -> float:
        """Return a metric, summed over its labels."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def workers(self, role: str) -> list[int]:
        """Return the process IDs of the ready workers with the given role."""
        lines = list(self.log)
        crashed = {line["pid"] for line in lines if line["event"] == "worker crashed"}
        ready = [line for line in lines if line["event"] == "worker ready" and line["role"] == role]
        return [line["pid"] for line in ready if line["pid"] not in crashed]

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Stop the server and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(PATIENCE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code
