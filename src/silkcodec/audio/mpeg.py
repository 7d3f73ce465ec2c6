"""Find the recordings in an MP3 file, and check that they are complete.

A file made by joining MP3 files contains several recordings. Each recording starts with a Xing, Info or VBRI frame,
which declares the recording's number of frames. Most decoders stop when they reach the second such frame.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

from silkcodec.errors import AudioError, capitalized

_BITRATES = {  # kbit/s, by (MPEG version is 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version bits
_HEAD = 64  # bytes read per frame; enough for the header and the count in a Xing or VBRI frame
_SEARCH = 1 << 16  # bytes searched for the next frame after bytes that do not belong to a frame


@dataclass
class _Part:
    """A recording in an MP3 file, with its offset, its declared number of frames and its actual number of frames."""

    start: int
    declared: int
    n_frames: int = 0


def parts(file: BinaryIO, size: int, start: int, name: str) -> list[tuple[int, int]]:
    """Return the start and end offsets of each recording in an MP3 file.

    Args:
        file: an open, seekable file.
        size: size of the file in bytes.
        start: offset of the first frame or tag.
        name: name of the file for error messages.

    Raises:
        AudioError: a recording is truncated.
    """
    found: list[_Part] = []
    for at, end, declared, tagged in _frames(file, size, start):
        if end > size:
            raise AudioError(f"{capitalized(name)} is truncated: its last frame is incomplete.")
        if not found or declared is not None or tagged is not None:
            first = at if tagged is None else tagged
            found.append(_Part(first if found else 0, declared or 0))
        found[-1].n_frames += 1
    for part in found:
        if part.n_frames < part.declared:
            raise AudioError(
                f"{capitalized(name)} is truncated: its header declares {part.declared:,} frames;"
                f" got {part.n_frames:,}."
            )
    ends = [*(part.start for part in found[1:]), size]
    return [(part.start, end) for part, end in zip(found, ends, strict=False)]  # Without frames, `ends` is longer.


def frame_bytes(head: bytes) -> int:
    """Return the length of an MPEG frame in bytes, or 0 if `head` is not the start of a frame."""
    return _frame_bytes(head[1], head[2]) if len(head) >= 4 and head[0] == 0xFF else 0


@cache
def _frame_bytes(second: int, third: int) -> int:
    if second & 0xE0 != 0xE0:
        return 0
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bitrate, rate = third >> 4, third >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits_per_s = _BITRATES[version == 3, layer][bitrate - 1] * 1000
    hz, padding = _RATES[version][rate], third >> 1 & 1
    if layer == 1:
        return (12 * bits_per_s // hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits_per_s // hz + padding


def _frames(file: BinaryIO, size: int, at: int) -> Iterator[tuple[int, int, int | None, int | None]]:
    """Yield the start, the end, the declared frame count and the offset of the preceding ID3 tag for each frame.

    The frame count is None if the frame does not declare one, and the offset is None if no tag precedes the frame.
    """
    tagged, kind = None, b""
    block, base = b"", at
    while at < size:
        head = block[at - base : at - base + _HEAD]
        if len(head) < _HEAD:
            file.seek(at)
            block, base = file.read(_SEARCH), at
            head = block[:_HEAD]
        n = frame_bytes(head)
        if n:
            yield at, at + n, _declared(head), tagged
            at, tagged, kind = at + n, None, _kind(head)
        elif id3_bytes(head):
            tagged, at = at, at + id3_bytes(head)
        else:
            at = _next_frame(file, at, kind)
            if at < 0:
                return


def _next_frame(file: BinaryIO, at: int, kind: bytes) -> int:
    """Return the offset of the next ID3v2 tag or pair of consecutive frames, or -1 if there is neither.

    If `kind` is not empty, only frames with these header bits are found (see `_kind`).
    """
    file.seek(at)
    content = file.read(_SEARCH)
    for found in re.finditer(rb"\xff[\xe0-\xff]|ID3[\x02-\x04]\x00", content[1:]):
        i = 1 + found.start()
        n = frame_bytes(content[i : i + 4])
        after = content[i + n : i + n + 4]
        same = n and frame_bytes(after) and _kind(after) == _kind(content[i : i + 4]) and kind in (b"", _kind(after))
        if same or id3_bytes(content[i : i + 10]):
            return at + i
    return -1


def _kind(head: bytes) -> bytes:
    """Return the header bits for version, layer and sample rate."""
    return bytes((head[1] & 0x1E, head[2] & 0x0C))


def _declared(head: bytes) -> int | None:
    """Return the frame count in a Xing, Info or VBRI frame, or None for other frames."""
    if head[36:40] == b"VBRI":
        return int(struct.unpack(">I", head[50:54])[0])
    one = head[1] >> 3 & 3 == 3
    mono = head[3] >> 6 == 3
    at = 4 + ((17 if mono else 32) if one else (9 if mono else 17))
    if head[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags, n_frames = struct.unpack(">II", head[at + 4 : at + 12])
    return int(n_frames) if flags & 1 else 0


def id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag in bytes, or 0 if `head` is not the start of a tag."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length + (10 if head[5] & 0x10 else 0)
