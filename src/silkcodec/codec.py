"""What a codec is here, and how to get one. Read this first.

A codec turns a wave into tokens and back. Silk, the neural baselines and the classical codecs all implement the one
Protocol below, so whatever works with one works with all:

    codec = silkcodec.load("silk")                    # or "mimi:8", "opus:6k", "path/to/weights"
    tokens = codec.encode(wave, sample_rate)          # Tokens: codes, their sizes and rates, the length
    again = codec.decode(tokens)                      # float32 [n_samples] at codec.sample_rate

A name is `codec[:preset][@source]`: "dac:44k" is DAC's model for 44.1 kHz with the published weights, and
"dac:44k@./weights/dac" the same with the weights in that folder (or in another repository of the hub).

Shapes, in every docstring and comment of this package:

    B  batch            T  samples of a wave        F  frames (steps of a codec's clock)
    M  mel bands        D  width of the latent      K  codebooks
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

from silkcodec.errors import ArgumentError, WeightsError

if TYPE_CHECKING:  # not NumPy either: a list of codecs is there at once
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from silkcodec.silk import Silk
    from silkcodec.tokens import Tokens

ENTRY_POINTS = "silkcodec.codecs"
"""The entry point group by which another package adds a codec: name = "module:factory"."""

_BUILT_IN = {
    "silk": "silkcodec.silk:load",
    "codec2": "silkcodec.baselines.codec2:Codec2",
    "dac": "silkcodec.baselines.dac:Dac",
    "encodec": "silkcodec.baselines.encodec:Encodec",
    "gsm": "silkcodec.baselines.gsm:Gsm",
    "mimi": "silkcodec.baselines.mimi:Mimi",
    "opus": "silkcodec.baselines.opus:Opus",
    "snac": "silkcodec.baselines.snac:Snac",
    "speex": "silkcodec.baselines.speex:Speex",
}

_NEEDS = {  # name -> packages, the extra that brings them
    "codec2": (("pycodec2",), "classical"),
    "dac": (("torch", "transformers", "safetensors"), "baselines"),
    "encodec": (("torch", "transformers", "safetensors"), "baselines"),
    "mimi": (("torch", "transformers", "safetensors"), "baselines"),
    "opus": (("opuslib",), "classical"),
    "snac": (("torch", "snac", "safetensors", "huggingface_hub"), "baselines"),
}


@runtime_checkable
class Codec(Protocol):
    """A wave to tokens and back. Stateless: no call changes what a later call does.

    Attributes:
        name: as `load` takes it: "silk", "opus:6k".
        sample_rate: of the wave that `decode` returns, Hz.
        codebook_sizes: the number of different codes of each of the K codebooks.
        frame_rates: of each codebook, Hz.

    Ours tell more, which others need not and readers ask for with a default:

        quantizer: "FSQ", "RVQ", "split RVQ", "multi-scale RVQ" or "bit stream".
        latency_s: how far ahead of a sample of the output the input must be known: the frame and the look-ahead
            of encoder and decoder; None where nobody knows.
        deterministic: False where `decode` does not repeat itself.
        decode(codes, n_samples=...): bare codes, int [K, F], without their Tokens.
        encode_batch, decode_batch: many clips at once, and `batch_exact`: whether they give what single calls give.
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
        """Return the tokens of a wave.

        Args:
            wave: [T], [T, C] or [C, T]; floats of full scale 1, or int8, int16 or int32. Channels are averaged.
            sample_rate: of `wave`, Hz; it is resampled to the codec's own.
            n_codebooks: keep only the first of them; None keeps all. Bit rate is an argument, never a mode.

        Raises:
            AudioError: no samples, NaN or Inf, not the shape or type of a wave.
            ArgumentError: n_codebooks is out of range.
        """
        ...

    def decode(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the wave of these tokens: float32 [tokens.n_samples], at `sample_rate` Hz.

        Raises:
            TokensError: they are not this codec's.
        """
        ...


@overload
def load(name: Literal["silk"] = "silk", *, threads: int | None = None, provider: str = "cpu") -> Silk: ...
@overload
def load(name: str | os.PathLike[str], **options: Any) -> Codec: ...
def load(name: str | os.PathLike[str] = "silk", **options: Any) -> Codec:
    """Return a codec by name; it never falls back to another one.

    Args:
        name: one of `codecs()`, with a preset after a colon where it has any ("opus:6k"), and after an @ where
            its weights are, if not where they were published ("mimi:8@./weights/mimi"): a folder, or a
            repository of the Hugging Face hub. Or a folder of Silk weights as `silk export` makes it.
        options: the codec's own. Silk's: `threads` (CPU threads; None: as many as help) and `provider`
            ("cpu" or "cuda").

    Raises:
        ArgumentError: no codec of that name, no such preset, or it does not know one of the options.
        WeightsError: the model files are missing, damaged, or could not be downloaded.
        ProviderError: no such provider here.
        MissingExtraError: the codec needs a package that is not installed.

    >>> load("nonesuch")
    Traceback (most recent call last):
    silkcodec.errors.ArgumentError: A codec must be codec2, dac, ... or a folder of weights; got 'nonesuch'.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ArgumentError(f"A codec must be named by a str, or by the path of a folder of weights; got {name!r}.")
    known = codecs()
    text = str(os.fspath(name))
    base, preset, source = parse(text)
    if isinstance(name, str) and base in known:
        return _build(text, known[base], preset, source, options)
    if isinstance(name, os.PathLike) or "/" in text or os.sep in text or Path(text).is_dir():
        if not Path(text).exists() and isinstance(name, str):
            raise WeightsError(f"'{text}' must be a folder of Silk weights; there is none.{_advice(text, known)}")
        from silkcodec.silk import Silk

        _check_options(text, Silk, options)
        return Silk(text, **options)
    raise ArgumentError(
        f"A codec must be {', '.join(sorted(known))} or a folder of weights; got '{text}'.{_advice(text, known)}"
    )


def _advice(text: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that is none: a repository of the hub, or a slip of the keyboard."""
    import difflib

    base = parse(text)[0].lower()
    for name in known:
        if name in base.rpartition("/")[2] and base.count("/") == 1 and name != "silk":
            return f" For a repository of the Hugging Face hub say '{name}@{text}'."
    near = difflib.get_close_matches(base, list(known), n=1) or [name for name in known if name in base]
    return f" Did you mean '{near[0]}'?" if near else ""


def parse(name: str) -> tuple[str, str | None, str | None]:
    """Return the parts of `codec[:preset][@source]`, with None for each missing part.

    >>> parse("mimi:8@./weights/mimi"), parse("silk")
    (('mimi', '8', './weights/mimi'), ('silk', None, None))
    """
    codec, _, source = name.partition("@")
    base, _, preset = codec.partition(":")
    return base, preset or None, source or None


def codecs() -> dict[str, str]:
    """The registry: name -> "module:factory", imported only by `load`. Sorted by name.

    A factory is called as `factory(preset, **options)`, preset being what follows the colon or None; where a
    name has a source after an @, `source=` is one of the options. A factory may name its presets in an
    attribute `presets`. Other packages add theirs by an entry point of the group "silkcodec.codecs"; the
    names of ours stay ours. docs/codecs.md shows one.
    """
    from importlib.metadata import entry_points  # 20 ms that `import silkcodec` need not pay

    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return dict(sorted((others | _BUILT_IN).items()))


def is_built_in(name: str) -> bool:
    """Return whether a name, as `load` takes it, is a codec of this package without a source of its weights.

    >>> is_built_in("mimi:8"), is_built_in("mimi:8@./weights/mimi"), is_built_in("./weights")
    (True, False, False)
    """
    return name.partition(":")[0] in _BUILT_IN and not set(name) & set("@/\\")


def presets(name: str) -> tuple[str, ...]:
    """What may follow the colon after the name of a codec, in the codec's own order; () where it has none.

    Of our own codecs it can be asked where what the codec needs is not installed.

    Raises:
        ArgumentError: no codec of that name.

    >>> presets("codec2"), presets("silk")
    (('700C', '1200', '1300', '1400', '1600', '2400', '3200'), ())
    """
    known = codecs()
    if name not in known:
        raise ArgumentError(f"A codec must be {', '.join(sorted(known))}; got '{name}'.")
    return tuple(getattr(_factory(known[name]), "presets", ()))


def missing(name: str) -> str | None:
    """The pip command that a codec of ours, "mimi" or "mimi:8", still needs here; None: its packages are there."""
    from importlib.util import find_spec

    packages, extra = _NEEDS.get(parse(name)[0], ((), None))
    if all(find_spec(package) is not None for package in packages):
        return None
    return f"pip install 'silkcodec[{extra}]'"


def _factory(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _build(name: str, target: str, preset: str | None, source: str | None, options: dict[str, Any]) -> Codec:
    factory = _factory(target)
    if source is not None:
        if not _accepts(factory, "source"):
            raise ArgumentError(f"'{parse(name)[0]}' must be named without a source after an @; got '{name}'.")
        options = {**options, "source": source}
    _check_options(name, factory, options)
    codec: Codec = factory(preset, **options)
    return codec


def _accepts(factory: Any, option: str) -> bool:
    parameters = inspect.signature(factory).parameters.values()
    return any(p.kind is p.VAR_KEYWORD or (p.kind is p.KEYWORD_ONLY and p.name == option) for p in parameters)


def _check_options(name: str, factory: Any, options: dict[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    accepted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in accepted:
            takes = f"takes {', '.join(accepted)}" if accepted else "takes no options"
            raise ArgumentError(f"The codec '{name}' {takes}; got {option!r}.")
