"""Measure whether codebooks cover other languages less well than they cover unseen speakers of the training language.

    training speech -> speakers -> folds; each fit leaves out one fold
    seen speakers   -> radius: the error that 95 % of their held-out vectors do not exceed
    all groups      -> coverage: the share of vectors whose error does not exceed the radius

    seen     held-out speech of speakers in the training set, with a coverage of 95 % by definition
    unseen   control group: other speakers of the training language
    others   test groups; only their difference from `unseen` can be an effect of language

If sources are held out instead of speakers, `unseen` contains speakers from other sources. All speakers have the same
weight. Intervals are bootstrap intervals over speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from silkcodec.audio.manifest import split_filter
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.metrics import find_metrics
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.coverage import reconstruction, vector_fits
from silkcodec_lab.coverage.coverage_plan import CoveragePlan
from silkcodec_lab.coverage.intervals import SEEN, UNSEEN, Floats, difference, interval, weighted_quantile
from silkcodec_lab.coverage.reconstruction import ResynthesisSettings
from silkcodec_lab.coverage.sounds import Sounds
from silkcodec_lab.coverage.speech import Speaker, speakers_of
from silkcodec_lab.coverage.vector_fits import Measured
from silkcodec_lab.pages import Result, head
from silkcodec_lab.run_codec import load_codecs

VIEWS = ("level", "channel")  # "level" removes the level, and "channel" also removes the mean spectrum of the speaker
COVERED = 0.95  # share of the seen speakers' held-out vectors that are within the radius
TAIL = 0.2  # share of a training speaker's vectors, at the end, that is not used for fitting
BINS = np.linspace(0, 3, 31)  # histogram bins of errors in units of the radius; the last bin includes larger errors

Progress = Callable[[int, int, str], None]  # fits done, total fits, current view
Groups = Mapping[str, Sequence[Speaker]]


def coverage(
    train: str,
    tests: Mapping[str, str],
    *,
    plan: CoveragePlan | None = None,
    name: str = "coverage",
    resynthesis: ResynthesisSettings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure how well codebooks and scalar grids cover the speech of different groups of speakers.

    Args:
        train: Path to the training speech files, with an optional filter; see `find_clips`.
        tests: Paths to the test speech files, with optional filters, keyed by group name.
        plan: Settings of the experiment.
        name: Name of the result, its page and its figure.
        resynthesis: Settings for resynthesizing speech. None: do not resynthesize speech.
        progress: Progress callback.

    Returns:
        The contents of the JSON result, e.g. coverage.json. For Silk's latents, the fields `radius_db`, `error_db` and
            `spread_db` are in FSQ levels instead of dB.

    Raises:
        ArgumentError: An argument is invalid, or there is too little speech.
        AudioError: An input cannot be read.
        MissingExtraError: A package that a metric or a codec needs is not installed.
        WeightsError: A codec or a training run cannot be loaded.
    """
    plan = plan or CoveragePlan()
    if plan.sounds or resynthesis is not None:
        for metric in find_metrics(reconstruction.METRICS):
            metric.require()
    if not tests or {SEEN, UNSEEN} & set(tests):
        raise ArgumentError(
            f"--test must name at least one group, and groups cannot be named {SEEN} or {UNSEEN}; got {list(tests)}."
        )
    codecs = {} if resynthesis is None else load_codecs(resynthesis.codecs, resynthesis.runs)
    conditions = Conditions()
    trained = speakers_of(train, plan.patches, plan.seed, sounds=plan.sounds)
    names = [speaker.name for speaker in trained]
    groups = {
        name: speakers_of(text, plan.patches, plan.seed, without=names, sounds=plan.sounds)
        for name, text in tests.items()
    }
    plan = limit_codebooks(plan, trained)
    folds = split(trained, plan)
    voices = None if resynthesis is None else reconstruction.find_voices(train, tests, plan, resynthesis, folds)
    views: dict[str, Any] = {}
    n_steps = len(VIEWS) + (resynthesis is not None)
    for index, view in enumerate(VIEWS):
        channel = view == "channel"

        def seen(speakers: Sequence[Speaker], channel: bool = channel) -> list[Speaker]:
            return [speaker.without_channel() if channel else speaker for speaker in speakers]

        def advance(done: int, total: int, index: int = index, view: str = view) -> None:
            if progress is not None:
                progress(index * total + done, n_steps * total, view)

        views[view] = measure(seen(trained), {name: seen(those) for name, those in groups.items()}, plan, advance)
    sounds = views["level"].pop("sounds")
    views["channel"].pop("sounds")
    rebuilt = None
    if voices is not None and resynthesis is not None:
        rebuilt = reconstruction.resynthesize(*voices, codecs, plan, resynthesis, folds)
        if progress is not None:
            progress(1, 1, "resynthesis")
    return {
        **head("coverage"),
        "name": name,
        "settings": {
            **asdict(plan),
            "filters": {name: split_filter(text)[1] for name, text in {UNSEEN: train, **tests}.items()},
            "width": plan.patches.width,
            "views": VIEWS,
            "covered": COVERED,
            "tail": TAIL,
        },
        "groups": {name: _facts(speakers) for name, speakers in {UNSEEN: trained, **groups}.items()},
        "views": views,
        "sounds": sounds,
        "rebuilt": rebuilt,
        "machine": conditions.facts(),
    }


