"""Compare audio that is resynthesized from quantized and from unquantized mel spectrograms.

    excerpt -> log-mel columns (10 ms) -> dB relative to the loud level -> Griffin-Lim -> audio
                         |-> columns with speech -> quantizer ---------> Griffin-Lim -> audio

Both versions use Griffin-Lim with the same initial phases, so only the quantizer causes differences. A second
unquantized version with different initial phases (`again`) shows the differences caused by Griffin-Lim alone.
`speech.py` defines the loud level. The output of complete codecs is compared with the excerpt itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, mel
from silkcodec.audio import Wave
from silkcodec.codec import Codec
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics import Metric, Pair, find_metrics, measure_all
from silkcodec_lab.coverage import vector_fits
from silkcodec_lab.coverage.about import NO_QUANTIZER
from silkcodec_lab.coverage.coverage_plan import CoveragePlan
from silkcodec_lab.coverage.griffin_lim import magnitudes, wave_of
from silkcodec_lab.coverage.intervals import SEEN, UNSEEN, Floats, difference, in_order, interval
from silkcodec_lab.coverage.speech import LOUD, Patches, Vectors, decibels, mel_patches, voices_of
from silkcodec_lab.selection import beginning

Values = dict[str, dict[str, dict[str, dict[str, float | None]]]]  # quantizer -> group -> speaker -> metric

METRICS = ("mel_distance", "stoi", "f0_rmse_cents", "voicing_error")
LOUD_DB = 34.0  # loud level of resynthesized audio as a sum over bands, about -26 dBFS
SHORTEST_S = 1.0  # minimum duration of an excerpt


@dataclass(frozen=True)
class ResynthesisSettings:
    """Hold the settings for resynthesizing speech from mel spectrograms.

    Attributes:
        speakers: Maximum number of speakers per group.
        seconds: Maximum duration of each speaker's excerpt in seconds.
        steps: Number of Griffin-Lim iterations.
        codecs: Names of codecs to measure for comparison.
        runs: Folders of training runs to measure for comparison.
    """

    speakers: int = 8
    seconds: float = 4.0
    steps: int = 24
    codecs: tuple[str, ...] = ("silk",)
    runs: tuple[str | os.PathLike[str], ...] = ()

    def __post_init__(self) -> None:
        if self.speakers < 1:
            raise ArgumentError(f"speakers must be at least 1; got {self.speakers}.")


@dataclass(frozen=True)
class Voice:
    """Hold an excerpt of a speaker's speech, and mel columns of the remaining speech for fitting quantizers."""

    name: str
    key: str
    excerpt: Wave
    vectors: Vectors


def find_voices(
    train: str,
    tests: Mapping[str, str],
    plan: CoveragePlan,
    resynthesis: ResynthesisSettings,
    folds: Sequence[set[str]],
) -> tuple[list[Voice], dict[str, list[Voice]]]:
    """Read speech, and return all training speakers and, keyed by group, the speakers to resynthesize.

    The arguments are those of `coverage` and the training speakers or sources to hold out in each fold.

    Raises:
        ArgumentError: All training speakers of a fold have only short clips. See also `find_clips`.
        AudioError: See `find_clips`.
    """
    patches = _columns(plan)
    few = replace(patches, speakers=min(resynthesis.speakers, patches.speakers))
    trained = _voices(train, patches, plan, resynthesis)
    if not all(_fitted_to(trained, held_out) for held_out in folds):
        raise ArgumentError(
            f"Resynthesis needs clips of at least {2 * SHORTEST_S:g} s from the training speakers of each fold. Add "
            "longer clips to the training speech, or pass --rebuild 0."
        )
    chosen = np.random.default_rng(plan.seed).permutation(len(trained))[: few.speakers]
    seen = [trained[index] for index in sorted(chosen)]
    names = [voice.name for voice in trained]
    groups = {name: _voices(text, few, plan, resynthesis, without=names) for name, text in tests.items()}
    return trained, {SEEN: seen, **({UNSEEN: seen} if len(folds) > 1 else {}), **groups}


