"""The front under slow and greedy clients: real sockets, limits of fractions of a second, workers without a model."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from silkcodec.errors import SilkError
from silkcodec.serve.app import build
from silkcodec.serve.client import Client, ServerError
from silkcodec.serve.pool import BusyError
from silkcodec.serve.processes import Ended, Frame, RefusedError
from silkcodec.serve.run import protocol_class
from silkcodec.serve.service import Service
from silkcodec.serve.settings import Limits, Settings

START = '{"type": "start", "task": "decode"}'


class FakeStream:
    """Answers every frame with 9,600 samples, at once."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.n = 0
        self.closed = False

    async def feed(self, body: bytes, k: int | None = None) -> None:
        self.events.put_nowait(Frame(self.n, bytes(19_200)))
        self.n += 1

    async def end(self) -> None:
        self.events.put_nowait(Ended(self.n * 9_600))

    def close(self) -> None:
        self.closed = True


class FakePool:
    codec = "silk@0a1b2c3d4e5f"
    is_ready = True

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.error: Exception | None = None
        self.cancelled = 0

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def workers(self, role: str) -> list[str]:
        return [role]

    async def open_stream(self, options: dict[str, Any]) -> FakeStream:
        if self.error is not None:
            raise self.error
        self.streams.append(FakeStream())
        return self.streams[-1]

    async def run_job(self, fields: dict[str, Any]) -> float:
        try:
            if self.error is not None:
                raise self.error
            if Path(fields["source"]).read_bytes() == b"wait":
                await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        Path(fields["target"]).write_bytes(b"result")
        return 1.0


@contextmanager
def front(folder: Path, token: str | None = None, **limits: Any) -> Iterator[tuple[str, FakePool, Service]]:
    """A server in a thread: its address, its pool, its parts."""
    loop_ready, pool = threading.Event(), FakePool()
    found: dict[str, Any] = {}
    listening = socket.create_server(("127.0.0.1", 0))

    async def main() -> None:
        service = Service.of(Settings(token=token, limits=Limits(**limits)), folder)
        service.pool = pool  # type: ignore[assignment]
        options = {"http": protocol_class(service.limits), "ws": "websockets-sansio", "log_config": None}
        server = uvicorn.Server(uvicorn.Config(build(service), access_log=False, ws_ping_interval=None, **options))
        found.update(service=service, server=server)
        loop_ready.set()
        await server.serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    loop_ready.wait(10)
    try:
        while not found["server"].started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", pool, found["service"]
    finally:
        found["server"].should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def raw(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10)


def until(condition: Any) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_who_sends_no_request_is_closed(tmp_path: Path) -> None:
    with front(tmp_path, header_s=0.2) as (url, _, _), raw(url) as silent, raw(url) as dribbling:
        dribbling.sendall(b"GET /health/li")
        assert silent.recv(100) == b"" and dribbling.recv(100) == b""


def test_a_slow_upload_ends(tmp_path: Path) -> None:
    with front(tmp_path, upload_s=0.3) as (url, _, _), raw(url) as slow:
        slow.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nRI")
        answer = slow.recv(2000)
        assert answer.startswith(b"HTTP/1.1 408") and (b"too_slow" in answer or b"too_slow" in slow.recv(2000))
        assert list(tmp_path.iterdir()) == []


def test_a_body_is_counted_where_it_does_not_say_its_length(tmp_path: Path) -> None:
    with front(tmp_path, body_bytes=1000) as (url, _, _), raw(url) as endless:
        endless.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        endless.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert endless.recv(2000).startswith(b"HTTP/1.1 413")
        assert until(lambda: list(tmp_path.iterdir()) == [])


def test_work_stops_when_nobody_waits_for_it(tmp_path: Path) -> None:
    with front(tmp_path) as (url, pool, _):
        with raw(url) as leaving:
            leaving.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nwait")
            assert until(lambda: list(tmp_path.glob("*/upload")))
        assert until(lambda: pool.cancelled == 1) and until(lambda: list(tmp_path.iterdir()) == [])


def test_one_address_does_not_take_all_places_for_uploads(tmp_path: Path) -> None:
    with front(tmp_path, files=1) as (url, _, service):
        with raw(url) as slow:
            slow.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nRI")
            assert until(lambda: list(tmp_path.glob("*/upload")))
            with pytest.raises(ServerError, match="1 uploads open") as caught:
                Client(url).encode(b"x")
            assert caught.value.status == 429
            with service.uploads.one("another address"):
                pass
        assert until(lambda: list(tmp_path.iterdir()) == [])


def test_idle_and_slow_streams_are_closed(tmp_path: Path) -> None:
    address = "/v1/stream"
    with front(tmp_path, idle_s=0.3, send_s=0.3) as (url, pool, service):
        with connect(url.replace("http", "ws") + address) as idle:
            idle.send(START)
            idle.recv(5)
            assert json.loads(idle.recv(5))["code"] == "idle"
            with pytest.raises(ConnectionClosed) as caught:
                idle.recv(5)
            assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008
        with raw(url) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(
                b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            )
            deaf.recv(2000)
            frames = bytes(76 * 1000)
            for kind, data in ((1, START.encode()), (2, frames)):
                size = bytes([128 | len(data)]) if len(data) < 126 else b"\xff" + len(data).to_bytes(8, "big")
                deaf.sendall(bytes([128 | kind]) + size + bytes(4) + data)  # masked with zeros
            assert until(lambda: len(pool.streams) == 2 and pool.streams[1].closed), "it takes nothing, and is let go"
            assert pool.streams[1].n < 1000, "what it does not take is not computed"
        assert until(lambda: not service.sessions)


def test_rates_tokens_and_origins(tmp_path: Path) -> None:
    with front(tmp_path, per_minute=30) as (url, _, _):
        client = Client(url)
        for _ in range(3):
            client.codecs()
        with pytest.raises(ServerError) as caught:
            client.codecs()
        assert (caught.value.status, caught.value.code) == (429, "rate")
        with pytest.raises(InvalidStatus) as refused, connect(url.replace("http", "ws") + "/v1/stream"):
            pass
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) >= 1
    with front(tmp_path) as (url, _, _):
        for origin, status in (("https://evil.example", 401), ("null", 401)):
            with (
                pytest.raises(InvalidStatus) as refused,
                connect(
                    url.replace("http", "ws") + "/v1/stream",
                    origin=origin,  # type: ignore[arg-type]
                ),
            ):
                pass
            assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    ("error", "status", "close"),
    [
        (BusyError("No worker is ready."), 503, 1013),
        (RefusedError("bad_audio", "It is none."), 415, 1008),
        (RefusedError("internal", "A bug."), 500, 1011),
    ],
)
def test_what_the_pool_says_reaches_the_client(tmp_path: Path, error: SilkError, status: int, close: int) -> None:
    with front(tmp_path) as (url, pool, _):
        pool.error = error
        with pytest.raises(ServerError, match=str(error)) as caught:
            Client(url).encode(b"x")
        assert caught.value.status == status
        with connect(url.replace("http", "ws") + "/v1/stream") as stream:
            stream.send(START)
            assert json.loads(stream.recv(5))["message"] == str(error)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(5)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == close


def test_nothing_new_begins_in_a_drain(tmp_path: Path) -> None:
    with front(tmp_path) as (url, _, service):
        assert Client(url)._request("/health/ready")
        service.draining.set()
        for path in ("/v1/codecs", "/health/ready"):
            with pytest.raises(ServerError) as caught:
                Client(url)._request(path)
            assert caught.value.status == 503
        with pytest.raises(ServerError, match="goes down"):
            Client(url).encoder()
