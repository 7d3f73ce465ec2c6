r"""Run a worker process, which runs the model and exchanges messages with the server process over a socket.

    python -m silkcodec.serve.worker \
        '{"fd": 5, "role": "streams", "batch": 8, "sizes": null, "weights": null, "memory": 1073741824}'

The worker exits when the server process closes the socket. It ignores SIGTERM and SIGINT, so that streams can finish.

JSON heads of the messages:

    to a stream worker       {do: open, id, task, ...} {do: feed, id} + bytes {do: end, id} {do: drop, id}
    from a stream worker     {is: ready, codec, sizes} {is: frame, id, frame} + bytes {is: ended, id, n_samples}
                             {is: refused, id, code, text} {is: batch, task, size, seconds}
    to a file worker         {do: job, id, ...} {do: cancel, id}
    from a file worker       {is: ready, ...} {is: done, id, seconds} {is: refused, ...}
    to and from both kinds   {do: ping}, which a worker answers with {is: pong}
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec.errors import (
    ArgumentError,
    AudioError,
    ContainerError,
    MissingExtraError,
    OutputError,
    SilkError,
    TokensError,
)
from silkcodec.serve import filejobs, wire
from silkcodec.serve.batcher import Batcher, exact_sizes
from silkcodec.silk import Silk

Message = tuple[wire.Head, bytes]
FULL_SCALE = 32_768  # for 16-bit samples
PONG = {"is": "pong"}  # answer of both kinds of workers to {do: ping}
NICE = 5  # niceness of file workers, which gives live streams priority

CODES = {  # exception type -> error code in the response
    filejobs.TooLongError: "too_long",
    AudioError: "bad_audio",
    TokensError: "bad_tokens",
    ContainerError: "bad_silk_file",
    OutputError: "not_stored",
    ArgumentError: "bad_argument",
    MissingExtraError: "not_supported",
    MemoryError: "too_large",
}


class Inbox:
    """Receive messages in a separate thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._connection = connection
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while (message := wire.receive(self._connection)) is not None:
                self._messages.put(message)
        except ValueError:  # An invalid message ends the worker, and the server process replaces it.
            traceback.print_exc()
        self._messages.put(None)

    def take(self, wait: bool) -> list[Message]:
        """Return the messages that have arrived. If `wait` is True, wait for at least one.

        Raises:
            EOFError: the server process has closed the socket.
        """
        messages: list[Message] = []
        while True:
            try:
                message = self._messages.get(block=wait and not messages)
            except queue.Empty:
                return messages
            if message is None:
                raise EOFError
            messages.append(message)


def samples_of(body: bytes, kind: str) -> np.ndarray:
    """Convert bytes in "s16le" or "f32le" format to samples, int16 or float32 [n]."""
    return np.frombuffer(body, dtype="<i2" if kind == "s16le" else "<f4")


