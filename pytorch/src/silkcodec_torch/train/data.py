"""Decode a folder of audio, and draw random crops from it for training.

The audio is decoded only once, to a cache (24 kHz, mono, little-endian int16), which training reads through a memory
map. A batch depends only on the seed and the step, so a resumed run gets the same batches as an uninterrupted one.

    <cache>/train-<hash>.i16     the samples of the training files; the hash depends on the files
    <cache>/train-<hash>.json    the position of each file in the samples
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.errors import ArgumentError, AudioError, OutputError
from silkcodec.mel import FRAME, LOOKAHEAD, SAMPLE_RATE
from silkcodec.output import replacing
from silkcodec.parallel.cores import available_cores
from silkcodec_torch.train.augment import augment, change_speed
from silkcodec_torch.train.config import DataConfig

DECODERS = min(8, available_cores())  # number of files decoded in parallel; the decoding libraries release the GIL
HELD_OUT: dict[str, tuple[str, ...]] = {  # value of `held_out` -> columns whose values are excluded
    "source": ("source",),
    "language": ("language",),
    "speaker": ("source", "speaker"),
    "clip": ("path",),
    "nothing": (),
}
AHEAD = 4  # number of batches prepared in advance


@dataclass(frozen=True)
class PackedClip:
    """Hold the path of an audio file and the position of its samples in the decoded audio."""

    path: str
    start_samples: int
    n_samples: int


class Batch(NamedTuple):
    """Hold the crops of a training step."""

    wave: Tensor  # input of the encoder, float32 [B, crop_frames * 9600 + 480]
    target: Tensor  # originals to compare the decoded audio with, float32 [B, crop_frames * 9600]
    bandwidth_hz: Tensor  # float32 [B]; the losses ignore frequencies above it. Infinity: none are ignored


def split_rows(config: DataConfig) -> dict[str, list[dict[str, str]]]:
    """Return a row for each training and validation file, keyed by "train" and "valid".

    The index (`data.index`) determines which files are used for validation. Without an index, a hash of the path
    does, and each row contains only the path. The paths are relative to the data folder, except for files from the
    tables in `data.more`, whose paths are absolute.

    Raises:
        ArgumentError: the folder does not exist or has no audio, an index or one of its columns is missing, or
            `exclude` or `more` is set without an index.
    """
    folder = Path(config.folder)
    for name, value in (("exclude", config.exclude), ("more", config.more)):
        if value and not config.index:
            raise ArgumentError(f"data.{name} requires data.index. Set data.index, or remove data.{name}.")
    if not config.folder or not folder.is_dir():
        raise ArgumentError(f"data.folder must be a folder of audio files; got {config.folder!r}.")
    if config.index:
        splits = index_rows(config)
    else:
        splits = {"train": [], "valid": []}
        for file in audio.find_files(folder):
            name = file.relative_to(folder).as_posix()
            held_out = int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16) % 10_000 < config.valid_percent * 100
            splits["valid" if held_out else "train"].append({"path": name})
        for empty, other in (("valid", "train"), ("train", "valid")):  # With few files, a split can be empty.
            if splits[other] and not splits[empty]:
                splits[empty].append(splits[other][-1] if len(splits[other]) == 1 else splits[other].pop())
    if not splits["train"] and config.index:
        raise ArgumentError(f"data.index must select at least one training file; '{config.index}' selects none.")
    if not splits["train"]:
        raise ArgumentError(f"data.folder must contain at least one audio file for training; '{folder}' has none.")
    return splits


def index_rows(config: DataConfig) -> dict[str, list[dict[str, str]]]:
    """Read the index and the tables listed in `data.more`. Return their rows for training and validation.

    The keys of the result are "train" and "valid".

    Raises:
        ArgumentError: a table or one of its columns is missing, or a bandwidth is not a number.
    """
    columns = ("path", config.split_column, *([config.bandwidth_column] if config.uses_bandwidth else []))
    rows = read_index(os.path.join(config.folder, config.index), columns)
    for table in config.more:
        folder = manifest.split_filter(table)[0].parent.resolve()
        rows += [{**row, "path": str(folder / row["path"])} for row in read_index(table, columns)]
    splits: dict[str, list[dict[str, str]]] = {"train": [], "valid": []}
    for row in without_held_out(rows, config.exclude) if config.exclude else rows:
        if row.get(config.split_column) == config.valid_value:
            splits["valid"].append(row)
        elif not config.min_bandwidth_hz or _hertz(row, config) >= config.min_bandwidth_hz:
            splits["train"].append(row)
    return splits


def without_held_out(rows: list[dict[str, str]], file: str) -> list[dict[str, str]]:
    """Remove the rows of audio files that are reserved for evaluation.

    Args:
        rows: rows of the audio-file index.
        file: table of evaluation clips with the columns path, source, language, speaker and held_out. The value of
            held_out states what is reserved: the "clip", its "speaker", its "source", its "language", or "nothing".

    Returns:
        The remaining rows.

    Raises:
        ArgumentError: the table or a column is missing, or a value of held_out is invalid.
    """
    kept_back: dict[str, set[tuple[str, ...]]] = {name: set() for name in HELD_OUT}
    for clip in read_index(file, ("path", "source", "language", "speaker", "held_out")):
        held_out = clip.get("held_out", "")
        if held_out not in HELD_OUT:
            raise ArgumentError(f"held_out must be one of {', '.join(HELD_OUT)}; got {held_out!r} in '{file}'.")
        kept_back[held_out].add(_identity(clip, HELD_OUT[held_out]))
    return [
        row
        for row in rows
        if not any(columns and _identity(row, columns) in kept_back[name] for name, columns in HELD_OUT.items())
    ]


def _identity(row: dict[str, str], columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in columns)


def _hertz(row: dict[str, str], config: DataConfig) -> float:
    text = row.get(config.bandwidth_column, "0")
    try:
        return float(text)
    except ValueError:
        column = config.bandwidth_column
        raise ArgumentError(
            f"The '{column}' column must contain a number in Hz; got {text!r} for '{row['path']}'."
        ) from None


def read_index(table: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a table of audio files. Empty cells are omitted.

    Args:
        table: path of the table, optionally followed by a filter; see `silkcodec.audio.manifest`.
        columns: columns that the table must have.

    Raises:
        ArgumentError: the file or one of the columns does not exist, or no row matches the filter.
    """
    file, conditions = manifest.split_filter(table)
    if not file.is_file():
        raise ArgumentError(
            f"Table not found: '{file}'. data.index must name a table in data.folder. data.exclude and each entry of"
            " data.more must be the path of a table."
        )
    rows = manifest.read(file)
    missing = [name for name in columns if not any(name in row for row in rows)]
    if missing:
        raise ArgumentError(f"'{file}' must have the columns {', '.join(columns)}; '{missing[0]}' is missing.")
    return manifest.filtered(rows, conditions, file)


