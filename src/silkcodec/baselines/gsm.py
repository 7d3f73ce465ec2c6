"""Provide GSM 06.10 "full rate" (ETSI 1990, 13 kbit/s) through libsndfile.

GSM encodes speech at 8 kHz in packets of 20 ms. libsndfile writes packets of 33 bytes whose first four bits are always
0xD. The other 260 bits are split into 52 symbols of 5 bits.
"""

from __future__ import annotations

from silkcodec import audio
from silkcodec.baselines import classical
from silkcodec.errors import ArgumentError

SAMPLE_RATE = 8_000  # Hz
PACKET = 160  # samples: 20 ms
PACKET_BITS = 260
MAGIC = 0xD  # first four bits of every packet of libsndfile
PACKET_BYTES = 33


class Gsm(classical.PacketCodec):
    """Encode and decode with GSM full rate.

    Args:
        preset: must be None, because GSM has no presets.

    Raises:
        ArgumentError: a preset is given.
    """

    def __init__(self, preset: str | None = None) -> None:
        if preset is not None:
            raise ArgumentError(f"The codec 'gsm' has no presets; got '{preset}'. Pass 'gsm'.")
        super().__init__(
            "gsm", sample_rate=SAMPLE_RATE, packet_samples=PACKET, packet_bits=PACKET_BITS, delay_samples=0
        )

    def encode_packets(self, frames: classical.Wave) -> list[bytes]:
        content = audio.encode_headerless(frames.ravel().clip(-1, 1), SAMPLE_RATE, "GSM610")
        packets = [content[start : start + PACKET_BYTES] for start in range(0, len(content), PACKET_BYTES)]
        return [(int.from_bytes(packet) << 4).to_bytes(PACKET_BYTES + 1)[1:] for packet in packets]

    def decode_packets(self, packets: list[bytes]) -> classical.Wave:
        first = MAGIC << 8 * PACKET_BYTES  # The magic bits precede the packet, and both are shifted by 4 bits.
        whole = [((first | int.from_bytes(packet)) >> 4).to_bytes(PACKET_BYTES) for packet in packets]
        return audio.decode_headerless(b"".join(whole), SAMPLE_RATE, "GSM610")
