"""Classify speech vectors by the sound of their word or syllable, and by pitch.

    kind      classes                                              vectors
    tone      tones 1 to 4                                         Mandarin syllables
    sound     emphatic, pharyngeal, neither                        whole Arabic words and letter names
    height    F0 below 120, 120 to 180, 180 to 260, above 260 Hz   voiced vectors
    movement  F0 falls fast, falls, is level, rises, rises fast    voiced vectors

The tone or sound is determined from the file path (see `labels.py`). F0 is estimated with the DIO algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import mel
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics.pitch import F0_PERIOD_MS, find_f0
from silkcodec_lab.coverage.intervals import SEEN, UNSEEN, Floats, difference, in_order, interval
from silkcodec_lab.coverage.labels import rules

Labels = NDArray[np.str_]  # [N], "" if the class is unknown

KINDS = {
    "tone": ("1", "2", "3", "4"),
    "sound": ("emphatic", "pharyngeal", "neither"),
    "height": ("below 120 Hz", "120 to 180 Hz", "180 to 260 Hz", "above 260 Hz"),
    "movement": ("falls fast", "falls", "level", "rises", "rises fast"),
}
HEIGHTS_HZ = (120.0, 180.0, 260.0)
MOVEMENTS = (-30.0, -10.0, 10.0, 30.0)  # semitones per second
IMPOSSIBLE = 120.0  # semitones per second; faster movements are octave errors of the F0 estimate
MOVING_MS = 80.0  # interval in which the movement is measured; at least three quarters of it must be voiced

FEWEST = 10  # minimum number of vectors per speaker, both in a class and in the other classes of its kind

STEP = 120  # samples (5 ms) per step in the search for silences
SHORTEST_GAP = 20  # steps (100 ms), minimum duration of the silence between two files
CLEARLY = 0.8  # maximum ratio of the longest silence within a file to the shortest silence between files


def parts_of(wave: NDArray[np.float32], n: int) -> list[tuple[int, int]] | None:
    """Split a clip made of `n` joined files at the silences between the files.

    Returns:
        The start and end of each file in samples, or None if the boundaries are not clear.
    """
    steps = wave[: len(wave) // STEP * STEP].reshape(-1, STEP)
    level = 20 * np.log10(np.sqrt(np.square(steps, dtype=np.float64).mean(axis=1)) + 1e-9)
    if n == 1:
        return [(0, len(wave))]
    best, found = CLEARLY, None
    for threshold in range(-80, -44, 3):
        edges = np.diff(np.concatenate([[0], level < threshold, [0]]).astype(int))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        inner = (starts > 0) & (ends < len(level))
        starts, ends = starts[inner], ends[inner]
        order = np.argsort(starts - ends, kind="stable")
        if len(order) < n - 1:
            continue
        lengths = (ends - starts)[order]
        shortest, next_one = int(lengths[n - 2]), int(lengths[n - 1]) if len(order) > n - 1 else 0
        if shortest >= SHORTEST_GAP and next_one / shortest < best:
            best = next_one / shortest
            gaps = np.sort(order[: n - 1])
            begins = [0, *(ends[gaps] * STEP).tolist()]
            found = list(zip(begins, [*(starts[gaps] * STEP).tolist(), len(wave)], strict=True))
    return found


def classes_of(wave: NDArray[np.float32], clip: Clip, starts: NDArray[np.int64], columns: int) -> dict[str, Labels]:
    """Return the class of each vector, keyed by kind of class (see `KINDS`).

    Args:
        wave: Waveform of the whole clip at 24 kHz.
        clip: Clip with its manifest row.
        starts: Index of the first mel column of each vector, [N].
        columns: Number of mel columns per vector.
    """
    found = pitch_classes(find_f0(wave), starts, columns)
    middles = (starts + columns / 2) * mel.HOP
    labels = rules().labels_of(clip)
    for kind in ("tone", "sound"):
        found[kind] = np.full(len(starts), "", dtype="<U16")
    parts = parts_of(wave, len(labels)) if any(labels) else None
    for label, (begin, end) in zip(labels, parts or (), strict=False):
        if label is not None:
            found[label[0]][(middles >= begin) & (middles < end)] = label[1]
    return found


def pitch_classes(f0: Floats, starts: NDArray[np.int64], columns: int) -> dict[str, Labels]:
    """Return the F0 class and the F0 movement class of each vector. Both are "" if the pitch is unclear."""
    frames_per_column = mel.HOP / mel.SAMPLE_RATE * 1000 / F0_PERIOD_MS
    middles = np.rint((starts + columns / 2) * frames_per_column).astype(int)
    half_width = int(MOVING_MS / F0_PERIOD_MS / 2)
    padded = np.pad(f0, (half_width, half_width + int(columns * frames_per_column) + 2))
    around = padded[np.clip(middles[:, None] + np.arange(2 * half_width), 0, len(padded) - 1)]  # [N, 80 ms]
    voiced = around > 0
    enough = voiced.sum(axis=1) >= 0.75 * 2 * half_width
    semitones = 12 * np.log2(np.where(voiced, around, 1.0) / 100)
    weight = voiced / np.maximum(voiced.sum(axis=1, keepdims=True), 1)
    times_s = np.arange(2 * half_width) * F0_PERIOD_MS / 1000
    away = times_s - (weight * times_s).sum(axis=1, keepdims=True)
    mean = (weight * semitones).sum(axis=1, keepdims=True)
    spread = np.maximum((weight * away**2).sum(axis=1), 1e-12)
    slope = (weight * away * (semitones - mean)).sum(axis=1) / spread
    enough &= np.abs(slope) < IMPOSSIBLE
    height_hz = 100 * 2 ** (mean[:, 0] / 12)

    def named(kind: str, values: Floats, edges: Sequence[float]) -> Labels:
        return np.where(enough, np.array(KINDS[kind])[np.searchsorted(edges, values)], "").astype("<U16")

    return {"height": named("height", height_hz, HEIGHTS_HZ), "movement": named("movement", slope, MOVEMENTS)}


class Sounds:
    """Collect the coverage of each class of vectors, for each quantizer, group and speaker.

    Args:
        quantizers: Name of the scalar grid to compare with each codebook, keyed by codebook name.
    """

    def __init__(self, quantizers: Mapping[str, str]) -> None:
        self.quantizers = dict(quantizers)
        self.names = {*quantizers, *quantizers.values()}
        self._found: dict[tuple[str, str, str, str], dict[str, list[tuple[float, float, float]]]] = {}

    def add(
        self, quantizer: str, group: str, speaker: str, classes: Mapping[str, Labels], covered: NDArray[Any]
    ) -> None:
        """Add a speaker's vectors.

        Args:
            quantizer: Name of the quantizer.
            group: Group of the speaker.
            speaker: Name of the speaker.
            classes: Class of each vector, keyed by kind of class.
            covered: Mask of the vectors that the quantizer covers.
        """
        for kind, labels in classes.items():
            known = labels != ""
            for one in KINDS[kind]:
                own = labels == one
                rest = known & ~own
                if min(own.sum(), rest.sum()) >= FEWEST:
                    shares = float(covered[own].mean()), float(covered[rest].mean()), float(own.sum() / known.sum())
                    by_speaker = self._found.setdefault((quantizer, group, kind, one), {})
                    by_speaker.setdefault(speaker, []).append(shares)

    def summary(self, seed: int) -> dict[str, Any]:
        """Return coverage statistics over speakers, keyed by codebook, kind of class, class and group."""
        return {name: self._of(name, grid, seed) for name, grid in self.quantizers.items()}

    def _of(self, name: str, grid: str, seed: int) -> dict[str, Any]:
        result: dict[str, Any] = {"grid": grid}
        for kind, names in KINDS.items():
            for one in names:
                groups = in_order(g for q, g, k, c in self._found if (q, k, c) == (name, kind, one))
                found, excess = {}, {}
                for group in groups:
                    own, codebooks, grids = (
                        self._means(name, group, kind, one),
                        *self._relative_coverage(name, grid, group, kind, one),
                    )
                    excess[group] = codebooks - grids
                    found[group] = {
                        "share": float(own[:, 2].mean()),
                        "covered": interval(own[:, 0], seed, group),
                        "apart": interval(codebooks, seed, group),
                        "grid_apart": interval(grids, seed, group),
                        "beyond_grid": interval(excess[group], seed, group),
                    }
                    if UNSEEN in excess and group not in (SEEN, UNSEEN):
                        found[group]["beyond_grid_and_unseen"] = difference(excess[group], excess[UNSEEN], seed, group)
                if found:
                    result.setdefault(kind, {})[one] = found
        return result

    def _relative_coverage(self, name: str, grid: str, group: str, kind: str, one: str) -> tuple[Floats, Floats]:
        """Return the coverage of a class minus that of other vectors, per speaker, for a codebook and for a grid."""
        codebooks, grids = (self._means(quantizer, group, kind, one) for quantizer in (name, grid))
        return codebooks[:, 0] - codebooks[:, 1], grids[:, 0] - grids[:, 1]

    def _means(self, *key: str) -> Floats:
        """Return three values per speaker, [speakers, 3], averaged over folds.

        They are the coverage of the class, the coverage of other vectors, and the share of vectors in the class.
        """
        found = self._found[(key[0], key[1], key[2], key[3])]
        return np.array([np.mean(folds, axis=0) for folds in found.values()], dtype=np.float64)
