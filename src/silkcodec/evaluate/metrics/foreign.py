"""Find files of third-party packages without importing them, and run third-party models reproducibly."""

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
    """Return the path of a file in an installed package, without importing it, or None if it does not exist."""
    spec = find_spec(package) if is_installed(package) else None
    for folder in (spec.submodule_search_locations if spec else None) or []:
        file = Path(folder) / path
        if file.is_file():
            return file
    return None


def import_around(module: str, **unused: dict[str, Any]) -> Any:
    """Import a module whose top-level imports include modules that are not used here.

    If one of these is not installed, a stub with the given attributes replaces it during the import only, so that no
    other code mistakes the stub for the real module.
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


def onnx_session(file: Path) -> Any:
    """Load an ONNX graph that runs on one thread.

    With one thread, sums are reproducible and worker processes do not compete for cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run PyTorch on one thread and in inference mode inside the context, for the reasons of `onnx_session`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
