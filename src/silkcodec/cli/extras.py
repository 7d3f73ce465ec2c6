"""Modules that need an extra are imported when a verb needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from silkcodec.errors import MissingExtraError


def import_extra(module: str, what: str, extra: str) -> Any:
    """Import a module that needs an extra.

    Args:
        what: the subject of the error, "Training".
        extra: the extra that installs what is missing.

    Raises:
        MissingExtraError: a library of the extra is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("silkcodec"):
            raise
        raise MissingExtraError(what, error.name, extra) from error
