"""Test the front with slow and greedy clients, using real sockets, short limits, and workers without a model."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from silkcodec.errors import SilkError
from silkcodec.serve import connections, sessions
from silkcodec.serve.app import build
from silkcodec.serve.client import Client, ServerError
from silkcodec.serve.connections import Budget, http_class, websocket_class
from silkcodec.serve.pool import BusyError
from silkcodec.serve.processes import Ended, Frame, RefusedError
from silkcodec.serve.server import DrainingServer
from silkcodec.serve.service import Service
from silkcodec.serve.settings import Limits, Settings
from waiting import PATIENCE_S, wait_until

START = '{"type": "start", "task": "decode"}'


class FakeStream:
    """Answer every frame immediately with 9,600 samples."""

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
    server: DrainingServer  # the server of this pool
    thread: threading.Thread  # in which the server runs

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
                await asyncio.Event().wait()  # until it is cancelled
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        Path(fields["target"]).write_bytes(b"result")
        return 1.0


@contextmanager
def front(folder: Path, token: str | None = None, **limits: Any) -> Iterator[tuple[str, FakePool, Service]]:
    """Run a server in a thread, and yield its address, its pool and its service."""
    pool, services = FakePool(), []
    listening = socket.create_server(("127.0.0.1", 0))

    async def main() -> None:
        service = Service.of(Settings(token=token, limits=Limits(**limits)), folder)
        service.pool = pool  # type: ignore[assignment]
        options: dict[str, Any] = {"http": http_class(service.limits), "ws": websocket_class(service.limits)}
        options |= {"log_config": None, "access_log": False, "ws_per_message_deflate": False, "ws_ping_interval": None}
        pool.server = DrainingServer(uvicorn.Config(build(service), **options), service)
        services.append(service)
        await pool.server.serve(sockets=[listening])

    pool.thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    pool.thread.start()
    wait_until(lambda: services and pool.server.started)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", pool, services[0]
    finally:
        pool.server.should_exit = True
        pool.thread.join(PATIENCE_S)
    assert not pool.thread.is_alive()


def raw(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=PATIENCE_S)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Read until `end` has arrived, and return everything that was read."""
    data = b""
    while end not in data:
        part = connection.recv(2000)
        assert part, data
        data += part
    return data


def responds(url: str, path: str = "/health/ready") -> bool:
    """Return whether a request succeeds."""
    with suppress(ServerError):
        return bool(Client(url)._request(path))
    return False


def test_connections_without_a_request_are_closed(tmp_path: Path) -> None:
    with front(tmp_path, header_s=0.2) as (url, _, _), raw(url) as silent, raw(url) as dribbling:
        with suppress(OSError):  # On a busy machine, the connection may be closed already.
            dribbling.sendall(b"GET /health/li")
        wait_until(lambda: not is_open(silent) and not is_open(dribbling))


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_half_open_connections_do_not_block_others(tmp_path: Path) -> None:
    with ExitStack() as open_ones, front(tmp_path, client_waiting=4, pressed_s=0.2, header_s=3600) as (url, _, _):
        half_open = [open_ones.enter_context(raw(url)) for _ in range(20)]
        for connection in half_open:
            with suppress(OSError):  # On a busy machine, the connection may be closed already.
                connection.sendall(b"G")
        wait_until(lambda: responds(url))
        wait_until(lambda: sum(map(is_open, half_open)) <= 4)  # pressed_s applies instead of header_s
        wait_until(lambda: responds(url))
        assert sum(map(is_open, half_open)) > 0, "with few waiting, header_s applies"


def test_the_oldest_waiting_connection_is_closed(tmp_path: Path) -> None:
    with ExitStack() as open_ones, front(tmp_path, most_waiting=3, header_s=3600) as (url, _, _):
        silent = []
        for n in range(1, 6):
            silent.append(open_ones.enter_context(raw(url)))
            wait_until(lambda n=n: sum(map(is_open, silent)) == min(n, 3))
        assert [is_open(connection) for connection in silent] == [False, False, True, True, True]
        assert Client(url)._request("/health/ready")


