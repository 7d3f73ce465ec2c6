"""Codec2 (David Rowe's open vocoder, 700 to 3,200 bit/s) behind the Codec protocol, through `pycodec2`.

Speech at 8 kHz; everything above 4 kHz is lost by design. Tokens: the bits of a frame as symbols of equal
width, a codebook each: bytes where a frame is whole bytes (3200, 2400, 1600, 1400, 1200), 7 bits for the 28
of 700C, 4 bits for the 52 of 1300; so `bits_per_second` is exactly the mode's.

libcodec2 steps by 10 ms. The 40 ms window of a step is centred 10 ms before the step begins, and synthesis
reaches what it found 10 ms after, at the end of the step: the output lags 20 ms. 700C interpolates towards
the next frame, one step later: 30 ms.

**Not deterministic, by libcodec2's design**: the phases of unvoiced speech come from a generator of random
numbers that the whole process shares and nobody can seed. Tokens are always the same; two `decode` calls
sound the same, but their noise differs.
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
INSTALL_LIBRARY = "apt-get install libcodec2-1.0 (Debian), dnf install codec2 (Fedora), brew install codec2 (macOS)"


@dataclass(frozen=True)
class Mode:
    """One mode: its number in the binding and how late its output is."""

    number: int
    delay_samples: int = 160


MODES = {
    "700C": Mode(700, delay_samples=240),  # the binding's 700 is 700C: 700 and 700B left libcodec2 with 1.0
    "1200": Mode(1200),
    "1300": Mode(1300),
    "1400": Mode(1400),
    "1600": Mode(1600),
    "2400": Mode(2400),
    "3200": Mode(3200),
}
PRESETS = tuple(MODES)


class Codec2(classical.PacketCodec):
    """Codec2 in one of its modes.

    Args:
        preset: the mode, one of `PRESETS`: "1200".

    Raises:
        ArgumentError: an unknown preset.
        MissingExtraError: `pycodec2`, or the libcodec2 that it was built against, is not installed.
    """

    presets = PRESETS
    deterministic = False  # of decode: see the module's docstring

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

    def _encode_packets(self, frames: classical.Wave) -> list[bytes]:
        coder = self._coder()
        integers = np.clip(np.rint(frames * 32_767.0), -32_768, 32_767).astype(np.int16)
        return [coder.encode(frame) for frame in integers]

    def _decode_packets(self, packets: list[bytes]) -> classical.Wave:
        coder = self._coder()
        integers = np.concatenate([coder.decode(packet) for packet in packets])
        return integers.astype(np.float32) / np.float32(32_768.0)

    def _coder(self) -> Any:
        return self._pycodec2.Codec2(self._mode.number)


def _import_pycodec2() -> Any:
    """Imports `pycodec2` (its wheels carry libcodec2; built from source it needs the system's).

    Raises:
        MissingExtraError: the binding is missing, or (MissingLibraryError) the shared library.
    """
    try:
        return import_extra("pycodec2", "The codec 'codec2'", "classical")
    except ImportError as error:  # the binding is there, the library that it links to is not
        raise classical.MissingLibraryError("The codec 'codec2'", "libcodec2", INSTALL_LIBRARY) from error
