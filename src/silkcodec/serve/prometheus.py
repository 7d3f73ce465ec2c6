"""Define the Prometheus metrics of a server. docs/server.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

FRAME_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.6, 3.2)
REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of a server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("silk_requests", "HTTP requests.", ["route", "method", "status"], registry=registry)
        self.request_s = Histogram(
            "silk_request_seconds",
            "Time from the request to the last byte of the response.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.sessions = Gauge("silk_streams", "Open streams.", ["task"], registry=registry)
        self.closed = Counter(
            "silk_streams_closed", "Closed streams by close code.", ["task", "code"], registry=registry
        )
        self.frames = Counter("silk_frames", "Stream frames that were processed.", ["task"], registry=registry)
        self.frame_s = Histogram(
            "silk_frame_seconds",
            "Time from the arrival of a complete frame to its response.",
            ["task"],
            buckets=FRAME_BUCKETS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "silk_batch_frames", "Frames per model call.", ["task"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.busy_s = Counter("silk_model_seconds", "Model computation time for streams.", ["task"], registry=registry)
        self.audio_s = Counter(
            "silk_file_audio_seconds", "Duration of the audio in uploads.", ["task"], registry=registry
        )
        self.files = Gauge("silk_files", "Uploads in progress or waiting.", registry=registry)
        self.workers = Gauge("silk_workers_ready", "Workers that are ready.", ["role"], registry=registry)
        self.restarts = Counter("silk_worker_restarts", "Workers that crashed.", ["role"], registry=registry)
        self.refused = Counter("silk_refused", "Rejected requests and streams.", ["reason"], registry=registry)

    def batch(self, task: str, size: int, seconds: float) -> None:
        """Record a model call."""
        self.batch_size.labels(task).observe(size)
        self.busy_s.labels(task).inc(seconds)

    def text(self) -> tuple[bytes, str]:
        """Return all metrics in the Prometheus text format, and the media type of that format."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
