"""Test finite scalar quantization against a public implementation and the closed form of its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ as ReferenceFSQ

from silkcodec.tokens import codes_to_levels, levels_to_codes
from silkcodec_torch.quantizers import FSQ


def latents(n: int, d: int, seed: int = 0) -> torch.Tensor:
    """Return values float32 [1, n, d], both well inside the range and far outside it."""
    return 2.5 * torch.randn(1, n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [1, 3])
def test_equals_the_reference(d: int) -> None:
    latent = latents(500, d)
    theirs, their_codes = ReferenceFSQ(levels=[8] * d)(latent)
    ours = FSQ()(latent)
    assert torch.allclose(ours.latent, theirs, atol=1e-6)
    assert torch.equal((ours.codes * 8 ** torch.arange(d)).sum(-1), their_codes.long())  # first dimension lowest
    assert ours.loss == 0


@pytest.mark.parametrize("n_levels", [3, 4, 5, 8])
def test_bounded_values_equal_the_reference_for_any_number_of_levels(n_levels: int) -> None:
    latent, ours = latents(300, 2), FSQ(n_levels)
    theirs = ReferenceFSQ(levels=[n_levels] * 2).bound(latent)  # bounded and rounded
    assert torch.allclose(torch.round(ours.bound(latent)) / ours.half_width, theirs, atol=1e-6)
    assert torch.allclose(ours(latent).latent, theirs, atol=1e-6)


def test_bound_is_the_formula_of_the_paper() -> None:
    latent = latents(200, 4).double()
    half_range = 7 * 1.001 / 2
    expected = np.tanh(latent.numpy() + math.atanh(0.5 / half_range)) * half_range - 0.5
    bounded = FSQ().bound(latent)
    assert np.allclose(bounded.numpy(), expected, atol=1e-5)
    assert bounded.min() > -4.5 and bounded.max() < 3.5


def test_gradient_is_that_of_the_bound() -> None:
    fsq = FSQ()
    latent = latents(50, 6)[0].requires_grad_(True)
    weights = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    (fsq(latent).latent * weights).sum().backward()
    slope = fsq.half_range * (1 - torch.tanh(latent.detach() + fsq.shift) ** 2) / fsq.half_width
    assert latent.grad is not None and torch.allclose(latent.grad, weights * slope, atol=1e-6)

    latent.grad = None
    fsq(latent).latent[:, 2].sum().backward()
    assert torch.count_nonzero(latent.grad) == torch.count_nonzero(latent.grad[:, 2]) > 0


def test_gradient_equals_the_references() -> None:
    ours, theirs = (latents(50, 3).requires_grad_(True) for _ in range(2))
    FSQ()(ours).latent.square().sum().backward()
    ReferenceFSQ(levels=[8] * 3)(theirs)[0].square().sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_stays_float32_under_bfloat16_autocast() -> None:
    latent = latents(400, 8)
    plain = FSQ()(latent)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = FSQ()(latent)
        half = FSQ()(latent.bfloat16())
    assert mixed.latent.dtype == half.latent.dtype == torch.float32
    assert torch.equal(mixed.latent, plain.latent) and torch.equal(mixed.codes, plain.codes)
    assert torch.equal(
        half.codes, FSQ()(latent.bfloat16().float()).codes
    )  # no loss of precision beyond that of the input


def test_all_levels_and_no_others_are_reached() -> None:
    codes = FSQ()(torch.linspace(-50, 50, 100_001)).codes
    assert codes.dtype == torch.int64
    assert torch.equal(codes.unique(), torch.arange(8))
    assert torch.all(codes.diff() >= 0)  # the order of the values does not change
    moderate = FSQ()(torch.linspace(-5, 5, 10_001)).codes
    assert torch.equal(moderate.unique(), torch.arange(8))  # including the outermost level, for a finite input
    assert torch.equal(FSQ()(torch.zeros(3)).codes, torch.full((3,), 4))


def test_levels_to_latent_and_back() -> None:
    fsq = FSQ()
    levels = torch.arange(8).repeat(128, 1).T  # [8, 128]
    decoded = fsq.decode(levels)
    assert torch.equal(decoded[:, 0], torch.tensor([-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]))
    latent = torch.atanh((decoded * 4 + 0.5) / fsq.half_range) - fsq.shift  # the inverse of the bound
    again = fsq(latent)
    assert torch.equal(again.codes, levels)
    assert torch.allclose(again.latent, decoded, atol=1e-6)
    assert torch.equal(fsq.decode(levels.to(torch.uint8)), decoded)


def test_levels_are_unchanged_by_packing() -> None:
    levels = FSQ()(latents(20, 128)).codes[0]
    codes = levels_to_codes(levels.numpy())
    assert codes.shape == (20, 19)
    assert np.array_equal(codes_to_levels(codes), levels.numpy())
    assert codes[0, 0] == sum(int(level) * 8**i for i, level in enumerate(levels[0, :7]))


def test_no_codebook_is_stored() -> None:
    assert not FSQ().state_dict() and not list(FSQ().buffers())


def test_one_level_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        FSQ(1)
