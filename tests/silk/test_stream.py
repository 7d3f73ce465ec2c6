"""Test that streaming gives the same tokens for any chunks, without additional delay or frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silkcodec.errors import ArgumentError, AudioError, TokensError
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder, StreamEncoder

FRAME, LOOKAHEAD = 9600, 480


def cut(array: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(array, np.minimum(np.cumsum(lengths), len(array)).astype(int))


def stream_codes(codec: Silk, wave: np.ndarray, cuts: list[int], sample_rate: int = 24_000) -> np.ndarray:
    stream = StreamEncoder(codec, sample_rate)
    return np.concatenate([*(stream.feed(part) for part in cut(wave, cuts)), stream.flush()])


def whole_codes(codec: Silk, wave: np.ndarray, sample_rate: int = 24_000) -> np.ndarray:
    return np.stack(codec.encode(wave, sample_rate).codes, axis=1)


@settings(max_examples=12)
@given(
    cuts=st.lists(st.sampled_from([0, 1, 2, 479, 480, 481, 9599, 9600, 9601]) | st.integers(0, 30_000), max_size=12),
    n_samples=st.integers(1, 60_000),
)
def test_codes_do_not_depend_on_the_chunks(codec: Silk, speech: np.ndarray, cuts: list[int], n_samples: int) -> None:
    wave = speech[:n_samples]
    np.testing.assert_array_equal(stream_codes(codec, wave, cuts), whole_codes(codec, wave))


def test_chunks_of_one_sample_give_the_same_codes(codec: Silk, speech: np.ndarray) -> None:
    wave = speech[20_000:41_000]
    np.testing.assert_array_equal(stream_codes(codec, wave, [1] * len(wave)), whole_codes(codec, wave))


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_codes_do_not_depend_on_the_chunks_at_other_sample_rates(codec: Silk, speech: np.ndarray, rate: int) -> None:
    chunks = [882] * 60 + [1, 0, 10_000]
    np.testing.assert_array_equal(stream_codes(codec, speech, chunks, rate), whole_codes(codec, speech, rate))


@pytest.fixture(scope="module")
def codes(codec: Silk, speech: np.ndarray) -> np.ndarray:
    return whole_codes(codec, speech)


@pytest.fixture(scope="module")
def decoded(codec: Silk, codes: np.ndarray) -> np.ndarray:
    return StreamDecoder(codec).feed(codes)


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(0, 4), max_size=8))
def test_decoding_does_not_depend_on_the_chunks(
    codec: Silk, codes: np.ndarray, decoded: np.ndarray, cuts: list[int]
) -> None:
    stream = StreamDecoder(codec)
    pieces = [stream.feed(piece) for piece in np.split(codes, np.minimum(np.cumsum(cuts), len(codes)).astype(int))]
    np.testing.assert_array_equal(np.concatenate(pieces), decoded)
    assert stream.n_frames == len(codes) == sum(len(piece) for piece in pieces) // FRAME


def test_a_loss_can_be_given_as_a_numpy_integer(codec: Silk) -> None:
    for n_frames in (np.uint8(2), np.int16(4)):
        assert len(StreamDecoder(codec).conceal(n_frames)) == int(n_frames) * FRAME


def test_a_frame_is_returned_420_ms_after_its_start(codec: Silk, speech: np.ndarray) -> None:
    stream = StreamEncoder(codec)
    assert len(stream.feed(speech[: FRAME + LOOKAHEAD - 1])) == 0
    assert len(stream.feed(speech[FRAME + LOOKAHEAD - 1 : FRAME + LOOKAHEAD])) == 1
    assert (FRAME + LOOKAHEAD) / codec.sample_rate == codec.latency_s == 0.42


def test_later_samples_do_not_change_returned_frames(codec: Silk, speech: np.ndarray) -> None:
    seen = 3 * FRAME + LOOKAHEAD
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    codes = whole_codes(codec, np.concatenate([speech[:seen], noise]))
    np.testing.assert_array_equal(codes[:3], whole_codes(codec, speech)[:3])


def test_streams_that_share_a_model_are_independent(codec: Silk, speech: np.ndarray) -> None:
    waves = [speech, speech[::-1].copy(), 0.1 * speech]
    alone = [whole_codes(codec, wave) for wave in waves]
    streams = [StreamEncoder(codec) for _ in waves]
    parts: list[list[np.ndarray]] = [[] for _ in waves]
    for start in range(0, len(speech), 5000):
        for stream, wave, codes in zip(streams, waves, parts, strict=True):
            codes.append(stream.feed(wave[start : start + 5000]))
    for stream, codes, expected in zip(streams, parts, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate([*codes, stream.flush()]), expected)
    with ThreadPoolExecutor(3) as pool:
        for codes, expected in zip(pool.map(lambda wave: whole_codes(codec, wave), waves), alone, strict=True):
            np.testing.assert_array_equal(codes, expected)


def test_an_empty_stream_has_no_frames(codec: Silk) -> None:
    stream = StreamEncoder(codec)
    assert stream.feed([]).shape == (0, 19)
    assert stream.flush().shape == (0, 19)
    assert StreamDecoder(codec).feed(np.zeros((0, 19), int)).shape == (0,)


def test_n_codebooks_selects_the_first_codebooks(codec: Silk, speech: np.ndarray) -> None:
    stream = StreamEncoder(codec, n_codebooks=5)
    codes = np.concatenate([stream.feed(speech), stream.flush()])
    np.testing.assert_array_equal(codes, whole_codes(codec, speech)[:, :5])
    assert len(StreamDecoder(codec, n_codebooks=5).feed(codes)) == len(codes) * FRAME
    with pytest.raises(TokensError, match=r"must have shape \[frames, 19\]; .* pass n_codebooks=5"):
        StreamDecoder(codec).feed(codes)
    with pytest.raises(TokensError, match=r"must have shape \[frames, 5\]"):
        StreamDecoder(codec, n_codebooks=5).feed(codes[:, :4])


def test_transposed_codes_are_rejected(codec: Silk, speech: np.ndarray) -> None:
    codes = np.stack(codec.encode(speech).codes)  # [19, 11], as in Tokens and other codecs
    for n_frames in (1, 5, 11):
        with pytest.raises(TokensError, match=r"looks like \[codebooks, frames\]; pass codes\.T"):
            StreamDecoder(codec).feed(codes[:, :n_frames])
    with pytest.raises(TokensError, match=r"must have shape \[frames, 128\]"):
        StreamDecoder(codec, dims_per_token=1).feed(codes.T)
    assert len(StreamDecoder(codec).feed(codes.T)) == 11 * FRAME


def test_stereo_chunks_of_one_sample_are_averaged(codec: Silk, speech: np.ndarray) -> None:
    stereo = np.stack([speech[:12_000], np.zeros(12_000, np.float32)], axis=1)
    stream = StreamEncoder(codec)
    codes = [stream.feed(stereo[:1]), stream.feed(stereo[1:3]), stream.feed(stereo[3:]), stream.flush()]
    np.testing.assert_array_equal(np.concatenate(codes), whole_codes(codec, speech[:12_000] / 2))


def test_errors_describe_incorrect_calls(codec: Silk, speech: np.ndarray) -> None:
    stream = StreamEncoder(codec)
    stream.feed(speech[:100])
    with pytest.raises(AudioError, match=r"got nan at sample 102"):
        stream.feed([0.0, 0.0, np.nan])
    stream.flush()
    with pytest.raises(ArgumentError, match="after flush"):
        stream.feed(speech[:100])
    with pytest.raises(ArgumentError, match="Cannot flush a stream twice"):
        stream.flush()
    with pytest.raises(ArgumentError, match=r"n_codebooks must be between 1 and 19 for 'silk'; got 20"):
        StreamEncoder(codec, n_codebooks=20)
    with pytest.raises(AudioError, match="whole number in Hz"):
        StreamEncoder(codec, 24)
    with pytest.raises(AudioError, match="Convert 16-bit values"):
        StreamEncoder(codec).feed([12_000, -12_000])
    with pytest.raises(ArgumentError, match="must be a loaded Silk codec"):
        StreamEncoder("silk")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="must be a loaded Silk codec"):
        StreamDecoder(None)  # type: ignore[arg-type]
    decoder = StreamDecoder(codec)
    for wrong in (
        np.full((1, 19), 8**7),
        np.full((1, 19), -1),
        np.zeros((1, 20), int),
        np.zeros(19, int),
        [[0.5]],
    ):
        with pytest.raises(TokensError):
            decoder.feed(wrong)
