"""What damage on the way does to the speech: flipped bits and lost frames, against quality.

    clips -codec-> Tokens -flip bits-> decode -> quality
                   Tokens -lose frames-> StreamDecoder, with concealment or silence in their place -> quality

A bit of a token is a bit of its code: Silk's 19 codes of a frame are 384 bits, three for each of its 128 levels; a
classical codec's packet is its bits; a residual codebook of 4,096 entries has 12. Nothing protects them here: no
check sum, no repetition, no interleaving. Frames are lost one by one or in bursts (Gilbert's model), and the decoder
knows which.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import silkcodec
from silkcodec import audio, mel
from silkcodec.codec import Codec, load
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics, measure_all
from silkcodec.evaluate.summary import bootstrap
from silkcodec.lab import machine
from silkcodec.silk import Silk
from silkcodec.stream import StreamDecoder
from silkcodec.tokens import FRAME_SAMPLES, SILK_FRAME_RATE, SILK_SAMPLE_RATE, Tokens

FORMAT = 1  # of the result's JSON
METRICS = ("pesq_wb", "stoi", "mel_distance")
METHODS = ("silence", "repeated", "interpolated", "concealed")  # what stands in place of a lost frame; the last is ours
RECOVERY_FRAMES = 8  # after a disturbance
MEL_COLUMNS = FRAME_SAMPLES // mel.HOP  # of a frame

Result = dict[str, Any]
Wave = NDArray[np.float32]
Lost = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]  # decodes done, in all, the codec at work
Key = tuple[Any, ...]
ByClip = dict[str, dict[str, float]]  # metric -> clip -> value


@dataclass(frozen=True)
class Plan:
    """What is done to the tokens.

    Attributes:
        flip_rates: of the bits that are flipped, each in 0..1.
        loss_rates: of the frames that are lost, each in 0..1 (1 excluded).
        bursts: mean lengths of a run of lost frames; 0: frames are lost independently of each other.
        n_seeds: how often each is drawn for every clip.
        seed: of the draws, of the clips taken, and of the bootstrap.
        clip_s: only so much of each clip's beginning.
    """

    flip_rates: tuple[float, ...] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    loss_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    bursts: tuple[float, ...] = (0.0, 3.0)
    n_seeds: int = 2
    seed: int = 0
    clip_s: float = 20.0

    def check(self) -> None:
        """Raises ArgumentError."""
        if not all(0 <= rate <= 1 for rate in self.flip_rates):
            raise ArgumentError(f"rates of flipped bits must be 0..1; got {self.flip_rates}.")
        if self.n_seeds < 1 or not self.clip_s > 0:
            raise ArgumentError(f"seeds and seconds must be above 0; got {self.n_seeds} and {self.clip_s:g}.")
        for rate, burst in itertools.product(self.loss_rates, self.bursts):
            transitions(rate, burst)


class RunCodec:
    """A model of a training run behind the Codec protocol: any quantizer, weights from a checkpoint.

    Args:
        run: its folder, with config.toml and checkpoint.safetensors.

    Raises:
        WeightsError: no run, or a damaged one. ArgumentError: its config.
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        from silkcodec.nn.model import SilkModel
        from silkcodec.train.requirements import require

        require("A training run", ("torch", "safetensors"))
        from silkcodec.train import checkpoint
        from silkcodec.train.config import load_config

        file = Path(run) / "checkpoint.safetensors"
        if not file.exists():
            raise WeightsError(f"a run must hold {file.name}; '{run}' does not; train it first: silk train CONFIG.")
        config = load_config(Path(run) / "config.toml")
        groups, progress = checkpoint.load(file)
        self._model = SilkModel(config.model).eval()
        checkpoint.fill(self._model, groups, "ema", file)
        self.name = f"run:{config.model.quantizer}"
        self.codec_id = f"{self.name}:{progress.get('step', 0)}"
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = tuple(getattr(self._model.quantizer, "codebook_sizes", (8,) * 128))
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        import torch

        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        codes = self._model.encode(torch.from_numpy(mono)[None])[0].numpy()
        return Tokens(tuple(codes.T), self.codebook_sizes, self.frame_rates, self.sample_rate, len(mono), self.codec_id)

    def decode(self, tokens: Tokens) -> Wave:
        import torch

        codes = torch.from_numpy(np.stack(tokens.codes, axis=1))
        wave: Wave = self._model.decode(codes[None], tokens.n_samples)[0].numpy()
        return wave


