"""Compare the length that an audio file's header declares with the actual length of the file.

libsndfile accepts truncated files without an error. This module parses the headers itself and handles three cases:

    If the file is truncated, an error is raised.
    If the header does not contain the length, libsndfile is given a corrected header.
    If the file contains several recordings (chained Ogg, joined MP3), each recording becomes a `Span`.

Programs write different placeholders for an unknown length: 0, 0xFFFFFFFF, 0x80000000, 0x7FFFFxxx or 0x7F0000xx.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from silkcodec.audio import mpeg, ogg
from silkcodec.audio.spans import Span
from silkcodec.errors import AudioError, capitalized

_MAX_CHUNKS = 10_000
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_JOINABLE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"NIST")
_FLAC = b"fLaC\0\0\0\x22"  # magic number and header of the mandatory first block


@dataclass
class _Data:
    """The position and size of the samples in a file.

    Attributes:
        start: offset of the first sample in bytes.
        declared: size of the samples in bytes, according to the header.
        field: offset of the size field in bytes.
        form: format of the size field for the `struct` module.
        extra: number of bytes that the size field counts in addition to the samples.
    """

    start: int
    declared: int
    field: int
    form: str
    extra: int = 0


def spans(file: BinaryIO, name: str) -> list[Span]:
    """Return a `Span` for each recording in a file.

    Args:
        file: an open, seekable file. Its position is set to 0.
        name: name of the file for error messages.

    Raises:
        AudioError: the file is shorter than its header declares.
    """
    size = file.seek(0, 2)
    try:
        found = _spans(file, size, name)
    except (struct.error, IndexError):  # The header is truncated. libsndfile will report this.
        found = []
    finally:
        file.seek(0)
    return found or [Span(file, 0, size)]


def check_log(sound: Any, name: str) -> None:
    """Raise AudioError if libsndfile's log reports that a file is truncated.

    Args:
        sound: an open soundfile.SoundFile.
        name: name of the file for error messages.
    """
    if sound.format not in ("AVR", "SVX", "MAT4", "MAT5", "MPC2K", "VOC", "WVE"):
        return
    log = sound.extra_info
    counts = re.findall(r"(?:Frames|Cols)\s*: (\d+)", log)
    declared = int(counts[-1]) if counts else 0
    if "truncated" in log or "ata length" in log or declared > sound.frames:
        raise AudioError(f"{capitalized(name)} is truncated: it has fewer samples than its header declares.")


def has_another_flac(file: BinaryIO) -> bool:
    """Return whether a file consists of several joined FLAC files."""
    file.seek(0)
    before, n_found = b"", 0
    while n_found < 2 and (block := file.read(1 << 20)):
        n_found += (before + block).count(_FLAC)
        before = (before + block)[-len(_FLAC) + 1 :]
    return n_found > 1


def _spans(file: BinaryIO, size: int, name: str) -> list[Span]:
    """Return a `Span` for each recording in a file, or an empty list if libsndfile can read the file as it is."""
    start = 0
    while tag := mpeg.id3_bytes(_read(file, start, 10)):
        start += tag
    head = _read(file, start, 16)
    if head[:4] == b"OggS":
        return _several(file, ogg.links(file, size, name))
    if start or mpeg.frame_bytes(head):
        return _several(file, mpeg.parts(file, size, start, name)) if head[:4] != b"fLaC" else []
    for magic, find in _FINDERS.items():
        if head.startswith(magic):
            found = find(file, size)
            return _sized(file, size, name, found) if found else []
    return []


def _several(file: BinaryIO, found: list[tuple[int, int]]) -> list[Span]:
    return [Span(file, start, end) for start, end in found] if len(found) > 1 else []


def _sized(file: BinaryIO, size: int, name: str, data: _Data) -> list[Span]:
    actual = size - data.start
    if data.form[-1] == "I" and actual > 0xFFFF_FFFF:
        raise AudioError(
            f"{capitalized(name)} is larger than 4 GB, the limit of its format. Convert it to FLAC or W64."
        )
    if _is_unknown(data.declared + data.extra, data.form) or _is_unknown(data.declared, data.form):
        return [Span(file, 0, size, {data.field: struct.pack(data.form, actual + data.extra)})]
    if data.declared > actual:
        raise AudioError(
            f"{capitalized(name)} is truncated: its header declares {data.declared:,} bytes of audio;"
            f" got {max(0, actual):,}."
        )
    magic, end = _read(file, 0, 4), data.start + data.declared
    # If the size is odd, a padding byte follows it.
    if magic in _JOINABLE and magic in (_read(file, end, 4), _read(file, end + 1, 4)):
        raise AudioError(
            f"{capitalized(name)} contains several joined recordings, but only the first can be read. Split the file."
        )
    return []


def _is_unknown(declared: int, form: str) -> bool:
    if declared <= 0:
        return True
    if form[-1] in "qQ":
        return declared >= 2**63 - 4096
    return 0x7EFF_F000 <= declared <= 0x8000_0000 or declared >= 0xFFFF_F000


def _riff(file: BinaryIO, size: int) -> _Data | None:
    """Find the samples in a WAV, RIFX (big-endian WAV) or RF64 file."""
    order = ">" if (magic := _read(file, 0, 4)) == b"RIFX" else "<"
    (riff_bytes,) = struct.unpack(f"{order}I", _read(file, 4, 4))
    long_field = 0
    for chunk, at, n in _chunks(file, size, 12, f"{order}4sI", padded=2):
        if chunk == b"ds64":
            long_field = at + 8
        if chunk == b"data":
            if magic in (b"RF64", b"BW64") and n == 0xFFFF_FFFF and long_field:
                return _Data(at, struct.unpack("<Q", _read(file, long_field, 8))[0], long_field, "<Q")
            if n == 0 and riff_bytes + 8 == size:  # The file is complete but has no samples.
                return None
            return _Data(at, n, at - 4, f"{order}I")
    return None


def _form(file: BinaryIO, size: int) -> _Data | None:
    """Find the samples in an AIFF, AIFF-C or IFF/8SVX file."""
    form_bytes = struct.unpack(">I", _read(file, 4, 4))[0]
    for chunk, at, n in _chunks(file, size, 12, ">4sI", padded=2):
        if chunk in (b"SSND", b"BODY"):
            extra = 8 if chunk == b"SSND" else 0  # SSND chunks start with an offset and a block size.
            if n <= extra and form_bytes + 8 == size:
                return None
            return _Data(at + extra, n - extra, at - 4, ">I", extra)
    return None


def _w64(file: BinaryIO, size: int) -> _Data | None:
    for chunk, at, n in _chunks(file, size, 40, "<16sQ", padded=8, counts_itself=True):
        if chunk[:4] == b"data":
            return _Data(at, n, at - 8, "<Q", 24)
    return None


def _caf(file: BinaryIO, size: int) -> _Data | None:
    for chunk, at, n in _chunks(file, size, 8, ">4sq"):
        if chunk == b"data":
            return _Data(at + 4, n - 4, at - 8, ">q", 4)  # The chunk starts with an edit count.
    return None


def _au(file: BinaryIO, size: int) -> _Data | None:
    order = "<" if _read(file, 0, 1) == b"d" else ">"
    start, declared = struct.unpack(f"{order}II", _read(file, 4, 8))
    return _Data(start, declared, 8, f"{order}I") if declared or start < size else None


def _nist(file: BinaryIO, size: int) -> _Data | None:
    """Find the samples in a NIST SPHERE file, or return None if they are compressed."""
    head = _read(file, 0, 4096)
    start = int(found[1]) if (found := re.match(rb"NIST_1A\s+(\d+)\s", head)) else 0
    fields = {key: value for key, value in re.findall(rb"(?m)^(\w+) -\w+ (\S+)", head[:start])}
    sizes = [fields.get(key, b"") for key in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    if b"," in fields.get(b"sample_coding", b"") or not all(text.isdigit() for text in sizes):
        return None
    n, width, channels = map(int, sizes)
    if n == 0 or n * width == size - start:  # Some writers count the samples of all channels.
        return None
    return _Data(start, n * width * channels, 0, ">q")


def _sds(file: BinaryIO, size: int) -> _Data | None:
    """Find the samples in a MIDI sample dump, which stores 7 bits per byte in packets of 127 bytes."""
    head = _read(file, 0, 13)
    n_bits, n_samples = head[6], head[10] | head[11] << 7 | head[12] << 14
    in_packet = 60 if n_bits <= 14 else 40 if n_bits <= 21 else 30
    return _Data(21, -(-n_samples // in_packet) * 127, 0, ">q") if n_samples else None


def _asf(file: BinaryIO, size: int) -> _Data | None:
    """Find the file size in the header of a WMA file."""
    head = _read(file, 0, 1 << 16)
    at = head.find(_ASF_PROPERTIES)
    if at < 0:
        return None
    n_bytes, flags = struct.unpack_from("<40xQ40xI", head, at)
    return _Data(0, n_bytes, 0, ">q") if n_bytes and not flags & 1 else None


_FINDERS: dict[bytes, Callable[[BinaryIO, int], _Data | None]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"FORM": _form,
    b"riff": _w64,
    b"caff": _caf,
    b".snd": _au,
    b"dns.": _au,
    b"NIST": _nist,
    b"\xf0\x7e": _sds,
    b"\x30\x26\xb2\x75": _asf,
}


def _chunks(
    file: BinaryIO, size: int, at: int, form: str, *, padded: int = 1, counts_itself: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the content offset and the content size of each chunk in a file."""
    header = struct.calcsize(form)
    for _ in range(_MAX_CHUNKS):
        if at + header > size:
            return
        chunk, n = struct.unpack(form, _read(file, at, header))
        if counts_itself:
            n -= header
        yield chunk, at + header, n
        if n < 0:
            return
        at += header + n + -n % padded


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)
