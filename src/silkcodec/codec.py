"""Define the codec protocol and load codecs by name. Read this module first.

A codec encodes audio to tokens and decodes tokens to audio. Silk, the neural baselines and the classical codecs all
implement the `Codec` protocol below, so code that works with one codec works with all of them:

    codec = silkcodec.load("silk")                    # or "mimi:8", "opus:6k", "path/to/weights"
    tokens = codec.encode(wave, sample_rate)          # Tokens: the codes and their layout
    decoded = codec.decode(tokens)                    # float32 [n_samples] at codec.sample_rate

A codec name has the form `codec[:preset][@source]`. For example, "dac:44k" selects DAC's 44.1 kHz model with its
published weights, and "dac:44k@./weights/dac" selects the same model with weights from a local folder. The source can
also be a Hugging Face repository.

Docstrings and comments in this package use these letters for array dimensions:

    B  batch            T  audio samples            F  frames (time steps of a codec)
    M  mel bands        D  latent dimensions        K  codebooks
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

from silkcodec.errors import ArgumentError, MissingExtraError, WeightsError

if TYPE_CHECKING:  # Importing NumPy here would make listing the codecs slow.
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from silkcodec.silk import Silk
    from silkcodec.tokens import Tokens

ENTRY_POINTS = "silkcodec.codecs"
"""Entry point group in which other packages register codecs."""

BUILT_IN = {
    "silk": "silkcodec.silk:load",
    "codec2": "silkcodec.baselines.codec2:Codec2",
    "dac": "silkcodec_torch.baselines.dac:Dac",
    "encodec": "silkcodec_torch.baselines.encodec:Encodec",
    "gsm": "silkcodec.baselines.gsm:Gsm",
    "mimi": "silkcodec_torch.baselines.mimi:Mimi",
    "opus": "silkcodec.baselines.opus:Opus",
    "snac": "silkcodec_torch.baselines.snac:Snac",
    "speex": "silkcodec.baselines.speex:Speex",
}
"""Built-in codecs: a "module:factory" string for each name."""

_NEURAL = "./pytorch[baselines]"  # in a checkout, because silkcodec-torch is not on PyPI
_NEEDS = {  # name -> (required packages, what pip installs to get them)
    "codec2": (("pycodec2",), "silkcodec[classical]"),
    "dac": (("silkcodec_torch", "torch", "transformers", "safetensors"), _NEURAL),
    "encodec": (("silkcodec_torch", "torch", "transformers", "safetensors"), _NEURAL),
    "mimi": (("silkcodec_torch", "torch", "transformers", "safetensors"), _NEURAL),
    "opus": (("opuslib",), "silkcodec[classical]"),
    "snac": (("silkcodec_torch", "torch", "snac", "safetensors", "huggingface_hub"), _NEURAL),
}


@runtime_checkable
class Codec(Protocol):
    """Encode audio to tokens and decode tokens to audio.

    Codecs are stateless: the result of a call does not depend on earlier calls.

    Attributes:
        name: name that `load` accepts, for example "silk" or "opus:6k".
        sample_rate: sample rate in Hz of the audio that `decode` returns.
        codebook_sizes: number of entries in each of the K codebooks.
        frame_rates: frame rate of each codebook in Hz.

    A codec can also have these members. The codecs in this package have all that apply to them:

        quantizer: "FSQ", "RVQ", "split RVQ", "multi-scale RVQ" or "bit stream".
        latency_s: algorithmic latency in seconds, or None if it is unknown.
        deterministic: False if `decode` can return different audio for the same tokens. If missing, it is True.
        decode(codes, n_samples=...): decodes an integer array of codes [K, F] instead of Tokens.
        encode_batch, decode_batch: process many clips in one call. The classical codecs do not have them.
        batch_exact: whether a batch gives exactly the same results as separate calls.
    """

    @property
    def name(self) -> str:
        """Return the name that `load` accepts."""
        ...

    @property
    def sample_rate(self) -> int:
        """Return the sample rate of decoded audio in Hz."""
        ...

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Return the number of entries in each codebook."""
        ...

    @property
    def frame_rates(self) -> tuple[float, ...]:
        """Return the frame rate of each codebook in Hz."""
        ...

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Encode a waveform.

        Args:
            wave: samples [T], [T, C] or [C, T], as floats in [-1, 1] or as int8, int16 or int32. Channels are
                averaged.
            sample_rate: sample rate of `wave` in Hz. The codec resamples the audio to its own rate.
            n_codebooks: number of codebooks to use, which sets the bit rate. None uses all codebooks.

        Returns:
            The tokens.

        Raises:
            AudioError: the waveform is empty, contains NaN or infinity, or has an unsupported shape or type.
            ArgumentError: n_codebooks is out of range.
        """
        ...

    def decode(self, tokens: Tokens) -> NDArray[np.float32]:
        """Decode tokens to a waveform.

        Args:
            tokens: tokens produced by this codec.

        Returns:
            The samples, float32 [tokens.n_samples], at `sample_rate` Hz.

        Raises:
            TokensError: the tokens were not produced by this codec.
        """
        ...


@overload
def load(name: Literal["silk"] = "silk", *, threads: int | None = None, provider: str = "cpu") -> Silk: ...
@overload
def load(name: str | os.PathLike[str], **options: Any) -> Codec: ...
def load(name: str | os.PathLike[str] = "silk", **options: Any) -> Codec:
    """Load a codec by name.

    Args:
        name: a codec name, optionally followed by a preset ("opus:6k") and a weights source
            ("mimi:8@./weights/mimi"). The source is a folder or a Hugging Face repository. Without a source, the
            published weights are loaded. `name` can also be the path of a weights folder written by `silk export`.
        options: keyword arguments for the codec. Silk accepts `threads`, the number of CPU threads (None chooses the
            number automatically), and `provider`, which is "cpu" or "cuda".

    Returns:
        The loaded codec. For "silk", it is a `Silk` object.

    Raises:
        ArgumentError: the codec, its preset or an option is unknown.
        WeightsError: the model files are missing or damaged, or the download failed.
        ProviderError: the provider is not available on this machine.
        MissingExtraError: the codec requires a package that is not installed.

    >>> load("nonesuch")
    Traceback (most recent call last):
    silkcodec.errors.ArgumentError: A codec must be one of codec2, dac, ... or a weights folder; got 'nonesuch'.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ArgumentError(f"A codec must be a name or the path of a weights folder; got {name!r}.")
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
    """Suggest a Hugging Face repository or a similar codec name for an unknown name."""
    import difflib

    base = parse(text)[0].lower()
    for name in known:
        if name in base.rpartition("/")[2] and base.count("/") == 1 and name != "silk":
            return f" For a Hugging Face repository, pass '{name}@{text}'."
    near = difflib.get_close_matches(base, list(known), n=1) or [name for name in known if name in base]
    return f" Did you mean '{near[0]}'?" if near else ""


