"""Test quantization errors with a closed form, equal bits, the vectors, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.results import rounded
from silkcodec.silk import Silk
from silkcodec_lab import chains, pages
from silkcodec_lab.chains import ResidualChain, ScalarGrid, bits_of, split_bits
from silkcodec_lab.quantization_error.experiment import (
    QUANTIZERS,
    compare,
    log_mel_patches,
    own_rounding,
    quantization_error,
    silk_vectors,
)
from speechlike import speechlike


def drawn(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(shape: tuple[int, ...]) -> torch.Tensor:
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1


def share(quantizer: ResidualChain | ScalarGrid, vectors: torch.Tensor) -> float:
    lost = (vectors - quantizer.quantize(vectors)).square().sum()
    return float(lost / (vectors - vectors.mean(dim=0)).square().sum())


# --- chains


@pytest.mark.parametrize("seed", range(5))
def test_k_means_on_k_separated_points_has_no_error(seed: int) -> None:
    lattice = torch.cartesian_prod(*3 * [torch.arange(-1.0, 2.0)])
    points = 100 * lattice[torch.randperm(27, generator=torch.Generator().manual_seed(seed))[:8]]
    vectors = points.repeat(20, 1)
    chain = ResidualChain.fit(vectors, [8], seed, steps=200)
    assert torch.equal(chain.quantize(vectors), vectors)
    assert sorted(map(tuple, chain.books[0].entries.tolist())) == sorted(map(tuple, points.tolist()))


def test_two_chained_codebooks_find_a_sum_of_two() -> None:
    coarse = torch.tensor([[-100.0, 0.0], [100.0, 0.0], [0.0, 100.0], [0.0, -100.0]])
    fine = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    vectors = (coarse[:, None] + fine[None]).reshape(-1, 2).repeat(30, 1)
    chain = ResidualChain.fit(vectors, [4, 2], seed=0, steps=200)
    assert torch.equal(chain.quantize(vectors), vectors)


def test_one_entry_is_the_mean_and_more_entries_have_the_expected_error() -> None:
    line = uniform((20_000, 1))
    assert share(ResidualChain.fit(line, [1], seed=0), line) == pytest.approx(1.0, abs=1e-4)
    for bits in (1, 2, 3):  # k equal cells: 1 / k^2 of the variance
        assert share(ResidualChain.fit(line, [2**bits], seed=0, steps=300), line) == pytest.approx(4.0**-bits, rel=0.03)


def test_fits_are_reproducible_and_keep_the_random_state() -> None:
    vectors = drawn((300, 4))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (ResidualChain.fit(vectors, [16, 4], seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.quantize(vectors), again.quantize(vectors))
    assert not torch.equal(first.quantize(vectors), other.quantize(vectors))


def test_chunks_do_not_change_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = drawn((300, 4))
    book = ResidualChain.fit(vectors, [16], 0).books[0]
    monkeypatch.setattr(chains, "CHUNK", 7)
    assert torch.equal(chains.nearest(book, vectors), book.nearest(vectors))


# --- grids


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_a_grid_has_the_expected_error_for_uniform_numbers(bits: int) -> None:
    numbers = uniform((20_000, 1))
    grid = ScalarGrid(numbers, bits, rotated=False)
    assert grid.sizes == [2**bits] and float(grid.steps) == pytest.approx(2 / 2**bits, rel=0.02)
    assert share(grid, numbers) == pytest.approx(4.0**-bits, rel=0.02)


def test_two_levels_have_the_expected_error_for_gaussian_numbers() -> None:
    assert share(ScalarGrid(drawn((20_000, 1)), 1, rotated=False), drawn((20_000, 1), 1)) == pytest.approx(
        1 - 2 / np.pi, rel=0.02
    )


def test_bits_are_allocated_by_variance_after_rotation() -> None:
    line = uniform((20_000, 1)) * torch.tensor([[3.0, 4.0]]) / 5
    assert ScalarGrid(line, 4, rotated=True).sizes == [16]
    assert share(ScalarGrid(line, 4, rotated=True), line) == pytest.approx(1 / 256, rel=0.03)
    assert ScalarGrid(line, 4, rotated=False).bits == [2, 2]
    assert share(ScalarGrid(line, 4, rotated=False), line) == pytest.approx(1 / 16, rel=0.03)
    assert ScalarGrid(line * torch.tensor([[1.0, 0.0]]), 3, rotated=False).bits == [3, 0]


# --- equal bits


@pytest.mark.parametrize("bits", range(1, 13))
def test_all_quantizers_have_equal_bits(bits: int) -> None:
    for codebooks in (1, 2, 4):
        sizes = split_bits(bits, codebooks)
        assert bits_of(sizes) == bits and len(sizes) == codebooks and max(sizes) <= 2 * min(sizes)
    for rotated in (False, True):
        assert bits_of(ScalarGrid(drawn((200, 4)), bits, rotated=rotated).sizes) == bits


def test_codebooks_with_too_few_vectors_are_skipped() -> None:
    vectors = drawn((40, 4)).numpy()
    found = compare(vectors, [vectors], [1, 2, 4, 5], [0], lambda: None)["quantizers"]
    assert {name: [point is not None for point in points] for name, points in found.items()} == {
        "vq": [True, True, True, False],
        "rvq2": [False, True, True, True],
        "rvq4": [False, False, True, True],
        "fsq": [True] * 4,
        "fsq_pca": [True] * 4,
    }


def test_held_out_errors_are_weighted_by_the_variance_of_a_clip() -> None:
    train = uniform((4_000, 2)).numpy()
    clips = [train[:1_000], 0.5 * train[1_000:1_100]]
    found = compare(train, clips, [2], [0, 1], lambda: None)
    point = found["quantizers"]["fsq"][0]
    assert point["train"] == pytest.approx(1 / 4, rel=0.03) and point["sizes"] == [2, 2]
    lost = sum(np.square(clip - (np.sign(clip - train.mean(0)) / 2 + train.mean(0))).sum() for clip in clips)
    varied = sum(np.square(clip - train.mean(0)).sum() for clip in clips)
    assert point["held_out"]["mean"] == pytest.approx(lost / varied, rel=0.01)
    assert len(point["seeds"]) == 2 and point["held_out"]["n"] == 2


# --- the vectors


def test_silk_vectors_are_the_latents_before_rounding(codec: Silk, speech: np.ndarray) -> None:
    for n_samples in (100, 9_600, 40_000):
        wave = speech[30_000 : 30_000 + n_samples]
        latents = codec.latents(wave)
        assert latents.dtype == np.float32 and latents.shape == (-(-n_samples // 9_600), 128)
        assert np.array_equal(np.rint(latents) + 4, codec.encode(wave).to_levels())
        assert latents.min() > -4.01 and latents.max() < 3.01
    assert len(silk_vectors(codec, speech[:9_599])) == 0
    assert silk_vectors(codec, speech[:20_000]).shape == (2 * 32, 4)


def test_own_rounding_has_the_expected_error_for_uniform_latents() -> None:
    latents = np.random.default_rng(0).uniform(-3.5, 2.5, (20_000, 4))
    found = own_rounding([latents.astype(np.float32)], [-0.5] * 4, 0)
    assert found["bits"] == 12 and found["held_out"]["mean"] == pytest.approx(1 / 6**2, rel=0.02)


def test_mel_patches_are_the_spectrogram(speech: np.ndarray) -> None:
    from silkcodec.mel import log_mel

    patches, columns = log_mel_patches(speech[:48_000]), log_mel(speech[:48_000])
    assert patches.shape == (49 * 32, 16)  # 200 columns, of which the last two would need the look-ahead
    assert np.array_equal(patches[32 + 3].reshape(4, 4), columns[4:8, 12:16])
    assert len(log_mel_patches(speech[:1_000])) == 0


# --- the experiment


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        audio.write(folder / f"{i}.wav", speechlike(3.0, seed=i), 24_000)
    return folder


@pytest.fixture(scope="module")
def result(clips: Path) -> dict[str, Any]:
    return rounded(quantization_error([clips], n_seeds=2, bits=[1, 4, 8]))


def test_more_bits_reduce_the_error(result: dict[str, Any]) -> None:
    for found in result["latents"].values():
        for name in QUANTIZERS:
            errors = [point["train"] for point in found["quantizers"][name] if point]
            assert errors == sorted(errors, reverse=True) and 0 < errors[-1] < 1
    assert result["latents"]["silk"]["vectors_per_second"] == pytest.approx(80, rel=0.1)
    assert 0 < result["latents"]["silk"]["own_rounding"]["held_out"]["mean"] < 0.2


def test_the_page_contains_the_measurements(result: dict[str, Any], tmp_path: Path) -> None:
    written, figure = pages.write(result, tmp_path)
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    point = result["latents"]["mel"]["quantizers"]["fsq_pca"][-1]  # 8 bits: VQ's 256 entries were fitted too
    assert f"{100 * point['held_out']['mean']:.3g} %" in text and "| 256 | 8 |" in text


def test_invalid_arguments_are_errors(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="at least two clips"):
        quantization_error([clips / "0.wav"])
    for i in range(2):
        audio.write(tmp_path / f"{i}.wav", speechlike(0.3, seed=i), 24_000)
    with pytest.raises(ArgumentError, match="400 ms or more"):
        quantization_error([tmp_path], n_seeds=1, bits=[1])


@pytest.mark.slow
def test_the_command_writes_result_page_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        audio.write(tmp_path / "speech" / f"{i}.wav", speechlike(1.0, seed=i), 24_000)
    done = CliRunner().invoke(app, ["lab", "quantization-error", "speech", "-o", "out", "--seeds", "1"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "quantization-error.json",
        "quantization-error.md",
        "quantization-error.png",
    ]
    done = CliRunner().invoke(app, ["lab", "quantization-error", "speech", "-o", "out"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1) and "already exists" in done.stderr
