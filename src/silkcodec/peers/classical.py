"""What the classical codecs (Opus, Codec2) share: packets of constant size as tokens, missing libraries.

A classical codec has no codebooks: its packet is a run of bits. At a constant bit rate that run is cut into
symbols of equal width, and the symbols are the codes of one codebook. So `bits_per_second` is the true rate
of the stream, `tokens_per_second` counts symbols, and nothing pretends that a symbol means a sound.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import ArgumentError, MissingExtraError, SilkError, TokensError
from silkcodec.tokens import Tokens

Codes = NDArray[np.int64]


class MissingLibraryError(MissingExtraError):
    """The Python binding is installed, but the shared library that it calls is not: pip does not bring it.

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
    """Packets, the first `packet_bits` bits of each -> symbols int64 [n_packets * packet_bits / width].

    The bits beyond `packet_bits` in a packet's last byte are padding and are not counted.
    """
    width = symbol_bits(packet_bits)
    raw = np.frombuffer(b"".join(packets), dtype=np.uint8).reshape(len(packets), -1)
    bits = np.unpackbits(raw, axis=1)[:, :packet_bits].reshape(-1, width)  # most significant bit first
    return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def codes_to_packets(codes: Codes, packet_bits: int) -> list[bytes]:
    """The inverse of `packets_to_codes`: packets of ceil(packet_bits / 8) bytes, padded with zero bits."""
    width = symbol_bits(packet_bits)
    bits = (codes[:, None] >> np.arange(width - 1, -1, -1)) & 1
    packed = np.packbits(bits.reshape(-1, packet_bits).astype(np.uint8), axis=1)
    return [row.tobytes() for row in packed]


def check_n_codebooks(n_codebooks: int | None, name: str) -> None:
    """A classical stream cannot be thinned out: its rate is chosen by the preset.

    Raises:
        ArgumentError: n_codebooks is neither None nor 1.
    """
    if n_codebooks not in (None, 1):
        raise ArgumentError(
            f"n_codebooks must be 1 for {name!r}; got {n_codebooks}; a preset chooses the bit rate."
        )


def check_tokens(tokens: Tokens, name: str, sample_rate: int, n_packets: int, packet_bits: int) -> None:
    """Holds tokens to what `decode` takes: this codec and preset, its rate, the packets the wave needs.

    Raises:
        TokensError: they are not.
    """
    if tokens.codec != name or tokens.sample_rate != sample_rate:
        raise TokensError(
            f"tokens must be of the codec {name!r} at {sample_rate} Hz; "
            f"got {tokens.codec!r} at {tokens.sample_rate} Hz: decode them with the codec that made them."
        )
    width = symbol_bits(packet_bits)
    if tokens.codebook_sizes != (1 << width,):
        raise TokensError(
            f"{name!r} has one codebook of {1 << width}; got codebooks of {tokens.codebook_sizes}."
        )
    expected = n_packets * packet_bits // width
    if len(tokens.codes[0]) != expected:
        raise TokensError(
            f"{tokens.n_samples} samples make {expected} tokens of {name!r}; got {len(tokens.codes[0])}."
        )


def find_preset(codec: str, preset: str | None, presets: tuple[str, ...], default: str) -> str:
    """The preset after the colon of a codec's name, or the default one.

    Raises:
        ArgumentError: there is no such preset.
    """
    if preset is None or preset == "":
        return default
    if preset not in presets:
        raise ArgumentError(f"the preset of {codec!r} must be one of {', '.join(presets)}; got {preset!r}.")
    return preset
