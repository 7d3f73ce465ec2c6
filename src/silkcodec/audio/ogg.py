"""Find the recordings in an Ogg file, and check that its pages are complete and undamaged (RFC 3533).

A chained Ogg file contains several recordings, called links. Internet radio streams and `cat a.ogg b.ogg` produce such
files. The BOS flag is set on the first page of a link, and the EOS flag on its last page. A page consists of:

    "OggS", version, flags, granule position, serial, number, CRC, segment count, segment lengths, segments
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from silkcodec.errors import AudioError, capitalized

_BOS, _EOS = 2, 4
_PAGE = struct.Struct("<4sBBqIIIB")
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")  # first bytes of an audio stream


@dataclass
class _Link:
    start: int
    begun: bool = False  # whether a page without the BOS flag was read
    ended: dict[int, bool] = field(default_factory=dict)  # audio stream's serial -> whether its last page was read


def links(file: BinaryIO, size: int, name: str) -> list[tuple[int, int]]:
    """Return the start and end offsets of each recording in an Ogg file.

    Args:
        file: an open, seekable file.
        size: size of the file in bytes.
        name: name of the file for error messages.

    Raises:
        AudioError: the file is damaged or truncated.
    """
    found: list[_Link] = []
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(_PAGE.size)
        if not head.strip(b"\0"):
            break  # padding
        if head[:4] != b"OggS"[: len(head)]:
            raise AudioError(f"{capitalized(name)} is damaged at byte {at:,}: expected the start of an Ogg page.")
        if len(head) < _PAGE.size:
            raise AudioError(f"{capitalized(name)} is truncated: its last Ogg page is incomplete.")
        _, _, flags, _, serial, _, crc, n_segments = _PAGE.unpack(head)
        lengths = file.read(n_segments)
        content = file.read(sum(lengths))
        end = at + _PAGE.size + n_segments + sum(lengths)
        if len(lengths) < n_segments or end > size:
            raise AudioError(f"{capitalized(name)} is truncated: its last Ogg page is incomplete.")
        if _crc(head[:22] + bytes(4) + head[26:] + lengths + content) != crc:
            raise AudioError(f"{capitalized(name)} is damaged at byte {at:,}: the checksum of the Ogg page is wrong.")
        if flags & _BOS:
            if not found or found[-1].begun:
                found.append(_Link(at))
            if content.startswith(_SOUND):
                found[-1].ended[serial] = False
        elif found:
            found[-1].begun = True
        if flags & _EOS and found and serial in found[-1].ended:
            found[-1].ended[serial] = True
        at = end
    for link in found:
        if not all(link.ended.values()):
            raise AudioError(
                f"{capitalized(name)} is truncated: the last page of an Ogg stream is missing. To keep the intact"
                " pages, rewrite the file with 'ffmpeg -i IN -c copy OUT'."
            )
    return [(link.start, after) for link, after in zip(found, [*(link.start for link in found[1:]), size], strict=True)]


def _crc(content: bytes) -> int:
    """Return the CRC-32 of an Ogg page. It uses a different bit order than zlib's CRC-32."""
    mirrored = zlib.crc32(content.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