class Pack:
    """Hold decoded audio.

    Args:
        samples: memory-mapped samples of all clips, int16 [T].
        clips: position of each clip in `samples`.
        limited: paths of the clips whose total share of the crops is limited.
        limit: maximum share of crops to draw from these clips, from 0 to 1.
        bandwidths: frequency in Hz up to which the losses apply to each clip, float64 [N]. By default, infinity.

    Attributes:
        lengths: length of each clip in samples, int64 [N].
        shares: probability of drawing a crop from each clip, float64 [N]. It is proportional to the clip's length,
            unless `limit` applies.
    """

    def __init__(
        self,
        samples: NDArray[np.int16],
        clips: list[PackedClip],
        limited: frozenset[str] = frozenset(),
        limit: float = 1.0,
        bandwidths: NDArray[np.float64] | None = None,
    ):
        self.samples, self.clips = samples, clips
        self.bandwidths = np.full(len(clips), np.inf) if bandwidths is None else bandwidths
        self.lengths = np.array([clip.n_samples for clip in clips], dtype=np.int64)
        self.shares = self.lengths / self.lengths.sum()
        chosen = np.array([clip.path in limited for clip in clips], dtype=bool)
        share = self.shares[chosen].sum()
        if limit < share < 1:
            self.shares = self.shares * np.where(chosen, limit / share, (1 - limit) / (1 - share))

    @property
    def hours(self) -> float:
        """Return the total duration of the clips in hours."""
        return float(self.lengths.sum()) / SAMPLE_RATE / 3600

    def wave(self, clip: PackedClip, offset: int, n_samples: int) -> NDArray[np.float32]:
        """Return the part of a clip that starts at `offset`, zero-padded after the clip's end, float32 [n_samples]."""
        wave = np.zeros(n_samples, dtype=np.float32)
        begin = clip.start_samples + offset
        found = self.samples[begin : begin + min(n_samples, clip.n_samples - offset)]
        wave[: len(found)] = found / np.float32(32768)
        return wave


