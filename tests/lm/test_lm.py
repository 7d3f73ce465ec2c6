"""Test that sequences for language models are lossless and match the drawings in the docstrings."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silkcodec import lm
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.lm.layout import heads
from silkcodec.silk import Silk
from silkcodec.tokens import Tokens

SILK = "silk@0a1b2c3d4e5f"


def silk(n_frames: int = 3, n_samples: int | None = None, dims: int = 7, seed: int = 0) -> Tokens:
    levels = np.random.default_rng(seed).integers(0, 8, (n_frames, 128))
    return Tokens.from_levels(levels, n_samples=n_samples or n_frames * 9_600, codec=SILK, dims_per_token=dims)


def tokens(codes: list[list[int]], sizes: tuple[int, ...], rates: tuple[float, ...], n_samples: int = 24_000) -> Tokens:
    return Tokens(tuple(np.array(c) for c in codes), sizes, rates, 24_000, n_samples, "other@abc")


@st.composite
def drawn(draw: Any) -> Tokens:
    """Draw tokens of any length from Silk in any grouping, from residual codecs and from multi-scale codecs."""
    n_frames, rng = draw(st.integers(1, 4)), np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        n_samples = n_frames * 9_600 - draw(st.integers(0, 9_599))
        levels = rng.integers(0, 8, (n_frames, 128))
        return Tokens.from_levels(levels, n_samples=n_samples, codec=SILK, dims_per_token=draw(st.integers(1, 20)))
    ratios = draw(st.lists(st.sampled_from([1, 1, 2, 3, 4]), min_size=1, max_size=5))
    slowest = min(ratios)
    ratios = [1 if ratio == slowest else ratio * slowest for ratio in ratios]
    sizes = draw(st.sampled_from([[2, 64, 1024, 4096, 1000], [8192, 2**14, 64, 2**16, 2]]))[: len(ratios)]
    codes = [rng.integers(0, size, ratio * n_frames) for size, ratio in zip(sizes, ratios, strict=True)]
    rates = tuple(12.5 * ratio for ratio in ratios)
    return Tokens(tuple(codes), tuple(sizes), rates, 24_000, draw(st.integers(1, 100_000)), "snac_24khz@abc")


ENDS = st.booleans()


@settings(max_examples=60)
@given(drawn(), st.sampled_from([0, 50_257]), st.booleans(), ENDS, ENDS)
def test_flat_is_lossless(it: Tokens, offset: int, shared: bool, bos: bool, eos: bool) -> None:
    flat = lm.Flat(lm.Layout.of(it), offset=offset, shared=shared)
    ids = flat.encode(it, bos=bos, eos=eos)
    assert ids.shape == (it.n_tokens + bos + eos,) and offset <= ids.min() and ids.max() < flat.size
    allowed = [flat.allowed(step) for step in range(it.n_tokens)]
    assert all(part.start <= code < part.stop for part, code in zip(allowed, ids[bos:], strict=False))
    assert flat.decode(ids, n_samples=it.n_samples) == it


@settings(max_examples=60)
@given(drawn(), ENDS, ENDS)
def test_factorized_is_lossless(it: Tokens, bos: bool, eos: bool) -> None:
    factorized = lm.Factorized(lm.Layout.of(it))
    steps = factorized.encode(it, bos=bos, eos=eos)
    assert steps.shape == (it.n_tokens + bos + eos, factorized.sizes.shape[1]) and steps.max() < factorized.head_size
    assert factorized.decode(steps, n_samples=it.n_samples) == it


@settings(max_examples=60)
@given(drawn(), st.booleans(), st.sampled_from(["none", "one by one", "any"]), ENDS, ENDS, st.randoms())
def test_heads_are_lossless_with_any_delays(
    it: Tokens, digits: bool, late: str, bos: bool, eos: bool, random: Any
) -> None:
    layout = lm.Layout.of(it)
    delays = {"none": None, "one by one": range(layout.n_tokens)}.get(
        late, [random.randrange(4) for _ in layout.codebook_of]
    )
    heads = lm.Heads(layout, delays=delays, digits=digits)
    steps = heads.encode(it, bos=bos, eos=eos)
    assert steps.shape == (it.n_frames + bos + eos + max(heads.delays), *heads.sizes.shape)
    assert steps.max() < heads.head_size
    assert heads.decode(steps, n_samples=it.n_samples) == it


@settings(max_examples=60)
@given(drawn())
def test_text_is_lossless(it: Tokens) -> None:
    layout = lm.Layout.of(it)
    text = lm.to_text(it)
    assert lm.from_text(text, layout) == it
    assert lm.from_text(text.replace("><", "> <") + "\n", layout) == it
    assert lm.segments(f"Hello! {text} Again? {text}", layout) == ["Hello! ", it, " Again? ", it]


@settings(max_examples=30)
@given(drawn())
def test_split_and_join_are_inverse(it: Tokens) -> None:
    layout = lm.Layout.of(it)
    codes, frames = layout.codes(it), layout.frames(it)
    assert np.array_equal(layout.join(frames), codes) and np.array_equal(layout.split(codes), frames)
    assert (frames < layout.head_sizes).all() and layout.tokens(codes, it.n_samples) == it


@pytest.mark.parametrize("dims", [1, 2, 4, 7, 20])
def test_every_grouping_gives_the_same_recording(dims: int) -> None:
    it = silk(3, n_samples=28_000)
    flat = lm.Flat(lm.Layout.of(it.regroup(dims)))
    assert flat.decode(flat.encode(it.regroup(dims)), n_samples=28_000).regroup(7) == it


# --- contents of the arrays


def test_flat_ids_follow_the_text_ids_and_the_special_ids() -> None:
    it = silk(2, dims=4)
    flat = lm.Flat(lm.Layout.of(it), offset=1_000)
    ids = flat.encode(it)
    assert (ids[0], ids[-1], flat.pad, flat.size) == (1_000, 1_001, 1_002, 1_003 + 32 * 4_096)
    assert np.array_equal(ids[1:-1] - 1_003, it.to_ids())
    assert flat.allowed(33) == slice(1_003 + 4_096, 1_003 + 2 * 4_096)
    assert lm.Flat(lm.Layout.of(it), shared=True).size == 4_099


def test_factorized_steps_are_the_levels_of_silk() -> None:
    it = silk(2)
    factorized = lm.Factorized(lm.Layout.of(it))
    steps = factorized.encode(it)
    assert steps.shape == (2 * 19 + 2, 7) and factorized.head_size == 11
    assert (steps[0] == factorized.bos).all() and (steps[-1] == factorized.eos).all()
    levels = steps[1:-1].reshape(2, 19 * 7)
    assert np.array_equal(levels[:, :128], it.to_levels()) and not levels[:, 128:].any()


def test_the_delay_pattern_in_closed_form() -> None:
    """In figure 1 of Copet et al. (2023), token k of frame t is at step t + k."""
    rows = np.arange(1, 10).reshape(3, 3).T
    late = lm.delay(rows, before=-1, after=-2)
    assert late.T.tolist() == [[1, 2, 3, -2, -2], [-1, 4, 5, 6, -2], [-1, -1, 7, 8, 9]]
    it = silk(5)
    heads = lm.Heads(lm.Layout.of(it), delays=range(19))
    steps = heads.encode(it, bos=False, eos=False)
    for step in range(5 + 18):
        for k in range(19):
            frame = step - k
            code = heads.bos if frame < 0 else it.codes[k][frame] if frame < 5 else heads.pad
            assert steps[step, k] == code


@given(st.integers(0, 5), st.lists(st.integers(0, 4), min_size=1, max_size=4), st.booleans())
def test_undelay_is_the_inverse_of_delay(n_steps: int, delays: list[int], deep: bool) -> None:
    rows = np.random.default_rng(0).integers(0, 9, (n_steps, len(delays), 3) if deep else (n_steps, len(delays)))
    late = lm.delay(rows, delays, before=10, after=11)
    assert late.shape == (n_steps + max(delays), *rows.shape[1:])
    assert np.array_equal(lm.undelay(late, delays), rows)


def test_tokens_of_multi_scale_codecs_are_in_time_order() -> None:
    it = tokens([[1, 2], [10, 11, 12, 13], [20, 21, 22, 23, 24, 25, 26, 27]], (4, 16, 32), (12.0, 24.0, 48.0))
    ids = lm.Flat(lm.Layout.of(it), shared=True).encode(it, bos=False, eos=False)
    assert (ids - 3).tolist() == [1, 10, 20, 21, 11, 22, 23, 2, 12, 24, 25, 13, 26, 27]
    assert lm.to_text(it, end=False).startswith("<|other:0:1|><|other:1:10|><|other:2:20|><|other:2:21|><|other:1:11|>")


def test_text_of_silk() -> None:
    it = silk(1, n_samples=9_000)
    text = lm.to_text(it)
    codes = [int(codes[0]) for codes in it.codes]
    assert text == "".join(f"<|silk:{k}:{code}|>" for k, code in enumerate(codes)) + "<|silk:end:9000|>"
    assert lm.to_text(it.regroup(4)).startswith(f"<|silk/4:0:{codes[0] % 4_096}|>")
    assert lm.from_text(lm.to_text(it, end=False), lm.Layout.of(it)).n_samples == 9_600


def test_texts_contain_only_the_listed_strings() -> None:
    it = silk(2, dims=2)
    known = list(lm.strings(lm.Layout.of(it)))
    assert len(known) == len(set(known)) == 4_096
    assert {f"{part}|>" for part in lm.to_text(it, end=False).split("|>")[:-1]} <= set(known)


@pytest.mark.parametrize("size", [1, 2, 1_000, 1_024, 4_096, 2**13, 2**14, 2**16, 8**7, 2**60])
def test_the_product_of_the_heads_is_the_codebook_size(size: int) -> None:
    (found,) = heads((size,))
    assert math.prod(found) == size and max(found) <= 4_096


def test_sequences_of_different_lengths_are_padded() -> None:
    factorized = lm.Factorized(lm.Layout.of(silk()))
    rows = [factorized.encode(silk(n, seed=n)) for n in (2, 1, 3)]
    batch, true = lm.pad(rows, factorized.pad)
    assert batch.shape == (3, 3 * 19 + 2, 7) and true.sum(1).tolist() == [40, 21, 59]
    assert [factorized.decode(row) for row in batch] == [silk(n, seed=n) for n in (2, 1, 3)]


def test_of_codec_gives_the_layout_of_the_tokens(codec: Silk) -> None:
    it = codec.encode(np.zeros(24_000, np.float32))
    assert lm.Layout.of_codec(codec) == lm.Layout.of(it)
    assert lm.Layout.of_codec(codec, dims_per_token=4) == lm.Layout.of(it.regroup(4))
    assert lm.Layout.of(it).raw_bits_per_frame == 384
    assert lm.Layout.of(codec.encode(np.zeros(24_000, np.float32), n_codebooks=3)).n_tokens == 3


# --- invalid sequences and arguments


def test_an_incomplete_frame_is_an_error_or_is_cut() -> None:
    it = silk(2)
    layout = lm.Layout.of(it)
    flat, factorized = lm.Flat(layout), lm.Factorized(layout)
    for sequence, kind in ((flat.encode(it)[:30], flat), (factorized.encode(it)[:30], factorized)):
        with pytest.raises(TokensError, match="whole frames of 19"):
            kind.decode(sequence)
        assert kind.decode(sequence, cut=True).n_frames == 1
    text = lm.to_text(it, end=False)
    half = text[: text.index("<|silk:5:", 300)]
    with pytest.raises(TokensError, match="whole frames of 19"):
        lm.from_text(half, layout)
    assert lm.from_text(half, layout, cut=True).n_frames == 1


def test_truncated_delayed_steps_give_the_complete_frames() -> None:
    it = silk(5)
    heads = lm.Heads(lm.Layout.of(it), delays=range(19), digits=True)
    assert heads.decode(heads.encode(it)[: 1 + 2 + 18]).n_frames == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda ids, flat: ids[:1], "at least one frame"),
        (lambda ids, flat: np.insert(ids, 5, flat.bos), "A bos token is allowed only at the first step"),
        (lambda ids, flat: ids[::-1], "at least one frame"),
        (lambda ids, flat: ids.astype(float), "1-dimensional integer array"),
        (lambda ids, flat: ids[None], "1-dimensional integer array"),
        (
            lambda ids, flat: np.where(np.arange(len(ids)) == 3, flat.size - 1, ids),
            r"codes\[0, 2\] must be between 0 and 4095",
        ),
    ],
)
def test_invalid_ids_are_refused(change: Any, says: str) -> None:
    it = silk(1, dims=4)
    flat = lm.Flat(lm.Layout.of(it))
    with pytest.raises(TokensError, match=says):
        flat.decode(change(flat.encode(it), flat))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "got ''"),
        ("words", "got 'words'"),
        ("<|silk:1:0|>", "must be from codebook 0"),
        ("<|silk:end:4|>", "got 0 tokens"),
        ("<|silk:0:2097152|>" + "".join(f"<|silk:{k}:0|>" for k in range(1, 19)), r"codes\[0, 0\] must be"),
        ("<|silk/4:0:1|>", "got '<|silk/4"),
        (f"<|silk:0:{'9' * 5_000}|>", "got '<|silk:0:9"),  # more digits than `int` converts
    ],
)
def test_text_that_is_not_one_recording_is_refused(text: str, says: str) -> None:
    with pytest.raises(TokensError, match=says.replace("|", r"\|")):
        lm.from_text(text, lm.Layout.of(silk()))


@pytest.mark.parametrize("n_digits", [20, 5_000])
def test_a_token_with_a_huge_number_is_not_taken_for_words(n_digits: int) -> None:
    layout = lm.Layout.of(silk())
    for numbers in (f"0:{'9' * n_digits}", f"{'9' * n_digits}:0", f"end:{'9' * n_digits}"):
        with pytest.raises(TokensError, match="at most 19 digits"):
            lm.segments(f"words <|silk:{numbers}|>", layout)


def test_the_largest_code_is_lossless_as_text() -> None:
    it = Tokens((np.array([8**20 - 1]),), (8**20,), (2.5,), 24_000, 9_600, "demo@0a1b2c")
    assert lm.from_text(lm.to_text(it), lm.Layout.of(it)) == it  # 19 digits


def test_tokens_of_another_codec_or_grouping_are_refused() -> None:
    flat = lm.Flat(lm.Layout.of(silk()))
    for other in (silk(dims=4), tokens([[1]], (4,), (12.5,))):
        with pytest.raises(TokensError, match="must match the layout"):
            flat.encode(other)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (tokens([[1], [2]], (4, 4), (10.0, 15.0)), "whole multiples"),
        (tokens([[1, 1], [2, 1, 0]], (4, 4), (10.0, 20.0)), "whole frames"),
        (tokens([[1]], (5_000,), (10.0,)), "powers of two"),
        (tokens([[1], [1]], (8_192, 1_000), (10.0, 10.0)), "powers of two"),
    ],
)
def test_tokens_without_a_layout_are_refused(made: Tokens, says: str) -> None:
    with pytest.raises(TokensError, match=says):
        lm.Layout.of(made)


def test_other_wrong_arguments_are_one_sentence(codec: Silk) -> None:
    layout = lm.Layout.of(silk())
    for offset in (-1, 2.5, True):
        with pytest.raises(ArgumentError, match="offset must be"):
            lm.Flat(layout, offset=offset)  # type: ignore[arg-type]
    with pytest.raises(TokensError, match=r"2\^63 - 1 ids"):
        lm.Flat(layout, offset=2**63 - 5)
    for delays in ([0] * 18, [-1] * 19, [0.5] * 19):
        with pytest.raises(ArgumentError, match="19 non-negative integers"):
            lm.Heads(layout, delays=delays)  # type: ignore[arg-type]
    with pytest.raises(TokensError, match="at least 18"):
        lm.undelay(np.zeros((5, 19), int))
    with pytest.raises(TokensError, match="in token strings"):
        lm.to_text(Tokens((np.zeros(1, int),), (4,), (10.0,), 24_000, 10, "a|b"))


def test_the_package_is_light() -> None:
    script = "import sys, silkcodec.lm; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "soundfile", "soxr", "torch", "scipy", "transformers"} & set(loaded)
