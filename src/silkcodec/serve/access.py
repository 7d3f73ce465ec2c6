"""Who may come in: bearer token, origin, rate, and how many streams at once."""

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
        """A place, for as long as the block lasts. Raises RateError: none is free."""
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


def may_enter(token: str | None, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> bool:
    """Whether a client shows the token; where none is asked for, whether it is no web page from elsewhere.

    A page of any site that the user of this machine looks at can reach a server on its loopback address. Its
    browser says so in `Origin`, which must be this machine too; `Host` proves nothing, a name can point anywhere.
    """
    if token is not None:
        return is_token(bearer(headers, subprotocols), token)
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
