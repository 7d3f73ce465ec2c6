"""Test VQ, RVQ and multi-scale RVQ against public implementations or closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

from silkcodec_torch.quantizers import RVQ, VQ, Codebook, MultiScaleRVQ

KINDS: dict[str, Callable[[], nn.Module]] = {
    "vq": lambda: VQ(16, vectors=4, entries=32),
    "rvq": lambda: RVQ(16, vectors=4, codebooks=3, entries=16, dropout=0.0),
    "multiscale": lambda: MultiScaleRVQ(16, vectors=8, strides=(4, 2, 1), entries=16),
}


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=KINDS)
def quantizer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    return KINDS[request.param]()


def test_vq_equals_the_reference_over_training_steps() -> None:
    """Compare codes, output, loss, gradient and the updated codebook, without k-means and without resets."""
    theirs = VectorQuantize(
        dim=4, codebook_size=32, decay=0.9, commitment_weight=0.25, threshold_ema_dead_code=0, rotation_trick=False
    )
    ours = VQ(4, vectors=1, entries=32)
    ours.codebook.decay, ours.codebook.reset_below = 0.9, 0.0
    ours.codebook.entries.copy_(theirs.codebook)
    ours.codebook.sums.copy_(theirs.codebook)
    ours.codebook.ready.fill_(True)
    for step in range(4):
        mine, yours = (latents(1, 400, 4, seed=step).requires_grad_(True) for _ in range(2))
        got = ours(mine)
        latent, codes, loss = theirs(yours)
        assert torch.equal(got.codes[..., 0], codes)
        assert torch.allclose(got.latent, latent, atol=1e-5)
        assert torch.allclose(got.loss, loss.sum(), atol=1e-6)
        (got.latent.square().sum() + got.loss).backward()
        (latent.square().sum() + loss.sum()).backward()
        assert mine.grad is not None and yours.grad is not None
        assert torch.allclose(mine.grad, yours.grad, atol=1e-4)
        assert torch.allclose(ours.codebook.entries, theirs.codebook, atol=1e-4)


def test_rvq_equals_the_reference() -> None:
    theirs = ResidualVQ(dim=4, num_quantizers=3, codebook_size=16).eval()
    ours = RVQ(4, vectors=1, codebooks=3, entries=16).eval()
    for mine, layer in zip(ours.codebooks, theirs.layers, strict=True):
        mine.entries.copy_(layer.codebook)
    latent = latents(1, 300, 4)
    expected, codes, _ = theirs(latent)
    got = ours(latent)
    assert torch.equal(got.codes, codes)
    assert torch.allclose(got.latent, expected, atol=1e-5)


def test_multiscale_without_strides_is_rvq() -> None:
    rvq, multiscale = RVQ(16, vectors=4, codebooks=3, entries=16).eval(), MultiScaleRVQ(16, 4, (1, 1, 1), 16).eval()
    multiscale.codebooks.load_state_dict(rvq.codebooks.state_dict())
    latent = latents(2, 5, 16)
    theirs, ours = rvq(latent), multiscale(latent)
    assert torch.equal(ours.codes.unflatten(-1, (3, 4)).transpose(-1, -2), theirs.codes.unflatten(-1, (4, 3)))
    assert torch.allclose(ours.latent, theirs.latent)


def test_a_coarse_codebook_quantizes_the_mean_of_its_stride() -> None:
    quantizer = MultiScaleRVQ(4, vectors=4, strides=(4,), entries=2).eval()
    quantizer.codebooks[0].entries.copy_(torch.tensor([[-1.0], [1.0]]))
    got = quantizer(torch.tensor([[3.0, -1.0, -1.0, 0.0], [-3.0, 0.0, 0.0, 2.0]]))
    assert got.codes.tolist() == [[1], [0]]  # means 0.25 and -0.25
    assert got.latent.tolist() == [[1.0] * 4, [-1.0] * 4]


def test_snac_has_the_same_codes() -> None:
    """Compare with the authors' package, with identity projections.

    The package compares directions, so the entries and the vectors have length 1 here."""
    snac = pytest.importorskip("snac.vq", reason="the snac package, in the [baselines] extra")
    theirs = snac.VectorQuantize(input_dim=8, codebook_size=64, codebook_dim=8, stride=2).eval()
    for projection in (theirs.in_proj, theirs.out_proj):
        weight = projection.parametrizations.weight
        weight.original1.data = torch.eye(8)[..., None]
        weight.original0.data = torch.ones_like(weight.original0)
        projection.bias.data.zero_()
    theirs.codebook.weight.data = nn.functional.normalize(theirs.codebook.weight.data)
    ours = MultiScaleRVQ(8 * 6, vectors=6, strides=(2,), entries=64).eval()
    ours.codebooks[0].entries.copy_(theirs.codebook.weight.data)
    halves = nn.functional.normalize(latents(5, 3, 8), dim=-1)
    vectors = halves.repeat_interleave(2, dim=1)  # [5, 6, 8]
    with torch.inference_mode():
        expected, codes = theirs(vectors.transpose(1, 2))
    got = ours(vectors.flatten(1))
    assert torch.equal(got.codes, codes)
    assert torch.allclose(got.latent.view(5, 6, 8).transpose(1, 2), expected, atol=1e-5)


def test_decode_equals_the_output_of_forward(quantizer: nn.Module) -> None:
    latent = latents(3, 7, 16)
    quantizer(latent)  # a training batch initializes the codebooks
    got = quantizer.eval()(latent)
    assert got.latent.shape == latent.shape and got.codes.dtype == torch.int64
    assert got.codes.shape == (3, 7, len(quantizer.codebook_sizes))
    assert torch.allclose(quantizer.decode(got.codes), got.latent, atol=1e-5)
    assert math.isclose(quantizer.bits_per_frame, sum(math.log2(size) for size in quantizer.codebook_sizes))
    highest = got.codes.flatten(0, -2).amax(dim=0)
    assert (highest < torch.tensor(quantizer.codebook_sizes)).all()


def test_the_gradient_passes_straight_through(quantizer: nn.Module) -> None:
    latent = latents(2, 3, 16).requires_grad_(True)
    weights = latents(2, 3, 16, seed=1)
    (quantizer.eval()(latent).latent * weights).sum().backward()
    assert latent.grad is not None and torch.allclose(latent.grad, weights, atol=1e-6)


def test_evaluation_changes_nothing(quantizer: nn.Module) -> None:
    quantizer(latents(3, 40, 16))
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer.eval()(latents(3, 40, 16, seed=9))
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_float32_under_autocast(quantizer: nn.Module) -> None:
    latent = latents(3, 40, 16)
    quantizer(latent)
    plain = quantizer.eval()(latent)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quantizer(latent)
    assert mixed.latent.dtype == torch.float32 and torch.equal(mixed.codes, plain.codes)


def test_training_reduces_the_error(quantizer: nn.Module) -> None:
    errors = []
    for step in range(60):
        latent = latents(8, 40, 16, seed=step)
        errors.append(float((quantizer(latent).latent - latent).square().mean()))
    assert sum(errors[-5:]) < sum(errors[1:6])


def test_kmeans_finds_separate_clusters() -> None:
    centres = torch.tensor([[8.0, 0.0], [-8.0, 0.0], [0.0, 8.0], [0.0, -8.0]])
    torch.manual_seed(1)
    vectors = (centres.repeat(50, 1) + 0.1 * latents(200, 2)).float()
    best = min(_kmeans_error(vectors) for _ in range(5))  # a draw can start with two centers in one cluster
    assert best < 0.05


def _kmeans_error(vectors: torch.Tensor) -> float:
    codebook = Codebook(4, 2)
    codebook.begin(vectors)
    return float((codebook(codebook.nearest(vectors)) - vectors).square().mean())


def test_fewer_vectors_than_entries_are_accepted() -> None:
    codebook = Codebook(64, 2)
    codebook.begin(latents(10, 2))
    assert torch.isfinite(codebook.entries).all()
    assert len(codebook.entries.unique(dim=0)) == 64  # noise separates copies of one vector


def test_a_dead_entry_is_moved_onto_the_data() -> None:
    torch.manual_seed(0)
    codebook = Codebook(8, 2, decay=0.5)
    codebook.begin(latents(100, 2))
    codebook.entries[5] = codebook.sums[5] = torch.tensor([1e3, 1e3])
    for step in range(8):
        vectors = latents(100, 2, seed=step)
        codebook.follow(vectors, codebook.nearest(vectors))
    assert codebook.entries.abs().max() < 10
    assert len(codebook.nearest(latents(4000, 2, seed=50)).unique()) == 8


def test_quantizer_dropout_skips_the_end_of_the_chain() -> None:
    torch.manual_seed(0)
    quantizer = RVQ(8, vectors=2, codebooks=4, entries=8, dropout=1.0)
    lengths = set()
    for _ in range(60):
        got = quantizer(latents(2, 30, 8))
        used = (got.codes.unflatten(-1, (2, 4)) >= 0).flatten(0, -2)
        assert torch.equal(used, used[:1].expand_as(used))
        lengths.add(int(used[0].sum()))
    assert lengths == {1, 2, 3, 4}
    assert (quantizer.eval()(latents(2, 30, 8)).codes >= 0).all()


def test_a_truncated_chain_decodes_to_its_first_stages() -> None:
    quantizer = RVQ(8, vectors=2, codebooks=3, entries=8, dropout=0.0)
    latent = latents(2, 50, 8)
    quantizer(latent)
    codes = quantizer.eval()(latent).codes.unflatten(-1, (2, 3))
    errors = []
    for n in (1, 2, 3):
        cut = codes.clone()
        cut[..., n:] = -1
        errors.append(float((quantizer.decode(cut.flatten(-2)) - latent).square().mean()))
    assert errors[0] > errors[1] > errors[2]
