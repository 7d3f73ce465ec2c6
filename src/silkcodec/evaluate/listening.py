"""Store the audio of a few clips for the report: the reference and the output of each codec.

    FOLDER/audio/<clip>/reference.flac  <codec>.flac   24 kHz, aligned, the first 10 s

The audio is stored as files, so that a later run with one more codec or metric does not decode it again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio

REFERENCE = "reference"  # the key of the original clip; it comes first
MAX_S = 10.0

Wave = NDArray[np.float32]


@dataclass(frozen=True)
class Listening:
    """Hold one clip for the players of a report.

    Attributes:
        clip: name of the clip, as in the rows.
        sample_rate: sample rate of all waves in Hz.
        waves: "reference" first, then each codec that has the clip, in the order of the report: float32 [T]
            each, aligned, of equal length, at their original levels.
    """

    clip: str
    sample_rate: int
    waves: dict[str, Wave]


def clip_folder(folder: Path, clip: str) -> Path:
    """Return the folder for the audio of a clip, inside the folder of a run. `clip` is the relative path of a clip."""
    return folder.joinpath("audio", *map(_file_name, PurePosixPath(clip).parts))


def audio_file(folder: Path, codec: str) -> Path:
    """Return the file of a codec in the folder of a clip, e.g. opus-6k.flac for opus:6k."""
    return folder / f"{_file_name(codec.replace(':', '-'))}.flac"


def keep(folder: Path, codec: str, wave: Wave) -> None:
    """Write the first 10 s of a wave, float32 [T] at 24 kHz. Raises OutputError."""
    n_samples = int(MAX_S * audio.DEFAULT_RATE)
    audio.write(audio_file(folder, codec), wave[:n_samples], audio.DEFAULT_RATE, overwrite=True)


def kept(folder: Path, chosen: Mapping[str, Sequence[str]]) -> list[Listening]:
    """Return the stored audio of the chosen codecs for each clip. Raises AudioError if a file is damaged."""
    found = []
    for clip, codecs in chosen.items():
        names = (REFERENCE, *codecs) if codecs else ()
        waves = {name: audio.read(audio_file(clip_folder(folder, clip), name)) for name in names}
        if waves:
            found.append(Listening(clip, audio.DEFAULT_RATE, waves))
    return found


def _file_name(name: str) -> str:
    """Return a file name that is valid on every file system. A digest keeps names unique."""
    plain = re.sub(r"[^\w.-]", "_", name)[:100]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:6]}"
