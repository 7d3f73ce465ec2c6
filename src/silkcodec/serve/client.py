"""A client without asyncio: files over HTTP, live streams over a WebSocket.

    client = Client("http://127.0.0.1:8000", token)
    tokens = client.encode("talk.flac")                      # silkcodec.Tokens
    wave = client.decode(tokens)                             # float32 [n_samples] at 24 kHz

    with client.encoder(sample_rate=16_000) as stream:       # as StreamEncoder, but elsewhere
        for chunk in microphone:
            send(stream.feed(chunk))                         # int64 [F, 19], F is 0 mostly
        send(stream.flush())

HTTP needs the standard library only, streams the package websockets: pip install 'silkcodec[serve]'.
"""

from __future__ import annotations

import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio, container
from silkcodec.errors import ArgumentError, MissingExtraError, SilkError
from silkcodec.spec import SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes

Codes = NDArray[np.int64]
Wave = NDArray[np.float32]

MAX_MESSAGE = 1 << 22  # bytes that a server may send at once


class ServerError(SilkError):
    """The server refused, closed the stream, or cannot be reached.

    Attributes:
        code: the server's word for it: "unauthorized", "bad_audio", "worker_lost", ...; "unreachable": none came.
        status: of HTTP, or the WebSocket's close code; 0: none.
    """

    def __init__(self, text: str, code: str = "unreachable", status: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Client:
    """A server of Silk.

    Args:
        url: "http://127.0.0.1:8000".
        token: what the server asks for.
        timeout_s: for an answer.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = 120.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ArgumentError(f"url must begin with http:// or https://; got '{url}'.")
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout_s = timeout_s

    def codecs(self) -> dict[str, Any]:
        """What the server runs ("serving") and what its package knows ("known"). Raises ServerError."""
        answer: dict[str, Any] = json.loads(self._request("/v1/codecs"))
        return answer

    def encode(self, sound: str | os.PathLike[str] | bytes) -> Tokens:
        """A sound file, by its path or as bytes, to tokens. Raises ServerError."""
        content = sound if isinstance(sound, bytes) else Path(sound).read_bytes()
        return container.read(io.BytesIO(self._request("/v1/encode?format=silk", content)))

    def decode(self, tokens: Tokens) -> Wave:
        """Tokens to a wave, float32 [n_samples] at 24 kHz, of 16 bits. Raises ServerError."""
        file = io.BytesIO()
        container.write(tokens, file)
        return audio.read(io.BytesIO(self._request("/v1/decode?format=wav", file.getvalue(), "application/vnd.silk")))

    def encoder(self, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> EncoderStream:
        """A live stream of samples to codes. Raises ServerError."""
        return EncoderStream(*self._target(), sample_rate, n_codebooks or len(codebook_sizes()), self._timeout_s)

    def decoder(self) -> DecoderStream:
        """A live stream of codes to samples. Raises ServerError."""
        return DecoderStream(*self._target(), self._timeout_s)

    def _target(self) -> tuple[str, dict[str, str]]:
        return f"ws{self._url.removeprefix('http')}/v1/stream", self._headers

    def _request(self, path: str, body: bytes | None = None, kind: str = "application/octet-stream") -> bytes:
        headers = self._headers | ({} if body is None else {"Content-Type": kind})
        request = urllib.request.Request(self._url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read()) from error
        except OSError as error:
            raise ServerError(f"{self._url} cannot be reached: {getattr(error, 'reason', error)}.") from error


class _LiveStream:
    """A WebSocket between its `start` and its `ended`."""

    def __init__(self, url: str, headers: dict[str, str], start: dict[str, Any], timeout_s: float) -> None:
        try:
            from websockets.exceptions import InvalidStatus
            from websockets.sync.client import connect
            from websockets.typing import Subprotocol
        except ModuleNotFoundError as error:
            raise MissingExtraError("A stream", "websockets", "serve") from error
        self._timeout_s = timeout_s
        self._open = ExitStack()
        try:
            protocols = [Subprotocol("silk.v1")]
            connection = connect(
                url,
                additional_headers=headers,
                subprotocols=protocols,
                compression=None,
                max_size=MAX_MESSAGE,
                max_queue=None,  # answers are always taken: else a long `feed` and the server would wait for each other
            )
            self._socket = self._open.enter_context(connection)
        except InvalidStatus as error:
            raise _refused(error.response.status_code, bytes(error.response.body or b"")) from error
        except (OSError, TimeoutError) as error:
            raise ServerError(f"{url} cannot be reached: {error}.") from error
        self.ended: dict[str, Any] | None = None
        try:
            self._send(json.dumps({"type": "start", **start}))
            self.started = self._take(self._timeout_s)
        except BaseException:
            self.close()
            raise

    def _send(self, message: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            self._socket.send(message)
        except ConnectionClosed as error:
            self._drain_error()
            raise _closed(error) from error

    def _drain_error(self) -> None:
        """The reason may lie before the close, unread. Raises ServerError with it, if so."""
        for message in self._messages(0.1):
            if isinstance(message, dict) and message["type"] == "ended":
                return

    def _take(self, timeout_s: float) -> Any:
        """The next message: bytes, or an object. Raises ServerError, TimeoutError."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = self._socket.recv(timeout=timeout_s)
        except ConnectionClosed as error:
            raise _closed(error) from error
        if isinstance(message, bytes):
            return message
        given = json.loads(message)
        if given["type"] == "error":
            raise ServerError(given["message"], given["code"])
        if given["type"] == "ended":
            self.ended = given
        return given

    def _messages(self, timeout_s: float) -> Iterator[Any]:
        """Those that are there, or come within the time; up to `ended`."""
        while self.ended is None:
            try:
                yield self._take(timeout_s)
            except TimeoutError:
                return

    def _end(self) -> Iterator[Any]:
        self._send('{"type":"end"}')
        yield from self._messages(self._timeout_s)
        if self.ended is None:
            raise ServerError(f"The end must come within {self._timeout_s:g} s; it did not.", "timeout")

    def close(self) -> None:
        """Close the connection, whether or not the stream has ended."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EncoderStream(_LiveStream):
    """Samples to codes, as `silkcodec.silk.stream.StreamEncoder`: the same tokens to the bit."""

    def __init__(self, url: str, headers: dict[str, str], sample_rate: int, n_codebooks: int, timeout_s: float) -> None:
        self._k = n_codebooks
        start = {"task": "encode", "sample_rate": sample_rate, "n_codebooks": n_codebooks}
        super().__init__(url, headers, {**start, "samples": "f32le", "tokens": "binary"}, timeout_s)

    def feed(self, chunk: ArrayLike) -> Codes:
        """Samples [n] to the server; int64 [F, K]: the frames that have come back by now, often none."""
        wave = audio.as_block(chunk, SILK_SAMPLE_RATE)
        step = 1 << 16  # samples: 256 kB, a quarter of what a message may be
        for at in range(0, len(wave), step):
            self._send(wave[at : at + step].astype("<f4").tobytes())
        return self._codes(self._messages(0))

    def flush(self) -> Codes:
        """The end: int64 [F, K], all frames that are still to come."""
        return self._codes(self._end())

    def _codes(self, messages: Iterator[Any]) -> Codes:
        parts = [np.frombuffer(m, "<i4").reshape(-1, self._k) for m in messages if isinstance(m, bytes)]
        return np.concatenate([np.zeros((0, self._k), np.int64), *parts]).astype(np.int64)


class DecoderStream(_LiveStream):
    """Codes to samples, as `silkcodec.silk.stream.StreamDecoder`."""

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float) -> None:
        super().__init__(url, headers, {"task": "decode", "samples": "f32le"}, timeout_s)

    def feed(self, codes: ArrayLike) -> Wave:
        """Codes int [F, 19] to the server; float32 [n]: the samples that have come back by now."""
        frames = np.asarray(codes)
        if len(frames):
            self._send(frames.astype("<i4").tobytes())
        return self._samples(self._messages(0))

    def flush(self) -> Wave:
        """The end: float32 [n], all samples that are still to come."""
        return self._samples(self._end())

    def _samples(self, messages: Iterator[Any]) -> Wave:
        parts = [np.frombuffer(m, "<f4") for m in messages if isinstance(m, bytes)]
        return np.concatenate([np.zeros(0, np.float32), *parts])


def _refused(status: int, body: bytes) -> ServerError:
    try:
        problem = json.loads(body)
        return ServerError(problem["message"], problem["error"], status)
    except (ValueError, KeyError, TypeError):
        return ServerError(f"The server answered {status}.", "http", status)


def _closed(error: Any) -> ServerError:
    received = error.rcvd
    if received is None:
        return ServerError("The connection to the server is lost.", "lost")
    text = f"The server closed the stream: {received.code} {received.reason}."
    return ServerError(text, received.reason, received.code)
