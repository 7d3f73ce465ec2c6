"""Send a codec to another process as the arguments of its constructor.

Sessions, locks and C libraries cannot be pickled, so each worker loads its own codec. This works under `spawn` and
`forkserver`, in a `Pool` and in a `DataLoader`.
"""

from __future__ import annotations

import os
from typing import Any

from silkcodec.errors import WeightsError


def recipe(codec: Any, **arguments: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the value for `__reduce__`: the function `rebuild` with a codec's type and constructor arguments."""
    return rebuild, (type(codec), arguments, _identity(codec))


def rebuild(kind: type, arguments: dict[str, Any], identity: str) -> Any:
    """Build the codec again. Raises WeightsError if its weights have changed, and any error of the constructor."""
    codec = kind(**arguments)
    if _identity(codec) != identity:
        raise WeightsError(
            f"The weights of '{identity}' changed after the codec was pickled; got '{_identity(codec)}'. Load it again."
        )
    return codec


def absolute(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the absolute path of a folder, because working directories may differ. Other values are unchanged."""
    if folder is None:
        return None
    expanded = os.path.expanduser(folder)
    return os.path.abspath(expanded) if os.path.isdir(expanded) else os.fspath(folder)


def _identity(codec: Any) -> str:
    return str(getattr(codec, "codec_id", codec.name))
