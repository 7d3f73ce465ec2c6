"""Check for the packages of the extra `[train]` before the work begins, not at the first validation."""

from __future__ import annotations

import importlib.util

from silkcodec.errors import MissingExtraError

TRAINING = ("torch", "safetensors", "tensorboard", "pesq", "pystoi")
EXPORT = ("torch", "safetensors", "onnx", "onnxscript")


def require(what: str, modules: tuple[str, ...]) -> None:
    """Raise an error if one of the modules is not installed. Nothing is imported.

    Raises:
        MissingExtraError: names the module and the pip command.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(what, module, "train")
