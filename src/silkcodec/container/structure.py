"""Define the bytes of a .silk file: a header, chunks of frames, an end chunk. `docs/format.md` has a table.

    | header | chunk | chunk | ... | end chunk |

Integers are little-endian. The checksum of each chunk starts from that of the previous chunk, or from that of the
header. Chunks that are missing, repeated or from another file are therefore detected.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from silkcodec.container.payload import RAW_FRAME_BYTES
from silkcodec.errors import ArgumentError, ContainerError
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, SILK_SAMPLE_RATE
from silkcodec.tokens import MAX_DIMS_PER_TOKEN, codebook_sizes, n_frames

# As in PNG, the first byte occurs in no text file, and CR LF and Ctrl-Z reveal a transfer in text mode.
MAGIC = b"\x89SILK\r\n\x1a"
VERSION = 2  # The newest version that can be read. A file is written in the oldest version that can represent it.
MAX_CHUNK_FRAMES = 4096  # 27 minutes; a chunk has less than 200 kB
MAX_CODEC_BYTES = 255
MIN_GAIN, MAX_GAIN = 1e-6, 1e6

# Three things must not change in any later version, so that an old reader can distinguish a newer file from a
# damaged one: the prefix, the length in it, and a CRC in the header's last 4 bytes.
PREFIX = struct.Struct("<8s H H")  # magic, version, length of the whole header
FIELDS = struct.Struct("<I I Q B B")  # sample rate, frame samples, n_samples, dims per token, length of the codec
GAIN = struct.Struct("<f")  # only in version 2, after the codec
CRC = struct.Struct("<I")
CHUNK = struct.Struct("<4s I I I")  # kind, frames, payload bytes, CRC
END_PAYLOAD = struct.Struct("<Q")  # n_samples

RAW, CODED, END = b"RAW ", b"CODE", b"END "
UNKNOWN = 2**64 - 1  # n_samples of a header that was written before the length was known

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
SKYPE = b"#!SILK_V3"  # magic of a .silk file of Skype's SILK codec; WeChat and QQ write a byte 0x02 before it


@dataclass(frozen=True)
class Header:
    """Represent the header of a .silk file.

    Attributes:
        codec: name and weights hash: "silk@0a1b2c3d4e5f".
        dims_per_token: number of FSQ dimensions in one code, 1..20.
        n_samples: samples of the wave; None if unknown when the header was written (a stream).
        gain: factor that restores the level of a normalised recording after decoding; 1 if it was not normalised.
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
        """Return the codebook sizes of the codes that a reader returns."""
        return codebook_sizes(self.dims_per_token)

    @property
    def n_frames(self) -> int | None:
        """Return the number of frames, or None if the header does not have the number of samples."""
        return None if self.n_samples is None else n_frames(self.n_samples)

    def to_bytes(self) -> bytes:
        """Return the bytes of the header with its checksum. Raises ArgumentError if a field is out of range."""
        codec = self.codec.encode()
        if not 1 <= len(codec) <= MAX_CODEC_BYTES or not self.codec.isprintable():
            raise ArgumentError(f"codec must be a printable name of 1..{MAX_CODEC_BYTES} bytes; got {self.codec!r}.")
        codebook_sizes(self.dims_per_token)  # raises if it is not 1..20
        n_samples = UNKNOWN if self.n_samples is None else check_n_samples(self.n_samples)
        fields = FIELDS.pack(self.sample_rate, self.frame_samples, n_samples, self.dims_per_token, len(codec))
        gain = GAIN.pack(_checked_gain(self.gain)) if self.version >= 2 else b""
        length = PREFIX.size + len(fields) + len(codec) + len(gain) + CRC.size
        body = PREFIX.pack(MAGIC, self.version, length) + fields + codec + gain
        return body + CRC.pack(zlib.crc32(body))


@dataclass(frozen=True)
class Chunk:
    """Describe one chunk of frames by its header.

    Attributes:
        offset: offset of the chunk in the file, bytes.
        coded: whether the payload is range-coded; False: raw, 48 bytes per frame.
        first_frame: index of its first frame in the recording.
        n_frames: number of its frames.
        n_bytes: size of the payload, without the chunk header of 16 bytes.
    """

    offset: int
    coded: bool
    first_frame: int
    n_frames: int
    n_bytes: int


