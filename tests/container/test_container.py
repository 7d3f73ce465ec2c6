"""Test writing and reading .silk files, including streams, pipes and parts of a recording."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silkcodec import container
from silkcodec.container import Reader, Writer
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.tokens import Tokens, levels_to_codes
from silkfiles import (
    CODEC,
    FAST,
    HEADER_BYTES,
    Pipe,
    from_bytes,
    random_levels,
    some_tokens,
    to_bytes,
    tokens_of,
)

# Round trips


@FAST
@given(tokens=some_tokens(), entropy=st.booleans(), chunk_frames=st.integers(1, 13))
def test_written_tokens_can_be_read(tokens: Tokens, entropy: bool, chunk_frames: int) -> None:
    data = to_bytes(tokens, entropy=entropy, chunk_frames=chunk_frames)
    assert from_bytes(data) == tokens
    assert container.read(Pipe(data)) == tokens
    assert container.read_damaged(io.BytesIO(data)) == container.Recovered(tokens, None, 0)


@pytest.mark.parametrize("n_samples", [1, 9_599, 9_600, 9_601, 240_000, 240_001])
@pytest.mark.parametrize("entropy", [False, True])
def test_lengths_near_frame_boundaries_are_preserved(tmp_path: Path, n_samples: int, entropy: bool) -> None:
    levels = random_levels(-(-n_samples // 9600))
    tokens = Tokens.from_levels(levels, n_samples=n_samples, codec=CODEC)
    container.write(tokens, tmp_path / "a.silk", entropy=entropy)
    assert container.read(tmp_path / "a.silk") == tokens
    assert container.read(str(tmp_path / "a.silk")).n_samples == n_samples


def test_raw_frames_have_48_bytes() -> None:
    data = to_bytes(tokens_of(100))
    contents = container.info(io.BytesIO(data))
    assert contents.payload_bytes == 100 * 48
    assert contents.payload_bps == 960.0
    assert contents.n_bytes == len(data) == HEADER_BYTES + 4 * 16 + 100 * 48 + 16 + 8
    assert contents.file_bps < 960 * 1.03


def test_the_grouping_is_stored_and_does_not_change_the_frames() -> None:
    tokens = tokens_of(30)
    data, regrouped = to_bytes(tokens), to_bytes(tokens.regroup(4))
    assert from_bytes(regrouped) == tokens.regroup(4) != tokens
    payload_of = [
        [d[c.offset + 16 : c.offset + 16 + c.n_bytes] for c in container.info(io.BytesIO(d)).chunks]
        for d in (data, regrouped)
    ]
    assert payload_of[0] == payload_of[1]


def test_writing_twice_gives_the_same_bytes() -> None:
    assert to_bytes(tokens_of(60), entropy=True) == to_bytes(tokens_of(60), entropy=True)


def test_info_checks_all_checksums_without_constriction(monkeypatch: pytest.MonkeyPatch) -> None:
    data = to_bytes(tokens_of(100, cut=5), entropy=True, chunk_frames=40)
    monkeypatch.setitem(sys.modules, "constriction", None)
    contents = container.info(io.BytesIO(data))
    assert contents.header == container.Header(CODEC, 7, 100 * 9600 - 5)
    assert [(c.coded, c.first_frame, c.n_frames) for c in contents.chunks] == [
        (True, 0, 40),
        (True, 40, 40),
        (True, 80, 20),
    ]
    assert (contents.n_frames, contents.n_samples, contents.damage) == (100, 100 * 9600 - 5, None)


# Streams


def test_the_length_of_a_stream_is_unknown_until_its_end() -> None:
    tokens = tokens_of(33, cut=9_599)
    codes = np.stack(tokens.codes, axis=1)
    file = io.BytesIO()
    with container.Writer(file, codec=CODEC, chunk_frames=10) as writer:
        for part in np.split(codes, [1, 1, 12, 30]):
            writer.write(part)
        writer.finish(tokens.n_samples)
    data = file.getvalue()
    assert len(data) == writer.n_bytes and writer.n_frames == 33
    assert from_bytes(data) == tokens
    assert container.info(io.BytesIO(data)).header.n_samples is None
    assert container.info(Pipe(data)).n_samples == tokens.n_samples


def test_chunks_do_not_depend_on_the_calls_of_write() -> None:
    codes = np.stack(tokens_of(33).codes, axis=1)
    files = []
    for cuts in ([], [1, 2, 3, 20], list(range(33))):
        file = io.BytesIO()
        with container.Writer(file, codec=CODEC, n_samples=33 * 9600, chunk_frames=8) as writer:
            for part in np.split(codes, cuts):
                writer.write(part)
        files.append(file.getvalue())
    assert files[0] == files[1] == files[2] == to_bytes(tokens_of(33), chunk_frames=8)


def test_a_reader_returns_flushed_frames_and_stops_at_the_end_chunk() -> None:
    codes = np.stack(tokens_of(3).codes, axis=1)
    read_end, write_end = os.pipe()
    got: list[np.ndarray] = []
    arrived = [threading.Event(), threading.Event()]

    def receive() -> None:
        with os.fdopen(read_end, "rb") as file:
            for frames in container.Reader(file).frames():
                got.append(frames)
                arrived[len(got) - 1].set()

    with os.fdopen(write_end, "wb") as file:
        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        writer = container.Writer(file, codec=CODEC)
        writer.write(codes[:2])
        writer.flush()
        assert arrived[0].wait(10)
        writer.write(codes[2:])
        writer.finish(3 * 9600)
        assert arrived[1].wait(10)
        thread.join(10)  # The pipe is still open, but the reader stops at the end chunk.
        assert not thread.is_alive()
    np.testing.assert_array_equal(np.concatenate(got), codes)


def test_small_numpy_integers_can_be_lengths() -> None:
    file = io.BytesIO()
    with container.Writer(file, codec=CODEC, n_samples=np.uint16(28_800)) as writer:
        writer.write(np.stack(tokens_of(3).codes, axis=1))
    assert from_bytes(file.getvalue()).n_samples == 28_800


def test_a_writer_rejects_inconsistent_calls() -> None:
    codes = np.stack(tokens_of(3).codes, axis=1)
    writer = container.Writer(io.BytesIO(), codec=CODEC, n_samples=28_800)
    with pytest.raises(TokensError, match=r"\[frames, 19\]"):
        writer.write(codes[:, :5])
    writer.write(codes[:2])
    with pytest.raises(TokensError, match="28800 samples require 3 Silk frames; got 2"):
        writer.finish()
    writer.write(codes[2:])
    with pytest.raises(ArgumentError, match=r"must be 28800, .* got 28799"):
        writer.finish(28_799)
    writer.finish(28_800)
    with pytest.raises(ArgumentError, match="after finish"):
        writer.write(codes)
    with pytest.raises(ArgumentError, match="after finish"):
        writer.finish(28_800)
    with (
        pytest.raises(ArgumentError, match="n_samples must be passed"),
        container.Writer(io.BytesIO(), codec=CODEC) as writer,
    ):
        writer.write(codes)
    with pytest.raises(ArgumentError, match="at least 1; got 0"):
        container.Writer(io.BytesIO(), codec=CODEC).finish(0)


@pytest.mark.parametrize("gain", [1e-6, 1e6])
def test_a_file_stores_the_smallest_and_the_largest_gain(gain: float) -> None:
    file = io.BytesIO()
    with container.Writer(file, codec=CODEC, n_samples=28_800, gain=gain) as writer:
        writer.write(np.stack(tokens_of(3).codes, axis=1))
    file.seek(0)
    assert container.info(file).header.gain == np.float32(gain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_frames": 0}, "chunk_frames must be between 1 and 4096; got 0"),
        ({"chunk_frames": 4097}, "got 4097"),
        ({"n_samples": 0}, "n_samples must be an integer of at least 1; got 0"),
        ({"n_samples": 1.5}, "n_samples must be an integer"),
        ({"n_samples": 2**64}, "n_samples must be an integer"),
        ({"dims_per_token": 21}, "dims_per_token must be between 1 and 20; got 21"),
        ({"codec": ""}, "codec must be"),
        ({"codec": "é" * 128}, "codec must be"),
        ({"codec": "a\nb"}, "codec must be"),
    ],
)
def test_a_writer_rejects_invalid_arguments_before_creating_a_file(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        container.Writer(tmp_path / "a.silk", **({"codec": CODEC} | options))
    assert not list(tmp_path.iterdir())


def test_tokens_from_another_codec_are_rejected(tmp_path: Path) -> None:
    mimi = Tokens((np.arange(5),) * 8, (2048,) * 8, (12.5,) * 8, 24_000, 9_000, "mimi@abc")
    with pytest.raises(TokensError, match=r"can store only tokens in Silk's layout.*'mimi@abc'"):
        container.write(mimi, tmp_path / "a.silk")
    assert not list(tmp_path.iterdir())


# Seeking


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_part_has_the_frames_that_overlap_it(entropy: bool, seekable: bool, known: bool) -> None:
    tokens = tokens_of(60, cut=100)
    file = io.BytesIO()
    n_samples = tokens.n_samples
    options = {"n_samples": n_samples} if known else {}
    with container.Writer(file, codec=CODEC, entropy=entropy, chunk_frames=7, **options) as writer:
        writer.write(np.stack(tokens.codes, axis=1))
        writer.finish(n_samples)

    def part(**options: Any) -> Tokens:
        data = file.getvalue()
        return container.read(io.BytesIO(data) if seekable else Pipe(data, 1000), **options)

    def frames(first: int, last: int) -> Tokens:
        cut = min(last * 9600, n_samples) - first * 9600
        return Tokens.from_levels(tokens.to_levels()[first:last], n_samples=cut, codec=CODEC)

    assert part(start_s=0.0) == tokens
    assert part(start_s=2.8, duration_s=2.8) == frames(7, 14)  # a whole chunk
    assert part(start_s=2.9, duration_s=2.8) == frames(7, 15)
    assert part(start_s=0.3999, duration_s=0.001) == frames(0, 2)
    assert part(start_s=1.0, duration_s=1e-9) == frames(2, 3)
    assert part(start_s=23.9) == frames(59, 60)
    assert part(start_s=20.0, duration_s=1e12) == frames(50, 60)
    with pytest.raises(ArgumentError, match=r"before the end of the input, which is at 23\.996 s; got 24\.0 s"):
        part(start_s=24.0)


def test_reading_a_part_stops_after_it() -> None:
    class Counting(io.BytesIO):
        n_read = 0

        def read(self, n: int | None = -1) -> bytes:
            data = super().read(n)
            self.n_read += len(data)
            return data

    tokens = tokens_of(4000)
    file = Counting(to_bytes(tokens))
    part = container.read(file, start_s=40, duration_s=10)
    np.testing.assert_array_equal(part.to_levels(), tokens.to_levels()[100:125])
    assert file.n_read == HEADER_BYTES + 6 * (
        16 + 25 * 48
    )  # the chunks before the part, its own chunk and the next chunk
    file.seek(0)
    with container.Reader(file) as reader:
        assert len(list(reader.frames(0, 25))) == 1
        assert reader.n_bytes == len(file.getvalue())  # size of the file in the report of a decoded part


@pytest.mark.parametrize("entropy", [False, True])
def test_long_chunks_are_returned_in_small_pieces(entropy: bool) -> None:
    levels = np.full((4096, 128), 3)
    data = to_bytes(Tokens.from_levels(levels, n_samples=4096 * 9600, codec=CODEC), entropy=entropy, chunk_frames=4096)
    with container.Reader(io.BytesIO(data)) as reader:
        assert [len(codes) for codes in reader.frames()] == [25] * 163 + [21]
    with container.Reader(io.BytesIO(data)) as reader:
        assert [len(codes) for codes in reader.frames(30, 81)] == [25, 25, 1]


@pytest.mark.parametrize(
    "options",
    [{"start_s": -1}, {"start_s": float("nan")}, {"start_s": 1e300}, {"duration_s": 0}, {"duration_s": float("inf")}],
)
def test_invalid_parts_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"must be (between 0 and|above 0 and at most) 1e\+12 seconds"):
        from_bytes(to_bytes(tokens_of(3)), **options)


@pytest.mark.parametrize("dims_per_token", [7, 4])
def test_levels_and_codes_give_the_same_file(tmp_path: Path, dims_per_token: int) -> None:
    levels = np.random.default_rng(0).integers(0, 8, (5, 128)).astype(np.uint8)
    paths = tmp_path / "levels.silk", tmp_path / "codes.silk"
    for path in paths:
        with Writer(path, codec="silk@0a1b2c3d4e5f", dims_per_token=dims_per_token, n_samples=5 * 9600) as writer:
            if path is paths[0]:
                writer.write_levels(levels)
            else:
                writer.write(levels_to_codes(levels, dims_per_token))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Reader(paths[0]) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.levels())), levels)


@pytest.mark.parametrize(
    "levels", [np.full((1, 128), 8), np.full((1, 128), -1), np.zeros((1, 127), int), np.zeros((1, 128))]
)
def test_invalid_levels_are_rejected(levels: Any) -> None:
    writer = Writer(io.BytesIO(), codec="silk@0a1b2c3d4e5f")
    with pytest.raises(TokensError, match=r"^levels must be"):
        writer.write_levels(levels)
