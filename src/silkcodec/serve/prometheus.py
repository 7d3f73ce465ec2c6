"""What a server counts, for Prometheus. docs/server.md lists it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

FRAME_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.6, 3.2)
REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One server's, in a registry of its own, so that two servers of one process do not share theirs."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("silk_requests", "HTTP requests.", ["route", "method", "status"], registry=registry)
        self.request_s = Histogram(
            "silk_request_seconds", "From request to last byte.", ["route"], buckets=REQUEST_BUCKETS, registry=registry
        )
        self.sessions = Gauge("silk_streams", "Streams open now.", ["task"], registry=registry)
        self.closed = Counter("silk_streams_closed", "Streams, by close code.", ["task", "code"], registry=registry)
        self.frames = Counter("silk_frames", "Frames of streams answered.", ["task"], registry=registry)
        self.frame_s = Histogram(
            "silk_frame_seconds",
            "From a frame being complete at the server to its answer being sent.",
            ["task"],
            buckets=FRAME_BUCKETS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "silk_batch_frames", "Frames in one call of the model.", ["task"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.busy_s = Counter("silk_model_seconds", "Time in the model, of streams.", ["task"], registry=registry)
        self.audio_s = Counter("silk_file_audio_seconds", "Sound of uploads.", ["task"], registry=registry)
        self.files = Gauge("silk_files", "Uploads in work or waiting.", registry=registry)
        self.workers = Gauge("silk_workers_ready", "Workers that can take work.", ["role"], registry=registry)
        self.restarts = Counter("silk_worker_restarts", "Workers that died.", ["role"], registry=registry)
        self.refused = Counter("silk_refused", "Requests and streams refused.", ["reason"], registry=registry)

    def batch(self, task: str, size: int, seconds: float) -> None:
        """Record one call of the model."""
        self.batch_size.labels(task).observe(size)
        self.busy_s.labels(task).inc(seconds)

    def text(self) -> tuple[bytes, str]:
        """All of it, and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
