"""Other people's packages and model files: found without importing them, and loaded in a way that repeats."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from silkcodec.evaluate.metrics.base import is_installed


def package_file(package: str, path: str) -> Path | None:
    """A file that an installed package ships, without importing it; None: not there."""
    spec = find_spec(package) if is_installed(package) else None
    for folder in (spec.submodule_search_locations if spec else None) or []:
        file = Path(folder) / path
        if file.is_file():
            return file
    return None


def import_around(module: str, **unused: dict[str, Any]) -> Any:
    """Imports a module that names others at its top which this use of it does not touch.

    Where one of those is not installed, a stand-in with the given attributes takes its place during the import,
    and no longer: nothing else may take it for the real one.
    """
    stood_in = []
    for name, attributes in unused.items():
        if name not in sys.modules and not is_installed(name):
            sys.modules[name] = stand_in = ModuleType(name)
            vars(stand_in).update(attributes)
            stood_in.append(name)
    try:
        return importlib.import_module(module)
    finally:
        for name in stood_in:
            del sys.modules[name]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, PyTorch computes on one thread: sums come out the same on every machine, workers do not collide."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
