"""The work of the bandwidth experiment, here or in processes: a clip at every cut, and the order of Silk's groups."""

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
from numpy.typing import NDArray

from silkcodec import audio
from silkcodec.codec import Codec, load, parse
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics, measure_all
from silkcodec.silk import MIDDLE_LEVEL, Silk
from silkcodec.spec import LATENT_WIDTH
from silkcodec.tokens import Tokens, levels_to_codes
from silkcodec_lab.runs import RunCodec

METRICS = ("pesq_wb", "stoi", "mel_distance")
FIRST, RANDOM, BEST = "first", "random", "best"  # which of Silk's groups are kept

Wave = NDArray[np.float32]
Entry = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """All that a process needs to begin.

    Attributes:
        codecs, runs: names as `silkcodec.load` takes them, folders of training runs.
        points: how many cuts of a codec are measured, at most.
        n_draws: random choices of Silk's groups, for each clip and number of groups.
        order_clips: that the best order of Silk's groups is sought on.
        clip_s, order_s: only so much of each clip's beginning, of those measured and of order_clips.
        seed: of the random choices.
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
    """Codecs, loaded, and the metrics. Raises what `load` and `RunCodec` raise, and ArgumentError for a codec twice."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.metrics = find_metrics(METRICS)
        for metric in self.metrics:
            metric.require()
        self.codecs: dict[str, Codec] = {}
        for codec in [*map(_load, recipe.codecs), *map(RunCodec, recipe.runs)]:
            if codec.name in self.codecs:
                raise ArgumentError(f"a codec must be asked for once; got '{codec.name}' again.")
            self.codecs[codec.name] = codec
        self.cuts = {name: cuts(codec, recipe.points) for name, codec in self.codecs.items()}
        silk = self.codecs.get("silk")
        self.silk = silk if isinstance(silk, Silk) else None
        self.order_cuts = order_cuts(self.cuts["silk"]) if self.silk is not None else []
        self._order_speech: list[tuple[Wave, Tokens, dict[str, Any]]] | None = None

    # --- what processes are asked for

    def measure(self, task: tuple[int, Clip, tuple[int, ...]]) -> Entry:
        """(number, clip, Silk's groups from the best to the worst) -> every cut of every codec, measured."""
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
                    point = self._point(wave, self.silk, keep(whole, groups), shared)
                    points.append(_named("silk", kept, how) | point | rates(whole, groups))
        return {"clip": clip.name, "duration_s": len(wave) / SAMPLE_RATE, "points": points}

    def apart(self, groups: Sequence[int]) -> float:
        """Mel distance of Silk with these groups alone from the clips for the order, the mean of the clips."""
        assert self.silk is not None, "only Silk's groups are ordered"
        if self._order_speech is None:
            waves = [self.read(clip.path, self.recipe.order_s) for clip in self.recipe.order_clips]
            self._order_speech = [(wave, self.silk.encode(wave, SAMPLE_RATE), {}) for wave in waves]
        distance = [metric for metric in self.metrics if metric.name == "mel_distance"]
        found = []
        for wave, tokens, shared in self._order_speech:
            pair = Pair(wave, self.silk.decode(keep(tokens, groups)), {}, shared)
            found.append(measure_all(pair, distance)[0]["mel_distance"])
        return float(np.mean([value for value in found if value is not None]))

    # --- what both need

    def read(self, path: Path, seconds: float | None = None) -> Wave:
        """The beginning of a clip at 24 kHz."""
        return audio.read(path, SAMPLE_RATE)[: round((seconds or self.recipe.clip_s) * SAMPLE_RATE)]

    def decode(self, wave: Wave, name: str, kept: int, groups: Sequence[int] | None = None) -> Wave:
        """What a codec makes of a wave at 24 kHz with so many codebooks; of Silk also with these groups alone."""
        codec = self.codecs[name]
        tokens = codec.encode(wave, SAMPLE_RATE, n_codebooks=kept if is_cut(codec, kept) else None)
        if groups is not None:
            tokens = keep(codec.encode(wave, SAMPLE_RATE), groups)
        return fitted(codec.decode(tokens), codec.sample_rate, len(wave))

    def _choices(self, index: int, kept: int, best: tuple[int, ...]) -> Iterator[tuple[str, list[int]]]:
        sizes = self.codecs["silk"].codebook_sizes
        large = [group for group, size in enumerate(sizes) if size == max(sizes)]  # of as many bits as the first ones
        for draw in range(self.recipe.n_draws):
            rng = np.random.default_rng((self.recipe.seed, index, draw))
            yield RANDOM, rng.permutation(large)[:kept].tolist()  # the same draw, cut: k + 1 holds what k holds
        yield BEST, list(best[:kept])

    def _point(self, wave: Wave, codec: Codec, tokens: Tokens, shared: dict[str, Any]) -> Entry:
        output = fitted(codec.decode(tokens), codec.sample_rate, len(wave))
        values = measure_all(Pair(wave, output, {}, shared), self.metrics)[0]
        return {
            "codec_id": tokens.codec,
            "tokens_per_second": tokens.tokens_per_second,
            "bits_per_second": tokens.bits_per_second,
            "metrics": values,
        }


