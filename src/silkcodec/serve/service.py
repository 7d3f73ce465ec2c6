"""Define the state that all parts of a running server share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec.serve import access
from silkcodec.serve.access import ConcurrencyLimit, RateLimiter
from silkcodec.serve.pool import Pool
from silkcodec.serve.prometheus import Metrics
from silkcodec.serve.settings import Limits, Settings, is_loopback

# Ratio of uploads that may be open to uploads that may wait for a worker. Slow clients keep uploads open for longer.
UPLOADS = 4


@dataclass
class Service:
    """The state of a server.

    Attributes:
        settings: settings of the server.
        folder: private folder for uploads.
        pool: pool of worker processes.
        metrics: Prometheus metrics.
        rate, denied_rate: rate limiters for accepted and for denied requests.
        streams, uploads, requests: concurrency limits for streams, uploads and HTTP requests.
        draining: event that is set when the server starts to shut down.
        sessions: asyncio tasks that serve the open streams.
    """

    settings: Settings
    folder: Path
    pool: Pool
    metrics: Metrics
    rate: RateLimiter
    streams: ConcurrencyLimit
    uploads: ConcurrencyLimit
    requests: ConcurrencyLimit
    denied_rate: RateLimiter
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Service:
        """Create the state of a server without starting any processes."""
        metrics, limits = Metrics(), settings.limits
        streams = ConcurrencyLimit("streams", limits.sessions, limits.client_sessions)
        uploads = ConcurrencyLimit("uploads", UPLOADS * limits.files, limits.files)
        requests = ConcurrencyLimit("requests", limits.requests, limits.client_requests)
        rate, denied_rate = RateLimiter(limits.per_minute), RateLimiter(limits.per_minute)
        pool = Pool(settings, metrics)
        return cls(settings, folder, pool, metrics, rate, streams, uploads, requests, denied_rate)

    def admit(self, client: str, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> None:
        """Check that a request is authorized and within the rate limit.

        Args:
            client: address of the client.
            headers: headers of the request.
            subprotocols: subprotocols of a WebSocket request.

        Raises:
            DeniedError: the token, origin or host is wrong.
            RateError: the address has sent too many requests.
        """
        try:
            access.check(self.settings.token, headers, subprotocols, loopback=is_loopback(self.settings.host))
        except access.DeniedError:
            self.denied_rate.take(client)
            raise
        self.rate.take(client)

    @property
    def limits(self) -> Limits:
        """Return the limits for clients."""
        return self.settings.limits
