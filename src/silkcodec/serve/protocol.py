"""Parse and create the WebSocket messages of /v1/stream without using a socket. See docs/protocol.md.

    client                                                  server
    {"type": "start", "task": "encode", ...}        ->
                                                    <-      {"type": "started", "codec": ..., ...}
    samples, binary                                 ->
                                                    <-      {"type": "tokens", "frame": 0, "codes": [[...]]}
    {"type": "end"}                                 ->
                                                    <-      {"type": "tokens", ...} {"type": "ended", ...}, close 1000

Large messages are split into Silk frames, so that they do not block the worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.errors import SilkError
from silkcodec.serve.filejobs import as_codes
from silkcodec.spec import FRAME_SAMPLES, LOOKAHEAD, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import codebook_sizes

SAMPLE_BYTES = {"s16le": 2, "f32le": 4}
N_CODEBOOKS = len(codebook_sizes())

# Close codes from RFC 6455 and the IANA registry.
NORMAL, GOING_AWAY, POLICY, INTERNAL, RESTART, TRY_LATER = 1000, 1001, 1008, 1011, 1012, 1013
TOO_BIG = 1009


class ProtocolError(SilkError):
    """Raised for a message that violates the protocol.

    Attributes:
        code: error code to send to the client.
        close: close code of the WebSocket.
    """

    def __init__(self, text: str, code: str = "bad_message", close: int = POLICY) -> None:
        super().__init__(text)
        self.code = code
        self.close = close


@dataclass(frozen=True)
class Start:
    """The first message of a stream.

    Attributes:
        task: "encode" or "decode".
        sample_rate: sample rate in Hz of the samples that the client sends.
        samples: format of the samples, "s16le" or "f32le".
        tokens: format of the tokens that the server sends, "json" or "binary" (int32, little-endian).
        n_codebooks: number of codes per frame.
        n_samples: for "decode", the length of the audio in samples at 24 kHz. None means the total length of all
            frames.
    """

    task: str
    sample_rate: int = SILK_SAMPLE_RATE
    samples: str = "s16le"
    tokens: str = "json"
    n_codebooks: int = N_CODEBOOKS
    n_samples: int | None = None

    def for_worker(self) -> dict[str, Any]:
        """Return the stream settings to pass to a worker."""
        fields = ("task", "sample_rate", "samples", "n_codebooks")
        return {name: getattr(self, name) for name in fields}


class Session:
    """Parse a client's messages, and create the server's messages.

    Args:
        max_s: maximum duration of the audio in the stream, in seconds.
        max_text: maximum number of characters in a text message.

    Attributes:
        start: the first message, or None before it arrives.
        ended: whether the stream has ended.
        n_samples_in: number of received samples, at the client's sample rate.
        n_frames_in: number of received frames of codes.
    """

    def __init__(self, max_s: float, max_text: int = 1 << 16) -> None:
        self.start: Start | None = None
        self.ended = False
        self.n_samples_in = 0
        self.n_frames_in = 0
        self._max_s, self._max_text = max_s, max_text
        self._held = bytearray()  # samples of an incomplete frame
        self._n_cut = 0  # number of samples sent to the worker
        self._next_frame = LOOKAHEAD + FRAME_SAMPLES  # number of samples that complete the next frame

    def receive(self, message: str | bytes) -> Iterator[bytes]:
        """Parse a message, and yield samples or int32 codes [1, K] for the worker, as bytes.

        Raises:
            ProtocolError: the message is invalid or not allowed at this point.
        """
        if self.ended:
            raise ProtocolError("A client must not send a message after 'end'.")
        if isinstance(message, bytes):
            yield from self._binary(message)
            return
        if len(message) > self._max_text:
            text = f"A text message must have at most {self._max_text} characters; got {len(message)}."
            raise ProtocolError(text, "too_large", TOO_BIG)
        given = _object(message)
        kind = given.pop("type", None)
        if self.start is None:
            if kind != "start":
                raise ProtocolError(f"The first message must be of type 'start'; got {kind!r:.40}.")
            self.start = _start(given)
        elif kind == "end":
            _refuse_unknown(kind, given, ())
            yield from self.end()
        elif kind == "tokens" and self.start.task == "decode":
            _refuse_unknown(kind, given, ("codes",))
            yield from self._codes(given.get("codes"))
        else:
            raise ProtocolError(f"A message of type {kind!r:.40} is not allowed at this point.")

    def end(self) -> Iterator[bytes]:
        """End the stream, and yield the samples of its incomplete last frame, as bytes."""
        self.ended = True
        return iter([self._cut(len(self._held))] if self._held else [])

    def _binary(self, message: bytes) -> Iterator[bytes]:
        start = self.start
        if start is None:
            raise ProtocolError("The first message must be of type 'start'; got binary data.")
        width = SAMPLE_BYTES[start.samples] if start.task == "encode" else 4 * start.n_codebooks
        if not message:
            raise ProtocolError("A binary message must not be empty.")
        if len(message) % width:
            what = "sample" if start.task == "encode" else f"frame of {start.n_codebooks} int32 codes"
            raise ProtocolError(
                f"The size of a binary message must be a multiple of {width} bytes (one {what});"
                f" got {len(message)} bytes."
            )
        if start.task == "decode":
            yield from self._frames(message, width)
            return
        self._held += message
        self.n_samples_in += len(message) // width
        self._check_length(self.n_samples_in / start.sample_rate)
        if start.sample_rate != SILK_SAMPLE_RATE:  # The resampler determines when a frame is complete.
            step = width * max(1, round(start.sample_rate / SILK_FRAME_RATE))
            while self._held:
                yield self._cut(step)
            return
        while self.n_samples_in >= self._next_frame:
            yield self._cut((self._next_frame - self._n_cut) * width)
            self._n_cut = self._next_frame
            self._next_frame += FRAME_SAMPLES

    def _cut(self, n_bytes: int) -> bytes:
        piece = bytes(self._held[:n_bytes])
        del self._held[:n_bytes]
        return piece

    def _codes(self, frames: Any) -> Iterator[bytes]:
        assert self.start is not None
        try:
            codes = as_codes(frames, self.start.n_codebooks)
        except SilkError as error:
            raise ProtocolError(str(error), "bad_tokens") from error
        if codes.min() < 0 or codes.max() >= max(codebook_sizes()):
            bad = codes.min() if codes.min() < 0 else codes.max()
            largest = max(codebook_sizes()) - 1
            raise ProtocolError(f"Codes must be between 0 and {largest}; got {bad}.", "bad_tokens")
        yield from self._frames(codes.astype("<i4").tobytes(), 4 * self.start.n_codebooks)

    def _frames(self, codes: bytes, width: int) -> Iterator[bytes]:
        self.n_frames_in += len(codes) // width
        self._check_length(self.n_frames_in / SILK_FRAME_RATE)
        for at in range(0, len(codes), width):
            yield codes[at : at + width]

    def _check_length(self, seconds: float) -> None:
        if seconds > self._max_s:
            raise ProtocolError(
                f"A stream may contain at most {self._max_s:g} s of audio. Start a new stream.", "too_long"
            )

    @property
    def seconds_in(self) -> float:
        """Return the duration of the received samples or codes in seconds."""
        if self.start is None or self.start.task == "decode":
            return self.n_frames_in / SILK_FRAME_RATE
        return self.n_samples_in / self.start.sample_rate

    # --- messages of the server

    def started(self, codec: str, request_id: str) -> str:
        """Create the reply to the client's first message."""
        return _text(
            "started",
            codec=codec,
            sample_rate=SILK_SAMPLE_RATE,
            frame_samples=FRAME_SAMPLES,
            codebook_sizes=codebook_sizes()[: self.start.n_codebooks if self.start else None],
            request_id=request_id,
        )

    def frame(self, number: int, body: bytes) -> str | bytes:
        """Create the message with the result for a frame, or return b"" if the frame starts after the audio ends."""
        start = self.start
        assert start is not None
        if start.task == "decode":
            if start.n_samples is None:
                return body
            left = max(0, start.n_samples - number * FRAME_SAMPLES)
            return body[: left * SAMPLE_BYTES[start.samples]]
        if start.tokens == "binary":
            return body
        codes = np.frombuffer(body, "<i4").reshape(-1, start.n_codebooks).tolist()
        return _text("tokens", frame=number, codes=codes)

    def last(self, n_samples: int, n_frames: int) -> str:
        """Create the last message of a stream."""
        if self.start is not None and self.start.n_samples is not None:
            n_samples = min(n_samples, self.start.n_samples)
        return _text("ended", n_samples=n_samples, n_frames=n_frames)