def parse(name: str) -> tuple[str, str | None, str | None]:
    """Split a codec name into codec, preset and source.

    Args:
        name: codec name in the form `codec[:preset][@source]`.

    Returns:
        Three values: the codec, the preset and the source. A missing part is None.

    >>> parse("mimi:8@./weights/mimi"), parse("silk")
    (('mimi', '8', './weights/mimi'), ('silk', None, None))
    """
    codec, _, source = name.partition("@")
    base, _, preset = codec.partition(":")
    return base, preset or None, source or None


def is_silk(name: str) -> bool:
    """Return whether a codec name stands for Silk or for a folder with its weights.

    Args:
        name: codec name in the form `codec[:preset][@source]`, or a path.
    """
    base = parse(name)[0]
    return base == "silk" or base not in codecs()


def codecs() -> dict[str, str]:
    """Return a "module:factory" string for each registered codec, keyed by codec name.

    Other packages can register codecs under the "silkcodec.codecs" entry point group. See docs/extending.md for an
    example.
    """
    from importlib.metadata import entry_points  # At module level, this would slow `import silkcodec` by 20 ms.

    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return dict(sorted((others | BUILT_IN).items()))


def is_built_in(name: str) -> bool:
    """Return whether a codec is built in and uses its published weights.

    Args:
        name: codec name in the form `codec[:preset][@source]`.

    >>> is_built_in("mimi:8"), is_built_in("mimi:8@./weights/mimi"), is_built_in("./weights")
    (True, False, False)
    """
    return name.partition(":")[0] in BUILT_IN and not set(name) & set("@/\\")


def presets(name: str) -> tuple[str, ...]:
    """Return the names of a codec's presets, or () if it has no presets.

    Args:
        name: name from `codecs()`, without a preset or a source.

    Raises:
        ArgumentError: the codec is unknown.
        MissingExtraError: the codec is in silkcodec-torch, which is not installed.

    >>> presets("codec2"), presets("silk")
    (('700C', '1200', '1300', '1400', '1600', '2400', '3200'), ())
    """
    known = codecs()
    if name not in known:
        raise ArgumentError(f"A codec must be one of {', '.join(sorted(known))}; got '{name}'.")
    return tuple(getattr(_factory(known[name]), "presets", ()))


def missing(name: str) -> str | None:
    """Return the pip command that installs a codec's missing packages, or None if none are missing.

    Args:
        name: codec name in the form `codec[:preset][@source]`.
    """
    from importlib.util import find_spec

    packages, requirement = _NEEDS.get(parse(name)[0], ((), None))
    if all(find_spec(package) is not None for package in packages):
        return None
    return f"pip install '{requirement}'"


def _factory(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "silkcodec_torch":
            raise
        raise MissingExtraError(f"The codec '{attribute.lower()}'", error.name, "baselines", "./pytorch") from None


def _build(name: str, target: str, preset: str | None, source: str | None, options: dict[str, Any]) -> Codec:
    factory = _factory(target)
    if source is not None:
        if not _accepts(factory, "source"):
            raise ArgumentError(
                f"The codec '{parse(name)[0]}' does not accept a weights source (the part after @); got '{name}'."
            )
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
            takes = f"accepts only the options {', '.join(accepted)}" if accepted else "does not accept options"
            raise ArgumentError(f"The codec '{name}' {takes}; got {option!r}.")