def test_health_checks_are_exempt_from_limits(tmp_path: Path) -> None:
    with front(tmp_path, client_requests=1) as (url, pool, _):
        with raw(url) as working:
            working.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nwait")
            wait_until(lambda: list(tmp_path.glob("*/upload")))
            with pytest.raises(ServerError, match="limit is 1 open requests") as caught:
                Client(url).codecs()
            assert (caught.value.status, caught.value.code) == (429, "rate")
            assert Client(url)._request("/health/ready")
        wait_until(lambda: pool.cancelled == 1)
        wait_until(lambda: responds(url, "/v1/codecs"))


def test_a_slow_upload_is_refused(tmp_path: Path) -> None:
    with front(tmp_path, upload_s=0.3) as (url, _, _), raw(url) as slow:
        slow.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nRI")
        assert read_until(slow, b"too_slow").startswith(b"HTTP/1.1 408")
        wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_a_body_without_a_length_is_counted(tmp_path: Path) -> None:
    with front(tmp_path, body_bytes=1000) as (url, _, _), raw(url) as endless:
        endless.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        endless.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert endless.recv(2000).startswith(b"HTTP/1.1 413")
        wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_work_stops_when_the_client_disconnects(tmp_path: Path) -> None:
    with front(tmp_path) as (url, pool, _):
        with raw(url) as leaving:
            leaving.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nwait")
            wait_until(lambda: list(tmp_path.glob("*/upload")))
        wait_until(lambda: pool.cancelled == 1 and not list(tmp_path.iterdir()))


def test_one_address_cannot_use_all_uploads(tmp_path: Path) -> None:
    with front(tmp_path, files=1) as (url, _, service):
        with raw(url) as slow:
            slow.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nRI")
            wait_until(lambda: list(tmp_path.glob("*/upload")))
            with pytest.raises(ServerError, match="limit is 1 open uploads") as caught:
                Client(url).encode(b"x")
            assert caught.value.status == 429
            with service.uploads.one("another address"):
                pass
        wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_an_expensive_body_is_read_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    received = connections.H11Protocol.data_received

    def counted(protocol: Any, data: bytes) -> None:
        pieces.append(len(data))
        received(protocol, data)

    monkeypatch.setattr(connections.H11Protocol, "data_received", counted)
    monkeypatch.setattr(connections, "PAUSE", 1e4)
    with front(tmp_path, "0123456789abcdef") as (url, _, _), raw(url) as chunks:
        chunks.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunks.settimeout(0.5)
        with pytest.raises(TimeoutError):
            chunks.sendall(b"1\r\nx\r\n" * 4_000_000)
        assert len(pieces) <= 3, "the head, and the pieces until the first pause"
        assert Client(url)._request("/health/ready")


def test_json_has_a_separate_limit(tmp_path: Path) -> None:
    with front(tmp_path, duration_s=4.0) as (url, _, service):
        client, body = Client(url), b" " * (service.limits.json_bytes + 1)
        with pytest.raises(ServerError) as caught:
            client._request("/v1/decode", body, "application/json")
        assert (caught.value.status, caught.value.code) == (413, "too_large")
        for content, kind in ((body, "application/vnd.silk"), (body[1:], "application/json")):
            assert client._request("/v1/decode", content, kind) == b"result"
    longest = {"codes": [[7] * 128] * 1500}  # 600 s, one dimension per token, indented
    assert len(json.dumps(longest, indent=4)) < Limits().json_bytes < 4e6


