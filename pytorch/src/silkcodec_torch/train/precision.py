"""Choose the precision of matrix products."""

from __future__ import annotations

import torch

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # names of CPU capabilities with native bfloat16


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype for ``optim.precision`` ("bf16", "fp32" or "auto") on a device.

    "auto" selects bfloat16 if the device supports it natively.
    """
    if precision == "auto":
        precision = "bf16" if has_bfloat16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device supports bfloat16 natively instead of emulating it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # since Ampere
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older versions
    return any(capabilities.get(name, False) for name in NATIVE_BF16)
