"""Define the exception hierarchy for errors that users can cause.

    SilkError
    ├── ArgumentError       an argument is invalid
    ├── AudioError          a waveform or audio file is missing, empty, invalid or damaged
    ├── TokensError         codes have the wrong shape, are out of range or do not match the codec
    ├── ContainerError      a .silk file is damaged, truncated or unsupported; has an `offset`
    ├── WeightsError        model files are missing, damaged or incompatible with this version
    ├── MissingExtraError   an optional dependency is not installed
    ├── OutputError         a path cannot be written to
    └── ProviderError       an ONNX Runtime provider, such as CUDA, is not available

``except SilkError`` catches all of them and nothing else. Any other exception is a bug in this package.

Every message is a single line. It states the requirement, the value and, if not obvious, the remedy:

    n_codebooks must be between 1 and 8 for 'mimi'; got 12.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class SilkError(Exception):
    """Base class for errors that users can cause. The command-line tool prints the message and exits with code 2."""


class ArgumentError(SilkError):
    """Raised for an invalid argument."""


class AudioError(SilkError):
    """Raised for a waveform or an audio file that is missing, empty, invalid or damaged."""


class TokensError(SilkError):
    """Raised for codes that have the wrong shape or type, are out of range or do not match the codec."""


class ContainerError(SilkError):
    """Raised for a file that is damaged, is not a .silk file, or was written by a newer version of Silk.

    Args:
        message: the error message.

    Attributes:
        offset: position in bytes at which the file becomes invalid, or None if there is no such position.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling passes only `args`, so an error raised in a worker process would lose its offset.
        return type(self), (str(self), self.offset)


class WeightsError(SilkError):
    """Raised for model files that are missing, damaged or incompatible with this version of the package."""


class MissingExtraError(SilkError):
    """Raised if an optional dependency is not installed.

    Args:
        what: the feature that requires the dependency, worded as the start of a sentence, e.g. "The PESQ metric".
        package: the module that could not be imported, e.g. "pesq".
        extra: the extra that installs the package, e.g. "eval".
        distribution: the distribution that defines the extra.

    >>> str(MissingExtraError("The PESQ metric", "pesq", "eval"))
    "The PESQ metric needs 'pesq', which is not installed; run: pip install 'silkcodec[eval]'"
    """

    def __init__(self, what: str, package: str, extra: str, distribution: str = "silkcodec") -> None:
        # The documentation names extras of a checkout, '.[eval]'. This form needs no checkout, because pip finds the
        # distribution among the installed packages.
        command = f"pip install '{distribution}[{extra}]'"
        super().__init__(f"{what} needs '{package}', which is not installed; run: {command}")
        self.what = what
        self.package = package
        self.extra = extra
        self.distribution = distribution

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.package, self.extra, self.distribution)


def capitalized(name: str) -> str:
    """Capitalize the name of a file or stream, unless it is a quoted path.

    Args:
        name: name of a file or stream; see `audio.source_name`.

    Returns:
        The name with a capital first letter.

    >>> capitalized("standard input"), capitalized("'talk.wav'")
    ('Standard input', "'talk.wav'")
    """
    return name[:1].upper() + name[1:]


def import_extra(module: str, what: str, extra: str, distribution: str = "silkcodec") -> Any:
    """Import a module provided by an extra.

    Args:
        module: full name of the module.
        what, extra: see `MissingExtraError`.
        distribution: distribution that defines the extra.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the module or one of its dependencies is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("silkcodec"):
            raise
        raise MissingExtraError(what, error.name, extra, distribution) from error


class OutputError(SilkError):
    """Raised for a path that cannot be written to, for example because it already exists or the disk is full."""


class ProviderError(SilkError):
    """Raised if an ONNX Runtime execution provider is not available on this machine."""
