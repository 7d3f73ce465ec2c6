"""Metrics: a reference wave and what a codec made of it -> one number each.

Both waves of a `Pair` are mono float32 at 24 kHz, aligned and of one length (`align.py` does that, once,
for all metrics). A metric that works at another rate takes both waves resampled once, by `Pair.at`.

| name         | better | unit        | rate   | source                                                     |
|--------------|--------|-------------|--------|------------------------------------------------------------|
| pesq_wb      | higher | MOS-LQO     | 16 kHz | ITU-T P.862.2, the `pesq` package                          |
| stoi         | higher | up to 1     | 10 kHz | Taal et al. 2011, the `pystoi` package                     |
| estoi        | higher | up to 1     | 10 kHz | Jensen & Taal 2016, the `pystoi` package                   |
| mel_distance | lower  | natural log | 24 kHz | mean absolute difference of the log-mel of `silkcodec.mel` |
| si_sdr_db    | higher | dB          | 24 kHz | Le Roux et al. 2019, arXiv 1811.02508                      |
| level_db     | zero   | dB          | 24 kHz | RMS of the output over RMS of the reference                |

Level: PESQ brings both waves to one level itself, STOI, ESTOI and SI-SDR do not depend on the level; the
mel distance does, on purpose, and `level_db` says how far off the level is.

Two kinds of degenerate clip are told apart, because dropping a clip where *the codec* failed would reward it:

- the reference holds nothing to measure (silence, too short): `UndefinedMetric`, the same for every codec;
- the reference is speech but the output is silence: the metric's worst value (`Metric.worst`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError, AudioError, MissingExtraError

Wave = NDArray[np.float32]

SAMPLE_RATE = mel.SAMPLE_RATE  # Hz, of both waves of a Pair
SILENCE_DBFS = -70.0  # RMS below this, relative to full scale, is silence: nothing to measure
PESQ_RATE = 16_000  # Hz: P.862.2 knows no other
PESQ_MAX_S = 19.0  # see pesq_wb
PESQ_MIN_S = 0.25  # the reference implementation refuses less
PESQ_WORST = 0.999 + 4.0 / (1.0 + float(np.exp(1.3669 * 0.5 + 3.8224)))  # P.862.2 at a raw score of -0.5
SI_SDR_WORST_DB = -100.0
SI_SDR_BEST_DB = 100.0  # identical waves are infinitely good; a finite bound keeps the mean a number


class UndefinedMetric(AudioError):
    """The reference holds nothing that this metric could measure: it is silent or too short."""


@dataclass(frozen=True)
class Pair:
    """A reference and a codec's output: float32 [T] each, mono, 24 kHz, aligned.

    Raises:
        ArgumentError: the waves are not one-dimensional and of one length.
        AudioError: a sample is NaN or infinite.
    """

    reference: Wave
    output: Wave
    _resampled: dict[int, tuple[Wave, Wave]] = field(default_factory=dict, repr=False, compare=False)

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
        if sample_rate == SAMPLE_RATE:
            return self.reference, self.output
        if sample_rate not in self._resampled:
            self._resampled[sample_rate] = (
                audio.as_wave(self.reference, SAMPLE_RATE, sample_rate),
                audio.as_wave(self.output, SAMPLE_RATE, sample_rate),
            )
        return self._resampled[sample_rate]

    @property
    def duration_s(self) -> float:
        return len(self.reference) / SAMPLE_RATE


@dataclass(frozen=True)
class Metric:
    """One column of the report.

    `worst` stands in where the reference is speech and the output is silent; None: the metric copes.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "zero"]
    measure: Callable[[Pair], float]
    worst: float | None = None
    module: str | None = None  # the package of the extra [eval] that it needs

    def require(self) -> None:
        """Fails early, before any codec is loaded, if the package that this metric needs is missing.

        Raises:
            MissingExtraError: names the pip command.
        """
        if self.module is not None:
            _imported(self.module, self.label)

    def __call__(self, pair: Pair) -> float:
        """The metric of a pair.

        Raises:
            UndefinedMetric: the reference is silent or too short, or the measure gave no number.
        """
        if is_silent(pair.reference):
            raise UndefinedMetric("the reference must hold sound; got silence.")
        if self.worst is not None and is_silent(pair.output):
            return self.worst
        value = float(self.measure(pair))
        if not np.isfinite(value):
            raise UndefinedMetric(f"{self.label} must be a number; got {value} for this clip.")
        return value


def rms_dbfs(wave: Wave) -> float:
    """Root mean square of a wave relative to full scale (amplitude 1), in dB; -inf for zeros."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def is_silent(wave: Wave) -> bool:
    """Whether a wave's RMS level is below -70 dBFS."""
    return rms_dbfs(wave) < SILENCE_DBFS


def pesq_wb(pair: Pair) -> float:
    """PESQ, wide band (P.862.2): MOS-LQO, 1.04 .. 4.64.

    A clip longer than 19 s is cut into equal parts of at most 19 s and the parts are averaged: the reference
    implementation keeps utterances in tables of 50 and does not check; one takes at least 200 ms of speech
    and 200 ms of pause, so less than 20 s cannot overrun them. Parts without an utterance in them are left
    out of the average.

    Raises:
        UndefinedMetric: shorter than 0.25 s, or no part holds an utterance (0.2 s of uninterrupted speech).
        MissingExtraError: `pesq` is not installed.
    """
    pesq = _imported("pesq", "PESQ-WB")
    if pair.duration_s < PESQ_MIN_S:
        raise UndefinedMetric(f"PESQ needs {PESQ_MIN_S} s of audio or more; got {pair.duration_s:.3f} s.")
    reference, output = pair.at(PESQ_RATE)
    n_parts = int(np.ceil(len(reference) / (PESQ_MAX_S * PESQ_RATE)))
    scores = []
    for part, made in zip(np.array_split(reference, n_parts), np.array_split(output, n_parts), strict=True):
        score = None if is_silent(part) else _pesq_of_part(pesq, part, made)
        if score is not None:
            scores.append(score)
    if not scores:
        raise UndefinedMetric("PESQ needs 0.2 s of uninterrupted speech; found none in the reference.")
    return float(np.mean(scores))


