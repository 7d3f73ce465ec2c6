"""Silk: a neural speech codec at 47.5 tokens per second.

    import silkcodec

    codec = silkcodec.load()
    tokens = codec.encode(wave, sample_rate)
    wave = codec.decode(tokens)

Submodules are imported on first use, so `import silkcodec` is fast. To read the source code, start with `codec.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silkcodec.codec import Codec, load
    from silkcodec.errors import (
        ArgumentError,
        AudioError,
        ContainerError,
        MissingExtraError,
        OutputError,
        ProviderError,
        SilkError,
        TokensError,
        WeightsError,
    )
    from silkcodec.silk import StreamDecoder, StreamEncoder
    from silkcodec.tokens import Tokens

__version__ = "0.2.0"
__all__ = [
    "ArgumentError",
    "AudioError",
    "Codec",
    "ContainerError",
    "MissingExtraError",
    "OutputError",
    "ProviderError",
    "SilkError",
    "StreamDecoder",
    "StreamEncoder",
    "Tokens",
    "TokensError",
    "WeightsError",
    "__version__",
    "load",
]

_HOME = {
    "Codec": "silkcodec.codec",
    "StreamDecoder": "silkcodec.silk",
    "StreamEncoder": "silkcodec.silk",
    "Tokens": "silkcodec.tokens",
    "load": "silkcodec.codec",
    **dict.fromkeys((name for name in __all__ if name.endswith("Error")), "silkcodec.errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'silkcodec' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # Later lookups find the name directly and do not call __getattr__.
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
