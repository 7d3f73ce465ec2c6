"""Control access by bearer token, origin and host, and limit request rates and concurrency."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from silkcodec.errors import SilkError
from silkcodec.serve.settings import is_loopback, is_token

SUBPROTOCOL = "silk.v1"
# A browser cannot set the headers of a WebSocket. It can offer a subprotocol that is this prefix plus the token.
TOKEN_SUBPROTOCOL = "silk.bearer."


class RateError(SilkError):
    """Raised when a rate or concurrency limit is exceeded. A client can try again after `retry_s` seconds."""

    def __init__(self, text: str, retry_s: float) -> None:
        super().__init__(text)
        self.retry_s = retry_s


class DeniedError(SilkError):
    """Raised when a request has no valid token, or comes from a web page that is not allowed to use this server."""


class RateLimiter:
    """Limit the request rate of each client address with a token bucket.

    Args:
        per_minute: maximum average number of requests per minute. A tenth of this number can arrive at once.
        clock: function that returns a monotonic time in seconds.
    """

    MAX_CLIENTS = 10_000  # number of stored addresses; the address with the oldest request is removed first

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_minute / 60
        self._burst = max(1.0, per_minute / 10)
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}  # client -> (level, when)

    def take(self, client: str) -> None:
        """Count a request from a client. Raises RateError if the limit is exceeded."""
        now = self._clock()
        level, when = self._levels.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - when) * self._per_s)
        if len(self._levels) >= self.MAX_CLIENTS:
            self._levels.pop(next(iter(self._levels)))  # the address with the oldest request
        self._levels[client] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            raise RateError("Too many requests from this address. Try again later.", (1 - level) / self._per_s)


class ConcurrencyLimit:
    """Limit the number of streams, uploads or requests that are open at the same time.

    Args:
        what: name of the limited items in error messages, e.g. "streams".
        total: maximum number across all clients.
        each: maximum number for one client.
    """

    def __init__(self, what: str, total: int, each: int) -> None:
        self._what, self._total, self._each = what, total, each
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Count one open item of a client during the `with` block. Raises RateError if a limit is reached."""
        if self._open.total() >= self._total:
            raise RateError(f"The server has reached its limit of {self._total} {self._what}. Try again later.", 1.0)
        if self._open[client] >= self._each:
            raise RateError(f"The limit is {self._each} open {self._what} per address. Close one first.", 1.0)
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            self._open += Counter()  # removes clients with a count of zero


def bearer(headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> str | None:
    """Return the bearer token of a request, or None if it has none.

    Browsers cannot set the headers of WebSocket connections, so they send the token as a subprotocol.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((p.removeprefix(TOKEN_SUBPROTOCOL) for p in subprotocols if p.startswith(TOKEN_SUBPROTOCOL)), None)


def check(
    token: str | None, headers: Mapping[str, str], subprotocols: Sequence[str] = (), *, loopback: bool = True
) -> None:
    """Check the bearer token of a request. If the server has no token, check the `Origin` and `Host` headers instead.

    Without the header check, any web page open in a browser on this machine could use a server that has no token.

    Args:
        token: token of the server, or None if it has none.
        headers: headers of the request.
        subprotocols: subprotocols of a WebSocket request.
        loopback: whether the server listens on a loopback address only.

    Raises:
        DeniedError: the request is not allowed.
    """
    if token is not None:
        if not is_token(bearer(headers, subprotocols), token):
            raise DeniedError("The bearer token is missing or invalid. Send a valid token in the Authorization header.")
        return
    origin, host = headers.get("origin"), headers.get("host")
    if origin is not None and not _is_here(origin):
        raise DeniedError(
            f"The host in the Origin header must be localhost or a loopback address; got {origin!r:.60}. "
            "To allow any origin, start the server with a token."
        )
    if loopback and host is not None and not _is_here(f"//{host}"):
        raise DeniedError(
            f"The Host header must be localhost or a loopback address; got {host!r:.60}. "
            "To allow any host, start the server with a token."
        )


def _is_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
