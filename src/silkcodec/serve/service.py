"""What the parts of one running server share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec.serve.access import Places, Rate
from silkcodec.serve.metrics import Metrics
from silkcodec.serve.pool import Pool
from silkcodec.serve.settings import Limits, Settings

UPLOADS = 4  # times as many may be on their way as may wait for a worker: most of that time is the client's network


@dataclass
class Service:
    """One server.

    Attributes:
        folder: private, for uploads.
        places, uploads: of streams, and of uploads from their first byte to their last.
        draining: set when the server goes down: nothing new begins, and what runs comes to its end.
        sessions: streams that run.
    """

    settings: Settings
    folder: Path
    pool: Pool
    metrics: Metrics
    rate: Rate
    places: Places
    uploads: Places
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Service:
        """A server's parts, none of them started."""
        metrics, limits = Metrics(), settings.limits
        streams = Places("streams", limits.sessions, limits.client_sessions)
        uploads = Places("uploads", UPLOADS * limits.files, limits.files)
        return cls(settings, folder, Pool(settings, metrics), metrics, Rate(limits.per_minute), streams, uploads)

    @property
    def limits(self) -> Limits:
        """What a client may use."""
        return self.settings.limits