def upgraded(url: str, start: bytes) -> socket.socket:
    """Open a WebSocket without a library and send its first message, masked with zeros."""
    connection = raw(url)
    connection.sendall(
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
    connection.sendall(bytes([129, 128 | len(start)]) + bytes(4) + start)
    assert b"started" in read_until(connection, b"}")
    return connection


def test_a_flood_of_pings_is_throttled(tmp_path: Path) -> None:
    ping, pong, n = bytes([137, 128, 0, 0, 0, 0]), bytes([138, 0]), 3000
    with front(tmp_path, stream_messages=1) as (url, _, _), upgraded(url, START.encode()) as flood:
        flood.sendall(ping * n)
        pongs = flood.recv(100)
        with connect(url.replace("http", "ws") + "/v1/stream") as neighbor:
            neighbor.send(START)
            neighbor.recv(PATIENCE_S)
            neighbor.send(bytes(76))
            assert len(neighbor.recv(PATIENCE_S)) == 19_200
        flood.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                pongs += flood.recv(10_000)
        assert 0 < pongs.count(pong) < n / 2, "after the first piece, the stream is not read for minutes"


def test_a_stream_that_sends_empty_messages_is_closed(tmp_path: Path) -> None:
    with front(tmp_path) as (url, pool, _), connect(url.replace("http", "ws") + "/v1/stream") as empty:
        empty.send(START)
        empty.recv(PATIENCE_S)
        empty.send(b"")
        assert "must not be empty" in json.loads(empty.recv(PATIENCE_S))["message"]
        wait_until(lambda: pool.streams[0].closed)


def test_a_budget_limits_the_rate() -> None:
    now = 0.0
    budget = Budget(100, lambda: now)
    assert budget.spend(60) == budget.spend(40) == 0
    assert budget.spend(50) == pytest.approx(0.5)
    now = 0.5
    assert budget.spend(0) == 0 and budget.spend(1) == pytest.approx(0.01)
    now = 100.0
    assert budget.spend(100) == 0


def test_denied_requests_do_not_use_the_rate_limit(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    with front(tmp_path, token, per_minute=30) as (url, _, service):
        service.denied_rate._clock = lambda: 0.0
        answers = []
        for _ in range(5):
            with pytest.raises(ServerError) as caught:
                Client(url, "wrong-wrong-wrong").codecs()
            answers.append(caught.value.status)
        assert answers == [401, 401, 401, 429, 429]
        for _ in range(3):
            assert Client(url, token).codecs()


def test_a_bug_closes_the_stream_with_an_error(tmp_path: Path) -> None:
    with front(tmp_path) as (url, pool, _):
        pool.error = TypeError("a bug")
        with connect(url.replace("http", "ws") + "/v1/stream") as stream:
            stream.send(START)
            assert json.loads(stream.recv(PATIENCE_S))["code"] == "internal"
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(PATIENCE_S)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011


def test_idle_streams_are_closed(tmp_path: Path) -> None:
    with front(tmp_path, idle_s=0.3) as (url, _, _), connect(url.replace("http", "ws") + "/v1/stream") as idle:
        messages = []
        with pytest.raises(ConnectionClosed) as caught:
            idle.send(START)
            while True:
                messages.append(json.loads(idle.recv(PATIENCE_S)))
        assert messages[-1]["code"] == "idle"
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008


def test_streams_of_slow_clients_are_closed(tmp_path: Path) -> None:
    with front(tmp_path, send_s=0.3) as (url, pool, service):
        with upgraded(url, START.encode()) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            frames = bytes(76 * 1000)
            deaf.sendall(b"\x82\xff" + len(frames).to_bytes(8, "big") + bytes(4) + frames)
            wait_until(lambda: pool.streams[0].closed)  # The client reads nothing and is disconnected.
            assert pool.streams[0].n < 1000, "frames that the client does not read are not computed"
        wait_until(lambda: not service.sessions)


def test_rates_tokens_and_origins(tmp_path: Path) -> None:
    with front(tmp_path, per_minute=30) as (url, _, service):
        service.rate._clock = lambda: 0.0
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
def test_errors_of_the_pool_reach_the_client(tmp_path: Path, error: SilkError, status: int, close: int) -> None:
    with front(tmp_path) as (url, pool, _):
        pool.error = error
        with pytest.raises(ServerError, match=str(error)) as caught:
            Client(url).encode(b"x")
        assert caught.value.status == status
        with connect(url.replace("http", "ws") + "/v1/stream") as stream:
            stream.send(START)
            assert json.loads(stream.recv(PATIENCE_S))["message"] == str(error)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(PATIENCE_S)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == close


@pytest.mark.parametrize(
    ("error", "status", "retries"),
    [(RefusedError("not_stored", "No space."), 503, True), (RuntimeError("A bug."), 500, False)],
)
def test_error_responses_have_the_headers_of_the_protocol(
    tmp_path: Path, error: Exception, status: int, retries: bool
) -> None:
    with front(tmp_path) as (url, pool, _):
        pool.error = error
        request = urllib.request.Request(f"{url}/v1/encode", b"x", {"X-Request-ID": "mine"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as answer:
            assert answer.status == status
            assert answer.headers["X-Request-ID"] == "mine"
            assert ("Retry-After" in answer.headers) is retries


def test_clients_cannot_choose_the_labels_of_metrics(tmp_path: Path) -> None:
    with front(tmp_path) as (url, _, service):
        for method in ("INVENTED", "GET"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(f"{url}/v1/encode", method=method))
            caught.value.close()
        with connect(url.replace("http", "ws") + "/v1/stream") as stream:
            stream.send(START)
            stream.recv(PATIENCE_S)
            stream.close(4321)
        wait_until(lambda: not service.sessions)
        shown = Client(url)._request("/metrics").decode()
        assert 'silk_requests_total{method="any",route="/v1/encode",status="405"} 2.0' in shown
        assert "INVENTED" not in shown and "4321" not in shown
        assert 'silk_streams_closed_total{code="1006",task="decode"} 1.0' in shown
        assert 'silk_streams{task="decode"} 0.0' in shown


def test_the_server_is_not_ready_until_its_workers_are(tmp_path: Path) -> None:
    with front(tmp_path) as (url, pool, _):
        pool.is_ready = False
        with pytest.raises(ServerError) as caught:
            Client(url)._request("/health/ready")
        assert caught.value.status == 503
        assert b'"live"' in Client(url)._request("/health/live")


def test_a_second_signal_stops_the_server_at_once(tmp_path: Path) -> None:
    with front(tmp_path, drain_s=3600) as (url, pool, service), Client(url).decoder():
        pool.server.handle_exit(signal.SIGTERM, None)
        wait_until(service.draining.is_set)
        assert service.sessions and not pool.server.should_exit, "the stream may finish"
        pool.server.handle_exit(signal.SIGTERM, None)
        pool.thread.join(PATIENCE_S)
        assert not pool.thread.is_alive()


def test_nothing_new_starts_while_draining(tmp_path: Path) -> None:
    with front(tmp_path) as (url, _, service):
        assert Client(url)._request("/health/ready")
        service.draining.set()
        for path in ("/v1/codecs", "/health/ready"):
            with pytest.raises(ServerError) as caught:
                Client(url)._request(path)
            assert caught.value.status == 503
        with pytest.raises(ServerError, match="shutting down"):
            Client(url).encoder()


def test_the_server_ends_open_streams_after_the_drain_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "END_S", 60.0)
    with front(tmp_path, drain_s=60.0) as (url, _, service), Client(url).decoder() as stream:
        stream.feed([[0] * 19] * 3)
        messages = [stream._take(PATIENCE_S) for _ in range(3)]
        loop = next(iter(service.sessions)).get_loop()
        loop.call_soon_threadsafe(service.draining.set)
        messages += stream._messages(PATIENCE_S)
        assert [m["type"] for m in messages if isinstance(m, dict)] == ["draining", "ended"]
        assert sum(isinstance(m, bytes) for m in messages) == 3
        assert stream.ended is not None and stream.ended["n_samples"] == 3 * 9_600
        with pytest.raises(ServerError) as caught:
            stream._take(PATIENCE_S)
        assert caught.value.status == 1001 and "shutting down" in str(caught.value)
