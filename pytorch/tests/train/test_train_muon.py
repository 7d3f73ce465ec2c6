"""Test Muon against `torch.optim.Muon`, in the selected precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from silkcodec_torch.train import precision
from silkcodec_torch.train.muon import Muon, orthogonalized
from silkcodec_torch.train.precision import arithmetic

SHAPES = [(24, 40), (48, 16), (24, 40), (20, 20)]
OPTIONS = {"lr": 1e-2, "weight_decay": 0.1}


def trained(make: type[torch.optim.Optimizer], steps: int = 5, **options: object) -> list[nn.Parameter]:
    """Return matrices after a few steps with the same gradients."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = make(parameters, **OPTIONS, **options)  # type: ignore[call-arg]
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return parameters


def test_bfloat16_equals_the_optimizer_of_pytorch() -> None:
    theirs = trained(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    for ours, their in zip(trained(Muon, dtype=torch.bfloat16), theirs, strict=True):
        assert torch.allclose(ours, their, rtol=0, atol=1e-4)  # the rounding of batched products depends on the machine


def test_float32_differs_by_the_rounding_of_bfloat16() -> None:
    start = trained(Muon, steps=0)
    for ours, half, began in zip(trained(Muon, dtype=torch.float32), trained(Muon), start, strict=True):
        moved = (ours - began).norm()
        assert 0 < (ours - half).norm() < 0.05 * moved


@pytest.mark.parametrize("shape", [(3, 16, 64), (3, 64, 16), (1, 32, 32)])
def test_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    update = orthogonalized(matrices, torch.float32)
    assert update.shape == shape
    found = torch.linalg.svdvals(update)
    before = torch.linalg.svdvals(matrices) / torch.linalg.matrix_norm(matrices)[:, None]
    assert ((found > 0.6) & (found < 1.25))[before > 0.05].all()  # very small values need more iterations
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.cosine_similarity(update.flatten(), (left @ right).flatten(), dim=0) > 0.95


def test_a_zero_gradient_changes_nothing() -> None:
    assert torch.equal(orthogonalized(torch.zeros(2, 4, 8), torch.float32), torch.zeros(2, 4, 8))


def test_a_parameter_without_a_gradient_does_not_change() -> None:
    parameters = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))]
    parameters[0].grad = torch.eye(4)
    Muon(parameters, **OPTIONS).step()
    assert torch.equal(parameters[1], torch.ones(4, 4)) and not torch.equal(parameters[0], torch.ones(4, 4))


@pytest.mark.parametrize(
    ("says", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx512_bf16": False, "avx2": True}, torch.float32)],
)
def test_auto_depends_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, says: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda: says)
    device = torch.device("cpu")
    assert arithmetic("auto", device) is expected
    assert arithmetic("bf16", device) is torch.bfloat16 and arithmetic("fp32", device) is torch.float32
