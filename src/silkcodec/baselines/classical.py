"""What the classical codecs (Opus, Speex, Codec2, GSM) share: packets of constant size as tokens, missing libraries.

A classical codec has no codebooks: its packet is a run of bits. At a constant bit rate that run is cut into
K symbols of equal width, and these are the codes of K codebooks at the packets' rate. So `bits_per_second` is
the true rate of the stream, `tokens_per_second` counts symbols, and nothing pretends that a symbol means a
sound.

    packet of 120 bits   |01101001|11010010| ... |00010111|     opus:6k, every 20 ms
    codebook                  0        1      ...     14         15 codes of 0..255, 50 Hz
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.bare_codes import as_tokens
from silkcodec.codec import parse
from silkcodec.errors import ArgumentError, MissingExtraError, SilkError, TokensError
from silkcodec.parallel.rebuilt import recipe
from silkcodec.tokens import Tokens

Codes = NDArray[np.int64]
Wave = NDArray[np.float32]


class PacketCodec:
    """The base of the classical codecs: a `Codec` of constant packets. Stateless between calls.

    Every `encode` and `decode` is a fresh stream. What comes out lags by `delay_samples`: `encode` appends as
    much silence, so that the wave's end comes out, and `decode` cuts it off.

    Args:
        name: with the preset: "opus:6k".
        sample_rate: Hz.
        packet_samples, packet_bits: of one packet.
        delay_samples: by how much the codec's output lags.

    Attributes:
        latency_s: one packet and the delay: how far ahead of a sample the input must be known.
        deterministic: whether `decode` always gives the same samples; `encode` always gives the same tokens.
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
        """Send this codec to another process as its arguments. See `rebuilt.py`."""
        return recipe(self, preset=parse(self.name)[1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave, see `Codec.encode`: the bits of its packets.

        Raises:
            AudioError: no samples, NaN or Inf, not a wave.
            ArgumentError: n_codebooks is not the number of symbols in a packet: it cannot be thinned out.
        """
        self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        padded = np.zeros(self._n_packets(len(mono)) * self.packet_samples, dtype=np.float32)
        padded[: len(mono)] = mono
        packets = self._encode_packets(padded.reshape(-1, self.packet_samples))
        return Tokens(
            codes=tuple(packets_to_codes(packets, self.packet_bits).T),
            codebook_sizes=self.codebook_sizes,
            frame_rates=self.frame_rates,
            sample_rate=self.sample_rate,
            n_samples=len(mono),
            codec=self.name,
        )

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """Return the number of symbols in a packet. Raises ArgumentError: n_codebooks is another number."""
        k = len(self.codebook_sizes)
        if n_codebooks not in (None, k):
            raise ArgumentError(
                f"n_codebooks must be {k} for '{self.name}'; got {n_codebooks}; a preset chooses the bit rate."
            )
        return k

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Return the wave of these tokens, float32 [n_samples], without the codec's delay.

        Args:
            tokens: what `encode` returned; or bare codes, int [K, F], one row per codebook, as `Tokens.codes`.
            n_samples: of the wave, of bare codes only; None: all that the packets hold.
            n_codebooks: K, of bare codes only; only one number is right.

        Raises:
            TokensError: tokens of another codec or preset, or bits that are no packet.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        self._check_tokens(tokens)
        codes = np.stack(tokens.codes, axis=1)
        wave = self._decode_packets(codes_to_packets(codes, self.packet_bits))
        return wave[self.delay_samples :][: tokens.n_samples].copy()

    def _encode_packets(self, frames: Wave) -> list[bytes]:
        """Frames, float32 [n, packet_samples], to n packets of packet_bits bits, in whole bytes."""
        raise NotImplementedError

    def _decode_packets(self, packets: list[bytes]) -> Wave:
        """n packets to float32 [n * packet_samples]."""
        raise NotImplementedError

    def _n_packets(self, n_samples: int) -> int:
        """Packets that carry the wave and the delay after it."""
        return -(-(n_samples + self.delay_samples) // self.packet_samples)

    def _check_tokens(self, tokens: Tokens) -> None:
        if tokens.codec != self.name or tokens.sample_rate != self.sample_rate:
            raise TokensError(
                f"Tokens must be of the codec '{self.name}' at {self.sample_rate} Hz; "
                f"got '{tokens.codec}' at {tokens.sample_rate} Hz: decode them with the codec that made them."
            )
        if tokens.codebook_sizes != self.codebook_sizes:
            k, size = len(self.codebook_sizes), self.codebook_sizes[0]
            raise TokensError(f"'{self.name}' has {k} codebooks of {size}; got {tokens.codebook_sizes}.")
        expected, got = self._n_packets(tokens.n_samples), {len(row) for row in tokens.codes}
        if got != {expected}:
            raise TokensError(f"{tokens.n_samples} samples make {expected} packets of '{self.name}'; got {max(got)}.")


class MissingLibraryError(MissingExtraError):
    """A shared library that pip does not bring is not installed.

    Args:
        what: what needs it, as the start of a sentence: "The codec 'opus'".
        package: the shared library: "libopus".
        command: the commands that install it.
    """

    def __init__(self, what: str, package: str, command: str) -> None:
        message = f"{what} needs the shared library '{package}', which was not found; run: {command}"
        SilkError.__init__(self, message)
        self.what, self.package, self.extra, self.command = what, package, "classical", command

    def __reduce__(self) -> tuple[type[MissingLibraryError], tuple[str, str, str]]:
        return type(self), (self.what, self.package, self.command)


def symbol_bits(packet_bits: int) -> int:
    """The widest symbol of at most 8 bits that divides a packet: 8 for whole bytes, 7 for 28 bits."""
    return next(width for width in range(8, 0, -1) if packet_bits % width == 0)


def packets_to_codes(packets: list[bytes], packet_bits: int) -> Codes:
    """Packets, the first `packet_bits` bits of each -> symbols int64 [n_packets, packet_bits / width].

    The bits beyond `packet_bits` in a packet's last byte are padding and are not counted.
    """
    width = symbol_bits(packet_bits)
    raw = np.frombuffer(b"".join(packets), dtype=np.uint8).reshape(len(packets), -1)
    bits = np.unpackbits(raw, axis=1)[:, :packet_bits].reshape(len(packets), -1, width)  # most significant bit first
    return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def codes_to_packets(codes: Codes, packet_bits: int) -> list[bytes]:
    """The inverse of `packets_to_codes`: packets of ceil(packet_bits / 8) bytes, padded with zero bits."""
    width = symbol_bits(packet_bits)
    bits = (codes[..., None] >> np.arange(width - 1, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(codes), packet_bits).astype(np.uint8), axis=1)
    return [row.tobytes() for row in packed]
