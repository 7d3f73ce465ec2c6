"""Extract speech vectors that do not depend on the level or the bandwidth of the recordings.

    clip -> log-mel, 100 columns/s -> bands up to LIMIT -> dB relative to the clip's loud level, at least FLOOR
         -> averaged over time and frequency -> patches [N, D] without silence

For Silk's latents:

    clip -> fixed loud level, low-pass filter at LIMIT -> Silk's encoder -> latents before rounding [F, 128]
         -> 8 vectors per frame -> [8 F, 16]

The loud level is the 95th percentile of a clip's column levels. FLOOR makes background noise similar in all recordings.
A patch counts as speech if its level is close to the loud level. `Patches` defines LIMIT (`limit_hz`), FLOOR
(`floor_db`) and the lowest level of speech (`silence_db`).
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
from silkcodec_lab.selection import check_positive

Vectors = NDArray[np.float32]  # [N, D] in dB or FSQ levels
Columns = NDArray[np.int64]  # [N], indices of columns of the log-mel spectrogram

OF = ("mel", "latents")
LOUD = 95  # percentile of the column levels that defines the loud level
PIECES = 8  # number of vectors per frame of Silk's latents
LOUD_LEVEL = 0.1  # RMS of a clip at its loud level before Silk encodes it
LONGEST = 600 * mel.SAMPLE_RATE  # maximum number of samples of a clip


@dataclass(frozen=True)
class Patches:
    """Hold the settings for the extraction of vectors from speech.

    Attributes:
        of: "mel" for log-mel patches, or "latents" for Silk's latents, split into eight vectors per frame.
        limit_hz: Highest frequency to use. Clips with a lower bandwidth are skipped.
        floor_db: Distance between the loud level and the floor in dB. Lower levels are set to the floor.
        silence_db: Patches that are more than this many dB below the loud level count as silence.
        columns: Number of 10 ms mel columns per patch.
        pool: Each value is the mean over this many columns and this many bands.
        seconds: Maximum duration of speech per speaker in seconds.
        per_speaker: Maximum number of vectors per speaker.
        speakers: Maximum number of speakers per group.
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
            raise ArgumentError(f"--limit-hz must be between 500 and {mel.SAMPLE_RATE // 2}; got {self.limit_hz:g}.")
        check_positive("--seconds", self.seconds)
        if self.seconds < 1:
            raise ArgumentError(f"--seconds must be at least 1; got {self.seconds:g}.")

    @property
    def n_bands(self) -> int:
        """Return the number of mel bands up to `limit_hz`, rounded down to a multiple of `pool`."""
        edges = mel.mel_to_hz(np.linspace(0.0, float(mel.hz_to_mel(mel.SAMPLE_RATE / 2)), mel.N_MELS + 2))
        return int((edges[2:] <= self.limit_hz).sum()) // self.pool * self.pool

    @property
    def width(self) -> int:
        """Return the number of values per vector."""
        if self.of == "latents":
            return LATENT_WIDTH // PIECES
        return self.n_bands // self.pool * (self.columns // self.pool)