# --- damage


def flip_bits(tokens: Tokens, rate: float, rng: np.random.Generator) -> tuple[Tokens, int]:
    """Tokens with each bit flipped with probability `rate`, independently, and how many were.

    Raises:
        ArgumentError: a codebook whose size is no power of two: a flipped bit may leave it.
    """
    flipped, n_flipped = [], 0
    for codes, width in zip(tokens.codes, code_bits(tokens.codebook_sizes), strict=True):
        chosen = rng.random((len(codes), width)) < rate
        flipped.append(codes ^ (chosen @ (1 << np.arange(width, dtype=np.int64))))
        n_flipped += int(chosen.sum())
    return replace(tokens, codes=tuple(flipped)), n_flipped


def code_bits(sizes: Sequence[int]) -> list[int]:
    """Bits of a code of each codebook. Raises ArgumentError where that is no whole number."""
    widths = [size.bit_length() - 1 for size in sizes]
    for size, width in zip(sizes, widths, strict=True):
        if size != 1 << width:
            raise ArgumentError(f"bits can only be flipped in codebooks of 2, 4, 8, ... codes; got one of {size}.")
    return widths


def transitions(rate: float, burst: float) -> tuple[float, float]:
    """Gilbert's model: the probabilities to lose a frame after one that came, and after one that was lost.

    A share `rate` of all frames is lost, in runs of `burst` on average; 0: independently. Raises ArgumentError.

    >>> transitions(0.2, 0.0)
    (0.2, 0.2)
    >>> transitions(0.2, 4.0)
    (0.0625, 0.75)
    """
    if not 0 <= rate < 1:
        raise ArgumentError(f"rates of lost frames must be at least 0 and below 1; got {rate:g}.")
    if burst == 0:
        return rate, rate
    lose = rate / burst / (1 - rate) if burst >= 1 else math.inf
    if lose > 1:
        least = max(1.0, rate / (1 - rate))
        raise ArgumentError(f"bursts at a loss of {rate:g} must be 0 or at least {least:g} frames; got {burst:g}.")
    return lose, 1 - 1 / burst


def lose_frames(n_frames: int, rate: float, burst: float, rng: np.random.Generator) -> Lost:
    """Which of the frames are lost, bool [n_frames]; see `transitions`. The first one too may be."""
    after_good, after_lost = transitions(rate, burst)
    lost, now = np.zeros(n_frames, dtype=bool), rng.random() < rate
    for frame, drawn in enumerate(rng.random(n_frames)):
        lost[frame] = now
        now = drawn < (after_lost if now else after_good)
    return lost


def decode_with_losses(codec: Silk, tokens: Tokens, lost: Lost, method: str) -> Wave:
    """Silk's wave, float32 [n_samples], where some frames were lost: one of `METHODS` in their place."""
    levels, stream, parts = tokens.to_levels().astype(np.uint8), StreamDecoder(codec), []
    if method in ("repeated", "interpolated"):
        levels = fill_levels(levels, lost, interpolate=method == "interpolated")
        lost = lost & (np.cumsum(~lost) == 0)  # before the first frame that came there is nothing to fill from
    for is_lost, run in itertools.groupby(range(len(levels)), key=lambda frame: bool(lost[frame])):
        frames = list(run)
        if not is_lost:
            parts.append(stream.feed_levels(levels[frames]))
        elif method == "concealed":
            parts.append(stream.conceal(len(frames)))
        else:
            parts.append(np.zeros(len(frames) * FRAME_SAMPLES, dtype=np.float32))
    return np.concatenate(parts)[: tokens.n_samples]


