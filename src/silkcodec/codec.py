"""Define the codec protocol and load codecs by name. Read this module first.

A codec turns a wave into tokens and back. Silk, the neural baselines and the classical codecs all implement the
Protocol below, so code that works with one codec works with all of them:

    codec = silkcodec.load("silk")                    # or "mimi:8", "opus:6k", "path/to/weights"
    tokens = codec.encode(wave, sample_rate)          # Tokens: codes, their sizes and rates, the length
    decoded = codec.decode(tokens)                    # float32 [n_samples] at codec.sample_rate

A name is `codec[:preset][@source]`. "dac:44k" is DAC's model for 44.1 kHz with the published weights.
"dac:44k@./weights/dac" is the same model with the weights of that folder. The source may also be a Hugging Face
repository.

Shapes, in every docstring and comment of this package:

    B  batch            T  samples of a wave        F  frames (time steps of a codec)
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

if TYPE_CHECKING:  # Importing NumPy here would make listing the codecs slow.
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

_NEEDS = {  # name -> (packages, the extra that installs them)
    "codec2": (("pycodec2",), "classical"),
    "dac": (("torch", "transformers", "safetensors"), "baselines"),
    "encodec": (("torch", "transformers", "safetensors"), "baselines"),
    "mimi": (("torch", "transformers", "safetensors"), "baselines"),
    "opus": (("opuslib",), "classical"),
    "snac": (("torch", "snac", "safetensors", "huggingface_hub"), "baselines"),
}


@runtime_checkable
class Codec(Protocol):
    """Encode waves to tokens and decode them. A codec is stateless: no call affects a later call.

    Attributes:
        name: the name that `load` accepts: "silk", "opus:6k".
        sample_rate: sample rate of the wave that `decode` returns, Hz.
        codebook_sizes: number of codes in each of the K codebooks.
        frame_rates: frame rate of each codebook, Hz.

    The codecs of this package have more attributes. They are optional, so callers read them with a default:

        quantizer: "FSQ", "RVQ", "split RVQ", "multi-scale RVQ" or "bit stream".
        latency_s: the algorithmic latency: the frame and the look-ahead of encoder and decoder; None if unknown.
        deterministic: False if `decode` may return different waves for the same tokens.
        decode(codes, n_samples=...): decode bare codes, int [K, F], without Tokens.
        encode_batch, decode_batch: process many clips at once. `batch_exact`: whether the results equal those of
            single calls.
    """

    @property
    def name(self) -> str:
        """Return the name that `load` accepts."""
        ...

    @property
    def sample_rate(self) -> int:
        """Return the sample rate of decoded waves, Hz."""
        ...

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Return the number of codes in each codebook."""
        ...

    @property
    def frame_rates(self) -> tuple[float, ...]:
        """Return the frame rate of each codebook, Hz."""
        ...

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Return the tokens of a wave.

        Args:
            wave: [T], [T, C] or [C, T]; floats of full scale 1, or int8, int16 or int32. Channels are averaged.
            sample_rate: sample rate of `wave`, Hz; the wave is resampled to the codec's own rate.
            n_codebooks: keep only the first n_codebooks; None keeps all. This sets the bit rate.

        Raises:
            AudioError: no samples, NaN or Inf, or not the shape or type of a wave.
            ArgumentError: n_codebooks is out of range.
        """
        ...

    def decode(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the wave of these tokens: float32 [tokens.n_samples], at `sample_rate` Hz.

        Raises:
            TokensError: the tokens are from another codec.
        """
        ...


