"""Opus (RFC 6716) behind the Codec protocol, through `opuslib` and libopus.

Speech settings: application VoIP, 20 ms packets, full complexity, **constant** bit rate, so that the preset
is the rate: `opus:6k` is 15 bytes every 20 ms. Tokens: the bytes of a packet, so 15 codebooks of 256 at 50 Hz
(a byte of a range coder means nothing alone; the count is what a model would pay).

The container's overhead (Ogg) is not counted. libopus tells how far its output lags (`lookahead`, 6.5 ms);
the base class makes up for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from silkcodec.baselines import classical
from silkcodec.baselines.presets import choose
from silkcodec.errors import TokensError, import_extra

SAMPLE_RATE = 24_000  # Hz: one of the five that libopus takes
PACKET = 480  # samples: 20 ms
PRESETS = ("6k", "8k", "12k", "16k", "20k", "24k", "32k", "48k", "64k")  # bit/s, each whole bytes in a packet
DEFAULT_PRESET = "6k"
INSTALL_LIBRARY = "apt-get install libopus0 (Debian), dnf install opus (Fedora) or brew install opus (macOS)"


class Opus(classical.PacketCodec):
    """Opus at a constant bit rate.

    Args:
        preset: bit rate, one of `PRESETS`: "6k".

    Raises:
        ArgumentError: an unknown preset.
        MissingExtraError: `opuslib`, or the libopus that it looks for, is not installed.
    """

    presets = PRESETS

    def __init__(self, preset: str | None = None) -> None:
        preset = choose("opus", preset, PRESETS, DEFAULT_PRESET)
        self._bits_per_second = 1000 * int(preset.removesuffix("k"))
        self._opuslib = _import_opuslib()
        super().__init__(
            f"opus:{preset}",
            sample_rate=SAMPLE_RATE,
            packet_samples=PACKET,
            packet_bits=self._bits_per_second * PACKET // SAMPLE_RATE,
            delay_samples=int(self._encoder().lookahead),
        )

    def _encode_packets(self, frames: classical.Wave) -> list[bytes]:
        encoder = self._encoder()
        packets = [encoder.encode_float(frame.tobytes(), PACKET) for frame in frames]
        assert {8 * len(packet) for packet in packets} == {self.packet_bits}, "the bit rate must be constant"
        return packets

    def _decode_packets(self, packets: list[bytes]) -> classical.Wave:
        decoder = self._opuslib.Decoder(SAMPLE_RATE, 1)
        parts = []
        for index, packet in enumerate(packets):
            try:
                part = np.frombuffer(decoder.decode_float(packet, PACKET), dtype=np.float32)
            except self._opuslib.OpusError as error:
                raise TokensError(f"Packet {index} must be an Opus packet; libopus says: {error}.") from error
            if len(part) != PACKET:  # forged bytes may announce a shorter packet
                raise TokensError(f"Packet {index} must hold {PACKET} samples; got {len(part)}.")
            parts.append(part)
        return np.concatenate(parts)

    def _encoder(self) -> Any:
        encoder = self._opuslib.Encoder(SAMPLE_RATE, 1, self._opuslib.APPLICATION_VOIP)
        encoder.vbr = 0
        encoder.bitrate = self._bits_per_second
        encoder.complexity = 10
        encoder.signal = self._opuslib.SIGNAL_VOICE
        return encoder


def _import_opuslib() -> Any:
    """Imports `opuslib`, which looks for libopus while it is imported.

    Raises:
        MissingExtraError: the binding is missing, or (MissingLibraryError) the shared library.
    """
    try:
        import_extra("opuslib.api", "The codec 'opus'", "classical")  # the import that looks for libopus
        return import_extra("opuslib", "The codec 'opus'", "classical")
    except Exception as error:  # where it finds no libopus, opuslib raises Exception itself
        if "Opus library" not in str(error):
            raise
        raise classical.MissingLibraryError("The codec 'opus'", "libopus", INSTALL_LIBRARY) from error