def resynthesize(
    trained: Sequence[Voice],
    groups: Mapping[str, Sequence[Voice]],
    codecs: Mapping[str, Codec],
    plan: CoveragePlan,
    resynthesis: ResynthesisSettings,
    folds: Sequence[set[str]],
) -> dict[str, Any]:
    """Measure the quality of resynthesized speech for each quantizer, each codec and each group of speakers.

    Args:
        trained: Speakers for fitting quantizers; see `find_voices`.
        groups: Speakers to resynthesize, keyed by group.
        codecs: Codecs to measure for comparison, keyed by name.
        plan: Settings of the experiment.
        resynthesis: Settings of the resynthesis.
        folds: Training speakers or sources to hold out in each fold.
    """
    patches = _columns(plan)
    plan = plan.limited(min(sum(len(voice.vectors) for voice in _fitted_to(trained, held_out)) for held_out in folds))
    keys = {voice.key for voice in trained}
    values: Values = {}
    facts: dict[str, dict[str, Any]] = {}
    metrics = find_metrics(METRICS)
    for index, held_out in enumerate(folds):
        fitted, facts = _fit(_fitted_to(trained, held_out), plan, index)
        for group, voices in groups.items():
            for place, voice in enumerate(voices):
                able = [n for n, out in enumerate(folds) if _may_measure(group, voice.key, out, keys)]
                if able and able[place % len(able)] == index:
                    for what, found in _measure(voice, fitted, patches, resynthesis, metrics, plan.seed).items():
                        values.setdefault(what, {}).setdefault(group, {})[voice.name] = found
    quantized = list(values)
    for name, codec in codecs.items():
        for group, voices in groups.items():
            for voice in voices if group != SEEN else ():
                output = codec.decode(codec.encode(voice.excerpt, mel.SAMPLE_RATE))
                output = audio.as_wave(output, codec.sample_rate)[: len(voice.excerpt)]
                pair = Pair(voice.excerpt[: len(output)], output)
                values.setdefault(name, {}).setdefault(group, {})[voice.name] = measure_all(pair, metrics)[0]
    grids = {name: f"fsq {fact['bits']}" for name, fact in facts.items() if fact["kind"] != "fsq"}
    return {
        "settings": {**asdict(resynthesis), "runs": len(resynthesis.runs), "width": patches.width},
        "metrics": METRICS,
        "grids": {name: grid for name, grid in grids.items() if grid in values},
        "codecs": [name for name in values if name not in quantized],
        "of": {what: _summary(what, values, grids.get(what), plan.seed) for what in values},
    }


def _voices(
    text: str, patches: Patches, plan: CoveragePlan, resynthesis: ResynthesisSettings, without: Sequence[str] = ()
) -> list[Voice]:
    found, _ = voices_of(text, patches, plan.seed, without)
    voices = [_voice(*key, clips, patches, plan, resynthesis.seconds) for key, clips in found.items()]
    return [voice for voice in voices if len(voice.excerpt) >= SHORTEST_S * mel.SAMPLE_RATE and len(voice.vectors)]


