"""Measure how bit errors and lost frames affect quality.

    clips -> codec -> tokens -> flip bits   -> decode                                          -> quality
                      tokens -> lose frames -> decode with concealment or another replacement  -> quality

Bit errors are simulated in the codes or, for a classical codec, in its packets. No error protection is used. Frames are
lost independently or in bursts (the Gilbert model), and the decoder knows which frames are lost.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import mel
from silkcodec.codec import Codec
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics, measure_all
from silkcodec.silk import Silk
from silkcodec.tokens import Tokens
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.pages import Result, head
from silkcodec_lab.robustness.damage import (
    METHODS,
    code_bits,
    decode_with_losses,
    flip_bits,
    lose_frames,
    transitions,
)
from silkcodec_lab.run_codec import load_codecs
from silkcodec_lab.scores import ByClip, Key, Scores, Wave, match_length
from silkcodec_lab.selection import beginning, check_positive

METRICS = ("pesq_wb", "stoi", "mel_distance")
RECOVERY_FRAMES = 8  # number of frames to measure after a damaged frame

Progress = Callable[[int, int, str], None]  # steps done, total steps, current codec


@dataclass(frozen=True)
class RobustnessPlan:
    """Hold the settings of the robustness experiment.

    Attributes:
        flip_rates: Probabilities of a bit error, each between 0 and 1.
        loss_rates: Shares of lost frames, each at least 0 and below 1.
        bursts: Mean numbers of consecutive lost frames. 0: frames are lost independently.
        n_seeds: Number of random trials per clip and rate.
        seed: Random seed.
        clip_s: Maximum duration of each clip in seconds.
    """

    flip_rates: tuple[float, ...] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    loss_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    bursts: tuple[float, ...] = (0.0, 3.0)
    n_seeds: int = 2
    seed: int = 0
    clip_s: float = 20.0

    def check(self) -> None:
        """Raise ArgumentError if a setting is invalid."""
        if not all(0 <= rate <= 1 for rate in self.flip_rates):
            raise ArgumentError(f"flip_rates must be between 0 and 1; got {self.flip_rates}.")
        if self.n_seeds < 1:
            raise ArgumentError(f"--seeds must be above 0; got {self.n_seeds}.")
        check_positive("--seconds", self.clip_s)
        for rate, burst in itertools.product(self.loss_rates, self.bursts):
            transitions(rate, burst)


# --- the experiment


def robustness(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk", "codec2:1200"),
    *,
    runs: Sequence[str | os.PathLike[str]] = (),
    split: str | None = None,
    limit: int | None = None,
    plan: RobustnessPlan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure quality with bit errors and lost frames.

    Args:
        inputs: Audio files, folders, or a manifest.
        codecs: Codec names, as for `silkcodec.load`. Lost frames are simulated only for `silk`.
        runs: Folders of training runs, for which only bit errors are simulated. The first run is compared with each of
            the others.
        split: Split of the manifest.
        limit: Maximum number of clips.
        plan: Settings of the experiment.
        progress: Progress callback.

    Returns:
        The contents of robustness.json.

    Raises:
        ArgumentError, AudioError, MissingExtraError, WeightsError: An argument, a clip or a codec cannot be used. This
            is checked before the measurement.
    """
    plan = plan or RobustnessPlan()
    plan.check()
    metrics = find_metrics(METRICS)
    for metric in metrics:
        metric.require()
    loaded = load_codecs(codecs, runs)
    for codec in loaded.values():
        code_bits(codec.codebook_sizes)
    if not loaded:
        raise ArgumentError("Pass at least one codec with --codecs, or one training run with --run.")
    clips = find_clips(inputs, split=split, limit=limit, seed=plan.seed)
    conditions = Conditions()
    measured, total_s = _Scores(metrics, plan.seed), 0.0
    silk: Any = loaded.get("silk")
    n_steps = len(clips) * (len(loaded) + (silk is not None))
    steps = itertools.count(1)

    def advance(name: str) -> None:
        if progress is not None:
            progress(next(steps), n_steps, name)

    for index, clip in enumerate(clips):
        wave = beginning(clip.path, plan.clip_s)
        total_s += len(wave) / SAMPLE_RATE
        measured.begin(clip.name, wave)
        for name, codec in loaded.items():
            tokens = codec.encode(wave, SAMPLE_RATE)
            measured.facts[name] = {"codec_id": tokens.codec, "bits_per_second": tokens.bits_per_second}
            _flip(measured, name, codec, tokens, plan, index)
            advance(name)
        if silk is not None:
            tokens = silk.encode(wave, SAMPLE_RATE)
            _lose(measured, silk, tokens, plan, index)
            _recover(measured, silk, tokens, plan, index)
            advance("silk")
    return {
        **head("robustness"),
        "settings": {
            "codecs": list(loaded)[: len(codecs)],
            "runs": len(runs),
            "split": split,
            "limit": limit,
            **vars(plan),
        },
        "speech": {"n_clips": len(clips), "duration_s": total_s},
        "machine": conditions.facts(),
        "metrics": {metric.name: {"label": metric.label, "better": metric.better} for metric in metrics},
        "codecs": measured.facts,
        **measured.summary([name for name in loaded if name.startswith("run:")]),
    }


