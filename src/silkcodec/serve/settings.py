"""Define the settings of `silk serve` and the limits for clients."""

from __future__ import annotations

import hmac
import ipaddress
import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec.errors import ArgumentError
from silkcodec.spec import SILK_FRAME_RATE

TOKEN_VARIABLE = "SILK_TOKEN"
JSON_FRAME_BYTES = 2048  # An indented frame of 128 codes takes about 1,300 bytes.
MIN_TOKEN = 16  # characters; `openssl rand -hex 32` makes 64
CREATE_TOKEN = "Create a token with: openssl rand -hex 32"


@dataclass(frozen=True)
class Limits:
    """The limits for clients. Times are in seconds, and sizes are in bytes.

    Attributes:
        body_bytes: maximum size of an upload.
        duration_s: maximum duration of the audio or the tokens in an upload.
        files: maximum number of uploads that are being processed or waiting for a worker, across all clients.
            It is also the maximum number of open uploads per address.
        sessions, client_sessions: maximum number of open streams across all clients, and per address.
        per_minute: maximum number of requests and streams per minute from each address. A tenth of them can arrive at
            once.
        upload_s: time limit for receiving an upload.
        job_s: time limit for processing an upload.
        header_s: time limit for receiving the request headers.
        pressed_s: replaces `header_s` while more than `client_waiting` connections from the client's address, or more
            than `waiting` connections from all addresses, have not sent the request headers.
        client_waiting, waiting: see `pressed_s`.
        most_waiting: maximum number of connections that have not sent the request headers. Above this number, the
            server closes the oldest of them.
        requests, client_requests: maximum number of HTTP requests in progress across all clients, and per
            address. Health checks are exempt.
        idle_s: maximum time between two client messages in a stream.
        session_s: maximum duration of the audio in a stream.
        send_s: time limit for a client to receive a message or a part of a response.
        drain_s: time limit for finishing all work after SIGTERM.
        message_bytes: maximum size of a WebSocket message.
        text_chars: maximum length of a text message in characters.
        stream_messages, stream_bytes: maximum number of messages and bytes per second that are read from a stream.
        worker_bytes: maximum memory that a worker can use in addition to the model.
        window_frames: maximum number of frames in progress per stream.

    Raises:
        ArgumentError: a limit is not finite or not above 0.
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
            if not 0 < value < math.inf:
                raise ArgumentError(f"{name} must be finite and above 0; got {value}.")

    @property
    def json_bytes(self) -> int:
        """Return the maximum size of a JSON upload in bytes."""
        return min(self.body_bytes, math.ceil(self.duration_s * SILK_FRAME_RATE + 1) * JSON_FRAME_BYTES)


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        host, port: address to listen on. Port 0 selects a free port.
        token: bearer token that clients must send. None allows clients without a token.
        workers: number of processes for live streams.
        file_workers: number of processes for uploads.
        batch: maximum number of frames per model call.
        weights: weights folder. None loads the weights that ship with the package.
        limits: limits for clients.

    Raises:
        ArgumentError: a value is out of range.
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
                raise ArgumentError(f"{name} must be between {low} and {high}; got {getattr(self, name)}.")

    def check_open(self, allow: bool) -> None:
        """Check that the server has a token if other machines can reach it, unless `allow` is True.

        Raises:
            ArgumentError: the host is not a loopback address, there is no token, and `allow` is False.
        """
        if self.token is None and not allow and not is_loopback(self.host):
            raise ArgumentError(
                f"A server on '{self.host}' must have a token. Set {TOKEN_VARIABLE} or pass --token-file FILE."
                " To allow access without a token, pass --no-token."
            )


def read_token(file: Path | None) -> str | None:
    """Read the token from a file, or from the SILK_TOKEN environment variable if `file` is None.

    Returns:
        The token, or None if `file` is None and the variable is not set.

    Raises:
        ArgumentError: the file cannot be read or is readable by all users, or the token is too short or has invalid
            characters.
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
            raise ArgumentError(f"Cannot read the token file {source}: {error}.") from error
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            raise ArgumentError(f"The token file {source} is readable by all users. Run: chmod 600 {file}")
    token = text.strip()
    # These characters are valid in a header and in the list of WebSocket subprotocols.
    if not all(c.isascii() and (c.isalnum() or c in "-._~") for c in token):
        raise ArgumentError(
            f"The token in {source} may contain only letters (A-Z, a-z), digits and the characters '-._~'."
            f" {CREATE_TOKEN}"
        )
    if len(token) < MIN_TOKEN:
        raise ArgumentError(
            f"The token in {source} must have at least {MIN_TOKEN} characters; got {len(token)}. {CREATE_TOKEN}"
        )
    return token


def is_token(shown: str | None, token: str) -> bool:
    """Return whether a client's token matches the server's token. The tokens are compared in constant time."""
    return shown is not None and hmac.compare_digest(shown.encode(), token.encode())


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