def pack(config: DataConfig, split: str, cache: Path, say: Callable[[str], None] = lambda text: None) -> Pack:
    """Open the decoded training or validation audio. Decode the files first if the cache is not up to date.

    Unreadable files are reported and skipped.

    Args:
        config: the [data] section of the config.
        split: "train" or "valid".
        cache: folder for the decoded audio.
        say: function that is called with each progress message.

    Raises:
        ArgumentError: none of the files can be read.
        OutputError: `cache` cannot be written to.
    """
    rows = split_rows(config)[split]
    names = [row["path"] for row in rows]
    folder = Path(config.folder)
    # Runs with different files can share a cache, because the hash keeps their files apart.
    table = cache / f"{split}-{_hash(folder, names)}.json"
    clips = _cached(table)
    if clips is None:
        try:
            clips = _decode(table, folder, names, say)
        except OutputError as error:
            raise OutputError(f"{error} Set data.cache to another folder.") from None
    if not clips:
        raise ArgumentError(
            f"The '{split}' split must contain readable audio; none of its {len(names)} files can be read."
        )
    limited, low = frozenset(row["path"] for row in rows if is_synthetic(row)), low_bandwidths(rows, config)
    bandwidths = np.array([low.get(clip.path, np.inf) for clip in clips])
    samples = np.memmap(table.with_suffix(".i16"), dtype="<i2", mode="r")
    return Pack(samples, clips, limited, config.synthetic_share, bandwidths)


def low_bandwidths(rows: list[dict[str, str]], config: DataConfig) -> dict[str, float]:
    """Return the bandwidth in Hz of each file whose bandwidth is below `config.full_band_hz`, keyed by path.

    Files without a value in the bandwidth column are omitted.
    """
    if not config.full_band_hz:
        return {}
    bandwidths = {row["path"]: _hertz(row, config) for row in rows}
    return {path: hz for path, hz in bandwidths.items() if 0 < hz < config.full_band_hz}


def is_synthetic(row: dict[str, str]) -> bool:
    """Return whether a row of the index is marked as synthetic speech."""
    return row.get("synthetic", "").lower() in ("yes", "true", "1")


def _cached(table: Path) -> list[PackedClip] | None:
    """Return the clips in the cache, or None if they are missing or damaged."""
    try:
        clips = [PackedClip(**clip) for clip in json.loads(table.read_text(encoding="utf-8"))]
        n_samples = table.with_suffix(".i16").stat().st_size // 2
    except (OSError, ValueError, TypeError):
        return None
    return clips if n_samples == sum(clip.n_samples for clip in clips) else None


def _decode(table: Path, folder: Path, names: list[str], say: Callable[[str], None]) -> list[PackedClip]:
    """Decode audio files into the cache. Return their positions in the decoded audio."""
    clips, position, done = [], 0, 0
    with replacing(table.with_suffix(".i16"), overwrite=True) as out, ThreadPoolExecutor(DECODERS) as pool:
        for begin in range(0, len(names), DECODERS):  # in groups, because each file can be an hour long
            some = names[begin : begin + DECODERS]
            for name, samples in zip(some, pool.map(lambda name: _samples(folder / name), some), strict=True):
                done += 1
                if isinstance(samples, AudioError):
                    say(f"skipped {name}: {samples}")
                    continue
                out.write(samples.tobytes())
                clips.append(PackedClip(name, position, len(samples)))
                position += len(samples)
                if done % 200 == 0:
                    say(f"decoded {done} of {len(names)} files, {position / SAMPLE_RATE / 3600:.2f} h")
    with replacing(table, overwrite=True) as out:
        out.write(json.dumps([asdict(clip) for clip in clips]).encode())
    return clips


