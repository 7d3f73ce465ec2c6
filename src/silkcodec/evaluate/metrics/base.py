"""Define the parts of every metric: a `Pair` of waves, a `Metric` that measures it, and `UndefinedMetric`.

Two kinds of degenerate clips are distinguished, because dropping a clip on which *the codec* failed would reward it:

- If the reference has nothing to measure (silence, too short), every codec gets `UndefinedMetric`.
- If the reference is speech but the output is silent, the codec gets the worst value of the metric (`Metric.worst`).
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

SAMPLE_RATE = mel.SAMPLE_RATE  # Hz, for both waves of a Pair
SILENCE_DBFS = -70.0  # An RMS level below this, relative to full scale, counts as silence.


class UndefinedMetric(AudioError):
    """Report that a metric is undefined for a clip: its reference is silent, too short, or has no text."""


class Weighted(NamedTuple):
    """Hold a value and its weight in a mean: for an error rate, the number of words of the reference."""

    value: float
    weight: float


@dataclass(frozen=True)
class Pair:
    """Hold a reference and the output of a codec: float32 [T] each, mono, 24 kHz, aligned.

    Attributes:
        columns: manifest columns of the clip: "language", "text", "speaker", ...
        shared: cache of values computed from the reference (transcript, F0, embedding). Pass the same dict to all
            pairs of one clip, so that they are computed once for all codecs. Never share it between clips.

    Raises:
        ArgumentError: the waves are not one-dimensional or differ in length.
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
                "reference and output must be waves of the same shape [T], T > 0; "
                f"got {self.reference.shape} and {self.output.shape}. Align them first."
            )
        if not (np.isfinite(self.reference).all() and np.isfinite(self.output).all()):
            raise AudioError("Samples of reference and output must be finite; got NaN or Inf.")

    def at(self, sample_rate: int) -> tuple[Wave, Wave]:
        """Return both waves at another sample rate (Hz). They are resampled at the first call and cached."""
        return self._wave_at(self.reference, self.shared, sample_rate), self._wave_at(
            self.output, self._of_output, sample_rate
        )

    def both(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> tuple[Any, Any]:
        """Return `compute` of the reference and of the output, each computed once and shared by all metrics."""
        return self.of_reference(key, compute, sample_rate), self.of_output(key, compute, sample_rate)

    def of_reference(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """Return `compute(reference at sample_rate)`, computed once per clip. `key` must name all its dependencies."""
        if key not in self.shared:
            self.shared[key] = compute(self._wave_at(self.reference, self.shared, sample_rate))
        return self.shared[key]

    def of_output(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """Return `compute(output at sample_rate)`, computed once per pair. `key` must name all its dependencies."""
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
        """Return the duration of both waves in seconds."""
        return len(self.reference) / SAMPLE_RATE

    @property
    def language(self) -> str:
        """Return the first subtag of the manifest's language, e.g. "pt" for pt_BR; "" if there is none."""
        return self.columns.get("language", "").replace("_", "-").split("-")[0].lower()


@dataclass(frozen=True)
class Metric:
    """Describe one metric, a column of the report.

    Attributes:
        name: key of the metric in results and options.
        label, unit: column heading in reports. The unit may be empty.
        better: which values are better; "original": values close to that of the original itself.
        measure: `measure(pair)`, or `measure(pair, model)` if there is a `model_key`.
        worst: value if the reference is speech and the output is silent; None: the metric handles silence itself.
        weighted_by: the weight of its values in a mean, such as "words"; empty: all weights are equal.
        what, source, needs: one line each for the documentation. `needs` lists requirements besides the packages of
            an extra and a model.
        packages: modules that it needs, installed by the extra `extra`.
        model_key: the key of its model, `models[model_key]`.
        model: name or path of the given model, or None.
        lacks: `lacks(model)` returns a message about anything else that is missing, or None.
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
        """Return why the metric is not available and how to enable it, or None if it is available.

        The check imports no package.
        """
        error = self._gap()
        return None if error is None else str(error)

    def require(self) -> None:
        """Raise if a requirement of this metric is missing. Call it before any codec is loaded.

        Raises:
            MissingExtraError: a package of an extra is missing; the message has the pip command.
            ArgumentError: something else is missing; the message states what to pass or install.
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
        """Measure the metric of a pair.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the result is not a number.
        """
        return self.weigh(pair).value

    def weigh(self, pair: Pair) -> Weighted:
        """Measure the metric of a pair and return it with its weight in a mean. The weight is 1 without `weighted_by`.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the result is not a number.
        """
        if is_silent(pair.reference):
            raise UndefinedMetric("The reference is silent.")
        if self.worst is not None and is_silent(pair.output):
            return Weighted(self.worst, 1.0)
        value = self.measure(pair) if self.model_key is None else self.measure(pair, self.model)
        measured = value if isinstance(value, Weighted) else Weighted(float(value), 1.0)
        if not np.isfinite(measured.value):
            raise UndefinedMetric(f"{self.label} is not a finite number for this clip; got {measured.value}.")
        return measured


def is_installed(package: str) -> bool:
    """Return whether a module is installed, without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def rms_dbfs(wave: Wave) -> float:
    """Return the root mean square of a wave relative to full scale (amplitude 1) in dB; -inf for zeros."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def is_silent(wave: Wave) -> bool:
    """Return whether the RMS level of a wave is below -70 dBFS."""
    return rms_dbfs(wave) < SILENCE_DBFS