def _pesq_of_part(pesq: Any, reference: Wave, output: Wave) -> float | None:
    """PESQ of one part at 16 kHz; None where its reference holds no utterance."""
    if is_silent(output):
        return PESQ_WORST
    try:
        return float(pesq.pesq(PESQ_RATE, reference, output, "wb"))
    except pesq.NoUtterancesError:
        pass
    try:  # whose fault was it? Against itself, a reference with an utterance always has a score.
        pesq.pesq(PESQ_RATE, reference, reference, "wb")
    except pesq.NoUtterancesError:
        return None
    return PESQ_WORST


def stoi(pair: Pair) -> float:
    """Short-time objective intelligibility, up to 1 (`pystoi` resamples to 10 kHz itself)."""
    return _stoi(pair, extended=False)


def estoi(pair: Pair) -> float:
    """Extended STOI, which does not take the bands for independent: about 0 for unrelated waves, up to 1."""
    return _stoi(pair, extended=True)


def _stoi(pair: Pair, *, extended: bool) -> float:
    pystoi = _imported("pystoi", "STOI")
    reference, output = pair.at(PESQ_RATE)  # shared with PESQ: one resampling less
    with warnings.catch_warnings():
        # With under 30 frames of speech (384 ms) pystoi warns and returns 1e-5: that would pass for a score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        # ESTOI adds noise of the size of rounding errors, from NumPy's global generator: keep it repeatable.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(pystoi.stoi(reference, output, PESQ_RATE, extended=extended))
        except RuntimeWarning:
            raise UndefinedMetric("STOI needs 384 ms of speech in the reference; found less.") from None
        finally:
            np.random.set_state(state)


def mel_distance(pair: Pair) -> float:
    """Mean absolute difference of the two log-mel spectrograms (natural log, 128 bands, 10 ms columns).

    1.0 means a factor e = 8.7 dB in magnitude, on average over all bands and columns. Level counts.
    """
    columns = -(-len(pair.reference) // mel.HOP)  # without the columns that only hold padding
    difference = mel.log_mel(pair.output)[:columns] - mel.log_mel(pair.reference)[:columns]
    return float(np.mean(np.abs(difference)))


def si_sdr_db(pair: Pair) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, means removed (arXiv 1811.02508), within -100 .. 100.

    Vocoders keep no waveform and score far below zero however good they sound: read it with that in mind.
    """
    reference = pair.reference.astype(np.float64) - pair.reference.mean(dtype=np.float64)
    output = pair.output.astype(np.float64) - pair.output.mean(dtype=np.float64)
    reference_power = float(reference @ reference)
    if reference_power == 0.0:
        raise UndefinedMetric("SI-SDR needs a reference that changes; got a constant.")
    target = (float(output @ reference) / reference_power) * reference
    residual = output - target
    signal, distortion = float(target @ target), float(residual @ residual)
    if signal == 0.0:
        return SI_SDR_WORST_DB
    if distortion == 0.0:
        return SI_SDR_BEST_DB
    return float(np.clip(10.0 * np.log10(signal / distortion), SI_SDR_WORST_DB, SI_SDR_BEST_DB))


def level_db(pair: Pair) -> float:
    """RMS level of the output relative to the reference in dB: 0 where the level is kept, at least -100."""
    return max(rms_dbfs(pair.output) - rms_dbfs(pair.reference), -100.0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("pesq_wb", "PESQ-WB", "MOS-LQO", "higher", pesq_wb, worst=PESQ_WORST, module="pesq"),
        Metric("stoi", "STOI", "", "higher", stoi, worst=0.0, module="pystoi"),
        Metric("estoi", "ESTOI", "", "higher", estoi, worst=0.0, module="pystoi"),
        Metric("mel_distance", "Mel distance", "natural log", "lower", mel_distance),
        Metric("si_sdr_db", "SI-SDR", "dB", "higher", si_sdr_db, worst=SI_SDR_WORST_DB),
        Metric("level_db", "Level", "dB", "zero", level_db),
    )
}
"""All metrics by name, in the order of the report. A new metric is a function and a line here."""


def find_metrics(names: list[str] | None = None) -> list[Metric]:
    """Metrics by name, each with its package checked; None: all of them.

    Raises:
        ArgumentError: an unknown name.
        MissingExtraError: a package is not installed.
    """
    unknown = [name for name in names or [] if name not in METRICS]
    if unknown:
        raise ArgumentError(f"metrics must be among {', '.join(METRICS)}; got {unknown[0]!r}.")
    found = [METRICS[name] for name in (names or METRICS)]
    for metric in found:
        metric.require()
    return found


def measure_all(pair: Pair, metrics: list[Metric]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each metric of a pair, by name; None and a reason where the reference allows no measurement.

    Returns:
        (values, undefined): value or None by metric name; why, by metric name, where it is None.
    """
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for metric in metrics:
        try:
            values[metric.name] = metric(pair)
        except UndefinedMetric as error:
            values[metric.name] = None
            undefined[metric.name] = str(error)
    return values, undefined


def _imported(module: str, label: str) -> Any:
    """Imports a package of the extra `[eval]` at its first use."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The metric {label}", error.name or module, "eval") from error