def _named(codec: str, kept: int, how: str) -> Entry:
    return {"codec": codec, "kept": kept, "how": how}


def _load(name: str) -> Codec:
    """With one thread where that can be said: the processes share the cores, and a file's tokens stay the same."""
    return load(name, threads=1) if parse(name)[0] == "silk" else load(name)


def cuts(codec: Codec, points: int) -> list[int]:
    """At which numbers of codebooks a codec is measured: `points` of them at most, evenly spaced, all the last one.

    A codec that cannot be cut (a classical packet, one of another package that does not say) has one: all.
    """
    k = len(codec.codebook_sizes)
    if not hasattr(codec, "check_n_codebooks"):
        return [k]
    stages = getattr(codec, "stages", range(1, k + 1))
    return sorted({stages[max(round(len(stages) * (i + 1) / points), 1) - 1] for i in range(points)})


def order_cuts(silk: Sequence[int]) -> list[int]:
    """At which of Silk's cuts its groups are chosen in other ways: every second one but not all groups."""
    return list(silk[:-1][1::2] or silk[:-1])


def is_cut(codec: Codec, kept: int) -> bool:
    return kept < len(codec.codebook_sizes)


def keep(tokens: Tokens, groups: Iterable[int]) -> Tokens:
    """Silk's tokens [19 codebooks] with every group but these at the middle level."""
    middle = levels_to_codes(np.full((1, LATENT_WIDTH), MIDDLE_LEVEL))[0]
    kept = set(groups)
    codes = [row if group in kept else np.full_like(row, middle[group]) for group, row in enumerate(tokens.codes)]
    return replace(tokens, codes=tuple(codes))


def rates(tokens: Tokens, groups: Iterable[int]) -> dict[str, float]:
    """What the codes of these codebooks alone cost."""
    kept = sorted(groups)
    part = replace(
        tokens,
        codes=tuple(tokens.codes[k] for k in kept),
        codebook_sizes=tuple(tokens.codebook_sizes[k] for k in kept),
        frame_rates=tuple(tokens.frame_rates[k] for k in kept),
    )
    return {"tokens_per_second": part.tokens_per_second, "bits_per_second": part.bits_per_second}


def fitted(output: Wave, sample_rate: int, n_samples: int) -> Wave:
    """A codec's output at 24 kHz, cut or filled up with zeros: [n_samples]."""
    resampled = audio.as_wave(output, sample_rate, SAMPLE_RATE)[:n_samples]
    return np.pad(resampled, (0, n_samples - len(resampled)))


# --- processes


class Pool:
    """Asks a bench for many things: here, or with jobs > 1 processes that each have a bench of their own."""

    def __init__(self, bench: Bench, jobs: int) -> None:
        self._bench = bench
        self._processes = None
        if jobs > 1:  # spawned: a fork copies the thread pools of a loaded model in an unusable state
            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(bench.recipe,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)

    def map(self, method: str, tasks: Sequence[Any]) -> Iterator[Any]:
        """`bench.method(task)` of each, in their order.

        Raises:
            SilkError: a process has died.
        """
        if self._processes is None:
            yield from map(getattr(self._bench, method), tasks)
            return
        try:
            yield from self._processes.map(_call, [method] * len(tasks), tasks)
        except BrokenProcessPool as error:
            raise SilkError("a process has died, perhaps for lack of memory; take fewer --jobs.") from error


_here: Bench | None = None  # of a process of a pool


def _begin(recipe: Recipe) -> None:
    import torch

    global _here
    torch.set_num_threads(1)
    _here = Bench(recipe)


def _call(method: str, task: Any) -> Any:
    return getattr(_here, method)(task)


def greedy_order(pool: Pool, n_groups: int, progress: Any = None) -> tuple[list[int], list[float]]:
    """Silk's groups from the one to keep longest to the first to go, and what greedy removal has found.

    From all groups on, the one is dropped whose loss the speech for the order shows least, again and again.

    Returns:
        (groups, distances): distances[k - 1] is the mel distance with the first k of these groups.
    """
    kept = list(range(n_groups))
    gone: list[int] = []
    distances = list(pool.map("apart", [tuple(kept)]))
    while len(kept) > 1:
        tasks = [tuple(other for other in kept if other != group) for group in kept]
        found = []
        for distance in pool.map("apart", tasks):
            found.append(distance)
            if progress is not None:
                progress()
        least = int(np.argmin(found))
        gone.append(kept.pop(least))
        distances.append(found[least])
    return [*kept, *reversed(gone)], distances[::-1]