class _Scores(Scores):
    """Compute and collect metrics for each clip and test condition."""

    def __init__(self, metrics: Sequence[Any], seed: int) -> None:
        super().__init__(seed)
        self.metrics = metrics
        self.facts: dict[str, dict[str, Any]] = {}
        self._counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def begin(self, clip: str, wave: Wave) -> None:
        """Start a new clip. The next values belong to this clip."""
        self._clip, self._wave, self._shared = clip, wave, {}  # type: tuple[str, Wave, dict[str, Any]]

    def score(self, output: Wave, sample_rate: int) -> dict[str, float | None]:
        """Compare decoded audio with the current clip, and return the metrics, keyed by name."""
        fitted = match_length(output, sample_rate, len(self._wave))
        return measure_all(Pair(self._wave, fitted, {}, self._shared), self.metrics)[0]

    def add(self, key: Key, values: dict[str, float | None], **counts: int) -> None:
        """Add metrics and counts for the current clip and a test condition."""
        self.add_metrics(key, self._clip, values)
        for name, count in counts.items():
            self._counts[key][name] += count

    def summary(self, runs: Sequence[str]) -> dict[str, Any]:
        """Return the mean of each metric over clips, with its interval, for each test condition."""
        entries: dict[str, list[dict[str, Any]]] = {"clean": [], "flips": [], "losses": [], "recovery": []}
        for key in self.values:
            kind, names = key[0], KEYS[key[0]]
            entry = {**dict(zip(names, key[1:], strict=True)), **self._counts[key], "metrics": self.means(key)}
            if kind == "losses" and entry["method"] == METHODS[-1]:
                others = {other: self.by_clip((*key[:-1], other)) for other in METHODS[:-1]}
                entry["gain"] = {name: self.difference(self.by_clip(key), other) for name, other in others.items()}
            if kind == "flips" and entry["codec"] in runs[1:]:
                change, of_first = self._change(key), self._change((kind, runs[0], entry["rate"]))
                entry["against"] = {runs[0]: self.difference(change, of_first)}
            entries[kind].append(entry)
        return entries

    def _change(self, key: Key) -> ByClip:
        """Return the change that bit errors cause in each metric for each clip."""
        clean = self.by_clip(("clean", key[1]))
        return {
            name: {clip: value - clean[name][clip] for clip, value in by_clip.items()}
            for name, by_clip in self.by_clip(key).items()
        }


KEYS = {
    "clean": ("codec",),
    "flips": ("codec", "rate"),
    "losses": ("rate", "burst", "method"),
    "recovery": ("disturbance", "frame"),
}


def _flip(measured: _Scores, name: str, codec: Codec, tokens: Tokens, plan: RobustnessPlan, clip: int) -> None:
    clean = measured.score(codec.decode(tokens), codec.sample_rate)
    measured.add(("clean", name), clean)
    n_bits = sum(w * len(c) for c, w in zip(tokens.codes, code_bits(tokens.codebook_sizes), strict=True))
    for rate, rng in _draws(plan, clip, plan.flip_rates):
        damaged, n_flipped = flip_bits(tokens, rate, rng)
        values = measured.score(codec.decode(damaged), codec.sample_rate) if n_flipped else clean
        measured.add(("flips", name, rate), values, n_bits=n_bits, n_flipped=n_flipped)


def _lose(measured: _Scores, codec: Silk, tokens: Tokens, plan: RobustnessPlan, clip: int) -> None:
    clean = None
    for burst in plan.bursts:
        for rate, rng in _draws(plan, clip, plan.loss_rates):
            lost = lose_frames(tokens.n_frames, rate, burst, rng)
            for method in METHODS:
                if lost.any():
                    wave = decode_with_losses(codec, tokens, lost, method)
                    values = measured.score(wave, codec.sample_rate)
                else:
                    clean = values = clean or measured.score(codec.decode(tokens), codec.sample_rate)
                key = ("losses", rate, burst, method)
                measured.add(key, values, n_frames=len(lost), n_lost=int(lost.sum()))


def _recover(measured: _Scores, codec: Silk, tokens: Tokens, plan: RobustnessPlan, clip: int) -> None:
    """Damage one frame at a time, and measure how quickly the output recovers.

    The mel distance from the undamaged output is measured for the damaged frame and up to `RECOVERY_FRAMES` frames
    after it.
    """
    if tokens.n_frames < 3:
        return
    whole = mel.log_mel(codec.decode(tokens))
    rng = np.random.default_rng((plan.seed, clip))
    for _ in range(plan.n_seeds):
        at = int(rng.integers(1, tokens.n_frames - 1))
        lost = np.arange(tokens.n_frames) == at
        codes = [row.copy() for row in tokens.codes]
        book = int(rng.integers(len(codes)))
        codes[book][at] ^= 1 << int(rng.integers(code_bits(tokens.codebook_sizes)[book]))
        waves = {"one bit flipped": codec.decode(replace(tokens, codes=tuple(codes)))}
        for method in METHODS:
            waves[f"frame lost, {method}"] = decode_with_losses(codec, tokens, lost, method)
        for disturbance, wave in waves.items():
            distances = frame_distances(wave, whole)[at : at + RECOVERY_FRAMES + 1]
            for frame, distance in enumerate(distances):
                measured.add(("recovery", disturbance, frame), {"mel_distance": distance})


def frame_distances(wave: Wave, whole: NDArray[np.float32]) -> list[float]:
    """Return the mel distance of each frame of a waveform from a log-mel spectrogram of the same duration.

    The columns that only pad the last frame are excluded.
    """
    n_columns = -(-len(wave) // mel.HOP)
    distance = np.abs(mel.log_mel(wave) - whole)[:n_columns].mean(axis=1)
    return [float(part.mean()) for part in np.split(distance, range(mel.COLUMNS, n_columns, mel.COLUMNS))]


def _draws(plan: RobustnessPlan, clip: int, rates: Sequence[float]) -> Iterator[tuple[float, np.random.Generator]]:
    """Yield each rate `n_seeds` times, each time with a new random generator."""
    for rate, draw in itertools.product(rates, range(plan.n_seeds)):
        yield rate, np.random.default_rng((plan.seed, clip, draw))