def failure(code: str, text: str) -> str:
    """Create the message that reports an error before the server closes the WebSocket."""
    return _text("error", code=code, message=text)


def draining(within_s: float) -> str:
    """Create the message that warns a client that the server will end the stream within `within_s` seconds."""
    return _text("draining", within_s=within_s)


def _text(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def _object(message: str) -> dict[str, Any]:
    try:
        given = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("A text message must be valid JSON.") from error
    if not isinstance(given, dict):
        raise ProtocolError("A text message must be a JSON object.")
    return given


def _start(given: dict[str, Any]) -> Start:
    _refuse_unknown("start", given, Start.__dataclass_fields__)
    for name, task in (("n_samples", "decode"), ("sample_rate", "encode"), ("tokens", "encode")):
        if given.get("task") not in (task, None) and given.get(name) is not None:
            raise ProtocolError(f"'{name}' applies only if 'task' is {task}.")
    choices_of = {"task": ("encode", "decode"), "samples": tuple(SAMPLE_BYTES), "tokens": ("json", "binary")}
    for name, choices in choices_of.items():
        if given.get(name, None if name == "task" else choices[0]) not in choices:
            raise ProtocolError(f"'{name}' must be {' or '.join(choices)}; got {given.get(name)!r:.40}.")
    ranges = (
        ("sample_rate", audio.MIN_RATE, audio.MAX_RATE),
        ("n_codebooks", 1, N_CODEBOOKS),
        ("n_samples", 1, 2**62),
    )
    for name, low, high in ranges:
        value = given.get(name, low)
        if name == "n_samples" and value is None:  # the default
            continue
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"'{name}' must be an integer between {low} and {high}; got {value!r:.40}.")
    return Start(**given)


def _refuse_unknown(kind: str, given: dict[str, Any], known: Iterable[str]) -> None:
    if unknown := set(given) - set(known):
        raise ProtocolError(f"A message of type '{kind}' must not have the field {min(unknown)!r:.40}.")
