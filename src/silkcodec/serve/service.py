"""What the parts of one running server share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec.serve import access
from silkcodec.serve.access import Places, Rate
from silkcodec.serve.pool import Pool
from silkcodec.serve.prometheus import Metrics
from silkcodec.serve.settings import Limits, Settings, is_loopback

UPLOADS = 4  # times as many may be on their way as may wait for a worker: most of that time is the client's network


@dataclass
class Service:
    """One server.

    Attributes:
        folder: private, for uploads.
        rate, strangers: of requests with the token, and of those that were denied.
        places, uploads: of streams, and of uploads from their first byte to their last. requests: of HTTP.
        draining: set when the server shuts down; it accepts nothing new and finishes what is running.
        sessions: streams that run.
    """

    settings: Settings
    folder: Path
    pool: Pool
    metrics: Metrics
    rate: Rate
    places: Places
    uploads: Places
    requests: Places
    strangers: Rate
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Service:
        """A server's parts, none of them started."""
        metrics, limits = Metrics(), settings.limits
        streams = Places("streams", limits.sessions, limits.client_sessions)
        uploads = Places("uploads", UPLOADS * limits.files, limits.files)
        requests = Places("requests", limits.requests, limits.client_requests)
        rate, strangers = Rate(limits.per_minute), Rate(limits.per_minute)
        pool = Pool(settings, metrics)
        return cls(settings, folder, pool, metrics, rate, streams, uploads, requests, strangers)

    def admit(self, client: str, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> None:
        """Let one request in. Those that are denied have a rate of their own, and use up nobody else's.

        Raises:
            DeniedError, RateError.
        """
        try:
            access.check(self.settings.token, headers, subprotocols, loopback=is_loopback(self.settings.host))
        except access.DeniedError:
            self.strangers.take(client)
            raise
        self.rate.take(client)

    @property
    def limits(self) -> Limits:
        """What a client may use."""
        return self.settings.limits
