"""Test that StreamDecoder.conceal keeps the length, does not click, and lets decoding recover after a loss."""

from __future__ import annotations

import numpy as np
import pytest

from silkcodec.errors import ArgumentError
from silkcodec.silk import Silk
from silkcodec.silk.stream import RISE_SAMPLES, StreamDecoder
from silkcodec.tokens import levels_to_codes

FRAME = 9600


@pytest.fixture(scope="module")
def codes(codec: Silk, speech: np.ndarray) -> np.ndarray:
    return np.stack(codec.encode(np.tile(speech, 2)).codes, axis=1)  # 21 frames


@pytest.fixture(scope="module")
def whole(codec: Silk, codes: np.ndarray) -> np.ndarray:
    return StreamDecoder(codec).feed(codes)


def with_loss(codec: Silk, codes: np.ndarray, start: int, n_lost: int) -> np.ndarray:
    stream = StreamDecoder(codec)
    parts = [stream.feed(codes[:start]), stream.conceal(n_lost), stream.feed(codes[start + n_lost :])]
    assert (stream.n_frames, stream.n_concealed) == (len(codes), n_lost)
    return np.concatenate(parts)


@pytest.mark.parametrize(("start", "n_lost"), [(0, 1), (0, 3), (4, 1), (4, 2), (4, 7), (20, 1)])
def test_a_loss_keeps_the_length_and_the_earlier_samples(
    codec: Silk, codes: np.ndarray, whole: np.ndarray, start: int, n_lost: int
) -> None:
    wave = with_loss(codec, codes, start, n_lost)
    assert (wave.dtype, wave.shape) == (np.float32, whole.shape)
    np.testing.assert_allclose(wave[: start * FRAME], whole[: start * FRAME], atol=1e-4)


def test_a_loss_of_zero_frames_has_no_effect(codec: Silk, codes: np.ndarray) -> None:
    plain, stream = StreamDecoder(codec), StreamDecoder(codec)
    for frame in codes[:4]:
        assert stream.conceal(0).shape == (0,) and stream.feed(codes[:0]).shape == (0,)
        np.testing.assert_array_equal(stream.feed(frame[None]), plain.feed(frame[None]))
    assert stream.n_concealed == 0


def test_concealing_frame_by_frame_equals_concealing_at_once(codec: Silk, codes: np.ndarray) -> None:
    at_once, one_by_one = with_loss(codec, codes, 4, 3), StreamDecoder(codec)
    parts = [one_by_one.feed(codes[:4])]
    for _ in range(3):
        parts += [one_by_one.conceal(), one_by_one.feed(codes[:0])]  # Feeding zero frames does not end the loss.
    parts += [one_by_one.feed(frame[None]) for frame in codes[7:]]
    assert one_by_one.n_concealed == 3
    np.testing.assert_allclose(np.concatenate(parts), at_once, atol=1e-4)


def test_a_loss_fades_to_digital_silence(codec: Silk, codes: np.ndarray) -> None:
    wave = with_loss(codec, codes, 4, 6)
    lost, fade = wave[4 * FRAME : 10 * FRAME], 3 * FRAME  # 1.2 s
    middle = levels_to_codes(np.full((3, 128), 4))
    goes_on = StreamDecoder(codec).feed(np.concatenate([codes[:4], middle]))[4 * FRAME :]
    gain = np.cos(np.pi / 2 * np.arange(fade) / fade) ** 2
    np.testing.assert_allclose(lost[:fade], goes_on * gain, atol=1e-4)
    assert lost[0] and not lost[fade:].any()


def test_a_loss_before_the_first_frame_is_silent(codec: Silk, codes: np.ndarray, whole: np.ndarray) -> None:
    wave = with_loss(codec, np.concatenate([codes[:2], codes[:-2]]), 0, 2)
    assert not wave[: 2 * FRAME].any()
    after = slice(2 * FRAME + RISE_SAMPLES, None)
    np.testing.assert_allclose(
        wave[after], whole[RISE_SAMPLES : -2 * FRAME], atol=1e-4
    )  # The state did not advance during the loss.


@pytest.mark.parametrize("start", range(2, 15))
def test_losses_do_not_click(codec: Silk, codes: np.ndarray, whole: np.ndarray, start: int) -> None:
    """Differences between adjacent samples are not larger than in speech."""
    for n_lost in (1, 2, 5):
        wave = with_loss(codec, codes, start, n_lost)
        largest = np.abs(np.diff(whole)).max()
        for border in (start, start + 3, start + n_lost):  # the fade takes 3 frames
            around = wave[border * FRAME - 50 : border * FRAME + 50]
            assert np.abs(np.diff(around)).max() <= largest
        end = (start + n_lost) * FRAME
        if n_lost > 3:
            assert wave[end - 1] == wave[end] == 0


def test_decoding_recovers_after_a_loss(codec: Silk, codes: np.ndarray, whole: np.ndarray) -> None:
    wave = with_loss(codec, codes, 4, 1)
    apart = np.square(wave - whole).reshape(-1, FRAME).mean(axis=1)
    power = np.square(whole).mean()
    assert apart[4] > 0.1 * power, "the lost frame is another one"
    assert apart[5:].max() < apart[4] and apart[-6:].max() < 0.05 * power


def test_losses_are_concealed_with_any_grouping_and_fewer_codebooks(codec: Silk, codes: np.ndarray) -> None:
    tokens = codec.tokens(codes, len(codes) * FRAME)
    regrouped = StreamDecoder(codec, dims_per_token=4)
    regrouped.feed(np.stack(tokens.regroup(4).codes, axis=1)[:3])
    plain, fewer = StreamDecoder(codec), StreamDecoder(codec, n_codebooks=5)
    plain.feed(codes[:3])
    np.testing.assert_array_equal(regrouped.conceal(2), plain.conceal(2))
    fewer.feed(codes[:3, :5])
    assert fewer.conceal().shape == (FRAME,)


@pytest.mark.parametrize("wrong", [-1, 1.0, "1", True, None])
def test_invalid_frame_counts_are_rejected(codec: Silk, wrong: object) -> None:
    with pytest.raises(ArgumentError, match="n_frames must be a non-negative integer"):
        StreamDecoder(codec).conceal(wrong)  # type: ignore[arg-type]
