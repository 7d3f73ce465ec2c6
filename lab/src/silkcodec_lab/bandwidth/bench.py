"""Measure codecs with fewer codebooks, and order Silk's codebooks by importance.

Each of Silk's codebooks is a group of dimensions. Any selection of these groups can be decoded.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from silkcodec.codec import Codec
from silkcodec.errors import SilkError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics, measure_all
from silkcodec.silk import MIDDLE_LEVEL, Silk
from silkcodec.spec import LATENT_WIDTH
from silkcodec.tokens import Tokens, levels_to_codes
from silkcodec_lab.run_codec import load_codecs
from silkcodec_lab.scores import Wave, match_length
from silkcodec_lab.selection import beginning

METRICS = ("pesq_wb", "stoi", "mel_distance")
FIRST, RANDOM, BEST = "first", "random", "best"  # selections of Silk's groups

Entry = dict[str, Any]


@dataclass(frozen=True)
class BenchSettings:
    """Hold the settings of a `Bench`.

    Attributes:
        codecs: Codec names, as for `silkcodec.load`.
        runs: Folders of training runs.
        points: Maximum number of values of `n_codebooks` to measure per codec.
        n_draws: Number of random selections of Silk's groups for each clip and each number of groups.
        order_clips: Clips used to order Silk's groups by importance.
        clip_s: Maximum duration of each measured clip in seconds.
        order_s: Maximum duration of each clip in `order_clips` in seconds.
        seed: Random seed for the selections.
    """

    codecs: tuple[str, ...]
    runs: tuple[str, ...] = ()
    points: int = 8
    n_draws: int = 3
    order_clips: tuple[Clip, ...] = ()
    clip_s: float = 8.0
    order_s: float = 4.0
    seed: int = 0


class Bench:
    """Load codecs, and measure their quality with different numbers of codebooks.

    Raises:
        ArgumentError: A codec is given twice.
        SilkError: A codec or a metric cannot be used.
    """

    def __init__(self, settings: BenchSettings) -> None:
        self.settings = settings
        self.metrics = find_metrics(METRICS)
        for metric in self.metrics:
            metric.require()
        # Several worker processes run in parallel, so each uses one thread.
        self.codecs = load_codecs(settings.codecs, settings.runs, threads=1)
        self.cuts = {name: cuts(codec, settings.points) for name, codec in self.codecs.items()}
        silk = self.codecs.get("silk")
        self.silk = silk if isinstance(silk, Silk) else None
        self.order_cuts = order_cuts(self.cuts["silk"]) if self.silk is not None else []
        self._order_speech: list[tuple[Wave, Tokens, dict[str, Any]]] | None = None

    # --- tasks of worker processes

    def measure(self, task: tuple[int, Clip, tuple[int, ...]]) -> Entry:
        """Measure the quality of each codec with each number of codebooks on one clip.

        Args:
            task: The index of the clip, the clip, and Silk's groups, ordered from most to least important.
        """
        index, clip, best = task
        wave = self.read(clip.path)
        points: list[Entry] = []
        shared: dict[str, Any] = {}
        for name, codec in self.codecs.items():
            for kept in self.cuts[name]:
                tokens = codec.encode(wave, SAMPLE_RATE, n_codebooks=kept if is_cut(codec, kept) else None)
                points.append(_named(name, kept, FIRST) | self._point(wave, codec, tokens, shared))
        if best and self.silk is not None:
            whole = self.silk.encode(wave, SAMPLE_RATE)
            for kept in self.order_cuts:
                for how, groups in self._choices(index, kept, best):
                    point = self._point(wave, self.silk, keep_groups(whole, groups), shared)
                    points.append(_named("silk", kept, how) | point | rates(whole, groups))
        return {"clip": clip.name, "duration_s": len(wave) / SAMPLE_RATE, "points": points}

    def order_distance(self, groups: Sequence[int]) -> float:
        """Return the mean mel distance over `order_clips` for Silk with only the given groups."""
        assert self.silk is not None, "Silk must be one of the codecs"
        if self._order_speech is None:
            waves = [self.read(clip.path, self.settings.order_s) for clip in self.settings.order_clips]
            self._order_speech = [(wave, self.silk.encode(wave, SAMPLE_RATE), {}) for wave in waves]
        distance = [metric for metric in self.metrics if metric.name == "mel_distance"]
        found = []
        for wave, tokens, shared in self._order_speech:
            pair = Pair(wave, self.silk.decode(keep_groups(tokens, groups)), {}, shared)
            found.append(measure_all(pair, distance)[0]["mel_distance"])
        return float(np.mean([value for value in found if value is not None]))

    # --- shared with the main process

    def read(self, path: Path, seconds: float | None = None) -> Wave:
        """Read the start of a clip at 24 kHz. `seconds` is the maximum duration, by default `clip_s`."""
        return beginning(path, seconds or self.settings.clip_s)

    def decode(self, wave: Wave, name: str, kept: int, groups: Sequence[int] | None = None) -> Wave:
        """Encode and decode 24 kHz audio with a codec's first `kept` codebooks, or with Silk's `groups` if given."""
        codec = self.codecs[name]
        tokens = codec.encode(wave, SAMPLE_RATE, n_codebooks=kept if is_cut(codec, kept) else None)
        if groups is not None:
            tokens = keep_groups(codec.encode(wave, SAMPLE_RATE), groups)
        return match_length(codec.decode(tokens), codec.sample_rate, len(wave))

    def _choices(self, index: int, kept: int, best: tuple[int, ...]) -> Iterator[tuple[str, list[int]]]:
        sizes = self.codecs["silk"].codebook_sizes
        large = [group for group, size in enumerate(sizes) if size == max(sizes)]  # groups with the same number of bits
        for draw in range(self.settings.n_draws):
            rng = np.random.default_rng((self.settings.seed, index, draw))
            yield (
                RANDOM,
                rng.permutation(large)[:kept].tolist(),
            )  # Within a draw, larger selections include the smaller ones.
        yield BEST, list(best[:kept])

    def _point(self, wave: Wave, codec: Codec, tokens: Tokens, shared: dict[str, Any]) -> Entry:
        output = match_length(codec.decode(tokens), codec.sample_rate, len(wave))
        values = measure_all(Pair(wave, output, {}, shared), self.metrics)[0]
        return {
            "codec_id": tokens.codec,
            "tokens_per_second": tokens.tokens_per_second,
            "bits_per_second": tokens.bits_per_second,
            "metrics": values,
        }


def _named(codec: str, kept: int, how: str) -> Entry:
    return {"codec": codec, "kept": kept, "how": how}


def cuts(codec: Codec, points: int) -> list[int]:
    """Return at most `points` evenly spaced codebook counts to measure, ending with the full count."""
    k = len(codec.codebook_sizes)
    if getattr(codec, "quantizer", None) == "bit stream":  # its codebooks are fields of a packet, which are all needed
        return [k]
    stages = getattr(codec, "stages", range(1, k + 1))
    return sorted({stages[max(round(len(stages) * (i + 1) / points), 1) - 1] for i in range(points)})


def order_cuts(silk: Sequence[int]) -> list[int]:
    """Return the codebook counts at which random and best selections of Silk's groups are measured."""
    return list(silk[:-1][1::2] or silk[:-1])