def limit_codebooks(plan: CoveragePlan, train: Sequence[Speaker]) -> CoveragePlan:
    """Return a copy of the plan with smaller codebooks if there are too few training vectors."""
    n_vectors = min(
        sum(_n_fitted(speaker) for speaker in train if plan.key(speaker) not in held_out)
        for held_out in split(train, plan)
    )
    return plan.limited(n_vectors)


def _compared(plan: CoveragePlan) -> dict[str, str]:
    """Return the scalar grids to compare with the largest VQ codebook and the longest RVQ chain, keyed by codebook."""
    bits, length = int(np.log2(max(plan.vq))), max(plan.rvq_lengths)
    chain_bits = length * int(np.log2(plan.rvq_entries))
    return {f"vq {max(plan.vq)}": f"fsq {bits}", f"rvq {length}x{plan.rvq_entries}": f"fsq {chain_bits}"}


def _facts(speakers: Sequence[Speaker]) -> dict[str, Any]:
    """Return statistics for a group of speakers."""
    known = [speaker.bandwidth_hz for speaker in speakers if speaker.bandwidth_hz is not None]
    spread = [float(np.sqrt(speaker.vectors.astype(np.float64).var(axis=0).mean())) for speaker in speakers]
    return {
        "n_speakers": len(speakers),
        "sources": sorted({speaker.source for speaker in speakers} - {""}),
        "n_vectors": sum(len(speaker.vectors) for speaker in speakers),
        "spread_db": float(np.mean(spread)),
        "bandwidth_hz": float(np.mean(known)) if known else None,
    }


def measure(train: Sequence[Speaker], tests: Groups, plan: CoveragePlan, advance: Callable[[int, int], None]) -> Result:
    """Measure how well each quantizer covers each group of speakers.

    Raises:
        ArgumentError: There are too few vectors, or sources are held out and the training speech has only one source.
    """
    folds = split(train, plan)
    groups: dict[str, Sequence[Speaker]] = {**tests}
    if len(folds) > 1:
        groups = {UNSEEN: train, **tests}
    tallies: dict[str, dict[str, Tally]] = {}
    facts: dict[str, dict[str, Any]] = {}
    keys = {plan.key(speaker) for speaker in train}
    sounds = Sounds(_compared(plan))
    for index, held_out in enumerate(folds):
        trained = [speaker for speaker in train if plan.key(speaker) not in held_out]
        vectors = np.concatenate([speaker.vectors[: _n_fitted(speaker)] for speaker in trained])
        largest = max(*plan.vq, plan.rvq_entries)
        if len(vectors) < largest:
            raise ArgumentError(
                f"A codebook with {largest} entries needs at least {largest} training vectors; got {len(vectors)}."
            )
        ends = [
            (speaker, slice(_n_fitted(speaker), None))
            for speaker in trained
            if _n_fitted(speaker) < len(speaker.vectors)
        ]
        if not ends:
            raise ArgumentError(
                "At least one training speaker per fold must have three or more vectors, because the last vectors are "
                "not used for fitting. Add longer recordings to the training speech."
            )
        fitted, facts = vector_fits.fit(
            vectors, plan.vq, (plan.rvq_entries, plan.rvq_lengths), plan.seed + index, plan.kmeans_steps
        )
        tails = [(speaker.name, vector_fits.measure(fitted, speaker.vectors[end])) for speaker, end in ends]
        radii = {name: weighted_quantile([tail[name].error for _, tail in tails], COVERED) for name in facts}
        for name in facts:
            own = tallies.setdefault(name, {})
            own.setdefault(SEEN, Tally()).add(radii[name], [(speaker, tail[name]) for speaker, tail in tails])
        for name in facts.keys() & sounds.names:
            for (speaker, end), (_, tail) in zip(ends, tails, strict=True):
                sounds.add(name, SEEN, speaker.name, speaker.classes_of(end), tail[name].error <= radii[name])
        for group, speakers in groups.items():
            able = [s for s in speakers if plan.key(s) in held_out or plan.key(s) not in keys]
            done = [(speaker.name, vector_fits.measure(fitted, speaker.vectors)) for speaker in able]
            for name in facts:
                tally = tallies[name].setdefault(group, Tally())
                tally.add(radii[name], [(speaker, measured[name]) for speaker, measured in done])
                for one, (_, measured) in zip(able, done, strict=True) if name in sounds.names else ():
                    sounds.add(name, group, one.name, one.classes, measured[name].error <= radii[name])
        advance(index + 1, len(folds))
    sources = {speaker.name: speaker.source for those in groups.values() for speaker in those}
    return {
        "n_folds": len(folds),
        "control": UNSEEN if UNSEEN in groups else None,
        "sounds": sounds.summary(plan.seed) if plan.sounds else None,
        "quantizers": {name: {**fact, **_summary(name, tallies, facts, sources, plan)} for name, fact in facts.items()},
    }


