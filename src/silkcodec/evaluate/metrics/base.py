"""What every metric is made of: a `Pair` of waves, a `Metric` that measures it, and when it has no answer.

Two kinds of degenerate clip are told apart, because dropping a clip where *the codec* failed would reward it:

- the reference holds nothing to measure (silence, too short): `UndefinedMetric`, the same for every codec;
- the reference is speech but the output is silence: the metric's worst value (`Metric.worst`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError, AudioError, MissingExtraError, SilkError

Wave = NDArray[np.float32]

SAMPLE_RATE = mel.SAMPLE_RATE  # Hz, of both waves of a Pair
SILENCE_DBFS = -70.0  # RMS below this, relative to full scale, is silence: nothing to measure


class UndefinedMetric(AudioError):
    """The clip holds nothing that this metric could measure: its reference is silent, too short, has no text."""


class Weighted(NamedTuple):
    """A value that counts for more where there is more of it: an error rate, by its reference's words."""

    value: float
    weight: float


@dataclass(frozen=True)
class Pair:
    """A reference and a codec's output: float32 [T] each, mono, 24 kHz, aligned.

    Attributes:
        columns: what the manifest knows of the clip: "language", "text", "speaker", ...
        shared: what was computed of the reference (transcript, F0, embedding). Hand the same dict to all pairs
            of one clip, so that it is computed once for all codecs; never that of another clip.

    Raises:
        ArgumentError: the waves are not one-dimensional and of one length.
        AudioError: a sample is NaN or infinite.
    """

    reference: Wave
    output: Wave
    columns: Mapping[str, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _of_output: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.reference.ndim != 1 or self.reference.shape != self.output.shape or self.reference.size == 0:
            raise ArgumentError(
                "reference and output must be two waves of one shape [T], T > 0; "
                f"got {self.reference.shape} and {self.output.shape}; align them first."
            )
        if not (np.isfinite(self.reference).all() and np.isfinite(self.output).all()):
            raise AudioError("reference and output must hold finite samples; got NaN or Inf.")

    def at(self, sample_rate: int) -> tuple[Wave, Wave]:
        """Both waves at another sample rate (Hz), resampled at the first call and kept."""
        return self._wave_at(self.reference, self.shared, sample_rate), self._wave_at(
            self.output, self._of_output, sample_rate
        )

    def both(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> tuple[Any, Any]:
        """`compute` of the reference and of the output, each once: several metrics share them."""
        return self.of_reference(key, compute, sample_rate), self.of_output(key, compute, sample_rate)

    def of_reference(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """`compute(reference at sample_rate)`, once per clip. `key` names everything that it depends on."""
        if key not in self.shared:
            self.shared[key] = compute(self._wave_at(self.reference, self.shared, sample_rate))
        return self.shared[key]

    def of_output(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """`compute(output at sample_rate)`, once per pair."""
        if key not in self._of_output:
            self._of_output[key] = compute(self._wave_at(self.output, self._of_output, sample_rate))
        return self._of_output[key]

    @staticmethod
    def _wave_at(wave: Wave, kept: dict[str, Any], sample_rate: int) -> Wave:
        if sample_rate == SAMPLE_RATE:
            return wave
        key = f"wave at {sample_rate} Hz"
        if key not in kept:
            kept[key] = audio.as_wave(wave, SAMPLE_RATE, sample_rate)
        resampled: Wave = kept[key]
        return resampled

    @property
    def duration_s(self) -> float:
        return len(self.reference) / SAMPLE_RATE


@dataclass(frozen=True)
class Metric:
    """One column of the report.

    Attributes:
        better: which values are better; "original": those near the value of the original itself.
        measure: `measure(pair)`, or `measure(pair, model)` where there is a `model_key`.
        worst: stands in where the reference is speech and the output is silent; None: the metric copes.
        weighted_by: what its values weigh in a mean, "words"; empty: all the same.
        what, source, needs: for the documentation, one line each; `needs` beyond packages of an extra and a model.
        packages: modules that it needs, of the extra `extra`.
        model_key: the key under which a model is given, `models[model_key]`.
        model: the model given: a name or a path; None: none given.
        lacks: `lacks(model)`: what else is missing, in words; None: nothing.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "zero", "original"]
    measure: Callable[..., float | Weighted]
    worst: float | None = None
    weighted_by: str = ""
    what: str = ""
    source: str = ""
    needs: str = ""
    packages: tuple[str, ...] = ()
    extra: str = "eval"
    model_key: str | None = None
    model: str | None = None
    lacks: Callable[[str | None], str | None] = lambda model: None

    def missing(self) -> str | None:
        """Why it cannot be measured here and how to get it; None: it can. Imports nothing."""
        error = self._gap()
        return None if error is None else str(error)

    def require(self) -> None:
        """Fails early, before any codec is loaded, if something that this metric needs is missing.

        Raises:
            MissingExtraError: a package of an extra; names the pip command.
            ArgumentError: something else; says what to give.
        """
        error = self._gap()
        if error is not None:
            raise error

    def _gap(self) -> SilkError | None:
        for package in self.packages:
            if not is_installed(package):
                return MissingExtraError(f"The metric {self.label}", package, self.extra)
        lacks = self.lacks(self.model)
        return None if lacks is None else ArgumentError(lacks)

    def __call__(self, pair: Pair) -> float:
        """The metric of a pair.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the measure gave no number.
        """
        return self.weigh(pair).value

    def weigh(self, pair: Pair) -> Weighted:
        """The metric of a pair, as when called, and what it weighs in a mean: 1 unless `weighted_by`."""
        if is_silent(pair.reference):
            raise UndefinedMetric("the reference must hold sound; got silence.")
        if self.worst is not None and is_silent(pair.output):
            return Weighted(self.worst, 1.0)
        value = self.measure(pair) if self.model_key is None else self.measure(pair, self.model)
        measured = value if isinstance(value, Weighted) else Weighted(float(value), 1.0)
        if not np.isfinite(measured.value):
            raise UndefinedMetric(f"{self.label} must be a number; got {measured.value} for this clip.")
        return measured


def is_installed(package: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package above it is missing
        return False


def rms_dbfs(wave: Wave) -> float:
    """Root mean square of a wave relative to full scale (amplitude 1), in dB; -inf for zeros."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def is_silent(wave: Wave) -> bool:
    """Whether a wave's RMS level is below -70 dBFS."""
    return rms_dbfs(wave) < SILENCE_DBFS
