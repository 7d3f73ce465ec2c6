"""Provide Opus (RFC 6716) through `opuslib` and libopus.

The encoder uses VoIP mode, 20 ms packets and maximum complexity. The preset sets the **constant** bit rate.
Each byte of a packet is a token: `opus:6k` has 15 tokens per packet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from silkcodec.baselines import classical
from silkcodec.baselines.presets import choose
from silkcodec.errors import TokensError, import_extra

SAMPLE_RATE = 24_000  # Hz: one of the five rates that libopus supports
PACKET = 480  # samples: 20 ms
PRESETS = ("6k", "8k", "12k", "16k", "20k", "24k", "32k", "48k", "64k")  # bit/s; all give whole bytes per packet
DEFAULT_PRESET = "6k"
INSTALL_LIBRARY = "apt-get install libopus0 (Debian), dnf install opus (Fedora) or brew install opus (macOS)"


class Opus(classical.PacketCodec):
    """Encode and decode with Opus at a constant bit rate.

    Args:
        preset: bit rate, one of `PRESETS`. None means "6k".

    Raises:
        ArgumentError: the preset is unknown.
        MissingExtraError: `opuslib` or libopus is not installed.
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

    def encode_packets(self, frames: classical.Wave) -> list[bytes]:
        encoder = self._encoder()
        packets = [encoder.encode_float(frame.tobytes(), PACKET) for frame in frames]
        assert {8 * len(packet) for packet in packets} == {self.packet_bits}, "the bit rate must be constant"
        return packets

    def decode_packets(self, packets: list[bytes]) -> classical.Wave:
        decoder = self._opuslib.Decoder(SAMPLE_RATE, 1)
        parts = []
        for index, packet in enumerate(packets):
            try:
                part = np.frombuffer(decoder.decode_float(packet, PACKET), dtype=np.float32)
            except self._opuslib.OpusError as error:
                raise TokensError(f"Packet {index} is not a valid Opus packet: {error}.") from error
            if len(part) != PACKET:  # Invalid tokens may declare a shorter packet.
                raise TokensError(f"Packet {index} must contain {PACKET} samples; got {len(part)}.")
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
    """Import `opuslib`.

    Raises:
        MissingExtraError: `opuslib` is not installed.
        MissingLibraryError: libopus is not installed.
    """
    try:
        import_extra("opuslib.api", "The codec 'opus'", "classical")  # This import loads libopus.
        return import_extra("opuslib", "The codec 'opus'", "classical")
    except Exception as error:  # opuslib raises a plain Exception if it does not find libopus.
        if "Opus library" not in str(error):
            raise
        raise classical.MissingLibraryError("The codec 'opus'", "libopus", INSTALL_LIBRARY) from error
