"""Access: bearer token, origin and host, request rate, and how many streams may be open at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from silkcodec.errors import SilkError
from silkcodec.serve.settings import is_loopback, is_token

SUBPROTOCOL = "silk.v1"
TOKEN_SUBPROTOCOL = "silk.bearer."  # a browser can give a WebSocket no header, but protocols: this and the token


class RateError(SilkError):
    """Too much from one address. `retry_s`: when to come again."""

    def __init__(self, text: str, retry_s: float) -> None:
        super().__init__(text)
        self.retry_s = retry_s


class DeniedError(SilkError):
    """A request without the token, or from a web page that must not use this server."""


class Rate:
    """A token bucket for each address: `per_minute` on average, a tenth of that at once.

    Args:
        clock: seconds, monotonic.
    """

    MOST_CLIENTS = 10_000  # remembered: those whose buckets are full again are forgotten first

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_minute / 60
        self._burst = max(1.0, per_minute / 10)
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}  # client -> (level, when)

    def take(self, client: str) -> None:
        """One request. Raises RateError."""
        now = self._clock()
        level, when = self._levels.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - when) * self._per_s)
        if len(self._levels) >= self.MOST_CLIENTS:
            self._levels.pop(next(iter(self._levels)))  # the one that was not heard of for longest
        self._levels[client] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            raise RateError("Too many requests from this address; wait a little.", (1 - level) / self._per_s)


class Places:
    """How many of something may be open at once, of all clients and of each.

    Args:
        what: in words: "streams".
    """

    def __init__(self, what: str, total: int, each: int) -> None:
        self._what, self._total, self._each = what, total, each
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Hold a place for as long as the block lasts. Raises RateError: none is free."""
        if self._open.total() >= self._total:
            raise RateError(f"All {self._total} {self._what} of this server are taken; come again later.", 1.0)
        if self._open[client] >= self._each:
            raise RateError(f"One address may have {self._each} {self._what} open at once; end one.", 1.0)
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            self._open += Counter()  # forget those at zero


def bearer(headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> str | None:
    """The token that a client shows, in the header or, for a browser's WebSocket, among the subprotocols."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((p.removeprefix(TOKEN_SUBPROTOCOL) for p in subprotocols if p.startswith(TOKEN_SUBPROTOCOL)), None)


def check(
    token: str | None, headers: Mapping[str, str], subprotocols: Sequence[str] = (), *, loopback: bool = True
) -> None:
    """Check that a client shows the token; without one, that no web page from elsewhere is behind the request.

    A page of any site in a browser on this machine can reach a server on the loopback address. The browser sends
    `Origin`, which must be this machine. Where a page's own name resolves to the loopback address (DNS rebinding),
    there may be no `Origin`, but that name is in `Host`, so it must be this machine too.

    Args:
        loopback: whether the server listens on a loopback address only.

    Raises:
        DeniedError: no.
    """
    if token is not None:
        if not is_token(bearer(headers, subprotocols), token):
            raise DeniedError("The bearer token is missing or wrong; send it in the header Authorization.")
        return
    origin, host = headers.get("origin"), headers.get("host")
    if origin is not None and not _is_here(origin):
        raise DeniedError(
            f"The Origin must be a page of this machine; got {origin!r:.60}. A server with a token takes any."
        )
    if loopback and host is not None and not _is_here(f"//{host}"):
        raise DeniedError(
            f"The Host must be localhost or a loopback address; got {host!r:.60}. A server with a token takes any."
        )


def _is_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
