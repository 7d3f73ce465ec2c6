"""Define the structure of a .silk file. `docs/format.md` describes every field.

    | header | chunk | chunk | ... | end chunk |

The checksum of each chunk continues the checksum of the previous chunk or of the header, so missing and repeated
chunks are detected.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from silkcodec.container.payload import RAW_FRAME_BYTES
from silkcodec.errors import ArgumentError, ContainerError, capitalized
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, SILK_SAMPLE_RATE
from silkcodec.tokens import MAX_DIMS_PER_TOKEN, codebook_sizes, n_frames

# As in PNG, the first byte is not ASCII, and a transfer in text mode changes CR LF or Ctrl-Z.
MAGIC = b"\x89SILK\r\n\x1a"
VERSION = 2  # Files are written in the oldest version that supports their features.
"""Newest format version that this package can read."""

MAX_CHUNK_FRAMES = 4096  # 27 minutes, less than 200 kB
MAX_CODEC_BYTES = 255
MIN_GAIN, MAX_GAIN = float(np.float32(1e-6)), 1e6  # as stored in the file

# The prefix, the length in it and the CRC in the header's last 4 bytes must stay the same in later versions, so that
# old readers can distinguish newer files from damaged ones.
PREFIX = struct.Struct("<8s H H")  # magic, version, length of the whole header
FIELDS = struct.Struct("<I I Q B B")  # sample rate, frame samples, n_samples, dims per token, length of the codec name
GAIN = struct.Struct("<f")  # after the codec name, only in version 2
CRC = struct.Struct("<I")
CHUNK = struct.Struct("<4s I I I")  # kind, frames, payload bytes, CRC
END_PAYLOAD = struct.Struct("<Q")  # n_samples

RAW, CODED, END = b"RAW ", b"CODE", b"END "
UNKNOWN = 2**64 - 1  # n_samples in a header that was written before the length was known

OTHER_FORMATS = {
    b"RIFF": "a WAV file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"caff": "a CAF file",
    b"\x93NUMPY": "a NumPy file",
    b"PK\x03\x04": "a zip or npz file",
    b"\x1f\x8b": "a gzip file",
}
SKYPE = b"#!SILK_V3"  # start of a file in Skype's SILK codec; WeChat and QQ write a byte 0x02 before it


@dataclass(frozen=True)
class Header:
    """The header of a .silk file.

    Attributes:
        codec: codec name and weights hash, such as "silk@0a1b2c3d4e5f".
        dims_per_token: number of FSQ dimensions per code, 1 to 20.
        n_samples: length of the recording in samples, or None if it was unknown when the header was written.
        sample_rate: sample rate in Hz.
        frame_samples: number of samples per frame.
        version: format version.
        gain: factor that restores the level of a normalized recording after decoding; 1 without normalization.
    """

    codec: str
    dims_per_token: int = DIMS_PER_TOKEN
    n_samples: int | None = None
    sample_rate: int = SILK_SAMPLE_RATE
    frame_samples: int = FRAME_SAMPLES
    version: int = 1
    gain: float = 1.0

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Return the number of entries in each codebook."""
        return codebook_sizes(self.dims_per_token)

    @property
    def n_frames(self) -> int | None:
        """Return the number of frames, or None if the length is unknown."""
        return None if self.n_samples is None else n_frames(self.n_samples)

    def to_bytes(self) -> bytes:
        """Serialize the header.

        Returns:
            The header and its checksum.

        Raises:
            ArgumentError: a field is out of range.
        """
        if not self.codec.isprintable() or not 1 <= len(codec := self.codec.encode()) <= MAX_CODEC_BYTES:
            raise ArgumentError(f"codec must be a printable name of 1 to {MAX_CODEC_BYTES} bytes; got {self.codec!r}.")
        codebook_sizes(self.dims_per_token)  # raises ArgumentError if dims_per_token is out of range
        n_samples = UNKNOWN if self.n_samples is None else check_n_samples(self.n_samples)
        fields = FIELDS.pack(self.sample_rate, self.frame_samples, n_samples, self.dims_per_token, len(codec))
        gain = GAIN.pack(_checked_gain(self.gain)) if self.version >= 2 else b""
        length = PREFIX.size + len(fields) + len(codec) + len(gain) + CRC.size
        body = PREFIX.pack(MAGIC, self.version, length) + fields + codec + gain
        return body + CRC.pack(zlib.crc32(body))


@dataclass(frozen=True)
class Chunk:
    """A chunk of frames in a .silk file.

    Attributes:
        offset: offset of the chunk in the file, in bytes.
        coded: whether the payload is range-coded.
        first_frame: index of the first frame in the recording.
        n_frames: number of frames.
        n_bytes: size of the payload in bytes, without the chunk header.
    """

    offset: int
    coded: bool
    first_frame: int
    n_frames: int
    n_bytes: int


def _checked_gain(gain: float) -> float:
    if not MIN_GAIN <= np.float32(gain) <= MAX_GAIN:
        raise ArgumentError(f"gain must be between {MIN_GAIN:g} and {MAX_GAIN:g}; got {gain!r}.")
    return float(gain)


