"""Run the server process of `silk serve`, and shut it down gracefully on a signal.

On SIGTERM or Ctrl-C, the server stops accepting connections. Requests and streams in progress have `drain_s` seconds
to finish. A second signal stops the process immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.parallel.worker_process import WorkerExited, WorkerProcess
from silkcodec.serve import connections, logs, uploads
from silkcodec.serve.app import build
from silkcodec.serve.service import Service
from silkcodec.serve.settings import Settings
from silkcodec.spec import FRAME_SAMPLES

log = logging.getLogger("silkcodec.serve")

KEEP_ALIVE_S = 5
PING_S = 20.0  # interval of WebSocket pings; a lost client is detected within two intervals
BACKLOG = 256
MANY_FILES = 65_536


def serve(settings: Settings) -> None:
    """Run the server until the process receives SIGTERM or Ctrl-C.

    Raises:
        ArgumentError: the server cannot listen on the port.
        WeightsError: the model cannot be loaded.
    """
    check_weights(settings.weights)  # Report invalid weights once, not from every worker.
    listening = _listen(settings)
    _allow_many_files()
    logs.configure()
    with uploads.private_folder() as folder, contextlib.closing(listening):
        asyncio.run(_serve(settings, folder, listening))


def check_weights(folder: Path | None) -> None:
    """Check in a separate process that the weights in a folder can encode and decode a frame.

    Args:
        folder: weights folder. None checks the weights that ship with the package.

    Raises:
        WeightsError: the folder does not contain a working model.
    """
    worker = WorkerProcess(_try_weights, folder)
    try:
        worker.receive()
    except WorkerExited as error:
        what = f"'{folder}'" if folder else "the package"
        raise WeightsError(f"Cannot load the model in {what}: the process crashed while loading it.") from error
    finally:
        worker.end(idle=True)


def _try_weights(done: Connection, folder: Path | None) -> None:
    import numpy as np

    from silkcodec.silk import Silk

    codec = Silk(folder, threads=1)
    codec.decode(codec.encode(np.zeros(FRAME_SAMPLES, np.float32)))
    done.send(True)


async def _serve(settings: Settings, folder: Any, listening: socket.socket) -> None:
    service = Service.of(settings, folder)
    limits = settings.limits
    config = uvicorn.Config(
        build(service),
        http=connections.http_class(limits),
        ws=connections.websocket_class(limits),
        ws_max_size=limits.message_bytes,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # Samples do not compress, and the buffers are larger than a stream's state.
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
    )
    host, port = listening.getsockname()[:2]
    log.info("listening", extra={"host": host, "port": port, "pid": os.getpid(), "token": settings.token is not None})
    await DrainingServer(config, service).serve(sockets=[listening])
    log.info("stopped")


class DrainingServer(uvicorn.Server):
    """Run uvicorn, but let streams finish after a signal."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain_task: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve requests until the server stops."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let open streams finish on the first signal, and stop the server immediately on the second."""
        if self._loop is None or self._service.draining.is_set():
            self.should_exit = self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self.begin_drain)

    def begin_drain(self) -> None:
        """Start the graceful shutdown."""
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        end = loop.time() + service.limits.drain_s
        log.info("draining", extra={"streams": len(service.sessions)})
        service.draining.set()
        for server in getattr(self, "servers", []):
            server.close()
        if service.sessions:
            _, late = await asyncio.wait(set(service.sessions), timeout=service.limits.drain_s)
            for task in late:
                task.cancel()
        self.config.timeout_graceful_shutdown = max(1, math.ceil(end - loop.time()))
        self.should_exit = True  # uvicorn waits for running requests


def _allow_many_files() -> None:
    """Raise the soft limit on open files, because each connection counts as an open file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise ArgumentError(
            f"Cannot listen on {settings.host}:{settings.port}: {reason}. Choose another --host or --port."
        ) from error
