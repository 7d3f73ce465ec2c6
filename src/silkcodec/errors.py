"""Define every error that a user can cause, as one class hierarchy.

    SilkError
    ├── ArgumentError       an argument that the call does not accept
    ├── AudioError          a wave or an audio file that cannot be used: missing, empty, not audio, NaN or Inf
    ├── TokensError         codes out of range, of the wrong shape, or of another codec
    ├── ContainerError      a .silk file that is damaged, truncated, of another format or too new; has an `offset`
    ├── WeightsError        model files that are missing, damaged, or do not match this version
    ├── MissingExtraError   an optional dependency is not installed; names the pip command
    ├── OutputError         a path that cannot be written: it exists, its folder does not, the disk is full
    └── ProviderError       an ONNX Runtime provider (CPU, CUDA, ...) that is not available on this machine

``except SilkError`` catches all of them and nothing else. Any other exception is a bug in this package.

Every message is one line. It states the requirement, the value and, if it is not obvious, the remedy:

    n_codebooks must be 1..8 for 'mimi'; got 12.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class SilkError(Exception):
    """Base class of every error that a user can cause. The command line prints it on one line and exits with 2."""


class ArgumentError(SilkError):
    """Report an argument that the call does not accept."""


class AudioError(SilkError):
    """Report a wave or an audio file that cannot be used: missing, empty, not audio, or with NaN or Inf."""


class TokensError(SilkError):
    """Report codes that are out of range, of the wrong shape or type, or from another codec."""


class ContainerError(SilkError):
    """Report a .silk file that is damaged, truncated, of another format or of a newer version.

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
    """Report model files that are missing, damaged, or do not match this version of the package."""


class MissingExtraError(SilkError):
    """Report an optional dependency that is not installed.

    Args:
        what: the feature that needs it, as the start of a sentence: "The PESQ metric".
        package: the module that could not be imported: "pesq".
        extra: the extra that installs it: "eval".
        distribution: the distribution that has the extra.

    >>> str(MissingExtraError("The PESQ metric", "pesq", "eval"))
    "The PESQ metric needs 'pesq', which is not installed; run: pip install 'silkcodec[eval]'"
    """

    def __init__(self, what: str, package: str, extra: str, distribution: str = "silkcodec") -> None:
        command = f"pip install '{distribution}[{extra}]'"
        super().__init__(f"{what} needs '{package}', which is not installed; run: {command}")
        self.what = what
        self.package = package
        self.extra = extra
        self.distribution = distribution

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.package, self.extra, self.distribution)


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
    """Report a path that cannot be written: it exists already, its folder does not exist, or the disk is full."""


class ProviderError(SilkError):
    """Report an ONNX Runtime execution provider that is not available on this machine."""
