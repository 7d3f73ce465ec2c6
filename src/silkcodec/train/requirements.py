"""Check for the packages of the extra `[train]` at the start of a run, not at the first validation."""

from __future__ import annotations

import importlib.util

from silkcodec.errors import MissingExtraError

TRAINING = ("torch", "safetensors", "tensorboard", "pesq", "pystoi")
EXPORT = ("torch", "safetensors", "onnx", "onnxscript")


def require(what: str, modules: tuple[str, ...]) -> None:
    """Check that modules are installed, without importing them.

    Args:
        what: subject of the message, e.g. "Training".
        modules: names of the modules.

    Raises:
        MissingExtraError: a module is not installed. The message contains the pip command.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(what, module, "train")
