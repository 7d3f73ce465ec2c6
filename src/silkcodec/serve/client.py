"""Encode and decode on a Silk server. Files use HTTP, and live streams use WebSockets.

    client = Client("http://127.0.0.1:8000", token)
    tokens = client.encode("talk.flac")                      # silkcodec.Tokens
    wave = client.decode(tokens)                             # float32 [n_samples] at 24 kHz

    with client.encoder(sample_rate=16_000) as stream:       # like StreamEncoder, but on the server
        for chunk in microphone:
            send(stream.feed(chunk))                         # int64 [F, 19]; F is usually 0
        send(stream.flush())

Live streams require the [serve] extra.
"""

from __future__ import annotations

import http.client
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
from silkcodec.audio.resampling import Wave
from silkcodec.bare_codes import check_frames
from silkcodec.errors import ArgumentError, MissingExtraError, SilkError
from silkcodec.spec import SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes, codes_to_levels

Codes = NDArray[np.int64]
"""Integer codes, int64 [F, K]."""

MAX_MESSAGE = 1 << 22
"""Maximum size of a message from the server in bytes."""


class ServerError(SilkError):
    """Raised when the server refuses a request, closes a stream, or cannot be reached.

    Args:
        text: the error message.

    Attributes:
        code: error code, e.g. "unauthorized", "bad_audio" or "unreachable".
        status: HTTP status, or close code of the WebSocket; 0 if there is neither.
    """

    def __init__(self, text: str, code: str = "unreachable", status: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Client:
    """Send requests to a Silk server.

    Args:
        url: address of the server, e.g. "http://127.0.0.1:8000".
        token: bearer token, or None if the server has none.
        timeout_s: maximum time to wait for a response, in seconds.

    Raises:
        ArgumentError: `url` does not start with http:// or https://.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = 120.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ArgumentError(f"url must start with http:// or https://; got '{url}'.")
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout_s = timeout_s

    def codecs(self) -> dict[str, Any]:
        """Return the codec that the server runs ("serving"), and all codecs that its installation supports ("known").

        Raises:
            ServerError: the server refused the request or cannot be reached.
        """
        answer: dict[str, Any] = json.loads(self._request("/v1/codecs"))
        return answer

    def encode(self, sound: str | os.PathLike[str] | bytes) -> Tokens:
        """Encode an audio file on the server.

        Args:
            sound: path of the file, or its contents as bytes.

        Returns:
            The tokens of the recording.

        Raises:
            ServerError: the server refused the file or cannot be reached.
        """
        content = sound if isinstance(sound, bytes) else Path(sound).read_bytes()
        return container.read(io.BytesIO(self._request("/v1/encode?format=silk", content)))

    def decode(self, tokens: Tokens) -> Wave:
        """Decode tokens on the server.

        Args:
            tokens: Silk tokens in any grouping.

        Returns:
            The samples, float32 [n_samples] at 24 kHz, with 16-bit precision.

        Raises:
            ServerError: the server refused the tokens or cannot be reached.
        """
        file = io.BytesIO()
        container.write(tokens, file)
        return audio.read(io.BytesIO(self._request("/v1/decode?format=wav", file.getvalue(), "application/vnd.silk")))

    def encoder(self, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> EncoderStream:
        """Open a live stream that encodes samples.

        Args:
            sample_rate: sample rate of the input in Hz.
            n_codebooks: number of codebooks to return. None returns all 19.

        Returns:
            The open stream. Use it as a context manager, so that the connection is closed on exit.

        Raises:
            ServerError: the server refused the stream or cannot be reached.
            MissingExtraError: the websockets package is not installed.
        """
        n_codebooks = len(codebook_sizes()) if n_codebooks is None else n_codebooks
        return EncoderStream(*self._target(), sample_rate, n_codebooks, self._timeout_s)

    def decoder(self) -> DecoderStream:
        """Open a live stream that decodes codes.

        Returns:
            The open stream. Use it as a context manager, so that the connection is closed on exit.

        Raises:
            ServerError: the server refused the stream or cannot be reached.
            MissingExtraError: the websockets package is not installed.
        """
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
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise ServerError(f"Cannot reach '{self._url}': {reason}.") from error


class _LiveStream:
    """A live stream over a WebSocket."""

    def __init__(self, url: str, headers: dict[str, str], start: dict[str, Any], timeout_s: float) -> None:
        try:
            from websockets.exceptions import InvalidHandshake, InvalidStatus
            from websockets.sync.client import connect
            from websockets.typing import Subprotocol
        except ModuleNotFoundError as error:
            raise MissingExtraError("Streaming", "websockets", "serve") from error
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
                open_timeout=timeout_s,
                max_queue=None,  # With a limit, a long `feed` and the server could wait for each other.
            )
            self._socket = self._open.enter_context(connection)
        except InvalidStatus as error:
            raise _refused(error.response.status_code, bytes(error.response.body or b"")) from error
        except (OSError, InvalidHandshake) as error:
            raise ServerError(f"Cannot reach '{url}': {error}.") from error
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
        """Read the remaining messages of a closed connection, and raise ServerError if one reports an error."""
        for message in self._messages(0.1):
            if isinstance(message, dict) and message["type"] == "ended":
                return

    def _take(self, timeout_s: float) -> Any:
        """Receive the next message.

        Raises:
            ServerError: the message reports an error, or the connection was closed.
            TimeoutError: no message arrived in time.
        """
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
        """Yield messages up to and including `ended`, or until none arrives within `timeout_s` seconds."""
        while self.ended is None:
            try:
                yield self._take(timeout_s)
            except TimeoutError:
                return

    def _end(self) -> Iterator[Any]:
        self._send('{"type":"end"}')
        yield from self._messages(self._timeout_s)
        if self.ended is None:
            raise ServerError(f"The server did not end the stream within {self._timeout_s:g} s.", "timeout")

    def close(self) -> None:
        """Close the connection."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EncoderStream(_LiveStream):
    """Encode samples on the server. Created by `Client.encoder`.

    Args:
        url: address of the stream, starting with ws:// or wss://.
        headers: HTTP headers to send, for example the one with the bearer token.
        sample_rate: sample rate of the input in Hz.
        n_codebooks: number of codebooks to return, 1 to 19.
        timeout_s: maximum time to wait for a response, in seconds.

    Raises:
        ServerError: the server refused the stream or cannot be reached.
        MissingExtraError: the websockets package is not installed.
    """

    def __init__(self, url: str, headers: dict[str, str], sample_rate: int, n_codebooks: int, timeout_s: float) -> None:
        self._k = n_codebooks
        start = {"task": "encode", "sample_rate": sample_rate, "n_codebooks": n_codebooks}
        super().__init__(url, headers, {**start, "samples": "f32le", "tokens": "binary"}, timeout_s)

    def feed(self, chunk: ArrayLike) -> Codes:
        """Send samples, and return the codes that have arrived since the last call.

        Args:
            chunk: samples [n] or [n, C]; see `audio.as_block`.

        Returns:
            The codes, int64 [F, K]. F is often 0.

        Raises:
            AudioError: the samples have an unsupported shape or type, or are not finite.
            ServerError: the server closed the stream.
        """
        wave = audio.as_block(chunk, SILK_SAMPLE_RATE)
        step = 1 << 16  # samples, i.e. 256 KiB, a quarter of the maximum size of a message
        for at in range(0, len(wave), step):
            self._send(wave[at : at + step].astype("<f4").tobytes())
        return self._codes(self._messages(0))

    def flush(self) -> Codes:
        """End the stream and wait for the remaining codes.

        Returns:
            The codes, int64 [F, K].

        Raises:
            ServerError: the server closed the stream or did not answer in time.
        """
        return self._codes(self._end())

    def _codes(self, messages: Iterator[Any]) -> Codes:
        parts = [np.frombuffer(m, "<i4").reshape(-1, self._k) for m in messages if isinstance(m, bytes)]
        return np.concatenate([np.zeros((0, self._k), np.int64), *parts]).astype(np.int64)


class DecoderStream(_LiveStream):
    """Decode codes on the server. Created by `Client.decoder`.

    Args:
        url: address of the stream, starting with ws:// or wss://.
        headers: HTTP headers to send, for example the one with the bearer token.
        timeout_s: maximum time to wait for a response, in seconds.

    Raises:
        ServerError: the server refused the stream or cannot be reached.
        MissingExtraError: the websockets package is not installed.
    """

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float) -> None:
        super().__init__(url, headers, {"task": "decode", "samples": "f32le"}, timeout_s)

    def feed(self, codes: ArrayLike) -> Wave:
        """Send codes, and return the samples that have arrived since the last call.

        Args:
            codes: integers [F, 19]. F can be 0.

        Returns:
            The samples, float32 [n] at 24 kHz. n can be 0.

        Raises:
            TokensError: the codes have the wrong shape, are out of range or are not integers.
            ServerError: the server closed the stream.
        """
        frames = check_frames(codes, len(codebook_sizes()), "Codes in a stream")
        codes_to_levels(frames)  # Check the values before they are converted to 32 bits.
        if len(frames):
            self._send(frames.astype("<i4").tobytes())
        return self._samples(self._messages(0))

    def flush(self) -> Wave:
        """End the stream and wait for the remaining samples.

        Returns:
            The samples, float32 [n] at 24 kHz.

        Raises:
            ServerError: the server closed the stream or did not answer in time.
        """
        return self._samples(self._end())

    def _samples(self, messages: Iterator[Any]) -> Wave:
        parts = [np.frombuffer(m, "<f4") for m in messages if isinstance(m, bytes)]
        return np.concatenate([np.zeros(0, np.float32), *parts])


def _refused(status: int, body: bytes) -> ServerError:
    try:
        problem = json.loads(body)
        return ServerError(problem["message"], problem["error"], status)
    except (ValueError, KeyError, TypeError):
        return ServerError(f"The server answered with HTTP status {status}.", "http", status)


def _closed(error: Any) -> ServerError:
    received = error.rcvd
    if received is None:
        return ServerError("The connection to the server was lost.", "lost")
    text = f"The server closed the stream: {received.code} {received.reason}."
    return ServerError(text, received.reason, received.code)
