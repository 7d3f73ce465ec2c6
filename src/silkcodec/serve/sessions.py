"""Serve /v1/stream. Each WebSocket connects a client (`protocol.Session`) to a worker (`processes.Stream`).

    socket -> reader -> Session -> limit -> worker          worker -> events -> writer -> socket

While `window_frames` frames of a stream are in progress, the server does not read from the stream's socket. If a client
does not read a message within `send_s` seconds, the server closes the stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from fastapi.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from silkcodec.errors import SilkError
from silkcodec.serve import access, logs, protocol
from silkcodec.serve.pool import BusyError
from silkcodec.serve.processes import Ended, Frame, Lost, RefusedError, Stream
from silkcodec.serve.protocol import ProtocolError, Session
from silkcodec.serve.service import Service
from silkcodec.spec import FRAME_SAMPLES, LOOKAHEAD, SILK_SAMPLE_RATE

log = logging.getLogger("silkcodec.serve")

VANISHED = 1006  # logged if a client disconnects without a close frame; never sent
CLOSE_S = 2.0  # time limit for sending the close frame
END_S = 3.0  # part of the drain time reserved for the last frames


async def handle(websocket: WebSocket, service: Service) -> None:
    """Serve a WebSocket connection until it is closed."""
    headers = websocket.headers
    logs.request_id.set(logs.new_request_id(headers.get("x-request-id")))
    client = websocket.client.host if websocket.client else "-"
    offered = list(websocket.scope.get("subprotocols", ()))
    try:
        service.admit(client, headers, offered)
        if service.draining.is_set():
            await _deny(websocket, service, 503, "draining", "The server is shutting down. Try again later.")
            return
        with service.streams.one(client):
            await websocket.accept(subprotocol=access.SUBPROTOCOL if access.SUBPROTOCOL in offered else None)
            task = asyncio.current_task()
            assert task is not None
            service.sessions.add(task)
            try:
                await _Live(websocket, service, client).run()
            finally:
                service.sessions.discard(task)
    except access.DeniedError as error:
        await _deny(websocket, service, 401, "unauthorized", str(error))
    except access.RateError as error:
        await _deny(websocket, service, 429, "rate", str(error), error.retry_s)


async def _deny(
    websocket: WebSocket, service: Service, status: int, code: str, text: str, retry_s: float = 1.0
) -> None:
    service.metrics.refused.labels(code).inc()
    log.info("stream refused", extra={"status": status, "code": code})
    body = {"error": code, "message": text, "request_id": logs.request_id.get()}
    headers = {"Retry-After": str(max(1, round(retry_s))), "X-Request-ID": body["request_id"]}
    with suppress(RuntimeError, WebSocketDisconnect):
        await websocket.send_denial_response(JSONResponse(body, status, headers))


class _Live:
    """Serve an accepted WebSocket connection."""

    def __init__(self, websocket: WebSocket, service: Service, client: str) -> None:
        self._socket = websocket
        self._service = service
        self._client = client
        self._session = Session(service.limits.session_s, service.limits.text_chars)
        self._stream: Stream | None = None
        self._n_fed = 0  # number of samples (at the client's rate) or frames sent to the worker
        self._n_answered = 0  # number of answered frames
        self._complete: deque[float] = deque()  # arrival times of the frames that are not answered yet
        self._between_messages = True
        self._room = asyncio.Event()
        self._code, self._reason = protocol.NORMAL, ""
        self._started = time.monotonic()

    async def run(self) -> None:
        """Serve the stream, and then close the WebSocket."""
        try:
            await self._serve()
        except WebSocketDisconnect as gone:
            self._code, self._reason = gone.code or VANISHED, "the client disconnected"
        except (RefusedError, BusyError) as error:
            code = getattr(error, "code", "busy")
            close = {"busy": protocol.TRY_LATER, "internal": protocol.INTERNAL}.get(code, protocol.POLICY)
            await self._fail(code, str(error), close)
        except ProtocolError as error:
            await self._fail(error.code, str(error), error.close)
        except Exception:  # This is a bug in the server. The client must still get an error and a close code.
            log.exception("stream failed")
            await self._fail("internal", "Internal server error.", protocol.INTERNAL)
        finally:
            if self._stream is not None:
                self._stream.close()
            self._log_closed()
        if self._code != VANISHED and self._reason != "the client disconnected":
            with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._socket.close(self._code, self._reason[:120])

    async def _serve(self) -> None:
        for _ in self._session.receive(await self._receive()):
            pass
        start = self._session.start
        assert start is not None
        pool = self._service.pool
        self._stream = await pool.open_stream(start.for_worker())
        await self._send(self._session.started(pool.codec, logs.request_id.get()))
        self._service.metrics.sessions.labels(start.task).inc()
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        drainer = asyncio.create_task(self._drain(reader))
        tasks = {reader, writer, drainer}
        try:
            while not writer.done():
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not task.cancelled():
                        task.result()
                tasks -= done
        finally:
            for task in (reader, writer, drainer):
                task.cancel()
            await asyncio.gather(reader, writer, drainer, return_exceptions=True)
            self._service.metrics.sessions.labels(start.task).dec()

    async def _read(self) -> None:
        while not self._session.ended:
            await self._feed_all(self._session.receive(await self._receive()))

    async def _feed_all(self, pieces: Iterator[bytes]) -> None:
        """Send the client's data to the worker. Pause while `window_frames` frames are in progress."""
        assert self._session.start is not None and self._stream is not None
        start = self._session.start
        width = protocol.SAMPLE_BYTES[start.samples]
        k = start.n_codebooks if start.task == "decode" else None
        self._between_messages = False
        for piece in pieces:
            while self._n_complete - self._n_answered >= self._service.limits.window_frames:
                self._room.clear()
                await self._room.wait()
            before = self._n_complete
            self._n_fed += len(piece) // width if k is None else 1
            self._complete.extend([time.monotonic()] * (self._n_complete - before))
            await self._stream.feed(piece, k)
        self._between_messages = True
        if self._session.ended:
            await self._stream.end()

    @property
    def _n_complete(self) -> int:
        """Return the estimated number of complete frames sent to the worker."""
        start = self._session.start
        if start is None or start.task == "decode":
            return self._n_fed
        samples = self._n_fed * SILK_SAMPLE_RATE // start.sample_rate - LOOKAHEAD
        return max(0, samples // FRAME_SAMPLES)

    async def _write(self) -> None:
        assert self._session.start is not None and self._stream is not None
        task = self._session.start.task
        metrics = self._service.metrics
        while True:
            event = await self._stream.events.get()
            if isinstance(event, Frame):
                message = self._session.frame(event.number, event.body)
                if message:
                    await self._send(message)
                self._n_answered += 1
                self._room.set()
                metrics.frames.labels(task).inc()
                if self._complete:
                    metrics.frame_s.labels(task).observe(time.monotonic() - self._complete.popleft())
            elif isinstance(event, Ended):
                await self._send(self._session.last(event.n_samples, self._n_answered))
                return
            elif isinstance(event, Lost):
                text = f"The worker for this stream crashed after {self._n_answered} frames. Start a new stream."
                raise ProtocolError(text, "worker_lost", protocol.RESTART)
            else:
                raise event

    async def _drain(self, reader: asyncio.Task[None]) -> None:
        """Wait until the server begins to shut down, then notify the client and end the stream after a delay."""
        await self._service.draining.wait()
        left_s = max(0.0, self._service.limits.drain_s - END_S)
        await self._send(protocol.draining(left_s))
        await asyncio.sleep(left_s)
        self._code, self._reason = protocol.GOING_AWAY, "the server is shutting down"
        if not reader.done():
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            rest = self._session.end()
            # If the reader stopped within a message, later samples must not be sent before the rest of that message.
            await self._feed_all(rest if self._between_messages else iter(()))

    async def _receive(self) -> str | bytes:
        try:
            async with asyncio.timeout(self._service.limits.idle_s):
                message = await self._socket.receive()
        except TimeoutError:
            text = f"No message was received for {self._service.limits.idle_s:g} s."
            raise ProtocolError(f"{text} Send messages more often or end the stream.", "idle") from None
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or VANISHED
            # Clients can choose codes from 3000 on, and uvicorn reports 1005 for a lost connection.
            raise WebSocketDisconnect(code if code < 3000 and code != 1005 else VANISHED)
        text_or_bytes: str | bytes | None = message.get("text")
        return message["bytes"] if text_or_bytes is None else text_or_bytes

    async def _send(self, message: str | bytes) -> None:
        try:
            async with asyncio.timeout(self._service.limits.send_s):
                if isinstance(message, str):
                    await self._socket.send_text(message)
                else:
                    await self._socket.send_bytes(message)
        except TimeoutError:
            text = f"The client did not read a message within {self._service.limits.send_s:g} s."
            raise ProtocolError(text, "slow") from None
        except RuntimeError as error:  # Starlette raises this if the socket is closed.
            raise WebSocketDisconnect(VANISHED) from error

    async def _fail(self, code: str, text: str, close: int) -> None:
        self._code, self._reason = close, code
        self._service.metrics.refused.labels(code).inc()
        with suppress(SilkError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._send(protocol.failure(code, text))

    def _log_closed(self) -> None:
        task = self._session.start.task if self._session.start else "none"
        self._service.metrics.closed.labels(task, str(self._code)).inc()
        log.info(
            "stream closed",
            extra={
                "client": self._client,
                "task": task,
                "code": self._code,
                "reason": self._reason,
                "frames": self._n_answered,
                "seconds_in": round(self._session.seconds_in, 3),
                "open_s": round(time.monotonic() - self._started, 3),
            },
        )
