"""Test that reading a corrupted .silk file returns the original data or raises ContainerError."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silkcodec import container
from silkcodec.container import structure
from silkcodec.errors import ArgumentError, ContainerError
from silkcodec.files import Playback
from silkcodec.tokens import Tokens
from silkfiles import (
    CODEC,
    FAST,
    HEADER_BYTES,
    Pipe,
    from_bytes,
    to_bytes,
    tokens_of,
)

# Damage


def same_or_error(data: bytes, tokens: Tokens) -> None:
    """Check that the tokens are correct or that ContainerError is raised."""
    try:
        assert from_bytes(data) == tokens
    except ContainerError as error:
        assert error.offset is not None and 0 <= error.offset <= len(data)
        assert str(error.offset) in str(error) or error.offset == 0 or "version" in str(error)
    try:
        result = container.read_damaged(io.BytesIO(data))
    except ContainerError:
        return
    recovered_part, levels = result.tokens.to_levels(), tokens.to_levels()
    np.testing.assert_array_equal(recovered_part, levels[: len(recovered_part)])
    for first, last in ((1, 3), (5, 8)):
        try:
            part = container.read_damaged(io.BytesIO(data), start_s=first * 0.4, duration_s=(last - first) * 0.4)
        except ContainerError:
            continue
        wanted = levels[first:last]
        if part.damage is None:
            np.testing.assert_array_equal(part.tokens.to_levels(), wanted)
        else:
            np.testing.assert_array_equal(part.tokens.to_levels(), wanted[: part.tokens.n_frames])


DAMAGED = {
    entropy: (tokens_of(9, cut=3), to_bytes(tokens_of(9, cut=3), entropy=entropy, chunk_frames=4)) for entropy in (0, 1)
}


@pytest.mark.parametrize("entropy", [0, 1])
def test_every_truncation_is_detected(entropy: int) -> None:
    tokens, data = DAMAGED[entropy]
    for end in range(len(data)):
        with pytest.raises(ContainerError) as caught:
            from_bytes(data[:end])
        assert caught.value.offset == end
        assert (f"ends at byte {end}" if end else "empty") in str(caught.value)
    same_or_error(data + b"\0", tokens)
    with pytest.raises(ContainerError, match="more bytes follow"):
        from_bytes(data + data)


@pytest.mark.parametrize("entropy", [0, 1])
def test_skipping_chunks_finds_the_same_end(entropy: int) -> None:
    """`silk decode` and `silk info` first read the chunks without decoding them."""
    _, data = DAMAGED[entropy]
    for end in range(HEADER_BYTES, len(data)):
        with pytest.raises(ContainerError) as caught:
            container.info(io.BytesIO(data[:end]))
        assert caught.value.offset == end


@pytest.mark.parametrize("flips", [[(0, 1)], [(0, 1), (2, 7)]], ids=["one", "compensating"])
@pytest.mark.parametrize("entropy", [0, 1])
def test_a_part_is_not_read_from_the_wrong_position(entropy: int, flips: list[tuple[int, int]]) -> None:
    """If a damaged count of frames before the part were not detected, the part would start at the wrong frame."""
    data = bytearray(to_bytes(tokens_of(60), entropy=bool(entropy), chunk_frames=20))
    starts = [chunk.offset for chunk in container.info(io.BytesIO(data)).chunks]
    for chunk, bits in flips:
        data[starts[chunk] + 4] ^= bits  # the number of frames; 20 ^ 1 and 20 ^ 7 are 21 and 19
    for options in ({}, {"recover": True}):
        with pytest.raises(ContainerError, match=f"damaged at byte {starts[0]}"):
            from_bytes(bytes(data), start_s=12.0, duration_s=4.0, **options)
    with pytest.raises(ContainerError, match=f"damaged at byte {starts[0]}"):
        container.info(io.BytesIO(data))


@pytest.mark.parametrize("entropy", [0, 1])
def test_every_changed_byte_is_detected(entropy: int) -> None:
    tokens, data = DAMAGED[entropy]
    for i in range(len(data)):
        with pytest.raises(ContainerError):
            from_bytes(data[:i] + bytes([data[i] ^ (1 + i % 255)]) + data[i + 1 :])
    same_or_error(data[:200] + b"\xff" + data[201:], tokens)


@FAST
@given(data=st.data(), entropy=st.sampled_from([0, 1]))
def test_any_damage_is_detected_or_harmless(data: st.DataObject, entropy: int) -> None:
    tokens, whole = DAMAGED[entropy]
    mutable = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutable)))
        what = data.draw(st.sampled_from(["overwrite", "insert", "delete", "repeat"]))
        length = data.draw(st.integers(1, 64))
        if what == "overwrite":
            mutable[at : at + length] = data.draw(st.binary(min_size=1, max_size=length))
        elif what == "insert":
            mutable[at:at] = data.draw(st.binary(min_size=1, max_size=length))
        elif what == "delete":
            del mutable[at : at + length]
        else:
            mutable[at:at] = mutable[at : at + length * 10]
    same_or_error(bytes(mutable), tokens)


def test_swapped_missing_and_repeated_chunks_are_detected() -> None:
    data = to_bytes(tokens_of(30), chunk_frames=10)
    start, size = HEADER_BYTES, 16 + 480
    a, b, c = (data[start + i * size : start + (i + 1) * size] for i in range(3))
    head, end = data[:start], data[start + 3 * size :]
    assert head + a + b + c + end == data
    for chunks in (b + a + c, a + a + c, a + c + b):
        with pytest.raises(ContainerError, match="checksum"):
            from_bytes(head + chunks + end)
    with pytest.raises(ContainerError):
        from_bytes(head + a + b + end)
    other = to_bytes(tokens_of(30, seed=1), chunk_frames=10)
    with pytest.raises(ContainerError, match="checksum"):
        from_bytes(head + a + other[start + size : start + 2 * size] + c + end)


@FAST
@given(data=st.binary(max_size=200), prefix=st.sampled_from([0, 8, 12, 20, HEADER_BYTES, HEADER_BYTES + 16]))
def test_random_bytes_are_rejected(data: bytes, prefix: int) -> None:
    for reading in (container.read, container.read_damaged, container.info):
        with pytest.raises(ContainerError):
            reading(io.BytesIO(DAMAGED[1][1][:prefix] + data))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seekable", [True, False])
def test_the_part_before_the_damage_can_be_read(known: bool, seekable: bool) -> None:
    tokens = tokens_of(60, cut=100)
    file = io.BytesIO()
    options = {"n_samples": tokens.n_samples} if known else {}
    with container.Writer(file, codec=CODEC, **options) as writer:
        writer.write(np.stack(tokens.codes, axis=1))
        writer.finish(tokens.n_samples)
    data = bytearray(file.getvalue())
    second = HEADER_BYTES + 16 + 1200
    third = second + 16 + 1200
    data[third + 16 + 100] ^= 4

    def opened() -> Any:
        return io.BytesIO(data) if seekable else Pipe(bytes(data), 100)

    with pytest.raises(
        ContainerError,
        match=r"To read the 20\.0 s before the damage, use silk decode --recover",
    ) as caught:
        container.read(opened())
    assert caught.value.offset == third and f"byte {third}" in str(caught.value)
    with pytest.warns(container.DamageWarning, match=f"damaged at byte {third}"):
        recovered = container.read(opened(), recover=True)
    np.testing.assert_array_equal(recovered.to_levels(), tokens.to_levels()[:50])
    assert recovered.n_samples == 50 * 9600
    recovered_part = container.read_damaged(opened())
    assert recovered_part.tokens == recovered and str(recovered_part.damage) == str(caught.value)
    assert recovered_part.n_samples_lost == (10 * 9600 - 100 if known else None)
    if seekable:  # A part before the damage can be read without `recover`.
        part = container.read(opened(), start_s=2, duration_s=4)
        np.testing.assert_array_equal(part.to_levels(), tokens.to_levels()[5:15])
    with pytest.raises(ContainerError):  # No frame of this part comes before the damage.
        container.read_damaged(opened(), start_s=22)


def test_a_missing_end_chunk_loses_no_frames() -> None:
    tokens = tokens_of(60, cut=100)
    cut = to_bytes(tokens)[:-3]
    assert container.read_damaged(io.BytesIO(cut)).tokens == tokens
    assert container.read_damaged(io.BytesIO(cut)).n_samples_lost == 0
    contents = container.info(io.BytesIO(cut), recover=True)
    assert contents.n_frames == 60 and contents.damage is not None
    with pytest.raises(ContainerError, match="truncated"):
        container.info(io.BytesIO(cut))


def test_recover_fails_if_there_are_no_frames_before_the_damage() -> None:
    data = to_bytes(tokens_of(60))
    for end in (30, HEADER_BYTES, HEADER_BYTES + 500):
        with pytest.raises(ContainerError, match="truncated"):
            from_bytes(data[:end], recover=True)


# Other files


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "got a WAV file"),
        (b"OggS\0\2", "got an Ogg file"),
        (b"fLaC\0\0\0\x22", "got a FLAC file"),
        (b"ID3\4\0", "got an MP3 file"),
        (b"#!SILK_V3\x1c\0", "Skype's SILK codec"),
        (b"\x02#!SILK_V3\x1c\0", "Skype's SILK codec"),
        (b"hello, world", "got a file that starts with b'hello, w'"),
        (b"\x89SILK\n\x1a\1\0", "text mode"),
        (b"\x89SI", "truncated: it ends at byte 3"),
    ],
)
def test_the_error_names_other_file_formats(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.silk"
    path.write_bytes(data)
    with pytest.raises(ContainerError, match=message) as caught:
        container.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_error_for_a_newer_version_says_to_upgrade() -> None:
    data = to_bytes(tokens_of(3))
    newer = bytearray(data[:12] + b"what version 3 may hold" + b"\0\0\0\0")
    struct.pack_into("<HH", newer, 8, 3, len(newer))
    struct.pack_into("<I", newer, len(newer) - 4, zlib.crc32(newer[:-4]))
    with pytest.raises(ContainerError, match="must be at most 2; got 3"):
        from_bytes(bytes(newer) + data)
    flipped = bytearray(data)
    flipped[8] = 2
    with pytest.raises(ContainerError, match=r"header of .* is damaged"):
        from_bytes(bytes(flipped))


def test_missing_files_and_folders_raise_container_error(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"Cannot read '.*none\.silk': No such file"):
        container.read(tmp_path / "none.silk")
    with pytest.raises(ContainerError, match=r"Cannot read .*: Is a directory"):
        container.read(tmp_path)


def test_text_files_and_other_objects_are_rejected() -> None:
    with pytest.raises(ArgumentError, match="binary mode"):
        container.read(io.StringIO("hello"))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="a path or a binary file object; got bytes"):
        container.read(to_bytes(tokens_of(1)))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="a path or a binary file object; got NoneType"):
        container.write(tokens_of(1), None)  # type: ignore[arg-type]


# Forged files with correct checksums


def forged_header(**fields: Any) -> bytes:
    names = ("sample_rate", "frame_samples", "n_samples", "dims", "codec_bytes")
    values = {"sample_rate": 24_000, "frame_samples": 9_600, "n_samples": 9_600, "dims": 7, "codec_bytes": 4}
    codec = fields.pop("codec", b"silk")
    version = fields.pop("version", 1)
    packed = structure.FIELDS.pack(*((values | fields)[name] for name in names)) + codec
    body = structure.PREFIX.pack(structure.MAGIC, version, 12 + len(packed) + 4) + packed
    return body + structure.CRC.pack(zlib.crc32(body))


def forged(header: bytes, *chunks: tuple[bytes, int, bytes]) -> bytes:
    crc = structure.CRC.unpack(header[-4:])[0]
    for kind, frames, data in chunks:
        chunk, crc = structure.chunk_bytes(kind, frames, data, crc)
        header += chunk
    return header


END_1 = (b"END ", 0, struct.pack("<Q", 9_600))


def test_forged_writes_valid_files() -> None:
    data = forged(forged_header(), (b"RAW ", 1, bytes(48)), END_1)
    assert from_bytes(data) == Tokens.from_levels(np.zeros((1, 128), int), n_samples=9_600, codec="silk")


@pytest.mark.parametrize(
    ("fields", "declares"),
    [
        ({"sample_rate": 44_100}, "9600 samples at 44100 Hz"),
        ({"frame_samples": 0}, "frames of 0 samples"),
        ({"n_samples": 0}, "a recording of 0 samples"),
        ({"dims": 0}, "0 dimensions per token"),
        ({"dims": 255}, "255 dimensions per token"),
        ({"codec": b"", "codec_bytes": 0}, "the codec name ''"),
        ({"codec_bytes": 3}, "the codec name 'silk'"),
        ({"codec": b"s\xffl\n"}, "the codec name"),
        ({"version": 0}, "version 0"),
    ],
)
def test_a_forged_header_is_rejected(fields: dict[str, Any], declares: str) -> None:
    with pytest.raises(ContainerError, match=declares):
        from_bytes(forged(forged_header(**fields), (b"RAW ", 1, bytes(48)), END_1))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"RAW ", 1, bytes(49)), END_1],
        [(b"RAW ", 0, b""), (b"RAW ", 1, bytes(48)), END_1],
        [(b"RAW ", 4097, bytes(48 * 4097)), END_1],
        [(b"CODE", 1, bytes(5)), END_1],
        [(b"CODE", 8, bytes(4)), END_1],
        [(b"CODE", 1, b"\xff" * 40), END_1],
        [(b"NEW ", 1, bytes(48)), END_1],
        [(b"RAW ", 2, bytes(96)), END_1],
        [END_1],
        [(b"RAW ", 1, bytes(48)), (b"END ", 0, struct.pack("<Q", 0))],
        [(b"RAW ", 1, bytes(48)), (b"END ", 0, struct.pack("<Q", 9_601))],
        [(b"RAW ", 1, bytes(48)), (b"END ", 1, struct.pack("<Q", 9_600))],
        [(b"RAW ", 1, bytes(48)), END_1, END_1],
    ],
)
@pytest.mark.parametrize("n_samples", [9_600, 2**64 - 1])
def test_a_forged_chunk_is_rejected(chunks: list[tuple[bytes, int, bytes]], n_samples: int) -> None:
    with pytest.raises(ContainerError):
        from_bytes(forged(forged_header(n_samples=n_samples), *chunks))


def test_header_and_end_chunk_must_match() -> None:
    chunks = (b"RAW ", 1, bytes(48)), (b"END ", 0, struct.pack("<Q", 9_599))
    with pytest.raises(ContainerError, match="1 frames do not match 9599 samples"):
        from_bytes(forged(forged_header(n_samples=9_600), *chunks))
    assert from_bytes(forged(forged_header(n_samples=2**64 - 1), *chunks)).n_samples == 9_599


@pytest.mark.parametrize(
    "data",
    [
        forged(forged_header(n_samples=2**64 - 2), (b"RAW ", 1, bytes(48))),
        forged_header() + struct.pack("<4sIII", b"RAW ", 2**32 - 1, 2**32 - 1, 0) + bytes(48),
        forged_header(n_samples=2**63) + struct.pack("<4sIII", b"RAW ", 4096, 4096 * 48, 0) + bytes(48),
        forged(forged_header(n_samples=2**63), (b"CODE", 99, bytes(100)), (b"CODE", 4096, bytes(4092))),
        structure.MAGIC + struct.pack("<HH", 1, 65_535) + bytes(100),
    ],
    ids=["samples", "chunk", "payload", "coded", "header"],
)
def test_a_forged_count_does_not_allocate_memory(data: bytes) -> None:
    container.read(io.BytesIO(to_bytes(tokens_of(2), entropy=True)))  # Load lazy imports before measuring memory.
    tracemalloc.start()
    with pytest.raises(ContainerError):
        from_bytes(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * len(data) + 8_000_000


class Silent:
    """Replace Silk with a fast decoder that allocates the same memory."""

    FRAMES_PER_CALL = 5

    def check_codec_id(self, _: str) -> None: ...

    def encoder_states(self) -> None: ...

    def decoder_states(self, _: int = 0) -> None: ...

    def codes_to_levels(self, codes: np.ndarray) -> np.ndarray:
        return np.zeros((len(codes), 128), np.uint8)

    def decode_frames(self, levels: np.ndarray, states: None) -> tuple[np.ndarray, None]:
        return np.zeros(len(levels) * 9600, np.float32), states


def test_decoding_memory_does_not_depend_on_the_chunk_length() -> None:
    """A file of 4 kB contains 27 minutes in one range-coded chunk."""
    pytest.importorskip("constriction")
    end = (b"END ", 0, struct.pack("<Q", 4096 * 9600))
    data = forged(forged_header(n_samples=2**64 - 1), (b"CODE", 4096, bytes(4096)), end)
    playback = Playback(Silent(), io.BytesIO(data))  # type: ignore[arg-type]
    tracemalloc.start()
    n_samples = sum(len(wave) for wave in playback.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_samples == 4096 * 9600
    assert peak < 8_000_000