def _samples(file: Path) -> NDArray[np.int16] | AudioError:
    """Return the samples of a file, int16 [T] at 24 kHz, or the error if it cannot be read."""
    try:
        wave = audio.read(file, SAMPLE_RATE)
    except AudioError as error:
        return error
    return (np.clip(wave, -1, 1) * 32767).round().astype("<i2")


def _hash(folder: Path, names: list[str]) -> str:
    """Return a hash of a folder's path, and of the names, sizes and times of files in it."""
    lines = [str(folder.resolve())]
    for name in names:
        found = (folder / name).stat() if (folder / name).exists() else None
        lines.append(f"{name}\t{found.st_size}\t{found.st_mtime_ns}" if found else f"{name}\tmissing")
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()[:12]


def crops(source: Pack, config: DataConfig, n_crops: int, seed: int, step: int) -> Batch:
    """Return random, augmented crops for a training step.

    `source.shares` contains the probability of choosing each file. Files shorter than a crop are zero-padded.
    """
    rng = np.random.default_rng((seed, step))
    n_samples = config.crop_frames * FRAME + LOOKAHEAD
    waves, targets, bandwidths = [], [], []
    for index in rng.choice(len(source.clips), n_crops, p=source.shares):
        wave, bandwidth = _crop(source, int(index), config, n_samples, rng)
        second = None
        if config.mixture_share and rng.random() < config.mixture_share:
            other = int(rng.choice(len(source.clips), p=source.shares))
            second, other_bandwidth = _crop(source, other, config, n_samples, rng)
            bandwidth = min(bandwidth, other_bandwidth)
        wave, target = augment(wave, config, rng, second)
        waves.append(wave)
        targets.append(target[: n_samples - LOOKAHEAD])
        bandwidths.append(bandwidth)
    return Batch(
        torch.from_numpy(np.stack(waves)),
        torch.from_numpy(np.stack(targets)),
        torch.tensor(bandwidths, dtype=torch.float32),
    )


def _crop(
    source: Pack, index: int, config: DataConfig, n_samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Return a random crop of a clip, float32 [n_samples], and the frequency in Hz up to which the losses apply."""
    clip, bandwidth = source.clips[index], float(source.bandwidths[index])
    needed = n_samples
    if config.speed_change:
        from_rate = round(rng.uniform(1 - config.speed_change, 1 + config.speed_change) * SAMPLE_RATE)
        needed = math.ceil(n_samples * from_rate / SAMPLE_RATE) + 1
    offset = int(rng.integers(0, max(1, clip.n_samples - needed + 1)))
    wave = source.wave(clip, offset, needed)
    if config.speed_change:
        wave = change_speed(wave, from_rate, n_samples)
        if config.full_band_hz and from_rate < SAMPLE_RATE:
            bandwidth = min(bandwidth, SAMPLE_RATE / 2)  # The band above it is empty after slowing down.
        bandwidth *= from_rate / SAMPLE_RATE
    return wave, bandwidth


class Batches:
    """Prepare the batches of a training run on background threads.

    Args:
        make: function that returns the batch for a step. It is called from several threads.
    """

    def __init__(self, make: Callable[[int], Batch]):
        self.make = make
        self.pool = ThreadPoolExecutor(AHEAD)
        self.coming: dict[int, Future[Batch]] = {}

    def take(self, step: int) -> Batch:
        """Return the batch for a training step, and start preparing the next ones."""
        for ahead in range(step, step + AHEAD):
            if ahead not in self.coming:
                self.coming[ahead] = self.pool.submit(self.make, ahead)
        return self.coming.pop(step).result()

    def close(self) -> None:
        """Stop the threads."""
        self.pool.shutdown(cancel_futures=True)
