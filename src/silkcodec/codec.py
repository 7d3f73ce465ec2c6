"""What a codec is here, and how to get one. Read this first.

A codec turns a wave into tokens and back. Silk, its peers and the classical codecs all implement the one
Protocol below, so whatever works with one works with all:

    codec = silkcodec.load("silk")                    # or "opus:6k", "codec2:1200", "path/to/weights"
    tokens = codec.encode(wave, sample_rate)          # Tokens: codes, their sizes and rates, the length
    again = codec.decode(tokens)                      # float32 [n_samples] at codec.sample_rate

Shapes, in every docstring and comment of this package:

    B  batch            T  samples of a wave        F  frames (steps of a codec's clock)
    M  mel bands        D  width of the latent      K  codebooks
"""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.errors import ArgumentError
from silkcodec.tokens import Tokens

if TYPE_CHECKING:
    from silkcodec.silk import Silk

ENTRY_POINTS = "silkcodec.codecs"
"""The entry point group by which another package adds a codec: name = "module:factory"."""

_BUILT_IN = {
    "silk": "silkcodec.silk:load",
    "codec2": "silkcodec.peers.codec2:Codec2",
    "opus": "silkcodec.peers.opus:Opus",
}

_NEEDS = {"codec2": ("pycodec2", "classical"), "opus": ("opuslib", "classical")}  # name -> package, extra


@runtime_checkable
class Codec(Protocol):
    """A wave to tokens and back. Stateless: no call changes what a later call does.

    Attributes:
        name: as `load` takes it: "silk", "opus:6k".
        sample_rate: of the wave that `decode` returns, Hz.
        codebook_sizes: the number of different codes of each of the K codebooks.
        frame_rates: of each codebook, Hz.
    """

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def codebook_sizes(self) -> tuple[int, ...]: ...
    @property
    def frame_rates(self) -> tuple[float, ...]: ...

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave.

        Args:
            wave: [T], [T, C] or [C, T]; floats of full scale 1, or integers. Channels are averaged.
            sample_rate: of `wave`, Hz; it is resampled to the codec's own.
            n_codebooks: keep only the first of them; None keeps all. Bit rate is an argument, never a mode.

        Raises:
            AudioError: no samples, NaN or Inf, not the shape or type of a wave.
            ArgumentError: n_codebooks is out of range.
        """
        ...

    def decode(self, tokens: Tokens) -> NDArray[np.float32]:
        """The wave of these tokens: float32 [tokens.n_samples], at `sample_rate` Hz.

        Raises:
            TokensError: they are not this codec's.
        """
        ...


@overload
def load(name: Literal["silk"] = "silk", *, threads: int | None = None, provider: str = "cpu") -> Silk: ...
@overload
def load(name: str | os.PathLike[str], **options: Any) -> Codec: ...
def load(name: str | os.PathLike[str] = "silk", **options: Any) -> Codec:
    """A codec by name. Nothing is downloaded, and never is another one given in its place.

    Args:
        name: one of `codecs()`, with a preset after a colon where it has any ("opus:6k"), or a folder of
            Silk weights as `silk export` makes it.
        options: the codec's own. Silk's: `threads` (CPU threads; None: as many as help) and `provider`
            ("cpu" or "cuda").

    Raises:
        ArgumentError: no codec of that name, or it does not know one of the options.
        WeightsError: the model files are missing or damaged. ProviderError: no such provider here.
        MissingExtraError: the codec needs a package that is not installed.

    >>> load("nonesuch")
    Traceback (most recent call last):
    silkcodec.errors.ArgumentError: A codec must be codec2, opus, silk or a folder of weights; got 'nonesuch'.
    """
    known = codecs()
    text = os.fspath(name)
    base, _, preset = text.partition(":")
    if isinstance(name, str) and base in known:
        return _build(text, known[base], preset or None, options)
    if isinstance(name, os.PathLike) or "/" in text or os.sep in text or Path(text).is_dir():
        from silkcodec.silk import Silk

        _check_options(text, Silk, options)
        return Silk(text, **options)
    raise ArgumentError(f"A codec must be {', '.join(sorted(known))} or a folder of weights; got '{text}'.")


def codecs() -> dict[str, str]:
    """The registry: name -> "module:factory", imported only by `load`. Sorted by name.

    A factory is called as `factory(preset, **options)`, preset being what follows the colon or None. Other
    packages add theirs by an entry point of the group "silkcodec.codecs"; the names of ours stay ours.
    """
    from importlib.metadata import entry_points  # 20 ms that `import silkcodec` need not pay

    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return dict(sorted((others | _BUILT_IN).items()))


def missing(name: str) -> str | None:
    """The pip command that a built-in codec still needs here; None: it has all of its packages."""
    from importlib.util import find_spec

    package, extra = _NEEDS.get(name, (None, None))
    if package is None or find_spec(package) is not None:
        return None
    return f"pip install 'silkcodec[{extra}]'"


def _build(name: str, target: str, preset: str | None, options: dict[str, Any]) -> Codec:
    module, _, attribute = target.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    _check_options(name, factory, options)
    codec: Codec = factory(preset, **options)
    return codec


def _check_options(name: str, factory: Any, options: dict[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    accepted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in accepted:
            takes = f"takes {', '.join(accepted)}" if accepted else "takes no options"
            raise ArgumentError(f"The codec '{name}' {takes}; got {option!r}.")
