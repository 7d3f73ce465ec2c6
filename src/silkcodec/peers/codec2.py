"""Codec2 (David Rowe's open vocoder, 700 to 3,200 bit/s) behind the Codec protocol, through `pycodec2`.

Speech at 8 kHz; everything above 4 kHz is lost by design. Tokens: the bits of the frames in order, as symbols
of one codebook: bytes where a frame is whole bytes (3200, 2400, 1600, 1400, 1200), 7 bits for the 28 of
700C, 4 bits for the 52 of 1300; so `bits_per_second` is exactly the mode's.

libcodec2 steps by 10 ms. The 40 ms window of a step is centred 10 ms before the step begins, and synthesis
reaches what it found 10 ms after, at the end of the step: the output lags 20 ms. 700C interpolates towards
the next frame, one step later: 30 ms. `decode` cuts that off, and `encode` appends as much silence, so that
the wave's end comes out.

**Not deterministic, by libcodec2's design**: the phases of unvoiced speech come from a generator of random
numbers that the whole process shares and nobody can seed. Tokens are always the same; two `decode` calls
sound the same, but their noise differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio
from silkcodec.errors import MissingExtraError
from silkcodec.peers import classical
from silkcodec.tokens import Tokens

SAMPLE_RATE = 8_000  # Hz
DEFAULT_PRESET = "1200"
INSTALL_LIBRARY = (
    "apt-get install libcodec2-1.0 (Debian), dnf install codec2 (Fedora), brew install codec2 (macOS)"
)

Wave = NDArray[np.float32]


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


class Codec2:
    """Codec2 in one of its modes. Stateless between calls: every `encode` and `decode` is a fresh stream.

    Args:
        preset: the mode, one of `PRESETS`: "1200".

    Raises:
        ArgumentError: an unknown preset.
        MissingExtraError: `pycodec2`, or the libcodec2 that it was built against, is not installed.
    """

    deterministic = False  # of decode: see the module's docstring

    presets = PRESETS

    def __init__(self, preset: str | None = None) -> None:
        preset = classical.find_preset("codec2", preset, PRESETS, DEFAULT_PRESET)
        self.name = f"codec2:{preset}"
        self.sample_rate = SAMPLE_RATE
        self._pycodec2 = _import_pycodec2()
        self._mode = MODES[preset]
        self.delay_samples = self._mode.delay_samples
        coder = self._coder()
        self.packet_samples = int(coder.samples_per_frame())
        self.packet_bits = int(coder.bits_per_frame())
        width = classical.symbol_bits(self.packet_bits)
        self.codebook_sizes = (1 << width,)
        packet_rate = SAMPLE_RATE / self.packet_samples  # Hz
        self.frame_rates = (self.packet_bits / width * packet_rate,)  # symbols per second

    def encode(self, wave: Wave, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Wave [T] or [T, C] at `sample_rate` Hz -> the bits of its frames.

        Raises:
            AudioError: the wave is empty or holds NaN or Inf.
            ArgumentError: n_codebooks is not 1.
        """
        classical.check_n_codebooks(n_codebooks, self.name)
        mono = audio.as_wave(wave, sample_rate, SAMPLE_RATE)
        n_packets = self._n_packets(len(mono))
        padded = np.zeros(n_packets * self.packet_samples, dtype=np.int16)
        padded[: len(mono)] = np.clip(np.rint(mono * 32_767.0), -32_768, 32_767)
        coder = self._coder()
        packets = [coder.encode(frame) for frame in padded.reshape(n_packets, self.packet_samples)]
        return Tokens(
            codes=(classical.packets_to_codes(packets, self.packet_bits),),
            codebook_sizes=self.codebook_sizes,
            frame_rates=self.frame_rates,
            sample_rate=SAMPLE_RATE,
            n_samples=len(mono),
            codec=self.name,
        )

    def decode(self, tokens: Tokens) -> Wave:
        """Tokens -> float32 [n_samples] at 8 kHz, without the codec's delay.

        Raises:
            TokensError: tokens of another codec or mode.
        """
        n_packets = self._n_packets(tokens.n_samples)
        classical.check_tokens(tokens, self.name, SAMPLE_RATE, n_packets, self.packet_bits)
        coder = self._coder()
        parts = [
            coder.decode(packet) for packet in classical.codes_to_packets(tokens.codes[0], self.packet_bits)
        ]
        wave = np.concatenate(parts).astype(np.float32) / np.float32(32_768.0)
        return wave[self.delay_samples :][: tokens.n_samples].copy()

    def _n_packets(self, n_samples: int) -> int:
        """Frames that carry the wave and the delay after it."""
        return -(-(n_samples + self.delay_samples) // self.packet_samples)

    def _coder(self) -> Any:
        return self._pycodec2.Codec2(self._mode.number)


def _import_pycodec2() -> Any:
    """Imports `pycodec2` (its wheels carry libcodec2; built from source it needs the system's).

    Raises:
        MissingExtraError: the binding is missing, or (MissingLibraryError) the shared library.
    """
    try:
        import pycodec2
    except ModuleNotFoundError as error:
        raise MissingExtraError("The codec 'codec2'", error.name or "pycodec2", "classical") from error
    except ImportError as error:  # the binding is there, the library that it links to is not
        raise classical.MissingLibraryError("The codec 'codec2'", "libcodec2", INSTALL_LIBRARY) from error
    return pycodec2