def _checked_gain(gain: float) -> float:
    if not MIN_GAIN <= gain <= MAX_GAIN:
        raise ArgumentError(f"gain must be {MIN_GAIN:g}..{MAX_GAIN:g}; got {gain!r}.")
    return float(gain)


def check_n_samples(n_samples: int) -> int:
    """Return `n_samples` if a file can store it. Raises ArgumentError otherwise."""
    if not isinstance(n_samples, (int, np.integer)) or not 1 <= n_samples < UNKNOWN:
        raise ArgumentError(f"n_samples must be an integer of at least 1; got {n_samples!r}.")
    return int(n_samples)


def chunk_bytes(kind: bytes, frames: int, payload: bytes, crc_before: int) -> tuple[bytes, int]:
    """Return the bytes of a whole chunk, and its checksum for the next chunk."""
    crc = chunk_crc(kind, frames, payload, crc_before)
    return CHUNK.pack(kind, frames, len(payload), crc) + payload, crc


def chunk_crc(kind: bytes, frames: int, payload: bytes, crc_before: int) -> int:
    """Return the CRC-32 of a chunk (its header up to the CRC, then its payload), started from the previous CRC."""
    return zlib.crc32(payload, zlib.crc32(CHUNK.pack(kind, frames, len(payload), 0)[:-4], crc_before))


def check_magic(name: str, prefix: bytes) -> None:
    """Check that a file starts like a .silk file.

    Raises:
        ContainerError: the file has another format. The message names the format if it is known.
    """
    start = prefix[: len(MAGIC)]
    if not start:
        raise ContainerError(f"{name} must be a .silk file; it is empty.", 0)
    if MAGIC.startswith(start):  # `start` is the whole magic, or a truncated one.
        return
    if start.startswith(MAGIC[:5]):
        raise ContainerError(
            f"{name} is a .silk file that is damaged at byte 5; a transfer in text mode may be the cause.", 5
        )
    if prefix.removeprefix(b"\x02").startswith(SKYPE):
        raise ContainerError(
            f"{name} is a recording of Skype's SILK codec, which WeChat uses and silkcodec cannot read. "
            "Convert it to WAV with a SILK decoder, then run silk encode.",
            0,
        )
    other = next((what for magic, what in OTHER_FORMATS.items() if start.startswith(magic)), None)
    looks_like = f"is {other}" if other else f"starts with {start!r}"
    raise ContainerError(f"{name} is not a .silk file; it {looks_like}. Encode it first.", 0)


def parse_header(name: str, data: bytes) -> Header:
    """Parse the bytes of a whole header.

    Args:
        name: name of the file, for messages. data: the bytes, of the length that the header states.

    Raises:
        ContainerError: the checksum is wrong, the version is newer, or a value is invalid.
    """
    _, version, length = PREFIX.unpack_from(data)
    (crc,) = CRC.unpack_from(data, length - CRC.size)
    if crc != zlib.crc32(data[: -CRC.size]):
        raise ContainerError(f"The header of {name} is damaged (bytes 0..{length - 1}): the checksum is wrong.", 0)
    if version > VERSION:
        raise ContainerError(
            f"{name} is a .silk file of version {version}; "
            f"this silkcodec reads versions up to {VERSION}. Upgrade silkcodec.",
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
    """Return whether a chunk with this header is valid. This is checked before a payload is read or allocated."""
    raw_bytes = frames * RAW_FRAME_BYTES
    fits = {
        RAW: 1 <= frames <= MAX_CHUNK_FRAMES and n_bytes == raw_bytes,
        CODED: 1 <= frames <= MAX_CHUNK_FRAMES and frames <= n_bytes < raw_bytes and n_bytes % 4 == 0,
        END: frames == 0 and n_bytes == END_PAYLOAD.size,
    }
    return fits.get(kind, False)


def _impossible(name: str, offset: int, what: str) -> ContainerError:
    # The checksum is correct, so the file is not damaged. It was written with an invalid value.
    return ContainerError(f"{name} is not a valid .silk file: byte {offset} declares {what}.", offset)