def fill_levels(levels: NDArray[np.uint8], lost: Lost, *, interpolate: bool) -> NDArray[np.uint8]:
    """Levels [F, 128] with each lost frame's taken from the last one that came, or on the line to the next one."""
    filled, came = levels.copy(), np.flatnonzero(~lost)
    for frame in np.flatnonzero(lost):
        before, after = came[came < frame], came[came > frame]
        if not len(before):
            continue
        filled[frame] = levels[before[-1]]
        if interpolate and len(after):
            share = (frame - before[-1]) / (after[0] - before[-1])
            mixed = (1 - share) * levels[before[-1]] + share * levels[after[0]]
            filled[frame] = np.rint(mixed).astype(np.uint8)
    return filled


# --- the experiment


def robustness(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk", "codec2:1200"),
    *,
    run: str | os.PathLike[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measures quality against flipped bits and lost frames.

    Args:
        inputs: audio files, folders, or an INDEX.tsv.
        codecs: names as `silkcodec.load` takes them, whose bits are flipped; frames are lost of `silk` alone.
        run: folder of a training run, whose model's bits are flipped too.
        split, limit: which clips, see `find_clips`.
        plan: how much of what.

    Returns:
        What goes to robustness.json.

    Raises:
        ArgumentError, AudioError, MissingExtraError, WeightsError: before anything is measured.
    """
    plan = plan or Plan()
    plan.check()
    metrics = find_metrics(METRICS)
    for metric in metrics:
        metric.require()
    loaded: dict[str, Any] = {}
    for codec in [*map(load, codecs), *([] if run is None else [RunCodec(run)])]:
        code_bits(codec.codebook_sizes)
        if codec.name in loaded:
            raise ArgumentError(f"a codec must be asked for once; got '{codec.name}' again.")
        loaded[codec.name] = codec
    if not loaded:
        raise ArgumentError("the experiment needs one codec at least; got none.")
    clips = find_clips(inputs, split=split, limit=limit, seed=plan.seed)
    found, before = machine.conditions(), machine.clocks()
    measured, total_s = _Measured(metrics), 0.0
    silk = loaded.get("silk")
    n_steps = len(clips) * (len(loaded) + (silk is not None))
    steps = itertools.count(1)

    def advance(name: str) -> None:
        if progress is not None:
            progress(next(steps), n_steps, name)

    for index, clip in enumerate(clips):
        wave = audio.read(clip.path, SAMPLE_RATE)[: round(plan.clip_s * SAMPLE_RATE)]
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
        "kind": "silk lab robustness",
        "format": FORMAT,
        "version": silkcodec.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {
            "codecs": list(loaded)[: len(codecs)],
            "run": run is not None,
            "split": split,
            "limit": limit,
            **vars(plan),
        },
        "speech": {"n_clips": len(clips), "duration_s": total_s},
        "machine": {**found, "others_cores": machine.others_cores(before, machine.clocks())},
        "metrics": {metric.name: {"label": metric.label, "better": metric.better} for metric in metrics},
        "codecs": measured.facts,
        **measured.summary(plan.seed),
    }


class _Measured:
    """Values by condition and clip. A condition is ("clean", codec), ("flips", codec, rate), ("losses", ...)."""

    def __init__(self, metrics: Sequence[Any]) -> None:
        self.metrics = metrics
        self.facts: dict[str, dict[str, Any]] = {}
        self._values: dict[Key, dict[str, dict[str, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )  # condition -> metric -> clip -> one value a draw
        self._counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def begin(self, clip: str, wave: Wave) -> None:
        self._clip, self._wave, self._shared = clip, wave, {}  # type: tuple[str, Wave, dict[str, Any]]

    def score(self, output: Wave, sample_rate: int) -> dict[str, float | None]:
        """The metrics of what came out, against the clip."""
        resampled = audio.as_wave(output, sample_rate, SAMPLE_RATE)
        fitted = np.zeros_like(self._wave)
        n = min(len(fitted), len(resampled))
        fitted[:n] = resampled[:n]
        return measure_all(Pair(self._wave, fitted, {}, self._shared), self.metrics)[0]

    def add(self, key: Key, values: dict[str, float | None], **counts: int) -> None:
        for name, value in values.items():
            if value is not None:
                self._values[key][name][self._clip].append(value)
        for name, count in counts.items():
            self._counts[key][name] += count

    def summary(self, seed: int) -> dict[str, Any]:
        """A mean over clips, with its interval, for every condition; a clip's value is the mean of its draws."""
        entries: dict[str, list[dict[str, Any]]] = {"clean": [], "flips": [], "losses": [], "recovery": []}
        for key in self._values:
            kind, names = key[0], KEYS[key[0]]
            clips = self._clips(key)
            entry = {**dict(zip(names, key[1:], strict=True)), **self._counts[key]}
            entry["metrics"] = {name: bootstrap(list(by_clip.values()), seed) for name, by_clip in clips.items()}
            if kind == "losses" and entry["method"] == METHODS[-1]:
                entry["gain"] = {
                    other: self._difference(clips, self._clips((*key[:-1], other)), seed) for other in METHODS[:-1]
                }
            entries[kind].append(entry)
        return entries

    @staticmethod
    def _difference(ours: ByClip, other: ByClip, seed: int) -> dict[str, Any]:
        return {
            name: bootstrap([value - other[name][clip] for clip, value in by_clip.items()], seed)
            for name, by_clip in ours.items()
        }

    def _clips(self, key: Key) -> ByClip:
        return {
            name: {clip: float(np.mean(values)) for clip, values in by_clip.items()}
            for name, by_clip in self._values[key].items()
        }


KEYS = {
    "clean": ("codec",),
    "flips": ("codec", "rate"),
    "losses": ("rate", "burst", "method"),
    "recovery": ("disturbance", "frame"),
}


def _flip(measured: _Measured, name: str, codec: Codec, tokens: Tokens, plan: Plan, clip: int) -> None:
    clean = measured.score(codec.decode(tokens), codec.sample_rate)
    measured.add(("clean", name), clean)
    n_bits = sum(w * len(c) for c, w in zip(tokens.codes, code_bits(tokens.codebook_sizes), strict=True))
    for rate, rng in _draws(plan, clip, plan.flip_rates):
        damaged, n_flipped = flip_bits(tokens, rate, rng)
        values = measured.score(codec.decode(damaged), codec.sample_rate) if n_flipped else clean
        measured.add(("flips", name, rate), values, n_bits=n_bits, n_flipped=n_flipped)


def _lose(measured: _Measured, codec: Silk, tokens: Tokens, plan: Plan, clip: int) -> None:
    clean = None
    for burst in plan.bursts:
        for rate, rng in _draws(plan, clip, plan.loss_rates):
            lost = lose_frames(tokens.n_frames, rate, burst, rng)
            runs = int(lost[0]) + int((lost[1:] & ~lost[:-1]).sum())
            for method in METHODS:
                if lost.any():
                    wave = decode_with_losses(codec, tokens, lost, method)
                    values = measured.score(wave, codec.sample_rate)
                else:
                    clean = values = clean or measured.score(codec.decode(tokens), codec.sample_rate)
                key = ("losses", rate, burst, method)
                measured.add(key, values, n_frames=len(lost), n_lost=int(lost.sum()), n_runs=runs)


def _recover(measured: _Measured, codec: Silk, tokens: Tokens, plan: Plan, clip: int) -> None:
    """How far each of the frames after a disturbance is from what it would have been: mel distance."""
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
            apart = np.abs(mel.log_mel(wave) - whole).mean(axis=1)
            for frame in range(min(RECOVERY_FRAMES, tokens.n_frames - at - 1) + 1):
                columns = apart[(at + frame) * MEL_COLUMNS : (at + frame + 1) * MEL_COLUMNS]
                if len(columns):
                    measured.add(("recovery", disturbance, frame), {"mel_distance": float(columns.mean())})


def _draws(plan: Plan, clip: int, rates: Sequence[float]) -> Iterator[tuple[float, np.random.Generator]]:
    """Every rate, n_seeds times: the same damage for every codec and method."""
    for rate, draw in itertools.product(rates, range(plan.n_seeds)):
        yield rate, np.random.default_rng((plan.seed, clip, draw))