@overload
def load(name: Literal["silk"] = "silk", *, threads: int | None = None, provider: str = "cpu") -> Silk: ...
@overload
def load(name: str | os.PathLike[str], **options: Any) -> Codec: ...
def load(name: str | os.PathLike[str] = "silk", **options: Any) -> Codec:
    """Load a codec by name. This function never falls back to another codec.

    Args:
        name: one of `codecs()`, optionally with a preset after a colon ("opus:6k") and a weights source after an @
            ("mimi:8@./weights/mimi"). The source is a folder or a Hugging Face repository; the default is the
            published weights. The name may also be a folder of Silk weights that `silk export` wrote.
        options: options of the codec. For Silk: `threads` (CPU threads; None: chosen automatically) and `provider`
            ("cpu" or "cuda").

    Raises:
        ArgumentError: the codec, the preset or one of the options is unknown.
        WeightsError: the model files are missing, damaged, or could not be downloaded.
        ProviderError: the provider is not available on this machine.
        MissingExtraError: the codec needs a package that is not installed.

    >>> load("nonesuch")
    Traceback (most recent call last):
    silkcodec.errors.ArgumentError: A codec must be one of codec2, dac, ... or a weights folder; got 'nonesuch'.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ArgumentError(f"A codec must be a name (str) or the path of a weights folder; got {name!r}.")
    known = codecs()
    text = str(os.fspath(name))
    base, preset, source = parse(text)
    if isinstance(name, str) and base in known:
        return _build(text, known[base], preset, source, options)
    if isinstance(name, os.PathLike) or "/" in text or os.sep in text or Path(text).is_dir():
        if not Path(text).exists() and isinstance(name, str):
            raise WeightsError(f"Weights folder not found: '{text}'.{_advice(text, known)}")
        from silkcodec.silk import Silk

        _check_options(text, Silk, options)
        return Silk(text, **options)
    raise ArgumentError(
        f"A codec must be one of {', '.join(sorted(known))} or a weights folder; got '{text}'.{_advice(text, known)}"
    )


def _advice(text: str, known: Iterable[str]) -> str:
    """Return a suggestion for an unknown name: a Hugging Face repository, or the nearest known name."""
    import difflib

    base = parse(text)[0].lower()
    for name in known:
        if name in base.rpartition("/")[2] and base.count("/") == 1 and name != "silk":
            return f" For a Hugging Face repository, pass '{name}@{text}'."
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
    """Return the registry: name -> "module:factory", sorted by name. Only `load` imports the modules.

    `load` calls `factory(preset, **options)`. The preset is the text after the colon, or None. If the name has a
    source after an @, the options include `source=`. A factory may list its presets in an attribute `presets`.
    Other packages add codecs with an entry point in the group "silkcodec.codecs". They cannot replace a built-in
    codec. docs/extending.md has an example.
    """
    from importlib.metadata import entry_points  # Imported here because it would add 20 ms to `import silkcodec`.

    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return dict(sorted((others | _BUILT_IN).items()))


def is_built_in(name: str) -> bool:
    """Return whether a name that `load` accepts is a built-in codec without a weights source.

    >>> is_built_in("mimi:8"), is_built_in("mimi:8@./weights/mimi"), is_built_in("./weights")
    (True, False, False)
    """
    return name.partition(":")[0] in _BUILT_IN and not set(name) & set("@/\\")


def presets(name: str) -> tuple[str, ...]:
    """Return the presets of a codec, in the codec's own order; () if it has none.

    For built-in codecs this works without the packages that the codec needs.

    Raises:
        ArgumentError: the codec is unknown.

    >>> presets("codec2"), presets("silk")
    (('700C', '1200', '1300', '1400', '1600', '2400', '3200'), ())
    """
    known = codecs()
    if name not in known:
        raise ArgumentError(f"A codec must be one of {', '.join(sorted(known))}; got '{name}'.")
    return tuple(getattr(_factory(known[name]), "presets", ()))


def missing(name: str) -> str | None:
    """Return the pip command that installs the missing packages of a built-in codec ("mimi" or "mimi:8"), or None."""
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
            raise ArgumentError(f"The codec '{parse(name)[0]}' accepts no source after an @; got '{name}'.")
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
            takes = f"accepts {', '.join(accepted)}" if accepted else "accepts no options"
            raise ArgumentError(f"The codec '{name}' {takes}; got {option!r}.")
