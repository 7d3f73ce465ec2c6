"""Test Silk's rates and sizes, lossless regrouping, and the refusal of invalid values."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from silkcodec import spec
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.tokens import Tokens, codebook_sizes, codes_to_levels, levels_to_codes, n_frames

CODEC = "silk@0a1b2c3d4e5f"


def levels_of(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, (frames, 128))


def silk(frames: int = 3, n_samples: int | None = None) -> Tokens:
    return Tokens.from_levels(levels_of(frames), n_samples=n_samples or frames * 9600, codec=CODEC)


def mimi_like(**changes: Any) -> Tokens:
    codes = tuple(np.arange(5) * (k + 1) for k in range(8))
    fields: dict[str, Any] = {
        "codes": codes,
        "codebook_sizes": (2048,) * 8,
        "frame_rates": (12.5,) * 8,
        "sample_rate": 24_000,
        "n_samples": 9_000,
        "codec": "mimi@abc",
    }
    return Tokens(**(fields | changes))


def snac_like() -> Tokens:
    rates = (11.71875, 23.4375, 46.875)
    codes = tuple(np.zeros(4 * 2**k, int) for k in range(3))
    return Tokens(codes, (4096,) * 3, rates, 24_000, 8_000, "snac@abc")


def test_constants_of_the_format_are_defined_once() -> None:
    """Check that other modules can rename a constant but do not repeat its value."""
    package = Path(spec.__file__).parent
    again = [
        f"{path.relative_to(package)}: {target.id}"
        for path in sorted(package.rglob("*.py"))
        if path.name != "spec.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and node.value.value == getattr(spec, target.id, None)
    ]
    assert again == []


def test_silk_has_19_groups_18_of_seven_dimensions_and_one_of_two() -> None:
    assert codebook_sizes(7) == (2_097_152,) * 18 + (64,)
    assert codebook_sizes(4) == (4_096,) * 32
    assert codebook_sizes(1) == (8,) * 128


@pytest.mark.parametrize("n_samples", [1, 9_599, 9_600, 9_601, 24_000, 86_400_001])
@pytest.mark.parametrize("dims_per_token", [7, 4, 1])
def test_rates_do_not_depend_on_the_length(n_samples: int, dims_per_token: int) -> None:
    frames = min(n_frames(n_samples), 9_001)
    it = Tokens.from_levels(
        levels_of(frames), n_samples=min(n_samples, frames * 9600), codec=CODEC, dims_per_token=dims_per_token
    )
    assert it.tokens_per_second == 2.5 * len(it.codes)
    assert it.bits_per_second == 960.0
    assert it.n_frames == frames == int(np.ceil(it.n_samples / 9600))


def test_the_rate_of_a_multi_scale_codec_is_the_sum_of_its_codebooks() -> None:
    snac = snac_like()
    assert snac.n_frames == 4 and snac.n_tokens == 28
    assert snac.tokens_per_second == pytest.approx(82.03125)
    assert snac.bits_per_second == pytest.approx(82.03125 * 12)


def test_the_first_dimension_is_the_least_significant() -> None:
    levels = np.zeros((1, 128), int)
    levels[0, :9] = [5, 1, 7, 0, 2, 6, 3, 4, 1]
    codes = levels_to_codes(levels)
    assert codes[0, 0] == sum(level * 8**i for i, level in enumerate([5, 1, 7, 0, 2, 6, 3]))
    assert codes[0, 1] == 4 + 1 * 8


@given(
    levels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(128)), elements=st.integers(0, 7)),
    dims=st.lists(st.integers(1, 20), min_size=1, max_size=3),
)
@settings(max_examples=50)
def test_any_chain_of_groupings_is_lossless(levels: np.ndarray, dims: list[int]) -> None:
    it = Tokens.from_levels(levels, n_samples=len(levels) * 9600, codec=CODEC)
    regrouped = it
    for n in dims:
        regrouped = regrouped.regroup(n)
        assert regrouped.dims_per_token == n and regrouped.codebook_sizes == codebook_sizes(n)
    assert regrouped.to_levels().dtype == np.uint8
    np.testing.assert_array_equal(regrouped.to_levels(), levels)
    assert regrouped.regroup(7) == it


def test_zero_frames_give_zero_codes() -> None:
    assert levels_to_codes(np.zeros((0, 128), int)).shape == (0, 19)
    assert codes_to_levels(np.zeros((0, 19), int)).shape == (0, 128)


def test_equality_is_by_value() -> None:
    assert silk() == silk() and hash(silk()) == hash(silk())
    assert silk(3) != silk(4)
    assert silk(3, 28_800) != silk(3, 28_799)
    assert mimi_like() != mimi_like(codec="mimi@abd")
    assert silk() != "silk"


def test_codes_are_copied_and_read_only() -> None:
    codes = [np.zeros(5, np.int32) for _ in range(8)]
    it = mimi_like(codes=codes)
    codes[0][:] = 9
    assert it.codes[0].dtype == np.int64 and not it.codes[0].any()
    with pytest.raises(ValueError, match="read-only"):
        it.codes[0][0] = 1


def test_another_process_gets_equal_and_read_only_tokens() -> None:
    for it in (silk(3, 28_799), mimi_like()):
        copied = pickle.loads(pickle.dumps(it))
        assert copied == it
        with pytest.raises(ValueError, match="read-only"):
            copied.codes[0][0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": tuple(np.zeros(5, int) for _ in range(7))}, "one entry per codebook; got 7, 8 and 8"),
        ({"codes": (), "codebook_sizes": (), "frame_rates": ()}, "one entry per codebook"),
        (
            {"codes": tuple(np.full(5, 2048) for _ in range(8))},
            "codebook 0 must be between 0 and 2047; got 2048",
        ),
        ({"codes": tuple(np.full(5, -1) for _ in range(8))}, "must be between 0 and 2047; got -1"),
        ({"codes": tuple(np.full(5, 2**63, np.uint64) for _ in range(8))}, "must be between 0 and 2047"),
        ({"codes": tuple(np.zeros(5) for _ in range(8))}, "integers; got float64"),
        ({"codes": tuple(np.zeros(5, bool) for _ in range(8))}, "integers; got bool"),
        ({"codes": tuple(np.zeros((1, 5), int) for _ in range(8))}, "one-dimensional"),
        ({"codes": tuple(np.zeros(0, int) for _ in range(8))}, "non-empty"),
        ({"codes": ([[1], [2, 3]],) * 8}, "must be an array of integers"),
        ({"codes": None}, "must be sequences"),
        ({"codebook_sizes": 2048}, "must be sequences"),
        ({"frame_rates": ("fast",) * 8}, "must be sequences"),
        ({"codebook_sizes": (0,) * 8}, "codebook size must be an integer of at least 1; got 0"),
        ({"frame_rates": (0.0,) * 8}, "positive"),
        ({"frame_rates": (float("nan"),) * 8}, "positive"),
        ({"sample_rate": 24_000.5}, "sample_rate must be an integer"),
        ({"n_samples": 0}, "n_samples must be an integer of at least 1; got 0"),
        ({"n_samples": True}, "n_samples must be an integer"),
        ({"codec": ""}, "codec must be"),
        ({"codec": "a\nb"}, "codec must be"),
    ],
)
def test_inconsistent_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokensError, match=message):
        mimi_like(**changes)


@pytest.mark.parametrize("n_samples", [1, 19_200, 28_801])
def test_silk_frames_must_fit_the_samples(n_samples: int) -> None:
    with pytest.raises(TokensError, match=r"require \d Silk frames in every codebook; got 3"):
        silk(3, n_samples)


def test_levels_out_of_range_or_shape_are_refused() -> None:
    with pytest.raises(TokensError, match="between 0 and 7; got 0 to 8"):
        levels_to_codes(np.eye(1, 128, dtype=int) * 8)
    with pytest.raises(TokensError, match=r"\[frames, 128\]; got \(3, 127\)"):
        levels_to_codes(np.zeros((3, 127), int))
    with pytest.raises(TokensError, match=r"\[frames, 19\]; got \(3, 32\)"):
        codes_to_levels(np.zeros((3, 32), int))
    with pytest.raises(TokensError, match=r"codebook 18 must be between 0 and 63; got 64 to 64"):
        codes_to_levels(np.eye(19, dtype=int)[-1:] * 64)


@pytest.mark.parametrize("dims_per_token", [0, -1, 21, 2.5, "7"])
def test_impossible_groupings_are_refused(dims_per_token: Any) -> None:
    with pytest.raises(ArgumentError, match=r"dims_per_token must be between 1 and 20"):
        silk().regroup(dims_per_token)


@pytest.mark.parametrize("other", [mimi_like(), snac_like()])
def test_other_codecs_have_no_levels(other: Tokens) -> None:
    assert other.dims_per_token is None
    with pytest.raises(TokensError, match="Only tokens in Silk's layout"):
        other.to_levels()
    with pytest.raises(TokensError, match="Only tokens in Silk's layout"):
        other.regroup(4)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("it", [silk(3), silk(3).regroup(4), mimi_like()], ids=["7", "4", "mimi"])
def test_language_model_ids_round_trip(it: Tokens, shared: bool) -> None:
    ids = it.to_ids(shared=shared)
    assert ids.shape == (it.n_tokens,)
    assert ids.max() < (max if shared else sum)(it.codebook_sizes)
    assert it.from_ids(ids, n_samples=it.n_samples, shared=shared) == it


def test_ids_are_in_frame_order_and_determine_their_codebook() -> None:
    it = silk(2)
    ids = it.to_ids()
    assert ids[1] == 8**7 + it.codes[1][0] and ids[19] == it.codes[0][1]
    assert it.from_ids(ids[:19]).n_samples == 9_600


@pytest.mark.parametrize(("ids", "message"), [(np.zeros(18, int), "whole frames of 19"), ([], "ids must be")])
def test_a_sequence_must_be_whole_frames(ids: Any, message: str) -> None:
    with pytest.raises(TokensError, match=message):
        silk().from_ids(ids)


def test_an_id_of_another_codebook_is_refused() -> None:
    ids = silk(1).to_ids()
    with pytest.raises(TokensError, match="codebook 0 must be"):
        silk().from_ids(ids[::-1])


def test_a_multi_scale_codec_has_no_single_sequence() -> None:
    with pytest.raises(TokensError, match="equal frame rates"):
        snac_like().to_ids()
    with pytest.raises(TokensError, match="equal frame rates"):
        snac_like().from_ids([1, 2, 3])


def test_small_numpy_integers_can_be_group_sizes() -> None:
    assert silk(3).regroup(np.int8(4)) == silk(3).regroup(4)


def test_a_vocabulary_beyond_64_bits_is_refused() -> None:
    assert len(silk(1).regroup(20).to_ids()) == 7  # The ids of 7 codebooks of up to 2^60 codes just fit into 63 bits.
    huge = Tokens((np.zeros(1, int),) * 9, (2**60,) * 9, (1.0,) * 9, 24_000, 1, "other")
    with pytest.raises(TokensError, match="fewer dimensions per token"):
        huge.to_ids()
