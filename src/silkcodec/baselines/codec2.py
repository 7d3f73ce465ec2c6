"""Provide Codec2 (David Rowe's open vocoder, 700 to 3,200 bit/s) through `pycodec2`.

Codec2 encodes speech at 8 kHz, so everything above 4 kHz is lost. The tokens are the bits of a frame, split into
symbols of equal width with one codebook each: 8 bits if a frame has whole bytes (3200, 2400, 1600, 1400, 1200), 7 bits
for the 28 bits of 700C, and 4 bits for the 52 bits of 1300. `bits_per_second` is therefore the exact rate of the mode.

libcodec2 advances in steps of 10 ms. The analysis window of 40 ms is centred 10 ms before the start of a step, and the
synthesis reaches the parameters of a step at its end, 10 ms later. The output is thus delayed by 20 ms. 700C
interpolates towards the next frame, one step later, so its delay is 30 ms.

**Decoding is not deterministic.** libcodec2 draws the phases of unvoiced speech from a random number generator that the
whole process shares and that cannot be seeded. The tokens are always the same. Two `decode` calls sound the same, but
their noise differs.
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
    """Describe a mode: its number in the binding, and the delay of its output in samples at 8 kHz."""

    number: int
    delay_samples: int = 160


MODES = {
    "700C": Mode(700, delay_samples=240),  # The binding's 700 is 700C, because libcodec2 1.0 removed 700 and 700B.
    "1200": Mode(1200),
    "1300": Mode(1300),
    "1400": Mode(1400),
    "1600": Mode(1600),
    "2400": Mode(2400),
    "3200": Mode(3200),
}
PRESETS = tuple(MODES)


class Codec2(classical.PacketCodec):
    """Encode and decode with Codec2 in one of its modes.

    Args:
        preset: the mode, one of `PRESETS`; None: "1200".

    Raises:
        ArgumentError: the preset is unknown.
        MissingExtraError: `pycodec2`, or the libcodec2 that it was built against, is not installed.
    """

    presets = PRESETS
    deterministic = False  # see the docstring of the module

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
    """Import `pycodec2`. Its wheels include libcodec2; a build from source needs the library of the system.

    Raises:
        MissingExtraError: the binding is missing.
        MissingLibraryError: the shared library is missing.
    """
    try:
        return import_extra("pycodec2", "The codec 'codec2'", "classical")
    except ImportError as error:  # The binding is installed, but its shared library is missing.
        raise classical.MissingLibraryError("The codec 'codec2'", "libcodec2", INSTALL_LIBRARY) from error
