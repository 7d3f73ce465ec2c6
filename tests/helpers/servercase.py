"""Start `silk serve` in its own process on a free port."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from silkcodec.serve.client import Client

TOKEN = "a-token-for-tests-0123"
PATIENCE_S = 60.0


class Server:
    """Control a server, and read its log and the ids of its workers.

    Args:
        words: options of `silk serve`.
        token: bearer token; None: the server needs none.
    """

    def __init__(self, *words: str, weights: Path, token: str | None = TOKEN, workers: int = 1) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("SILK_TOKEN", None)
        if token is not None:
            environment["SILK_TOKEN"] = token
        command = [sys.executable, "-m", "silkcodec.cli", "serve", "--port", "0", "--workers", str(workers)]
        command += ["--weights", str(weights), *words]
        self.token = token
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.port = self.wait_for("listening")["port"]
            while self.get("/health/ready")[0] != 200:
                time.sleep(0.1)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})
        self._lines.put({"event": "gone"})

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line of an event with these fields, and return it."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event} {fields} in the log: {self.log[-20:]}") from None
            self.log.append(line)
            assert line["event"] != "gone" or event == "gone", f"the server has ended: {self.log[-20:]}"
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items()):
                return line

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Client:
        return Client(self.url, self.token, timeout_s=PATIENCE_S)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body."""
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metric(self, name: str) -> float:
        """Return the sum over the labels of one metric."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def workers(self, role: str) -> list[int]:
        """Return the process ids in the log so far."""
        while not self._lines.empty():
            self.log.append(self._lines.get())
        crashed = {line["pid"] for line in self.log if line["event"] == "worker crashed"}
        ready = [line for line in self.log if line["event"] == "worker ready" and line["role"] == role]
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
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code
