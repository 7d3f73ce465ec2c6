"""Which arithmetic a run's matrix products are in."""

from __future__ import annotations

import torch

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # what processors that compute in bfloat16 say of themselves


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """The type that ``optim.precision`` stands for on a device: "bf16", "fp32", or "auto".

    "auto" is bfloat16 where the device computes in it. A processor that does not imitates it, and a matrix product
    takes 17 to 50 times as long as in float32.
    """
    if precision == "auto":
        precision = "bf16" if has_bfloat16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16, instead of imitating it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # since Ampere
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions
    return any(capabilities.get(name, False) for name in NATIVE_BF16)