def check_n_samples(n_samples: int) -> int:
    """Check the length of a recording and return it as an integer.

    Raises:
        ArgumentError: a file cannot store this value.
    """
    if not isinstance(n_samples, (int, np.integer)) or not 1 <= n_samples < UNKNOWN:
        raise ArgumentError(f"n_samples must be an integer of at least 1; got {n_samples!r}.")
    return int(n_samples)


def chunk_bytes(kind: bytes, frames: int, payload: bytes, crc_before: int) -> tuple[bytes, int]:
    """Serialize a chunk, and return its bytes and its checksum."""
    crc = chunk_crc(kind, frames, payload, crc_before)
    return CHUNK.pack(kind, frames, len(payload), crc) + payload, crc


def chunk_crc(kind: bytes, frames: int, payload: bytes, crc_before: int) -> int:
    """Return the CRC-32 of a chunk, which continues the CRC-32 of the previous chunk."""
    return zlib.crc32(payload, zlib.crc32(CHUNK.pack(kind, frames, len(payload), 0)[:-4], crc_before))


def check_magic(name: str, prefix: bytes) -> None:
    """Check that a file starts with the magic number of .silk files.

    Args:
        name: name of the file for error messages.
        prefix: first bytes of the file.

    Raises:
        ContainerError: the file has a different format.
    """
    start = prefix[: len(MAGIC)]
    if not start:
        raise ContainerError(f"The input must be a .silk file, but {name} is empty.", 0)
    if MAGIC.startswith(start):  # `start` is the whole magic, or a truncated one.
        return
    if start.startswith(MAGIC[:5]):
        raise ContainerError(f"{capitalized(name)} is damaged at byte 5, possibly by a transfer in text mode.", 5)
    if prefix.removeprefix(b"\x02").startswith(SKYPE):
        raise ContainerError(
            f"Cannot read {name}: it was encoded with Skype's SILK codec, which WeChat also uses. "
            "Convert it to WAV with a decoder for that codec, then run silk encode.",
            0,
        )
    other = next((what for magic, what in OTHER_FORMATS.items() if start.startswith(magic)), None)
    got = other or f"a file that starts with {start!r}"
    raise ContainerError(f"{capitalized(name)} must be a .silk file; got {got}. To encode audio, run silk encode.", 0)


def parse_header(name: str, data: bytes) -> Header:
    """Parse the header of a .silk file.

    Args:
        name: name of the file for error messages.
        data: bytes of the header, including its checksum.

    Raises:
        ContainerError: the checksum is wrong, the version is too new, or a value is invalid.
    """
    _, version, length = PREFIX.unpack_from(data)
    (crc,) = CRC.unpack_from(data, length - CRC.size)
    if crc != zlib.crc32(data[: -CRC.size]):
        raise ContainerError(f"The header of {name} is damaged: the checksum of bytes 0 to {length - 1} is wrong.", 0)
    if version > VERSION:
        raise ContainerError(
            f"The format version of {name} must be at most {VERSION}; got {version}. Upgrade silkcodec.",
            len(MAGIC),
        )
    start = PREFIX.size + FIELDS.size
    end = length - CRC.size - (GAIN.size if version >= 2 else 0)
    if length < start + CRC.size or end < start:
        raise _impossible(name, PREFIX.size, f"a header of {length} bytes")
    sample_rate, frame_samples, n_samples, dims, codec_bytes = FIELDS.unpack_from(data, PREFIX.size)
    codec = data[start:end].decode(errors="replace")
    if version < 1:
        raise _impossible(name, len(MAGIC), f"version {version}")
    if (sample_rate, frame_samples) != (SILK_SAMPLE_RATE, FRAME_SAMPLES):
        raise _impossible(name, PREFIX.size, f"frames of {frame_samples} samples at {sample_rate} Hz")
    if not n_samples:
        raise _impossible(name, PREFIX.size + 8, "a recording of 0 samples")
    if not 1 <= dims <= MAX_DIMS_PER_TOKEN:
        raise _impossible(name, PREFIX.size + 16, f"{dims} dimensions per token")
    if codec_bytes != end - start or not codec or not codec.isprintable() or "\ufffd" in codec:
        raise _impossible(name, start - 1, f"the codec name {codec!r}")
    (gain,) = GAIN.unpack_from(data, end) if version >= 2 else (1.0,)
    if not MIN_GAIN <= gain <= MAX_GAIN:
        raise _impossible(name, end, f"a gain of {gain}")
    known = None if n_samples == UNKNOWN else n_samples
    return Header(codec, dims, known, sample_rate, frame_samples, version, gain)


def is_possible_chunk(kind: bytes, frames: int, n_bytes: int) -> bool:
    """Return whether the values in a chunk header are valid."""
    raw_bytes = frames * RAW_FRAME_BYTES
    fits = {
        RAW: 1 <= frames <= MAX_CHUNK_FRAMES and n_bytes == raw_bytes,
        CODED: 1 <= frames <= MAX_CHUNK_FRAMES and frames <= n_bytes < raw_bytes and n_bytes % 4 == 0,
        END: frames == 0 and n_bytes == END_PAYLOAD.size,
    }
    return fits.get(kind, False)


def _impossible(name: str, offset: int, what: str) -> ContainerError:
    # The checksum is correct, so the file was written with an invalid value.
    return ContainerError(f"The header of {name} is invalid: it declares {what} at byte {offset}.", offset)
