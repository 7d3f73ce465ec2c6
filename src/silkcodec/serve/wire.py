"""Exchange messages between the server process and a worker. A message has a JSON head and a binary body.

    length of the head, length of the body (u32, little-endian) | head (JSON) | body

This module does not use `multiprocessing` pipes, because they unpickle received data.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

Head = dict[str, Any]

_LENGTHS = struct.Struct("<II")
MAX_BYTES = 64 << 20  # maximum size of a head or body, so that a bug cannot allocate much memory


def pack(head: Head, body: bytes = b"") -> bytes:
    """Convert a message to bytes."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


async def read(reader: asyncio.StreamReader) -> tuple[Head, bytes] | None:
    """Read the next message from an asyncio stream, or return None if the connection is closed.

    Raises:
        ValueError: the message is too large, or its head is not JSON.
    """
    try:
        text, body = _lengths(await reader.readexactly(_LENGTHS.size))
        return json.loads(await reader.readexactly(text)), await reader.readexactly(body)
    except (asyncio.IncompleteReadError, OSError):
        return None


def receive(connection: socket.socket) -> tuple[Head, bytes] | None:
    """Read the next message from a blocking socket, or return None if the connection is closed.

    Raises:
        ValueError: the message is too large, or its head is not JSON.
    """
    try:
        lengths = _exactly(connection, _LENGTHS.size)
        if lengths is None:
            return None
        n_text, n_body = _lengths(lengths)
        text, body = _exactly(connection, n_text), _exactly(connection, n_body)
    except OSError:
        return None
    return None if text is None or body is None else (json.loads(text), bytes(body))


def _lengths(data: bytes | bytearray) -> tuple[int, int]:
    text, body = _LENGTHS.unpack(data)
    if max(text, body) > MAX_BYTES:
        raise ValueError(f"A message to or from a worker may have at most {MAX_BYTES} bytes; got {max(text, body)}.")
    return text, body


def _exactly(connection: socket.socket, n_bytes: int) -> bytearray | None:
    data = bytearray(n_bytes)
    view = memoryview(data)
    while view:
        taken = connection.recv_into(view)
        if taken == 0:
            return None
        view = view[taken:]
    return data
