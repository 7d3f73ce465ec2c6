"""Define `Pair`, `Metric` and `UndefinedMetric`.

If the reference cannot be measured, for example because it is silent, the metric raises `UndefinedMetric`. If only the
output is silent, the codec gets the worst value of the metric, because ignoring the clip would reward the codec.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from silkcodec import audio, mel
from silkcodec.audio.resampling import Wave
from silkcodec.errors import ArgumentError, AudioError, MissingExtraError, SilkError

SAMPLE_RATE = mel.SAMPLE_RATE  # Hz, of both waveforms of a Pair
SILENCE_DBFS = -70.0  # RMS level relative to full scale below which audio counts as silence


class UndefinedMetric(AudioError):
    """Raised if a metric is undefined for a clip, e.g. because its reference is silent or too short."""


class Weighted(NamedTuple):
    """A metric value and its weight in a mean over clips."""

    value: float
    weight: float


@dataclass(frozen=True)
class Pair:
    """A reference and the output of a codec, both mono float32 [T] at 24 kHz and aligned in time.

    Attributes:
        reference: waveform of the original.
        output: waveform of the output.
        columns: values in the clip's manifest row, keyed by column name, e.g. "language", "text" and "speaker".
        shared: cache of values computed from the reference, e.g. its transcript. Pass the same dictionary to all pairs
            of a clip.

    Raises:
        ArgumentError: the waveforms are empty, are not one-dimensional or differ in length.
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
                "reference and output must be waveforms of the same shape [T] with T > 0; "
                f"got {self.reference.shape} and {self.output.shape}. Align them first."
            )
        if not (np.isfinite(self.reference).all() and np.isfinite(self.output).all()):
            raise AudioError("The reference and output samples must be finite; got NaN or infinity.")

    def at(self, sample_rate: int) -> tuple[Wave, Wave]:
        """Return the reference and the output, resampled to `sample_rate` Hz."""
        return self._wave_at(self.reference, self.shared, sample_rate), self._wave_at(
            self.output, self._of_output, sample_rate
        )

    def both(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> tuple[Any, Any]:
        """Compute a value for the reference and for the output; see `of_reference`."""
        return self.of_reference(key, compute, sample_rate), self.of_output(key, compute, sample_rate)

    def of_reference(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """Compute a value for the reference, or return the cached value.

        Args:
            key: key of the cached value.
            compute: function of a waveform, float32 [T] at `sample_rate`.
            sample_rate: sample rate in Hz.
        """
        if key not in self.shared:
            self.shared[key] = compute(self._wave_at(self.reference, self.shared, sample_rate))
        return self.shared[key]

    def of_output(self, key: str, compute: Callable[[Wave], Any], sample_rate: int = SAMPLE_RATE) -> Any:
        """Compute a value for the output, or return the cached value. See `of_reference` for the arguments."""
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
        """Return the duration in seconds."""
        return len(self.reference) / SAMPLE_RATE

    @property
    def language(self) -> str:
        """Return the language of the clip without its region, e.g. "pt" for pt_BR, or "" if unknown."""
        return self.columns.get("language", "").replace("_", "-").split("-")[0].lower()


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        name: key of the metric in results and options.
        label: name of the metric in reports.
        unit: unit in reports; may be empty.
        better: which values are better: "higher" or "lower"; "zero" for values closer to 0; "original" for values
            closer to the original's value.
        measure: function that computes the value from a pair, or from a pair and a model if `model_key` is set.
        worst: value for silent output. None means that `measure` handles silent output.
        weighted_by: quantity that weights the values in a mean, e.g. "words"; empty for equal weights.
        what: description for the documentation.
        source: paper, standard or package that defines the metric, for the documentation.
        needs: requirements in addition to the extra and the model, for the documentation.
        packages: modules that the metric requires.
        extra: extra that installs these modules.
        distribution: distribution that the extra belongs to.
        model_key: key of the model in the `models` argument of `find_metrics`, or None if the metric has no model.
        model: name or path of the model. None selects the default model, if there is one.
        lacks: function that takes `model` and returns a message if another requirement is missing, and None otherwise.
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
    distribution: str = "silkcodec"
    model_key: str | None = None
    model: str | None = None
    lacks: Callable[[str | None], str | None] = lambda model: None

    def missing(self) -> str | None:
        """Return why the metric is unavailable and how to enable it, or None if it is available."""
        error = self._gap()
        return None if error is None else self.without_path(str(error))

    def without_path(self, text: str) -> str:
        """Shorten the path of the model in a message, because results must not contain local paths."""
        return text.replace(self.model or "\0", Path(self.model or "").name)

    def require(self) -> None:
        """Raise an error if a requirement of this metric is missing.

        Raises:
            MissingExtraError: a package from an extra is not installed.
            ArgumentError: another requirement is missing.
        """
        error = self._gap()
        if error is not None:
            raise error

    def _gap(self) -> SilkError | None:
        for package in self.packages:
            if not is_installed(package):
                return MissingExtraError(f"The metric '{self.label}'", package, self.extra, self.distribution)
        lacks = self.lacks(self.model)
        return None if lacks is None else ArgumentError(lacks)

    def __call__(self, pair: Pair) -> float:
        """Compute the metric for a pair.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the value is not finite.
        """
        return self.weigh(pair).value

    def weigh(self, pair: Pair) -> Weighted:
        """Compute the metric for a pair, and return the value and its weight in a mean.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the value is not finite.
        """
        if is_silent(pair.reference):
            raise UndefinedMetric("The reference is silent.")
        if self.worst is not None and is_silent(pair.output):
            return Weighted(self.worst, 1.0)
        value = self.measure(pair) if self.model_key is None else self.measure(pair, self.model)
        measured = value if isinstance(value, Weighted) else Weighted(float(value), 1.0)
        if not np.isfinite(measured.value):
            raise UndefinedMetric(f"The value of {self.label} for this clip must be finite; got {measured.value}.")
        return measured


def is_installed(package: str) -> bool:
    """Return whether a module is installed, without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # The parent package is not installed.
        return False


def rms_dbfs(wave: Wave) -> float:
    """Return the RMS level of a waveform in dB relative to full scale, or -inf if all samples are 0."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def is_silent(wave: Wave) -> bool:
    """Return whether the RMS level of a waveform is below -70 dBFS."""
    return rms_dbfs(wave) < SILENCE_DBFS
