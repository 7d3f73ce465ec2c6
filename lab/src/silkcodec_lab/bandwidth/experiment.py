"""Measure how the quality of codecs depends on the number of codebooks.

    clips -> each codec with its first k codebooks -> token rate, bit rate and quality
    clips -> Silk with its first, random or best k groups -> quality
    one clip -> each codec -> audio examples and spectrograms

Each of Silk's codebooks is a group of dimensions. Any selection of these groups can be decoded. The best groups are
determined on separate clips.
"""

from __future__ import annotations

import base64
import itertools
import os
import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.evaluate.metrics import SAMPLE_RATE
from silkcodec.output import check_output
from silkcodec.parallel.cores import available_cores
from silkcodec_lab.bandwidth.bench import (
    BEST,
    FIRST,
    RANDOM,
    Bench,
    BenchPool,
    BenchSettings,
    greedy_order,
    order_cuts,
)
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.pages import Result, head
from silkcodec_lab.scores import Scores, Wave
from silkcodec_lab.selection import check_positive

Progress = Callable[[int, int, str], None]  # steps done, total steps, current step
Key = tuple[str, int, str]  # codec, number of kept codebooks, selection

EQUAL_BITS = 2e-3  # relative tolerance for equal bit rates; 30 codes of 7,131 entries have 383.99 instead of 384 bits
SPECTROGRAMS = 8  # maximum number of spectrograms in the figure
BANDS, COLUMN_S = 64, 0.02  # number of bands and duration of a column of spectrograms in the result
LOUD, QUIET = 3.0, -8.0  # logarithmic mel magnitudes that are stored as 255 and 0


@dataclass(frozen=True)
class BandwidthPlan:
    """Hold the settings of the bandwidth experiment.

    Attributes:
        points: Maximum number of values of `n_codebooks` to measure per codec.
        n_draws: Number of random selections of Silk's groups for each clip and each number of groups.
        clip_s: Maximum duration of each measured clip in seconds.
        n_order: Number of clips used to order Silk's groups by importance. 0: do not order them.
        order_s: Maximum duration of each clip used to order the groups, in seconds.
        listen: Recording for the audio examples. None: the first clip.
        listen_s: Maximum duration of the audio examples in seconds.
        jobs: Number of processes. None: one per core.
        seed: Random seed.
    """

    points: int = 8
    n_draws: int = 3
    clip_s: float = 8.0
    n_order: int = 8
    order_s: float = 4.0
    listen: str | os.PathLike[str] | None = field(default=None)
    listen_s: float = 3.0
    jobs: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise ArgumentError if a setting is invalid."""
        if self.points < 1 or self.n_draws < 1 or self.n_order < 0:
            got = f"{self.points}, {self.n_draws} and {self.n_order}"
            raise ArgumentError(f"points and n_draws must be at least 1, and n_order at least 0; got {got}.")
        for name in ("clip_s", "order_s", "listen_s"):
            check_positive(name, getattr(self, name))


def bandwidth(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk",),
    *,
    folder: str | os.PathLike[str],
    runs: Sequence[str | os.PathLike[str]] = (),
    split: str | None = None,
    order_split: str = "train",
    limit: int | None = None,
    plan: BandwidthPlan | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Measure the quality of codecs at different token and bit rates, and write audio examples.

    Args:
        inputs: Audio files, folders, or a manifest.
        codecs: Codec names, as for `silkcodec.load`.
        folder: Output folder for the audio examples.
        runs: Folders of training runs. The first run is compared with each of the others.
        split: Split of the manifest to measure.
        order_split: Split of the manifest used to order Silk's groups by importance. If `split` is None, some of the
            clips are used instead.
        limit: Maximum number of clips to measure.
        plan: Settings of the experiment.
        overwrite: Whether to overwrite existing audio files.
        progress: Progress callback.

    Returns:
        The contents of bandwidth.json.

    Raises:
        ArgumentError, AudioError, MissingExtraError, OutputError, WeightsError: An argument, a clip, a codec or an
            output file cannot be used. Everything except the clips is checked before the measurement.
    """
    plan = plan or BandwidthPlan()
    plan.check()
    if not codecs and not runs:
        raise ArgumentError("Pass at least one codec with --codecs, or one training run with --run.")
    settings = BenchSettings(
        tuple(codecs), tuple(os.fspath(run) for run in runs), plan.points, plan.n_draws,
        clip_s=plan.clip_s, order_s=plan.order_s, seed=plan.seed,
    )  # fmt: skip
    bench = Bench(settings)
    n_order = plan.n_order if bench.silk is not None else 0
    clips, order_clips = _find(inputs, split, order_split, limit, n_order, plan.seed)
    bench.settings = replace(settings, order_clips=tuple(order_clips))
    n_groups = len(bench.silk.codebook_sizes) if bench.silk is not None and order_clips else 0
    listened = Path(plan.listen) if plan.listen is not None else clips[0].path
    examples = _examples(bench, ordered=n_groups > 0)
    for file in ["original.flac", *(entry["file"] for entry in examples)]:
        check_output(Path(folder) / file, overwrite=overwrite)
    original = bench.read(listened, plan.listen_s)
    jobs = min(plan.jobs or available_cores(), len(clips))
    conditions = Conditions()
    n_order_steps = sum(range(2, n_groups + 1))
    steps = itertools.count(1)

    def advance(at: str) -> None:
        if progress is not None:
            progress(next(steps), n_order_steps + len(clips), at)

    best: list[int] = []
    distances: list[float] = []
    measured = _Points(plan.seed)
    with BenchPool(bench, jobs) as pool:
        if n_groups:
            best, distances = greedy_order(pool, n_groups, lambda: advance("order of the groups"))
        tasks = [(index, clip, tuple(best)) for index, clip in enumerate(clips)]
        for done in pool.map("measure", tasks):
            measured.add(done)
            advance(done["clip"])
    audible = _write_audio(bench, original, examples, best, Path(folder), overwrite)
    return {
        **head("bandwidth"),
        "settings": {
            "codecs": [name for name in bench.codecs if not name.startswith("run:")],
            "runs": len(runs),
            "split": split,
            "order_split": order_split if split is not None else None,
            "limit": limit,
            "listen": plan.listen is not None,
            "jobs": jobs,
            **{name: getattr(plan, name) for name in ("points", "n_draws", "clip_s", "order_s", "listen_s", "seed")},
        },
        "speech": {"n_clips": len(clips), "duration_s": measured.duration_s},
        "machine": conditions.facts(),
        "metrics": {metric.name: {"label": metric.label, "better": metric.better} for metric in bench.metrics},
        "codecs": {
            name: {
                "codec_id": measured.ids[name],
                "n_codebooks": len(codec.codebook_sizes),
                "quantizer": getattr(codec, "quantizer", "unknown"),
                "cuts": bench.cuts[name],
            }
            for name, codec in bench.codecs.items()
        },
        "points": measured.points(),
        "order": {"n_clips": len(order_clips), "groups": best, "distances": distances} if n_groups else None,
        "compared": measured.compared([name for name in bench.codecs if name.startswith("run:")]),
        "audio": {"folder": Path(folder).name, **audible},
    }