def _voice(
    name: str, source: str, clips: Sequence[Clip], patches: Patches, plan: CoveragePlan, seconds: float
) -> Voice:
    """Return an excerpt from the first half of a speaker's first clip, and mel columns of the remaining speech."""
    parts, left_s, excerpt = [], patches.seconds, np.zeros(0, np.float32)
    for clip in clips:
        if left_s <= 0:
            break
        wave = beginning(clip.path, left_s)
        left_s -= len(wave) / mel.SAMPLE_RATE
        if not len(excerpt):
            end = min(round(seconds * mel.SAMPLE_RATE), len(wave) // 2)
            excerpt, wave = wave[:end], wave[end:]
        parts.append(mel_patches(wave, patches))
    vectors = np.concatenate(parts)
    if len(vectors) > patches.per_speaker:
        vectors = vectors[np.random.default_rng(plan.seed).choice(len(vectors), patches.per_speaker, replace=False)]
    return Voice(name, name if plan.hold_out == "speaker" else source, excerpt, vectors)


def _columns(plan: CoveragePlan) -> Patches:
    """Return settings for single mel columns instead of patches or latents."""
    return replace(plan.patches, of="mel", columns=1, pool=1)


def _fitted_to(trained: Sequence[Voice], held_out: set[str]) -> list[Voice]:
    return [voice for voice in trained if voice.key not in held_out]


def _fit(seen: Sequence[Voice], plan: CoveragePlan, index: int) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Fit the largest VQ codebook, the longest RVQ chain, and scalar grids with the same bit budgets."""
    vectors = np.concatenate([voice.vectors for voice in seen])
    rvq = plan.rvq_entries, (max(plan.rvq_lengths),)
    return vector_fits.fit(vectors, (max(plan.vq),), rvq, plan.seed + index, plan.kmeans_steps)


def _may_measure(group: str, key: str, held_out: set[str], keys: set[str]) -> bool:
    """Return whether the quantizers fitted in a fold can be measured on a speaker.

    Speakers in the "seen" group must be in the training set of the fold. Other speakers must not be in it.
    """
    return key not in held_out if group == SEEN else key in held_out or key not in keys


def _measure(
    voice: Voice, fitted: Any, patches: Patches, resynthesis: ResynthesisSettings, metrics: Sequence[Metric], seed: int
) -> dict[str, dict[str, float | None]]:
    """Return the metrics of a speaker's resynthesized excerpt, keyed by quantizer name."""
    columns, spoken = loudest_down(decibels(voice.excerpt, patches), patches)

    def sound(of: NDArray[Any], begin: int) -> Wave:
        return wave_of(
            magnitudes(10 ** ((of + LOUD_DB) / 20), mel.filterbank()[:, : patches.n_bands]), begin, resynthesis.steps
        )

    reference = sound(columns, seed)
    shared: dict[str, Any] = {}
    waves = {NO_QUANTIZER: sound(columns, seed + 1)}
    for name, quantized in vector_fits.rebuild(fitted, columns[spoken]).items():
        whole = columns.copy()
        whole[spoken] = np.clip(quantized, -patches.floor_db, None)
        waves[name] = sound(whole, seed)
    return {name: measure_all(Pair(reference, wave, {}, shared), metrics)[0] for name, wave in waves.items()}


def loudest_down(bands: NDArray[np.float32], patches: Patches) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return mel columns in dB relative to the loud level (see `speech.py`), and a mask of the columns with speech."""
    level = 10 * np.log10((10 ** (bands.astype(np.float64) / 10)).sum(axis=1))
    loud = np.percentile(level, LOUD)
    return np.maximum(bands - loud, -patches.floor_db).astype(np.float32), level > loud - patches.silence_db


def _summary(what: str, values: Values, grid: str | None, seed: int) -> dict[str, Any]:
    """Summarize the metrics of a quantizer or codec in each group of speakers.

    A summary contains the mean, the difference from unseen speakers and, for a codebook, how much this difference
    exceeds that of the scalar grid with the same number of bits.
    """
    result: dict[str, Any] = {}
    for metric in METRICS:
        groups = {}
        for group in in_order(values[what]):
            own = _column(values[what], group, metric, list(values[what][group]))
            if not np.isfinite(own).any():
                continue
            groups[group] = {"mean": interval(own[np.isfinite(own)], seed, group)}
            control = values[what].get(UNSEEN)
            if control is None or group == UNSEEN:
                continue
            new = _column(values[what], UNSEEN, metric, list(control))
            if np.isfinite(new).any():
                groups[group]["against_unseen"] = difference(own[np.isfinite(own)], new[np.isfinite(new)], seed, group)
            if grid in values:
                excess = [
                    _column(values[what], one, metric, list(values[what][one]))
                    - _column(values[grid], one, metric, list(values[what][one]))
                    for one in (group, UNSEEN)
                ]
                excess = [one[np.isfinite(one)] for one in excess]
                if all(map(len, excess)):
                    groups[group]["beyond_grid_and_unseen"] = difference(excess[0], excess[1], seed, group)
        result[metric] = groups
    return result


def _column(
    of: Mapping[str, Mapping[str, Mapping[str, float | None]]], group: str, metric: str, names: list[str]
) -> Floats:
    """Return the values of a metric for the given speakers of a group. Missing values are NaN."""
    found = [of[group][name][metric] for name in names]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)
