"""Send a codec to another process as what it was made from: sessions, locks and C libraries cannot be sent.

So it works under `spawn` and `forkserver`, in a `Pool` and in a `DataLoader`: each worker loads its own.
"""

from __future__ import annotations

import os
from typing import Any

from silkcodec.errors import WeightsError


def recipe(codec: Any, **arguments: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what `__reduce__` must: a codec's type and the arguments of its constructor."""
    return rebuild, (type(codec), arguments, _identity(codec))


def rebuild(kind: type, arguments: dict[str, Any], identity: str) -> Any:
    """Make the codec again. Raises WeightsError if its weights have changed, and what the constructor raises."""
    codec = kind(**arguments)
    if _identity(codec) != identity:
        raise WeightsError(f"The weights of '{identity}' have changed since it was made; got '{_identity(codec)}'.")
    return codec


def absolute(place: str | os.PathLike[str] | None) -> str | None:
    """Return a folder's absolute path: another process may have another working directory. What is no folder stays."""
    if place is None:
        return None
    expanded = os.path.expanduser(place)
    return os.path.abspath(expanded) if os.path.isdir(expanded) else os.fspath(place)


def _identity(codec: Any) -> str:
    return str(getattr(codec, "codec_id", codec.name))
