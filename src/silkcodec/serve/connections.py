"""Enforce time and rate limits on each connection, so that no client can slow down other clients.

HTTP clients must send the request headers within a time limit. The server pauses reading from a WebSocket that
sends too many messages or bytes per second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.server import ServerProtocol

from silkcodec.serve.settings import Limits

READ_BYTES = 4096  # can hold 682 WebSocket frames, which take about 10 ms to parse
PARSE_S = 1e-3  # CPU time limit for a piece of HTTP; a piece of an ordinary upload takes a tenth of that
PAUSE = 9.0  # After a piece above the limit, pause for 9 times its CPU time. The connection gets a tenth of the loop.


class Waiting:
    """The connections on which the server waits for request headers, oldest first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clients: dict[asyncio.Transport, str] = {}
        self._n_of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, transport: asyncio.Transport, client: str) -> None:
        """Add a connection, and close the oldest one if there are too many."""
        self._clients[transport] = client
        self._n_of[client] += 1
        if len(self._clients) > self._limits.most_waiting:
            oldest = next(iter(self._clients))
            self.remove(oldest)
            oldest.close()

    def remove(self, transport: asyncio.Transport) -> None:
        """Remove a connection."""
        client = self._clients.pop(transport, None)
        if client is not None:
            self._n_of[client] -= 1
            if not self._n_of[client]:
                del self._n_of[client]

    def allowed_s(self, client: str) -> float:
        """Return the time limit in seconds for receiving request headers from an address."""
        limits = self._limits
        pressed = self._n_of[client] > limits.client_waiting or len(self._clients) > limits.waiting
        return min(limits.pressed_s, limits.header_s) if pressed else limits.header_s


class Budget:
    """Limit the rate of messages or bytes with a token bucket.

    Args:
        per_s: average amount per second. Up to one second's worth can be used at once.
        clock: function that returns a monotonic time in seconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._level, self._when = per_s, clock()

    def spend(self, amount: float) -> float:
        """Take an amount from the budget, and return the number of seconds to wait before taking more."""
        now = self._clock()
        self._level = min(self._per_s, self._level + (now - self._when) * self._per_s) - amount
        self._when = now
        return max(0.0, -self._level / self._per_s)


def http_class(limits: Limits) -> type[H11Protocol]:
    """Return a subclass of uvicorn's HTTP protocol that enforces the limits on HTTP connections."""
    waiting = Waiting(limits)

    class Http(H11Protocol):
        """Close connections on which the request headers do not arrive in time, and read data in small pieces."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # the size of one recv() in asyncio
            _bound_silence(transport, limits)
            self._address = self.client[0] if self.client else "-"
            self._waits_since: float | None = None
            self._note_state()
            self._check_later()

        def connection_lost(self, exc: Exception | None) -> None:
            waiting.remove(self.transport)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            started = time.thread_time()
            super().data_received(data)
            seconds = time.thread_time() - started
            if seconds > PARSE_S and not self._is_gone():  # e.g. a body in chunks of one byte
                self.transport.pause_reading()
                self.loop.call_later(PAUSE * seconds, self._read_on)

        def _read_on(self) -> None:
            if not self._is_gone() and not self.flow.read_paused:
                self.transport.resume_reading()

        def handle_events(self) -> None:
            super().handle_events()
            self._note_state()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._note_state()

        def _note_state(self) -> None:
            """Record whether the server is waiting for a request on this connection."""
            waits = self.cycle is None or self.cycle.response_complete
            if not waits or self._is_gone():
                waiting.remove(self.transport)
                self._waits_since = None
            elif self._waits_since is None:
                waiting.add(self.transport, self._address)
                self._waits_since = self.loop.time()

        def _check_later(self) -> None:
            self.loop.call_later(min(limits.header_s, limits.pressed_s), self._check)

        def _check(self) -> None:
            if self._is_gone():
                return
            since = self._waits_since
            if since is not None and self.loop.time() - since >= waiting.allowed_s(self._address):
                waiting.remove(self.transport)
                self.transport.close()
                return
            self._check_later()

        def _is_gone(self) -> bool:
            return self.transport.is_closing() or self.transport.get_protocol() not in (self, None)

    return Http


def websocket_class(limits: Limits) -> type[WebSocketsSansIOProtocol]:
    """Return a subclass of uvicorn's WebSocket protocol that limits the messages and bytes per second."""

    class PacedWebSocket(WebSocketsSansIOProtocol):
        """Pause reading from a WebSocket that sends too many messages or bytes per second."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            logger = logging.getLogger("uvicorn.error")
            self._frames = self.conn = _CountedFrames(max_size=limits.message_bytes, logger=logger)
            self._messages, self._bytes = Budget(limits.stream_messages), Budget(limits.stream_bytes)
            self._held = False

        def data_received(self, data: bytes) -> None:
            before = self._frames.n_frames
            super().data_received(data)
            wait_s = max(self._messages.spend(self._frames.n_frames - before), self._bytes.spend(len(data)))
            if wait_s and not self.transport.is_closing():
                self._held = True
                self.transport.pause_reading()
                self.loop.call_later(wait_s, self._release)

        def _release(self) -> None:
            self._held = False
            if not self.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

        async def receive(self) -> Any:
            message = await super().receive()  # resumes reading when its queue is empty
            if self._held and not self.transport.is_closing():
                self.transport.pause_reading()
            return message

    return PacedWebSocket


class _CountedFrames(ServerProtocol):
    """Count all WebSocket frames, including pings and fragments."""

    n_frames = 0

    def recv_frame(self, frame: Frame) -> None:
        self.n_frames += 1
        super().recv_frame(frame)


def _bound_silence(transport: asyncio.Transport, limits: Limits) -> None:
    """Close the connection if the client does not acknowledge data for 2 * `send_s` seconds."""
    connection = cast("socket.socket | None", transport.get_extra_info("socket"))
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(2e3 * limits.send_s))