def is_cut(codec: Codec, kept: int) -> bool:
    """Return whether `kept` is less than the codec's number of codebooks."""
    return kept < len(codec.codebook_sizes)


def keep_groups(tokens: Tokens, groups: Iterable[int]) -> Tokens:
    """Return a copy of Silk's tokens with all but the given groups set to the middle level."""
    middle = levels_to_codes(np.full((1, LATENT_WIDTH), MIDDLE_LEVEL))[0]
    kept = set(groups)
    codes = [row if group in kept else np.full_like(row, middle[group]) for group, row in enumerate(tokens.codes)]
    return replace(tokens, codes=tuple(codes))


def rates(tokens: Tokens, groups: Iterable[int]) -> dict[str, float]:
    """Return the token rate and the bit rate of Silk's tokens if only the given groups are kept."""
    kept = sorted(groups)
    part = replace(
        tokens,
        codes=tuple(tokens.codes[k] for k in kept),
        codebook_sizes=tuple(tokens.codebook_sizes[k] for k in kept),
        frame_rates=tuple(tokens.frame_rates[k] for k in kept),
    )
    return {"tokens_per_second": part.tokens_per_second, "bits_per_second": part.bits_per_second}


# --- processes


class BenchPool:
    """Run a `Bench` in this process or in several worker processes."""

    def __init__(self, bench: Bench, jobs: int) -> None:
        self._bench = bench
        self._processes = None
        if jobs > 1:  # Forked processes would inherit thread pools that they cannot use.
            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(bench.settings,))

    def __enter__(self) -> BenchPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)

    def map(self, method: str, tasks: Sequence[Any]) -> Iterator[Any]:
        """Call a method of `Bench` with each task, and yield the results in order.

        Args:
            method: Name of the method.
            tasks: Arguments of the calls.

        Raises:
            SilkError: A worker process crashed.
        """
        if self._processes is None:
            yield from map(getattr(self._bench, method), tasks)
            return
        try:
            yield from self._processes.map(_call, [method] * len(tasks), tasks)
        except BrokenProcessPool as error:
            raise SilkError(
                "A worker process crashed, possibly because memory ran out. Pass a lower --jobs value."
            ) from error


_bench: Bench | None = None  # bench of a worker process


def _start(settings: BenchSettings) -> None:
    import torch

    global _bench
    torch.set_num_threads(1)
    _bench = Bench(settings)


def _call(method: str, task: Any) -> Any:
    return getattr(_bench, method)(task)


def greedy_order(pool: BenchPool, n_groups: int, progress: Any = None) -> tuple[list[int], list[float]]:
    """Order Silk's groups by importance.

    Start with all groups, and repeatedly remove the group whose removal increases the mel distance least.

    Returns:
        The groups, ordered from most to least important, and the mel distances with the first group, with the first
            two groups, and so on.
    """
    kept = list(range(n_groups))
    removed: list[int] = []
    distances = list(pool.map("order_distance", [tuple(kept)]))
    while len(kept) > 1:
        tasks = [tuple(other for other in kept if other != group) for group in kept]
        found = []
        for distance in pool.map("order_distance", tasks):
            found.append(distance)
            if progress is not None:
                progress()
        least = int(np.argmin(found))
        removed.append(kept.pop(least))
        distances.append(found[least])
    return [*kept, *reversed(removed)], distances[::-1]
