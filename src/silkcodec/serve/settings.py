"""What `silk serve` can be told, and the limits that hold for every client."""

from __future__ import annotations

import hmac
import ipaddress
import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec.errors import ArgumentError
from silkcodec.parallel.cores import available_cores
from silkcodec.spec import SILK_FRAME_RATE

TOKEN_VARIABLE = "SILK_TOKEN"
JSON_FRAME_BYTES = 2048
MIN_TOKEN = 16  # characters; `openssl rand -hex 32` makes 64


@dataclass(frozen=True)
class Limits:
    """What a client may use. Times in seconds.

    Attributes:
        body_bytes: of an upload. duration_s: of the sound in it, or in the tokens of it.
        files: uploads in work or waiting, of all clients; more are told to come again (503).
        sessions, client_sessions: streams open at once, of all clients and of one address.
        per_minute: requests and streams that one address may begin; a tenth of them at once.
        upload_s: until an upload must be complete. job_s: until its result must be.
        header_s: until a connection must have sent the head of a request. pressed_s: the same, while more than
            `client_waiting` connections of its address or `waiting` of all addresses wait for one.
        most_waiting: connections that may wait for a head; beyond, the oldest one is closed.
        requests, client_requests: of HTTP, in work at once, of all clients and of one address; not for health.
        idle_s: until a stream must have sent its next message. session_s: until it must have ended.
        send_s: until a client must have taken what was sent to it.
        drain_s: after SIGTERM, until everything that runs is ended.
        message_bytes: of one WebSocket message. text_chars: of one that is text.
        stream_messages, stream_bytes: that are read from one stream per second.
        worker_bytes: of memory that a worker may take beyond its model.
        window_frames: of one stream that may be in work at once; then its socket is not read.
    """

    body_bytes: int = 32 << 20
    duration_s: float = 600.0
    files: int = 16
    sessions: int = 64
    client_sessions: int = 64
    per_minute: int = 600
    upload_s: float = 60.0
    job_s: float = 120.0
    header_s: float = 10.0
    pressed_s: float = 0.5
    client_waiting: int = 64
    waiting: int = 256
    most_waiting: int = 1024
    requests: int = 128
    client_requests: int = 64
    idle_s: float = 30.0
    session_s: float = 4 * 3600.0
    send_s: float = 10.0
    drain_s: float = 20.0
    message_bytes: int = 1 << 20
    text_chars: int = 1 << 16
    stream_messages: int = 1000
    stream_bytes: int = 4 << 20
    worker_bytes: int = 1 << 30
    window_frames: int = 8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ArgumentError(f"{name} must be above 0; got {value}.")

    @property
    def json_bytes(self) -> int:
        """Bytes of an upload of JSON: indented, a frame of 128 codes takes about 1,300."""
        return min(self.body_bytes, math.ceil(self.duration_s * SILK_FRAME_RATE + 1) * JSON_FRAME_BYTES)


@dataclass(frozen=True)
class Settings:
    """Of one server.

    Attributes:
        host, port: to listen on; port 0: any that is free.
        token: that clients must show; None: none is asked for.
        workers: processes for live streams. file_workers: for uploads.
        batch: frames in one call of the model, at most.
        weights: folder of another model; None: the embedded one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    workers: int = 1
    file_workers: int = 1
    batch: int = 8
    weights: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, low, high in (("port", 0, 65_535), ("workers", 1, 256), ("file_workers", 1, 256), ("batch", 1, 64)):
            if not low <= getattr(self, name) <= high:
                raise ArgumentError(f"{name} must be {low}..{high}; got {getattr(self, name)}.")

    def check_open(self, allow: bool) -> None:
        """Refuse to listen to other machines without a token, unless told to.

        Raises:
            ArgumentError: the host is not a loopback address, and there is no token.
        """
        if self.token is None and not allow and not is_loopback(self.host):
            raise ArgumentError(
                f"A server on '{self.host}' must have a token: set {TOKEN_VARIABLE}, or --token-file FILE;"
                " or say --no-token to let everybody in."
            )


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return available_cores()


def read_token(file: Path | None) -> str | None:
    """The token of a file, or of the environment variable SILK_TOKEN; None: neither is there.

    Raises:
        ArgumentError: the file cannot be read or everybody may read it, or the token is short or has spaces in it.
    """
    if file is None:
        text, source = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
        if text is None:
            return None
    else:
        source = f"'{file}'"
        try:
            mode = file.stat().st_mode
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(f"The token's file {source} cannot be read: {error}.") from error
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            raise ArgumentError(f"Only its owner must be able to read the token; run: chmod 600 {file}")
    token = text.strip()
    # These characters pass through a header and through a browser's list of WebSocket protocols.
    if len(token) < MIN_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-._~") for c in token):
        raise ArgumentError(
            f"The token of {source} must have at least {MIN_TOKEN} characters of A-Z a-z 0-9 - . _ ~; got one of"
            f" {len(token)} characters. Make a token with: openssl rand -hex 32"
        )
    return token


def is_token(shown: str | None, token: str | None) -> bool:
    """Whether what a client shows is the token, in a time that does not depend on how much of it is right."""
    if token is None:
        return True
    return shown is not None and hmac.compare_digest(shown.encode(), token.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
