"""Define every error that a user can cause, as one class hierarchy.

    SilkError
    ├── ArgumentError       an argument outside what the call accepts
    ├── AudioError          a wave or an audio file that cannot be used: missing, empty, not audio, NaN or Inf
    ├── TokensError         codes out of range, of the wrong shape, or of another codec
    ├── ContainerError      a .silk file that is damaged, cut short, foreign or too new; `offset`: the byte
    ├── WeightsError        model files that are missing, damaged, or that do not fit this version
    ├── MissingExtraError   an optional dependency is not installed; names the pip command
    ├── OutputError         a path that cannot be written: it exists, its folder does not, the disk is full
    └── ProviderError       an ONNX Runtime provider (CPU, CUDA, ...) that is not available here

``except SilkError`` catches all of them and nothing else. Any other exception is a bug in this package.

Every message is one line: what must hold, the value, and what to do:

    n_codebooks must be 1..8 for 'mimi'; got 12.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class SilkError(Exception):
    """Base class of every error that a user can cause. The command line prints it on one line and exits with 2."""


class ArgumentError(SilkError):
    """An argument outside what the call accepts."""


class AudioError(SilkError):
    """A wave or an audio file that cannot be used: missing, empty, not audio, NaN or Inf."""


class TokensError(SilkError):
    """Codes out of range, of the wrong shape or type, or made by another codec."""


class ContainerError(SilkError):
    """A .silk file that is damaged, cut short, foreign or of a newer format.

    Attributes:
        offset: the byte, counted from the start of the file, at which the file becomes invalid; None if there is
            no such byte (for example, if the file is missing).
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from `args` alone, so an error raised in a worker process would lose its offset.
        return type(self), (str(self), self.offset)


class WeightsError(SilkError):
    """Model files that are missing, damaged, or that do not fit this version of the package."""


class MissingExtraError(SilkError):
    """An optional dependency is not installed.

    Args:
        what: what needs it, as the start of a sentence: "The PESQ metric".
        package: the module that could not be imported: "pesq".
        extra: the extra of silkcodec that installs it: "eval".

    >>> str(MissingExtraError("The PESQ metric", "pesq", "eval"))
    "The PESQ metric needs 'pesq', which is not installed; run: pip install 'silkcodec[eval]'"
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        command = f"pip install 'silkcodec[{extra}]'"
        super().__init__(f"{what} needs '{package}', which is not installed; run: {command}")
        self.what = what
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.package, self.extra)


def import_extra(module: str, what: str, extra: str) -> Any:
    """Import and return a module that needs an extra.

    Args:
        what, extra: see `MissingExtraError`.

    Raises:
        MissingExtraError: the module, or a library that it imports, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("silkcodec"):
            raise
        raise MissingExtraError(what, error.name, extra) from error


class OutputError(SilkError):
    """A path that cannot be written: it exists already, its folder does not exist, the disk is full."""


class ProviderError(SilkError):
    """An ONNX Runtime execution provider that is not available on this machine."""
