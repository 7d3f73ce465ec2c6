"""Speech -> speakers, each with its vectors: log-mel patches that neither level nor bandwidth tells apart.

    clip -> log-mel, 100 columns/s -> bands up to LIMIT -> dB below the clip's own loud level, clamped
         -> pooled in time and frequency -> patches [N, D]; silent ones are left out

or, of = "latents":

    clip -> loud level the same for all, nothing above LIMIT -> Silk's encoder -> what FSQ would round [F, 128]
         -> in 8 pieces, as the small RVQ model reads its own -> [8 F, 16]

The loud level is the 95th percentile of the levels of the clip's columns. What lies further below it than the floor
is set to the floor, so that most background noise is alike; a patch counts as speech where its level is near enough.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.silk import Silk
from silkcodec.spec import LATENT_WIDTH
from silkcodec_lab.coverage.sounds import Labels, classes_of

Vectors = NDArray[np.float32]  # [N, D], dB; or levels of FSQ
Columns = NDArray[np.int64]  # [N], of the log-mel

OF = ("mel", "latents")
LOUD = 95  # percentile of the columns' levels that stands for a clip's level
PIECES = 8  # of Silk's latent of a frame: vectors of 16 numbers
LOUD_LEVEL = 0.1  # root mean square of a clip's loud columns before Silk encodes it
LONGEST = 600 * mel.SAMPLE_RATE  # samples of a clip that are looked at
QUIET = 10  # percentile that stands for its background; the distance is a measure of its noise


@dataclass(frozen=True)
class Patches:
    """How speech is cut into vectors.

    Attributes:
        of: what a vector is: a patch of the log-mel, or an eighth of what Silk's encoder makes of a frame (400 ms).
        limit_hz: no band reaches above it; clips whose manifest says that they end below it are left out.
        floor_db: below the clip's loud level, at which bands are clamped.
        silence_db: below the clip's loud level, from which a patch is no speech.
        columns: of 10 ms in a patch.
        pool: columns and bands that are averaged to one number.
        seconds: of each speaker at most, drawn clip by clip.
        per_speaker: vectors at most.
        speakers: of each group at most.
    """

    of: str = "mel"
    limit_hz: float = 7_000.0
    floor_db: float = 50.0
    silence_db: float = 30.0
    columns: int = 4
    pool: int = 2
    seconds: float = 60.0
    per_speaker: int = 1_000
    speakers: int = 64

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise ArgumentError(f"--vectors must be one of {', '.join(OF)}; got '{self.of}'.")
        if not 500 <= self.limit_hz <= mel.SAMPLE_RATE / 2:
            raise ArgumentError(f"--limit-hz must be 500..{mel.SAMPLE_RATE // 2}; got {self.limit_hz:g}.")
        if not self.seconds >= 1:
            raise ArgumentError(f"--seconds must be at least 1; got {self.seconds:g}.")

    @property
    def n_bands(self) -> int:
        """Bands that end below the limit, a whole number of pools."""
        edges = mel.mel_to_hz(np.linspace(0.0, float(mel.hz_to_mel(mel.SAMPLE_RATE / 2)), mel.N_MELS + 2))
        return int((edges[2:] <= self.limit_hz).sum()) // self.pool * self.pool

    @property
    def width(self) -> int:
        if self.of == "latents":
            return LATENT_WIDTH // PIECES
        return self.n_bands // self.pool * (self.columns // self.pool)


@dataclass(frozen=True)
class Speaker:
    """One voice. Where nobody knows who speaks, all of a source that is unknown is one.

    Attributes:
        name: the same in training and test where it is the same voice.
        source: of the recordings; "" where unknown.
        vectors: in the order of time.
        range_db: mean distance of loud and quiet columns of the clips: with noise it shrinks.
        bandwidth_hz: mean of what the manifest says; None: it does not.
        classes: what is known of each vector, by kind: see `sounds.py`.
        pieces: so many vectors in a row are one moment.
    """

    name: str
    source: str
    vectors: Vectors
    range_db: float = 0.0
    bandwidth_hz: float | None = None
    classes: Mapping[str, Labels] = field(default_factory=dict)
    pieces: int = 1

    def without_channel(self) -> Speaker:
        """Less the speaker's own mean patch: no microphone's colour is left, nor the voice's."""
        whole = self.vectors.reshape(len(self.vectors) // self.pieces, -1)
        return replace(self, vectors=(whole - whole.mean(axis=0)).reshape(self.vectors.shape))

    def classes_of(self, kept: slice) -> dict[str, Labels]:
        """Return the classes of some of the vectors, by kind."""
        return {kind: labels[kept] for kind, labels in self.classes.items()}


def voice(clip: Clip, root: str) -> tuple[str, str]:
    """Name and source of who speaks: of the manifest; else the folder below the one given, else the file."""
    if "speaker" in clip.columns:
        source = clip.columns.get("source", "")
        return f"{source}/{clip.columns['speaker']}", source
    return f"{root}/{clip.name.split('/')[0]}", ""


def voices_of(
    text: str, patches: Patches, seed: int, without: Iterable[str] = ()
) -> tuple[dict[tuple[str, str], list[Clip]], int]:
    """Clips by the speaker's name and source, in the order in which they are used; how many speakers were left out.

    Raises:
        ArgumentError, AudioError: see `find_clips`.
    """
    voices: dict[tuple[str, str], list[Clip]] = {}
    root = str(Path(text).resolve())
    for clip in find_clips([text]):
        if float(clip.columns.get("bandwidth_hz_est", patches.limit_hz)) >= patches.limit_hz:
            voices.setdefault(voice(clip, root), []).append(clip)
    left_out = {key for key in voices if key[0] in set(without)}
    chosen = sorted(set(voices) - left_out)
    if len(chosen) > patches.speakers:
        chosen = sorted(random.Random(seed).sample(chosen, patches.speakers))

    def shuffled(name: str, clips: list[Clip]) -> list[Clip]:
        return random.Random(f"{seed} {Path(name).name}").sample(clips, len(clips))

    return {key: shuffled(key[0], voices[key]) for key in chosen}, len(left_out)


def speakers_of(
    text: str, patches: Patches, seed: int, without: Iterable[str] = (), *, sounds: bool = False
) -> tuple[list[Speaker], int]:
    """The speakers of a selection, and how many of them were left out because they are in `without`.

    `sounds`: also what each vector holds, as far as is known.

    Raises:
        ArgumentError, AudioError: see `find_clips`; nobody with enough speech is left.
    """
    voices, n_left_out = voices_of(text, patches, seed, without)
    found = [_speaker(*key, clips, patches, seed, sounds) for key, clips in voices.items()]
    found = [speaker for speaker in found if len(speaker.vectors)]
    if not found:
        raise ArgumentError(
            f"'{text}' must hold speech of other speakers up to {patches.limit_hz:g} Hz; it holds none "
            f"({n_left_out} speakers of it are in the training set)."
        )
    return found, n_left_out


def _speaker(name: str, source: str, clips: list[Clip], patches: Patches, seed: int, sounds: bool) -> Speaker:
    parts, ranges, bandwidths, classes, left_s = [], [], [], [], patches.seconds
    for clip in clips:
        if left_s <= 0:
            break
        with audio.Reader(clip.path, mel.SAMPLE_RATE) as reader:
            wave = reader.read(round(left_s * mel.SAMPLE_RATE))
            rest = reader.read(LONGEST) if sounds else wave[:0]  # what is at a place of a clip, the whole clip says
        left_s -= len(wave) / mel.SAMPLE_RATE
        vectors, range_db, starts = cut_latents(wave, patches) if patches.of == "latents" else cut_at(wave, patches)
        if len(vectors):
            parts.append(vectors)
            ranges.append(range_db)
            bandwidths.append(clip.columns.get("bandwidth_hz_est"))
            if sounds:
                classes.append(classes_of(np.concatenate([wave, rest]), clip, starts, patches.columns))
    if not parts:
        return Speaker(name, source, np.zeros((0, patches.width), np.float32))
    joined = np.concatenate(parts)
    kinds = {kind: np.concatenate([one[kind] for one in classes]) for kind in (classes[0] if classes else ())}
    pieces = PIECES if patches.of == "latents" else 1
    n_moments = patches.per_speaker // pieces
    if len(joined) > n_moments:
        picked = np.random.default_rng(seed).choice(len(joined), n_moments, replace=False)
        picked = np.sort(picked)
        joined, kinds = joined[picked], {kind: labels[picked] for kind, labels in kinds.items()}
    known = [float(hz) for hz in bandwidths if hz is not None]
    bandwidth = float(np.mean(known)) if known else None
    vectors = joined.reshape(pieces * len(joined), -1)
    return Speaker(name, source, vectors, float(np.mean(ranges)), bandwidth, kinds, pieces)


def cut(wave: NDArray[np.float32], patches: Patches) -> tuple[Vectors, float]:
    """A clip's patches, float32 [N, D] in dB below its loud level, and the distance of loud and quiet columns."""
    return cut_at(wave, patches)[:2]


def cut_at(wave: NDArray[np.float32], patches: Patches) -> tuple[Vectors, float, Columns]:
    """As `cut`, and the column at which each patch begins."""
    nothing = np.zeros((0, patches.width), np.float32), 0.0, np.zeros(0, np.int64)
    bands: Any = decibels(wave, patches)
    bands = bands[: len(bands) // patches.columns * patches.columns]
    if not len(bands):
        return nothing
    power = (10 ** (bands / 10)).sum(axis=1)
    level = 10 * np.log10(power)
    sounding = level[power > 1.01 * patches.n_bands * mel.FLOOR**2]  # digital silence says nothing of a room
    if not len(sounding):
        return nothing
    loud, quiet = np.percentile(level, LOUD), np.percentile(sounding, QUIET)
    bands = np.maximum(bands - loud, -patches.floor_db)
    steps = patches.columns // patches.pool
    pooled = bands.reshape(-1, steps, patches.pool, patches.n_bands // patches.pool, patches.pool).mean(axis=(2, 4))
    spoken = 10 * np.log10(power.reshape(-1, patches.columns).mean(axis=1)) > loud - patches.silence_db
    vectors = pooled.reshape(len(pooled), -1)[spoken].astype(np.float32)
    return vectors, float(loud - quiet), np.flatnonzero(spoken) * patches.columns


def decibels(wave: NDArray[np.float32], patches: Patches) -> NDArray[np.float32]:
    """The log-mel's bands up to the limit, in dB: whole columns of the wave only."""
    bands = mel.log_mel(wave)[: len(wave) // mel.HOP, : patches.n_bands] * (20 / np.log(10))
    return np.asarray(bands)


def cut_latents(wave: NDArray[np.float32], patches: Patches) -> tuple[Vectors, float, Columns]:
    """A clip's frames as Silk's encoder makes them, [F, 128] in levels of its FSQ, of those that hold speech."""
    framed = replace(patches, of="mel", columns=mel.COLUMNS, pool=1)
    whole = wave[: len(wave) // mel.FRAME * mel.FRAME]
    _, range_db, starts = cut_at(whole, framed)
    if not len(starts):
        return np.zeros((0, LATENT_WIDTH), np.float32), 0.0, starts
    rate = int(2 * patches.limit_hz)
    limited = audio.as_wave(audio.as_wave(whole, mel.SAMPLE_RATE, rate), rate, mel.SAMPLE_RATE)
    power = np.square(limited[: len(limited) // mel.HOP * mel.HOP].reshape(-1, mel.HOP), dtype=np.float64).mean(axis=1)
    level = np.float32(LOUD_LEVEL / max(np.sqrt(np.percentile(power, LOUD)), 1e-9))
    return _silk().latents(limited * level)[starts // mel.COLUMNS], range_db, starts


@cache
def _silk() -> Silk:
    return Silk(threads=1)  # on any machine the same sums in the same order
