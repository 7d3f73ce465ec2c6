"""Provide helpers for third-party packages: find their files, import them, and run their models reproducibly."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from silkcodec.evaluate.metrics.base import is_installed


def package_file(package: str, path: str) -> Path | None:
    """Return the path of a file in a package, or None if it does not exist. The package is not imported."""
    spec = find_spec(package) if is_installed(package) else None
    for folder in (spec.submodule_search_locations if spec else None) or []:
        file = Path(folder) / path
        if file.is_file():
            return file
    return None


def import_around(module: str, **unused: dict[str, Any]) -> Any:
    """Import a module even if dependencies that the caller does not need are not installed.

    During the import, each missing dependency is replaced by a stub. The stub is then removed, so that other code does
    not use it.

    Args:
        module: module to import.
        unused: unneeded dependencies. The keys are module names, and the values are the attributes of the stubs.
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
    """Return an ONNX Runtime session that runs a model on one thread.

    With one thread, results are reproducible and worker processes do not compete for cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
