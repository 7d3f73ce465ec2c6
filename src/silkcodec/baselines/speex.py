"""Provide Speex (Valin, 2002; RFC 5574) through the system's libspeex and `ctypes`.

The sample rate is 8 kHz for narrowband and 16 kHz for wideband ("-wb"). Packets have a duration of 20 ms and a
**constant** size. Their bits are split into symbols of equal width. At the two lowest bit rates, the number of bits
in a packet is prime, so each symbol has one bit.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from silkcodec.baselines import classical
from silkcodec.baselines.presets import choose
from silkcodec.errors import TokensError

COMPLEXITY = 10  # the maximum
DEFAULT_PRESET = "5.95k"
INSTALL_LIBRARY = "apt-get install libspeex1 (Debian), dnf install speex (Fedora) or brew install speex (macOS)"

# request numbers for speex_encoder_ctl and speex_decoder_ctl
SET_QUALITY, SET_COMPLEXITY, GET_LOOKAHEAD = 4, 16, 39


@dataclass(frozen=True)
class SpeexMode:
    """The libspeex settings for a bit rate."""

    quality: int
    packet_bits: int
    band: int = 0  # 0: narrowband, 1: wideband

    @property
    def sample_rate(self) -> int:
        """Return the sample rate in Hz."""
        return 16_000 if self.band else 8_000


MODES = {
    "2.15k": SpeexMode(0, 43),
    "3.95k": SpeexMode(1, 79),
    "5.95k": SpeexMode(2, 119),
    "8k": SpeexMode(4, 160),
    "11k": SpeexMode(6, 220),
    "15k": SpeexMode(8, 300),
    "18.2k": SpeexMode(9, 364),
    "24.6k": SpeexMode(10, 492),
    "5.75k-wb": SpeexMode(1, 115, band=1),
    "9.8k-wb": SpeexMode(3, 196, band=1),
    "12.8k-wb": SpeexMode(4, 256, band=1),
    "16.8k-wb": SpeexMode(5, 336, band=1),
    "20.6k-wb": SpeexMode(6, 412, band=1),
    "23.8k-wb": SpeexMode(7, 476, band=1),
    "27.8k-wb": SpeexMode(8, 556, band=1),
}
PRESETS = tuple(MODES)


class Bits(ctypes.Structure):
    """The `SpeexBits` C structure."""

    _fields_ = (
        ("chars", ctypes.c_void_p),
        ("n_bits", ctypes.c_int),
        ("char_pointer", ctypes.c_int),
        ("bit_pointer", ctypes.c_int),
        ("owner", ctypes.c_int),
        ("overflow", ctypes.c_int),
        ("buffer_size", ctypes.c_int),
        ("reserved_1", ctypes.c_int),
        ("reserved_2", ctypes.c_void_p),
    )


class Speex(classical.PacketCodec):
    """Encode and decode with Speex at a constant bit rate.

    Args:
        preset: bit rate, one of `PRESETS`, e.g. "9.8k-wb" for wideband. None means "5.95k".

    Raises:
        ArgumentError: the preset is unknown.
        MissingLibraryError: libspeex is not installed.
    """

    presets = PRESETS

    def __init__(self, preset: str | None = None) -> None:
        preset = choose("speex", preset, PRESETS, DEFAULT_PRESET)
        self._mode = MODES[preset]
        self._library = load_library()
        with self._state("encoder") as encoder, self._state("decoder") as decoder:
            lags = (self._get_lookahead("encoder", encoder), self._get_lookahead("decoder", decoder))
        super().__init__(
            f"speex:{preset}",
            sample_rate=self._mode.sample_rate,
            packet_samples=self._mode.sample_rate // 50,
            packet_bits=self._mode.packet_bits,
            delay_samples=sum(lags),
        )

    def encode_packets(self, frames: classical.Wave) -> list[bytes]:
        speex, packets = self._library, []
        packet = ctypes.create_string_buffer(-(-self.packet_bits // 8))
        integers = np.clip(np.rint(frames * 32_767.0), -32_768, 32_767).astype(np.int16)
        with self._state("encoder") as encoder, self._bits() as bits:
            for request, value in ((SET_QUALITY, self._mode.quality), (SET_COMPLEXITY, COMPLEXITY)):
                speex.speex_encoder_ctl(encoder, request, ctypes.byref(ctypes.c_int(value)))
            for frame in integers:
                speex.speex_bits_reset(bits)
                speex.speex_encode_int(encoder, frame.ctypes.data_as(ctypes.c_void_p), bits)
                assert bits.n_bits == self.packet_bits, "the bit rate must be constant"
                speex.speex_bits_write(bits, packet, len(packet))
                packets.append(packet.raw)
        return packets

    def decode_packets(self, packets: list[bytes]) -> classical.Wave:
        integers = np.zeros((len(packets), self.packet_samples), dtype=np.int16)
        with self._state("decoder") as decoder, self._bits() as bits:
            for index, (packet, frame) in enumerate(zip(packets, integers, strict=True)):
                self._library.speex_bits_read_from(bits, packet, len(packet))
                if self._library.speex_decode_int(decoder, bits, frame.ctypes.data_as(ctypes.c_void_p)):
                    raise TokensError(f"Packet {index} is not a valid Speex packet: libspeex cannot decode it.")
        return integers.ravel().astype(np.float32) / np.float32(32_768.0)

    @contextmanager
    def _state(self, kind: str) -> Iterator[ctypes.c_void_p]:
        """Create an encoder or decoder, and destroy it when the context exits."""
        band = self._library.speex_lib_get_mode(self._mode.band)
        state = ctypes.c_void_p(getattr(self._library, f"speex_{kind}_init")(band))
        try:
            yield state
        finally:
            getattr(self._library, f"speex_{kind}_destroy")(state)

    @contextmanager
    def _bits(self) -> Iterator[Bits]:
        bits = Bits()
        self._library.speex_bits_init(ctypes.byref(bits))
        try:
            yield bits
        finally:
            self._library.speex_bits_destroy(ctypes.byref(bits))

    def _get_lookahead(self, kind: str, state: ctypes.c_void_p) -> int:
        samples = ctypes.c_int()
        getattr(self._library, f"speex_{kind}_ctl")(state, GET_LOOKAHEAD, ctypes.byref(samples))
        return samples.value


def load_library() -> Any:
    """Load libspeex and declare the types of its functions.

    Raises:
        MissingLibraryError: libspeex is not installed.
    """
    file = ctypes.util.find_library("speex")
    if file is None:
        raise classical.MissingLibraryError("The codec 'speex'", "libspeex", INSTALL_LIBRARY)
    speex = ctypes.CDLL(file)
    pointer, integer, bits = ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Bits)
    for name, result, arguments in (
        ("speex_lib_get_mode", pointer, [integer]),
        ("speex_encoder_init", pointer, [pointer]),
        ("speex_decoder_init", pointer, [pointer]),
        ("speex_encoder_destroy", None, [pointer]),
        ("speex_decoder_destroy", None, [pointer]),
        ("speex_encoder_ctl", integer, [pointer, integer, pointer]),
        ("speex_decoder_ctl", integer, [pointer, integer, pointer]),
        ("speex_encode_int", integer, [pointer, pointer, bits]),
        ("speex_decode_int", integer, [pointer, bits, pointer]),
        ("speex_bits_init", None, [bits]),
        ("speex_bits_destroy", None, [bits]),
        ("speex_bits_reset", None, [bits]),
        ("speex_bits_write", integer, [bits, ctypes.c_char_p, integer]),
        ("speex_bits_read_from", None, [bits, ctypes.c_char_p, integer]),
    ):
        function = getattr(speex, name)
        function.restype, function.argtypes = result, arguments
    return speex