def split(train: Sequence[Speaker], plan: CoveragePlan) -> list[set[str]]:
    """Return the speakers or sources to hold out in each fold.

    If there is only one speaker, no speaker is held out.

    Raises:
        ArgumentError: Sources must be held out, but there is only one.
    """
    keys = sorted({plan.key(speaker) for speaker in train})
    if len(keys) < 2:
        if plan.hold_out == "source":
            raise ArgumentError(
                "--hold-out source needs training speech from at least two sources. Pass a manifest with a "
                "'source' column."
            )
        return [set()]
    np.random.default_rng(plan.seed).shuffle(keys)
    n_folds = min(plan.folds, len(keys))
    return [set(keys[index::n_folds]) for index in range(n_folds)]


def _n_fitted(speaker: Speaker) -> int:
    """Return the number of a speaker's vectors that are used for fitting quantizers."""
    return max(1, round((1 - TAIL) * len(speaker.vectors)))


class Tally:
    """Collect the measurements of one quantizer on one group of speakers."""

    def __init__(self) -> None:
        self.inside: dict[str, list[float]] = {}
        self.error: dict[str, list[float]] = {}
        self.clipped: dict[str, list[float]] = {}
        self.histogram: dict[str, list[Floats]] = {}
        self.radii: list[float] = []

    def add(self, radius: float, measured: Sequence[tuple[str, Measured]]) -> None:
        """Add the measurements of one fold.

        Args:
            radius: Error that 95 % of the seen speakers' held-out vectors do not exceed.
            measured: Names and measurements of speakers.
        """
        self.radii.append(radius)
        for speaker, found in measured:
            self.inside.setdefault(speaker, []).append(float((found.error <= radius).mean()))
            self.error.setdefault(speaker, []).append(float(found.error.mean()))
            counts = np.histogram(np.minimum(found.error / radius, BINS[-1]), BINS)[0]
            self.histogram.setdefault(speaker, []).append(counts / len(found.error))
            if found.clipped is not None:
                self.clipped.setdefault(speaker, []).append(float(found.clipped.mean()))

    def of(self, which: str) -> Floats:
        """Return the mean of a measurement over folds, with one row per speaker."""
        return np.array([np.mean(values, axis=0) for values in getattr(self, which).values()], dtype=np.float64)


def _summary(
    name: str,
    tallies: dict[str, dict[str, Tally]],
    facts: dict[str, dict[str, Any]],
    sources: dict[str, str],
    plan: CoveragePlan,
) -> dict[str, Any]:
    """Summarize the coverage and the error of one quantizer in each group of speakers."""
    own = tallies[name]
    groups, differences = {}, {}
    for group, tally in own.items():
        names = list(tally.inside)
        groups[group] = {
            "inside": interval(tally.of("inside"), plan.seed, group),
            "error_db": interval(tally.of("error"), plan.seed, group),
            "histogram": tally.of("histogram").mean(axis=0).tolist(),
            "clipped": float(tally.of("clipped").mean()) if tally.clipped else None,
            "by_source": _by_source([sources.get(speaker, "") for speaker in names], tally) if group != SEEN else {},
        }
        if UNSEEN in own and group not in (SEEN, UNSEEN):
            grid = tallies[f"fsq {facts[name]['bits']}"]
            differences[group] = {
                "inside": difference(tally.of("inside"), own[UNSEEN].of("inside"), plan.seed, group),
                "log_error": difference(np.log(tally.of("error")), np.log(own[UNSEEN].of("error")), plan.seed, group),
                "inside_beyond_fsq": difference(
                    tally.of("inside") - grid[group].of("inside"),
                    own[UNSEEN].of("inside") - grid[UNSEEN].of("inside"),
                    plan.seed,
                    group,
                ),
            }
    return {
        "radius_db": float(np.mean(own[SEEN].radii)),
        "groups": groups,
        "against_unseen": differences,
    }


def _by_source(sources: Sequence[str], tally: Tally) -> dict[str, dict[str, float]]:
    inside, found = tally.of("inside"), {}
    for source in sorted(set(sources) - {""}):
        those = np.array([one == source for one in sources])
        found[source] = {"n": int(those.sum()), "inside": float(inside[those].mean())}
    return found