def _find(
    inputs: Sequence[str | os.PathLike[str]],
    split: str | None,
    order_split: str,
    limit: int | None,
    n_order: int,
    seed: int,
) -> tuple[list[Clip], list[Clip]]:
    """Return two disjoint lists of clips: those to measure, and those for ordering Silk's groups."""
    if split is not None:
        if split == order_split and n_order:
            raise ArgumentError(f"--order-split must differ from --split; got '{split}' for both.")
        clips = find_clips(inputs, split=split, limit=limit, seed=seed)
        return clips, find_clips(inputs, split=order_split, limit=n_order, seed=seed) if n_order else []
    clips = find_clips(inputs, seed=seed)
    kept = random.Random(seed).sample(clips, min(n_order, len(clips) // 3))
    rest = [clip for clip in clips if clip not in kept]
    if limit is not None and limit < len(rest):
        rest = sorted(random.Random(seed).sample(rest, limit), key=lambda clip: clip.name)
    return rest, kept


class _Points(Scores):
    """Collect measurements by codec, number of codebooks, and selection of groups (first, random or best)."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.duration_s = 0.0
        self.ids: dict[str, str] = {}
        self._rates: dict[Key, list[tuple[float, float]]] = defaultdict(list)

    def add(self, clip: dict[str, Any]) -> None:
        """Add the measurements for a clip, as returned by `Bench.measure`."""
        self.duration_s += clip["duration_s"]
        for point in clip["points"]:
            key = point["codec"], point["kept"], point["how"]
            self.ids[point["codec"]] = point["codec_id"]
            self._rates[key].append((point["tokens_per_second"], point["bits_per_second"]))
            self.add_metrics(key, clip["clip"], point["metrics"])

    def points(self) -> list[dict[str, Any]]:
        """Return the mean of each metric over clips, with its bootstrap interval.

        There is one entry per codec, number of codebooks, and selection of groups.
        """
        return [
            {
                **_named(key),
                "tokens_per_second": self._rate(key, 0),
                "bits_per_second": self._rate(key, 1),
                "metrics": self.means(key),
            }
            for key in self._rates
        ]

    def compared(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """Return paired differences in each metric between:

        - Silk's random or best groups, and the same number of its first groups
        - each later training run and the first one, at the same bit rate
        - Silk and each of the other codecs except the training runs, with all codebooks
        """
        pairs: list[tuple[Key, Key]] = []
        for how in (RANDOM, BEST):
            pairs += [(key, ("silk", key[1], FIRST)) for key in self._rates if key[2] == how]
        first = [key for key in self._rates if runs and key[0] == runs[0]]
        for other, key in itertools.product([key for key in self._rates if key[0] in runs[1:]], first):
            if abs(self._rate(other, 1) / self._rate(key, 1) - 1) < EQUAL_BITS:
                pairs.append((other, key))
        whole = {codec: (codec, kept, how) for codec, kept, how in sorted(self._rates) if how == FIRST}
        if "silk" in whole:
            pairs += [(whole["silk"], whole[name]) for name in self.ids if name != "silk" and name not in runs]
        return [
            {"of": _named(a), "minus": _named(b), "metrics": self.difference(self.by_clip(a), self.by_clip(b))}
            for a, b in pairs
        ]

    def _rate(self, key: Key, which: int) -> float:
        return float(np.mean([rate[which] for rate in self._rates[key]]))


def _named(key: Key) -> dict[str, Any]:
    return dict(zip(("codec", "kept", "how"), key, strict=True))


# --- audio examples and spectrograms


def _examples(bench: Bench, *, ordered: bool) -> list[dict[str, Any]]:
    """Return descriptions of the audio examples.

    Each codec has examples with about a quarter, half and all of its codebooks. If `ordered` is true, another example
    uses roughly the more important half of Silk's groups.
    """
    examples = []
    for name, found in bench.cuts.items():
        chosen = sorted({found[-(-len(found) * part // 4) - 1] for part in (1, 2, 4)})
        examples += [_audible(name, kept, FIRST) for kept in chosen]
        if name == "silk" and ordered and (selected := order_cuts(found)):
            examples.append(_audible(name, selected[len(selected) // 2], BEST))
    return examples


def _audible(codec: str, kept: int, how: str) -> dict[str, Any]:
    name = codec if how == FIRST else f"{codec}-{how}"
    return {"codec": codec, "kept": kept, "how": how, "file": f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}-k{kept}.flac"}


def _write_audio(
    bench: Bench, original: Wave, examples: list[dict[str, Any]], best: list[int], folder: Path, overwrite: bool
) -> dict[str, Any]:
    """Write the audio examples, and return descriptions of the files."""
    shown = _to_show(bench, examples)
    files: list[dict[str, Any]] = [{"codec": None, "file": "original.flac", "spectrogram": _spectrogram(original)}]
    audio.write(folder / "original.flac", original, SAMPLE_RATE, overwrite=overwrite)
    for entry in examples:
        groups = best[: entry["kept"]] if entry["how"] == BEST else None
        wave = bench.decode(original, entry["codec"], entry["kept"], groups)
        audio.write(folder / entry["file"], wave, SAMPLE_RATE, overwrite=overwrite)
        files.append({**entry, "spectrogram": _spectrogram(wave) if entry in shown else None})
    n_bytes = sum((folder / entry["file"]).stat().st_size for entry in files)
    return {"duration_s": len(original) / SAMPLE_RATE, "bytes": n_bytes, "files": files}


def _to_show(bench: Bench, examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the examples whose spectrograms are shown in the figure."""
    by_codec = {name: [e for e in examples if e["codec"] == name and e["how"] == FIRST] for name in bench.codecs}
    order = by_codec.pop("silk", [])[::-1]
    for entries in sorted(by_codec.values(), key=lambda entries: len(entries) == 1):
        order += entries[-1:] + entries[:-1][:1]
    return order[: SPECTROGRAMS - 1]


def _spectrogram(wave: Wave) -> dict[str, Any]:
    """Return a log-mel spectrogram with 64 bands and 20 ms columns, for the JSON result.

    `bands` is the number of bands. `data` contains the uint8 values [columns, bands], encoded as Base64.
    """
    step = round(COLUMN_S * SAMPLE_RATE / mel.HOP)
    columns = mel.log_mel(wave)[: len(wave) // mel.HOP // step * step]
    pooled = columns.reshape(-1, step, BANDS, mel.N_MELS // BANDS).mean(axis=(1, 3))
    scaled = np.clip((pooled - QUIET) / (LOUD - QUIET), 0, 1) * 255
    return {"bands": BANDS, "data": base64.b64encode(scaled.astype(np.uint8).tobytes()).decode("ascii")}
