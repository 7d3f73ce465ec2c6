"""Provide the base class of the classical codecs (Opus, Speex, Codec2, GSM).

Classical codecs produce packets of bits instead of codes. This module splits each packet into K symbols of equal width,
which are its tokens. A single symbol has no acoustic meaning.

    packet of 120 bits   |01101001|11010010| ... |00010111|     opus:6k, every 20 ms
    codebook                  0        1      ...     14         15 codes of 0..255, 50 Hz
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.audio.resampling import Wave
from silkcodec.bare_codes import as_tokens
from silkcodec.codec import parse
from silkcodec.errors import ArgumentError, MissingExtraError, SilkError, TokensError
from silkcodec.parallel.rebuilt import recipe
from silkcodec.tokens import Tokens

Codes = NDArray[np.int64]


class PacketCodec:
    """Implement the `Codec` protocol for codecs with packets of constant size.

    Args:
        name: name with preset, e.g. "opus:6k".
        sample_rate: sample rate in Hz.
        packet_samples: number of samples in a packet.
        packet_bits: number of bits in a packet.
        delay_samples: delay of the decoded audio in samples. `decode` removes it.

    Attributes:
        latency_s: algorithmic latency in seconds, which is one packet plus the delay.
        deterministic: whether `decode` always returns the same samples for the same tokens.
    """

    quantizer = "bit stream"
    deterministic = True

    def __init__(
        self, name: str, *, sample_rate: int, packet_samples: int, packet_bits: int, delay_samples: int
    ) -> None:
        self.name, self.sample_rate = name, sample_rate
        self.packet_samples, self.packet_bits, self.delay_samples = packet_samples, packet_bits, delay_samples
        self.latency_s = (packet_samples + delay_samples) / sample_rate
        width = symbol_bits(packet_bits)
        self.codebook_sizes = (1 << width,) * (packet_bits // width)
        self.frame_rates = (sample_rate / packet_samples,) * len(self.codebook_sizes)

    def __reduce__(self) -> Any:
        """Pickle only the arguments of the constructor."""
        return recipe(self, preset=parse(self.name)[1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Encode a waveform; see `Codec.encode`.

        Raises:
            AudioError: the waveform is empty, contains NaN or infinity, or has an unsupported shape or type.
            ArgumentError: `n_codebooks` is not the number of symbols in a packet.
        """
        self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        padded = np.zeros(self._n_packets(len(mono)) * self.packet_samples, dtype=np.float32)
        padded[: len(mono)] = mono
        packets = self.encode_packets(padded.reshape(-1, self.packet_samples))
        return Tokens(
            codes=tuple(packets_to_codes(packets, self.packet_bits).T),
            codebook_sizes=self.codebook_sizes,
            frame_rates=self.frame_rates,
            sample_rate=self.sample_rate,
            n_samples=len(mono),
            codec=self.name,
        )

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """Return the number of symbols in a packet, or raise ArgumentError if `n_codebooks` is a different number."""
        k = len(self.codebook_sizes)
        if n_codebooks not in (None, k):
            raise ArgumentError(
                f"n_codebooks must be {k} for '{self.name}'; got {n_codebooks}. Choose a preset to change the bit rate."
            )
        return k

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Decode tokens to a waveform, float32 [n_samples].

        Args:
            tokens: tokens from `encode`, or an integer array of codes [K, F].
            n_samples: length of the waveform in samples, if `tokens` is an array. None decodes all packets.
            n_codebooks: number of codebooks K, if `tokens` is an array. It must be the number of symbols in a packet.

        Raises:
            TokensError: the tokens come from another codec or preset, or their bits are not valid packets.
            ArgumentError: `n_codebooks` is not the number of symbols in a packet, or `n_samples` or `n_codebooks` is
                passed together with Tokens.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        self._check_tokens(tokens)
        codes = np.stack(tokens.codes, axis=1)
        wave = self.decode_packets(codes_to_packets(codes, self.packet_bits))
        return wave[self.delay_samples :][: tokens.n_samples].copy()

    def encode_packets(self, frames: Wave) -> list[bytes]:
        """Encode frames, float32 [n, packet_samples], into one packet each."""
        raise NotImplementedError

    def decode_packets(self, packets: list[bytes]) -> Wave:
        """Decode n packets to samples, float32 [n * packet_samples]."""
        raise NotImplementedError

    def _n_packets(self, n_samples: int) -> int:
        """Return the number of packets needed to cover `n_samples` samples plus the delay."""
        return -(-(n_samples + self.delay_samples) // self.packet_samples)

    def _check_tokens(self, tokens: Tokens) -> None:
        if tokens.codec != self.name or tokens.sample_rate != self.sample_rate:
            raise TokensError(
                f"Tokens must be from '{self.name}' at {self.sample_rate} Hz; got tokens from '{tokens.codec}' at "
                f"{tokens.sample_rate} Hz. Decode them with the codec that they were encoded with."
            )
        if tokens.codebook_sizes != self.codebook_sizes:
            k, size = len(self.codebook_sizes), self.codebook_sizes[0]
            raise TokensError(
                f"Tokens of '{self.name}' must have {k} codebooks of {size} entries each; got the codebook sizes"
                f" {tokens.codebook_sizes}."
            )
        expected, lengths = self._n_packets(tokens.n_samples), {len(row) for row in tokens.codes}
        if lengths != {expected}:
            got = ", ".join(map(str, sorted(lengths)))
            raise TokensError(f"{tokens.n_samples} samples require {expected} '{self.name}' packets; got {got}.")


class MissingLibraryError(MissingExtraError):
    """Raised if a shared library that pip cannot install is missing.

    Args:
        what: subject of the message, e.g. "The codec 'opus'".
        package: name of the library, e.g. "libopus".
        command: commands that install the library.
    """

    def __init__(self, what: str, package: str, command: str) -> None:
        message = f"{what} needs the '{package}' shared library, which was not found. Run: {command}"
        SilkError.__init__(self, message)
        self.what, self.package, self.extra, self.command = what, package, "classical", command

    def __reduce__(self) -> tuple[type[MissingLibraryError], tuple[str, str, str]]:
        return type(self), (self.what, self.package, self.command)


def symbol_bits(packet_bits: int) -> int:
    """Return the largest symbol width, up to 8 bits, that divides the packet size evenly."""
    return next(width for width in range(8, 0, -1) if packet_bits % width == 0)


def packets_to_codes(packets: list[bytes], packet_bits: int) -> Codes:
    """Split packets into symbols, int64 [n_packets, symbols per packet]."""
    width = symbol_bits(packet_bits)
    raw = np.frombuffer(b"".join(packets), dtype=np.uint8).reshape(len(packets), -1)
    bits = np.unpackbits(raw, axis=1)[:, :packet_bits].reshape(len(packets), -1, width)  # most significant bit first
    return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def codes_to_packets(codes: Codes, packet_bits: int) -> list[bytes]:
    """Join symbols into packets. This is the inverse of `packets_to_codes`."""
    width = symbol_bits(packet_bits)
    bits = (codes[..., None] >> np.arange(width - 1, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(codes), packet_bits).astype(np.uint8), axis=1)
    return [row.tobytes() for row in packed]
