"""Opus (RFC 6716) behind the Codec protocol, through `opuslib` and libopus.

Speech settings: application VoIP, 20 ms packets, full complexity, **constant** bit rate, so that the preset
is the rate: `opus:6k` is 15 bytes every 20 ms. Tokens: the bytes of the packets in order, one codebook of 256
at 50 * 15 = 750 Hz (a byte of a range coder means nothing alone; the count is what a model would pay).

The container's overhead (Ogg) is not counted. libopus tells how far its output lags (`lookahead`, 6.5 ms);
`decode` cuts that off, and `encode` flushes the encoder so that the wave's end comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio
from silkcodec.errors import MissingExtraError, TokensError
from silkcodec.peers import classical
from silkcodec.tokens import Tokens

SAMPLE_RATE = 24_000  # Hz: one of the five that libopus takes
PACKET = 480  # samples: 20 ms
PRESETS = ("6k", "8k", "12k", "16k", "20k", "24k", "32k", "48k", "64k")  # bit/s, each whole bytes in a packet
DEFAULT_PRESET = "6k"
INSTALL_LIBRARY = "apt-get install libopus0 (Debian), dnf install opus (Fedora) or brew install opus (macOS)"

Wave = NDArray[np.float32]


class Opus:
    """Opus at a constant bit rate. Stateless between calls: every `encode` and `decode` is a fresh stream.

    Args:
        preset: bit rate, one of `PRESETS`: "6k".

    Raises:
        ArgumentError: an unknown preset.
        MissingExtraError: `opuslib`, or the libopus that it looks for, is not installed.
    """

    presets = PRESETS

    def __init__(self, preset: str | None = None) -> None:
        preset = classical.find_preset("opus", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"opus:{preset}"
        self.sample_rate = SAMPLE_RATE
        self.bits_per_second = 1000 * int(preset.removesuffix("k"))
        self.packet_bytes = self.bits_per_second * PACKET // SAMPLE_RATE // 8
        self.codebook_sizes = (256,)
        self.frame_rates = (self.packet_bytes * SAMPLE_RATE / PACKET,)  # Hz: bytes per second
        self._opuslib = _import_opuslib()
        self.delay_samples = int(self._encoder().lookahead)

    def encode(self, wave: Wave, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Wave [T] or [T, C] at `sample_rate` Hz -> the bytes of its packets.

        Raises:
            AudioError: the wave is empty or holds NaN or Inf.
            ArgumentError: n_codebooks is not 1.
        """
        classical.check_n_codebooks(n_codebooks, self.name)
        mono = audio.as_wave(wave, sample_rate, SAMPLE_RATE)
        n_packets = self._n_packets(len(mono))
        padded = np.zeros(n_packets * PACKET, dtype=np.float32)
        padded[: len(mono)] = mono
        encoder = self._encoder()
        packets = [
            encoder.encode_float(padded[start : start + PACKET].tobytes(), PACKET)
            for start in range(0, len(padded), PACKET)
        ]
        assert {len(packet) for packet in packets} == {self.packet_bytes}, "the bit rate must be constant"
        return Tokens(
            codes=(classical.packets_to_codes(packets, 8 * self.packet_bytes),),
            codebook_sizes=self.codebook_sizes,
            frame_rates=self.frame_rates,
            sample_rate=SAMPLE_RATE,
            n_samples=len(mono),
            codec=self.name,
        )

    def decode(self, tokens: Tokens) -> Wave:
        """Tokens -> float32 [n_samples] at 24 kHz, without the codec's delay.

        Raises:
            TokensError: tokens of another codec or preset, or bytes that are no Opus packet.
        """
        n_packets = self._n_packets(tokens.n_samples)
        classical.check_tokens(tokens, self.name, SAMPLE_RATE, n_packets, 8 * self.packet_bytes)
        decoder = self._opuslib.Decoder(SAMPLE_RATE, 1)
        parts = []
        for index, packet in enumerate(classical.codes_to_packets(tokens.codes[0], 8 * self.packet_bytes)):
            try:
                part = np.frombuffer(decoder.decode_float(packet, PACKET), dtype=np.float32)
            except self._opuslib.OpusError as error:
                raise TokensError(f"packet {index} must be an Opus packet; libopus says: {error}.") from error
            if len(part) != PACKET:  # forged bytes may announce a shorter packet
                raise TokensError(f"packet {index} must hold {PACKET} samples; got {len(part)}.")
            parts.append(part)
        return np.concatenate(parts)[self.delay_samples :][: tokens.n_samples].copy()

    def _n_packets(self, n_samples: int) -> int:
        """Packets that carry the wave and the delay after it."""
        return -(-(n_samples + self.delay_samples) // PACKET)

    def _encoder(self) -> Any:
        encoder = self._opuslib.Encoder(SAMPLE_RATE, 1, self._opuslib.APPLICATION_VOIP)
        encoder.vbr = 0
        encoder.bitrate = self.bits_per_second
        encoder.complexity = 10
        encoder.signal = self._opuslib.SIGNAL_VOICE
        return encoder


def _import_opuslib() -> Any:
    """Imports `opuslib`, which looks for libopus while it is imported.

    Raises:
        MissingExtraError: the binding is missing, or (MissingLibraryError) the shared library.
    """
    try:
        import opuslib
        import opuslib.api  # the import that looks for libopus
    except ModuleNotFoundError as error:
        raise MissingExtraError("The codec 'opus'", error.name or "opuslib", "classical") from error
    except Exception as error:  # where it finds no libopus, opuslib raises Exception itself
        if "Opus library" not in str(error):
            raise
        raise classical.MissingLibraryError("The codec 'opus'", "libopus", INSTALL_LIBRARY) from error
    return opuslib
