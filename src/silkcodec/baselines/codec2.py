"""Provide Codec2, David Rowe's open vocoder for 700 to 3,200 bit/s, through `pycodec2`.

Codec2 encodes speech at 8 kHz. Each token is a symbol of 8 bits (7 bits in mode 700C, 4 bits in mode 1300). The decoded
audio is delayed by 20 ms, or by 30 ms in mode 700C.

**Decoding is not deterministic.** libcodec2 draws the phases of unvoiced speech from a random number generator that
cannot be seeded. Repeated `decode` calls return audio that sounds the same but contains different noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from silkcodec.baselines import classical
from silkcodec.baselines.presets import choose
from silkcodec.errors import import_extra

SAMPLE_RATE = 8_000  # Hz
DEFAULT_PRESET = "1200"
INSTALL_LIBRARY = "apt-get install libcodec2-1.0 (Debian), dnf install codec2 (Fedora) or brew install codec2 (macOS)"


@dataclass(frozen=True)
class Codec2Mode:
    """The number of a mode in `pycodec2`, and the delay of its decoded audio in samples at 8 kHz."""

    number: int
    delay_samples: int = 160


MODES = {
    # 700 in pycodec2 means 700C, because libcodec2 1.0 removed 700 and 700B.
    "700C": Codec2Mode(700, delay_samples=240),
    "1200": Codec2Mode(1200),
    "1300": Codec2Mode(1300),
    "1400": Codec2Mode(1400),
    "1600": Codec2Mode(1600),
    "2400": Codec2Mode(2400),
    "3200": Codec2Mode(3200),
}
PRESETS = tuple(MODES)


class Codec2(classical.PacketCodec):
    """Encode and decode with Codec2.

    Args:
        preset: mode, one of `PRESETS`. None means "1200".

    Raises:
        ArgumentError: the preset is unknown.
        MissingExtraError: `pycodec2` or libcodec2 is not installed.
    """

    presets = PRESETS
    deterministic = False  # see the module docstring

    def __init__(self, preset: str | None = None) -> None:
        preset = choose("codec2", preset, PRESETS, DEFAULT_PRESET)
        self._pycodec2 = _import_pycodec2()
        self._mode = MODES[preset]
        coder = self._coder()
        super().__init__(
            f"codec2:{preset}",
            sample_rate=SAMPLE_RATE,
            packet_samples=int(coder.samples_per_frame()),
            packet_bits=int(coder.bits_per_frame()),
            delay_samples=self._mode.delay_samples,
        )

    def encode_packets(self, frames: classical.Wave) -> list[bytes]:
        coder = self._coder()
        integers = np.clip(np.rint(frames * 32_767.0), -32_768, 32_767).astype(np.int16)
        return [coder.encode(frame) for frame in integers]

    def decode_packets(self, packets: list[bytes]) -> classical.Wave:
        coder = self._coder()
        integers = np.concatenate([coder.decode(packet) for packet in packets])
        return integers.astype(np.float32) / np.float32(32_768.0)

    def _coder(self) -> Any:
        return self._pycodec2.Codec2(self._mode.number)


def _import_pycodec2() -> Any:
    """Import `pycodec2`.

    Raises:
        MissingExtraError: `pycodec2` is not installed.
        MissingLibraryError: libcodec2 is not installed.
    """
    try:
        return import_extra("pycodec2", "The codec 'codec2'", "classical")
    except ImportError as error:  # pycodec2 is installed, but libcodec2 is missing.
        raise classical.MissingLibraryError("The codec 'codec2'", "libcodec2", INSTALL_LIBRARY) from error