def bytes_of(wave: np.ndarray, kind: str) -> bytes:
    """Convert samples, float32 [n], to bytes in "s16le" or "f32le" format."""
    if kind == "f32le":
        return wave.astype("<f4").tobytes()
    return np.clip(np.rint(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes()


class StreamWorker:
    """Process streams, and exchange their data with the server process."""

    def __init__(self, connection: socket.socket, codec: Silk, sizes: list[int]) -> None:
        self._connection = connection
        self._batcher = Batcher(codec, sizes)
        self._samples: dict[str, str] = {}  # stream -> format of its samples

    def run(self, inbox: Inbox) -> None:
        """Process messages until the server process closes the socket, then raise EOFError."""
        while True:
            for head, body in inbox.take(wait=self._batcher.n_waiting == 0):
                self._handle(head, body)
            started = time.perf_counter()
            task, answers = self._batcher.step()
            seconds = time.perf_counter() - started
            for answer in answers:
                if task == "encode":
                    body = answer.value.astype("<i4").tobytes()
                else:
                    body = bytes_of(answer.value, self._samples[answer.stream])
                self._send({"is": "frame", "id": answer.stream, "frame": answer.frame}, body)
            if answers:
                self._send({"is": "batch", "task": task, "size": len(answers), "seconds": seconds})
            for stream, n_samples in self._batcher.finished():
                del self._samples[stream]
                self._send({"is": "ended", "id": stream, "n_samples": n_samples})

    def _handle(self, head: wire.Head, body: bytes) -> None:
        stream, do = head["id"], head["do"]
        if do == "ping":
            self._send(PONG)
            return
        if do != "open" and stream not in self._batcher:
            return  # The worker refused the stream, and the server process has not received the refusal yet.
        try:
            if do == "open":
                self._open(stream, head)
            elif do == "feed":
                codes = head.get("k")
                kind = self._samples[stream]
                values = np.frombuffer(body, "<i4").reshape(-1, codes) if codes else samples_of(body, kind)
                self._batcher.feed(stream, values)
            elif do == "end":
                self._batcher.end(stream)
            else:
                self._forget(stream)
        except SilkError as error:
            self._forget(stream)
            self._send(refusal(stream, error))
        except Exception as error:  # A bug that affects one stream must not end the other streams.
            traceback.print_exc()
            self._forget(stream)
            self._send(refusal(stream, error))

    def _open(self, stream: str, head: wire.Head) -> None:
        if head["task"] == "encode":
            self._batcher.open_encoder(stream, head["sample_rate"], head["n_codebooks"])
        else:
            self._batcher.open_decoder(stream)
        self._samples[stream] = head["samples"]

    def _forget(self, stream: str) -> None:
        self._batcher.drop(stream)
        self._samples.pop(stream, None)

    def _send(self, head: wire.Head, body: bytes = b"") -> None:
        self._connection.sendall(wire.pack(head, body))


def refusal(name: str, error: Exception) -> wire.Head:
    """Create the message that reports an error in a stream or file job to the server process."""
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "internal")
    if code == "not_stored":  # The original message contains a local path.
        return {
            "is": "refused",
            "id": name,
            "code": code,
            "text": "The server cannot store the result. Try again later.",
        }
    if isinstance(error, SilkError):
        text = " ".join(str(error).split())
    elif isinstance(error, MemoryError):
        text = "The request needs more memory than a worker may use. Send a shorter file or stream."
    else:
        text = "Internal server error."
    return {"is": "refused", "id": name, "code": code, "text": text}


def run_file_jobs(connection: socket.socket, inbox: Inbox, codec: Silk) -> None:
    """Run file jobs one at a time until the server process closes the socket, then raise EOFError."""
    cancelled: set[str] = set()
    waiting: list[wire.Head] = []

    def take(wait: bool) -> None:
        for head, _ in inbox.take(wait):
            if head["do"] == "ping":
                connection.sendall(wire.pack(PONG))
            elif head["do"] == "cancel":
                cancelled.add(head["id"])
            else:
                waiting.append(head)

    def is_cancelled() -> bool:
        take(wait=False)
        return name in cancelled

    while True:
        take(wait=not waiting)
        if not waiting:
            continue
        head = waiting.pop(0)
        name = head["id"]
        fields = {key: value for key, value in head.items() if key not in ("do", "id", "source", "target")}
        job = filejobs.FileJob(Path(head["source"]), Path(head["target"]), **fields)
        try:
            seconds = filejobs.work(codec, job, is_cancelled)
            answer: dict[str, Any] = {"is": "done", "id": name, "seconds": seconds}
        except filejobs.Cancelled:
            answer = {"is": "refused", "id": name, "code": "cancelled", "text": ""}
        except SilkError as error:
            answer = refusal(name, error)
        except Exception as error:  # A bug that a file triggers must affect only that request.
            traceback.print_exc()
            answer = refusal(name, error)
        cancelled.clear()
        connection.sendall(wire.pack(answer))


def limit_memory(extra_bytes: int) -> None:
    """Limit the memory of this process to its current use plus `extra_bytes`."""
    try:
        import resource

        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # not Linux
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = n_pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def main(options: dict[str, Any]) -> None:
    """Run the worker process with the options from its command line."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with socket.socket(fileno=options["fd"]) as connection:
        codec = Silk(options["weights"], threads=1)
        codec.prepare(encode=True, decode=True)
        streams = options["role"] == "streams"
        sizes = options["sizes"]
        if streams:
            sizes = sizes or exact_sizes(codec, options["batch"])
        else:
            os.nice(NICE)
        limit_memory(options["memory"])
        try:
            inbox = Inbox(connection)
            connection.sendall(wire.pack({"is": "ready", "codec": codec.codec_id, "sizes": sizes}))
            if streams:
                StreamWorker(connection, codec, sizes).run(inbox)
            else:
                run_file_jobs(connection, inbox, codec)
        except (EOFError, OSError):
            return  # The server process closed the socket or crashed.


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