@dataclass(frozen=True)
class Speaker:
    """Hold the vectors of a speaker.

    Attributes:
        name: Source and name of the speaker in the manifest. Without a manifest, each subfolder of the input folder and
            each file directly in it counts as a speaker, and the name is its path.
        source: Source of the recordings according to the manifest; "" if unknown.
        vectors: Vectors in temporal order.
        bandwidth_hz: Mean bandwidth of the clips according to the manifest; None if unknown.
        classes: Classes of the vectors, keyed by kind of class; see `sounds.py`.
        pieces: Number of consecutive vectors from the same latent frame; 1 for log-mel patches.
    """

    name: str
    source: str
    vectors: Vectors
    bandwidth_hz: float | None = None
    classes: Mapping[str, Labels] = field(default_factory=dict)
    pieces: int = 1

    def without_channel(self) -> Speaker:
        """Return a copy with the mean vector subtracted, to remove the effect of the microphone.

        For latents, the mean frame is subtracted.
        """
        whole = self.vectors.reshape(len(self.vectors) // self.pieces, -1)
        return replace(self, vectors=(whole - whole.mean(axis=0)).reshape(self.vectors.shape))

    def classes_of(self, kept: slice) -> dict[str, Labels]:
        """Return the classes of a slice of the vectors, keyed by kind of class."""
        return {kind: labels[kept] for kind, labels in self.classes.items()}


def voice(clip: Clip, root: str) -> tuple[str, str]:
    """Return the name and the source of a clip's speaker."""
    if "speaker" in clip.columns:
        source = clip.columns.get("source", "")
        return f"{source}/{clip.columns['speaker']}", source
    return f"{root}/{clip.name.split('/')[0]}", ""


def bandwidth_of(clip: Clip) -> float | None:
    """Return the bandwidth of a clip in Hz according to the manifest, or None if it is unknown.

    Raises:
        ArgumentError: The value in the manifest is not a number.
    """
    text = clip.columns.get("bandwidth_hz_est")
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ArgumentError(
            f"bandwidth_hz_est must be a number; got '{text}' for '{clip.name}'. Correct the manifest."
        ) from None


def voices_of(
    text: str, patches: Patches, seed: int, without: Iterable[str] = ()
) -> tuple[dict[tuple[str, str], list[Clip]], int]:
    """Group clips by speaker.

    Args:
        text: Path to the speech files, with an optional filter; see `find_clips`.
        patches: Settings for the extraction of vectors.
        seed: Random seed for selecting speakers and for the order of clips.
        without: Names of speakers to exclude.

    Returns:
        The clips, keyed by the name and source of their speaker, and the number of excluded speakers.

    Raises:
        ArgumentError, AudioError: See `find_clips` and `bandwidth_of`.
    """
    voices: dict[tuple[str, str], list[Clip]] = {}
    root = str(Path(text).resolve())
    for clip in find_clips([text]):
        bandwidth_hz = bandwidth_of(clip)
        if bandwidth_hz is None or bandwidth_hz >= patches.limit_hz:
            voices.setdefault(voice(clip, root), []).append(clip)
    excluded = {key for key in voices if key[0] in set(without)}
    chosen = sorted(set(voices) - excluded)
    if len(chosen) > patches.speakers:
        chosen = sorted(random.Random(seed).sample(chosen, patches.speakers))

    def shuffled(name: str, clips: list[Clip]) -> list[Clip]:
        return random.Random(f"{seed} {Path(name).name}").sample(clips, len(clips))

    return {key: shuffled(key[0], voices[key]) for key in chosen}, len(excluded)


def speakers_of(
    text: str, patches: Patches, seed: int, without: Iterable[str] = (), *, sounds: bool = False
) -> list[Speaker]:
    """Extract vectors from the speech of each speaker.

    Args:
        text: Path to the speech files, with an optional filter; see `find_clips`.
        patches: Settings for the extraction of vectors.
        seed: Random seed for selecting speakers and vectors, and for the order of clips.
        without: Names of speakers to exclude.
        sounds: Whether to classify the vectors by sound and pitch.

    Returns:
        The speakers with their vectors.

    Raises:
        ArgumentError: None of the speakers has enough speech. See also `find_clips` and `bandwidth_of`.
        AudioError: See `find_clips`.
    """
    voices, n_excluded = voices_of(text, patches, seed, without)
    found = [_speaker(*key, clips, patches, seed, sounds) for key, clips in voices.items()]
    found = [speaker for speaker in found if len(speaker.vectors)]
    if not found:
        raise ArgumentError(
            f"'{text}' contains too little speech with a bandwidth of at least {patches.limit_hz:g} Hz. "
            f"Speakers excluded because they are in the training set: {n_excluded}."
        )
    return found


def _speaker(name: str, source: str, clips: list[Clip], patches: Patches, seed: int, sounds: bool) -> Speaker:
    parts, bandwidths, classes, left_s = [], [], [], patches.seconds
    for clip in clips:
        if left_s <= 0:
            break
        with audio.Reader(clip.path, mel.SAMPLE_RATE) as reader:
            wave = reader.read(round(left_s * mel.SAMPLE_RATE))
            rest = reader.read(LONGEST) if sounds else wave[:0]  # The classes depend on the whole clip.
        left_s -= len(wave) / mel.SAMPLE_RATE
        vectors, starts = latent_vectors(wave, patches) if patches.of == "latents" else mel_patches_at(wave, patches)
        if len(vectors):
            parts.append(vectors)
            bandwidths.append(bandwidth_of(clip))
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
    known = [hz for hz in bandwidths if hz is not None]
    bandwidth = float(np.mean(known)) if known else None
    vectors = joined.reshape(pieces * len(joined), -1)
    return Speaker(name, source, vectors, bandwidth, kinds, pieces)


def mel_patches(wave: NDArray[np.float32], patches: Patches) -> Vectors:
    """Return the log-mel patches of a waveform that contain speech, float32 [N, D].

    They are in dB relative to the loud level, the 95th percentile of the column levels.
    """
    return mel_patches_at(wave, patches)[0]


def mel_patches_at(wave: NDArray[np.float32], patches: Patches) -> tuple[Vectors, Columns]:
    """Return the result of `mel_patches`, and the index of the first mel column of each patch."""
    nothing = np.zeros((0, patches.width), np.float32), np.zeros(0, np.int64)
    bands: Any = decibels(wave, patches)
    bands = bands[: len(bands) // patches.columns * patches.columns]
    if not len(bands):
        return nothing
    power = (10 ** (bands / 10)).sum(axis=1)
    level = 10 * np.log10(power)
    if not (power > 1.01 * patches.n_bands * mel.FLOOR**2).any():  # digital silence
        return nothing
    loud = np.percentile(level, LOUD)
    bands = np.maximum(bands - loud, -patches.floor_db)
    steps = patches.columns // patches.pool
    pooled = bands.reshape(-1, steps, patches.pool, patches.n_bands // patches.pool, patches.pool).mean(axis=(2, 4))
    spoken = 10 * np.log10(power.reshape(-1, patches.columns).mean(axis=1)) > loud - patches.silence_db
    vectors = pooled.reshape(len(pooled), -1)[spoken].astype(np.float32)
    return vectors, np.flatnonzero(spoken) * patches.columns


def decibels(wave: NDArray[np.float32], patches: Patches) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a waveform up to `patches.limit_hz`, in dB."""
    bands = mel.log_mel(wave)[: len(wave) // mel.HOP, : patches.n_bands] * (20 / np.log(10))
    return np.asarray(bands)


def latent_vectors(wave: NDArray[np.float32], patches: Patches) -> tuple[Vectors, Columns]:
    """Return Silk's latents for the frames of a waveform that contain speech.

    Returns:
        The latents in FSQ levels, float32 [F, 128], and the index of the first mel column of each frame.
    """
    framed = replace(patches, of="mel", columns=mel.COLUMNS, pool=1)
    whole = wave[: len(wave) // mel.FRAME * mel.FRAME]
    starts = mel_patches_at(whole, framed)[1]
    if not len(starts):
        return np.zeros((0, LATENT_WIDTH), np.float32), starts
    rate = int(2 * patches.limit_hz)
    limited = audio.as_wave(audio.as_wave(whole, mel.SAMPLE_RATE, rate), rate, mel.SAMPLE_RATE)
    power = np.square(limited[: len(limited) // mel.HOP * mel.HOP].reshape(-1, mel.HOP), dtype=np.float64).mean(axis=1)
    level = np.float32(LOUD_LEVEL / max(np.sqrt(np.percentile(power, LOUD)), 1e-9))
    return _silk().latents(limited * level)[starts // mel.COLUMNS], starts


@cache
def _silk() -> Silk:
    return Silk(threads=1)  # With one thread, results are the same on all machines.
