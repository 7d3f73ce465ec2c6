"""Log HTTP requests with their ids, and record request metrics. Successful health checks are not logged."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silkcodec.serve import access, logs
from silkcodec.serve.service import Service

log = logging.getLogger("silkcodec.serve")


class _SlowClient(Exception):
    """Raised when a client does not read its response in time."""


class RequestLog:
    """ASGI middleware that adds request ids, a request log and limits on concurrent requests."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, n_bytes = time.monotonic(), 500, 0
        request_id = logs.new_request_id(Headers(scope=scope).get("x-request-id"))
        logs.request_id.set(request_id)

        async def sent(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            n_bytes += len(message.get("body", b""))
            try:
                async with asyncio.timeout(self._service.limits.send_s):
                    await send(message)
            except TimeoutError:
                raise _SlowClient from None

        try:
            await self._within_limits(scope, receive, sent)
        except _SlowClient:
            status = 499
        finally:
            self._write(scope, status, n_bytes, time.monotonic() - started)

    async def _within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, or respond with status 429 if too many requests are in progress."""
        if scope["path"].startswith("/health/"):  # A busy server must not look unhealthy.
            await self._app(scope, receive, send)
            return
        try:
            with self._service.requests.one(scope["client"][0] if scope.get("client") else "-"):
                await self._app(scope, receive, send)
        except access.RateError as error:
            self._service.metrics.refused.labels("rate").inc()
            body = {"error": "rate", "message": str(error), "request_id": logs.request_id.get()}
            await JSONResponse(body, 429, {"Retry-After": "1"})(scope, receive, send)

    def _write(self, scope: Scope, status: int, n_bytes: int, seconds: float) -> None:
        # The label is the route, because clients can invent any number of paths and methods.
        route = getattr(scope.get("route"), "path", "other")
        metrics = self._service.metrics
        metrics.requests.labels(
            route, scope["method"] if route != "other" and status != 405 else "any", str(status)
        ).inc()
        metrics.request_s.labels(route).observe(seconds)
        if route.startswith("/health") and status == 200:
            return  # Health checks arrive about once per second and would fill the log.
        client = scope["client"][0] if scope.get("client") else "-"
        fields = {"method": scope["method"], "path": scope["path"][:200], "status": status, "bytes": n_bytes}
        log.info("request", extra={"client": client, **fields, "ms": round(1e3 * seconds, 1)})
