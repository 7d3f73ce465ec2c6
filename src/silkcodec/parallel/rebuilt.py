"""Pickle codecs by storing only the arguments of their constructors. Unpickling loads the codec again."""

from __future__ import annotations

import os
from typing import Any

from silkcodec.errors import WeightsError


def recipe(codec: Any, **arguments: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a value for `__reduce__` that makes unpickling call `rebuild`.

    Args:
        codec: the codec to pickle.
        arguments: arguments of the codec's constructor.
    """
    return rebuild, (type(codec), arguments, _identity(codec))


def rebuild(kind: type, arguments: dict[str, Any], identity: str) -> Any:
    """Create a codec from its class and its constructor arguments.

    Raises:
        WeightsError: the weights changed after the codec was pickled.
    """
    codec = kind(**arguments)
    if _identity(codec) != identity:
        raise WeightsError(
            f"The weights of the codec changed after it was pickled: expected '{identity}', got '{_identity(codec)}'."
            " Load the codec again."
        )
    return codec


def absolute(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the absolute path of an existing folder, or any other value unchanged."""
    if folder is None:
        return None
    expanded = os.path.expanduser(folder)
    return os.path.abspath(expanded) if os.path.isdir(expanded) else os.fspath(folder)


def _identity(codec: Any) -> str:
    return str(getattr(codec, "codec_id", codec.name))
