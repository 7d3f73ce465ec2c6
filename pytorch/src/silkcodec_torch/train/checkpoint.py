"""Save and load checkpoints: safetensors files with weights, moving averages, optimizer state and progress."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from silkcodec.errors import OutputError, WeightsError


def save(file: Path, groups: dict[str, dict[str, Tensor]], progress: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        file: checkpoint file.
        groups: tensors, keyed by group name and tensor name.
        progress: JSON-serializable state of the run.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full. An existing checkpoint is not changed.
    """
    tensors = {f"{group}/{name}": t.detach().contiguous() for group, ts in groups.items() for name, t in ts.items()}
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata={"progress": json.dumps(progress)})
        os.replace(part, file)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"Cannot write the checkpoint '{file}': {error}.") from error


def find(source: Path, key: str) -> Path | None:
    """Return the checkpoint file for `source`, or None if `source` is a folder of exported weights.

    Args:
        source: run folder, checkpoint file, or folder of exported weights.
        key: config key that contains `source`, for the error message.

    Raises:
        WeightsError: `source` is none of these.
    """
    file = source if source.suffix == ".safetensors" else source / "checkpoint.safetensors"
    if file.exists():
        return file
    if not (source / "config.json").exists():
        raise WeightsError(f"{key} must be a folder of exported weights, a run or a checkpoint; got '{source}'.")
    return None


def load(file: Path, tensors: bool = True) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint. Return its tensors, keyed by group and name, and its progress.

    Args:
        file: checkpoint file.
        tensors: whether to read the tensors.

    Raises:
        WeightsError: the file is not a checkpoint, or is damaged.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(file, framework="pt") as handle:
            progress = json.loads((handle.metadata() or {})["progress"])
            for key in handle.keys() if tensors else ():
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = handle.get_tensor(key)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"Cannot read the checkpoint '{file}': {error}. It must be a complete checkpoint from silk train."
        ) from None
    return groups, progress


def fill(module: nn.Module, groups: dict[str, dict[str, Tensor]], group: str, file: Path) -> None:
    """Load a module's weights from a checkpoint.

    Raises:
        WeightsError: the checkpoint does not contain the weights, or they do not match the module.
    """
    try:
        module.load_state_dict(groups[group])
    except (KeyError, RuntimeError) as error:
        reason = "the checkpoint lacks them" if isinstance(error, KeyError) else str(error).splitlines()[-1].strip()
        raise WeightsError(
            f"The '{group}' weights in the checkpoint '{file}' do not match the config: {reason}."
            " Change the sizes in [model] to match the checkpoint, or choose another run folder."
        ) from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as a flat dictionary of tensors."""
    return {
        f"{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], file: Path) -> None:
    """Restore an optimizer's state, but not its hyperparameters.

    Raises:
        WeightsError: the state does not match the optimizer's parameters.
    """
    shapes = dict(enumerate(p.shape for group in optimizer.param_groups for p in group["params"]))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
        if value.ndim and value.shape != shapes.get(int(index)):
            raise WeightsError(
                f"The optimizer state in the checkpoint '{file}' does not match the config."
                " Restore the settings in [optim], or start a new run with init set to this run."
            )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
