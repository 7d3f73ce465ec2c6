"""Store the audio of a few clips for the report.

FOLDER/audio/<clip>/reference.flac   the first 10 s of the clip at 24 kHz
FOLDER/audio/<clip>/<codec>.flac     the same section of the codec's output, aligned with the reference
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from silkcodec import audio
from silkcodec.audio.resampling import Wave

REFERENCE = "reference"  # key of the original clip in `Listening.waves`
MAX_S = 10.0


@dataclass(frozen=True)
class Listening:
    """The audio of one clip for the players of a report.

    Attributes:
        clip: name of the clip; see `Clip.name`.
        sample_rate: sample rate in Hz.
        waves: aligned waveforms of equal length, float32 [T] each, keyed by "reference" or codec name.
    """

    clip: str
    sample_rate: int
    waves: dict[str, Wave]


def clip_folder(folder: Path, clip: str) -> Path:
    """Return the folder for the audio of a clip."""
    return folder.joinpath("audio", *map(_file_name, PurePosixPath(clip).parts))


def audio_file(folder: Path, codec: str) -> Path:
    """Return the path of a codec's audio file, or of the original (`REFERENCE`), in the folder of a clip."""
    return folder / f"{_file_name(codec)}.flac"


def keep(folder: Path, codec: str, wave: Wave) -> None:
    """Write the first 10 s of a codec's output, float32 [T] at 24 kHz, to the folder of a clip.

    Raises:
        OutputError: the file cannot be written.
    """
    n_samples = int(MAX_S * audio.DEFAULT_RATE)
    audio.write(audio_file(folder, codec), wave[:n_samples], audio.DEFAULT_RATE, overwrite=True)


def kept(folder: Path, chosen: Mapping[str, Sequence[str]]) -> list[Listening]:
    """Read the stored audio of clips.

    Args:
        folder: run folder.
        chosen: names of the codecs whose audio is read, keyed by clip name.

    Raises:
        AudioError: a file cannot be read.
    """
    found = []
    for clip, codecs in chosen.items():
        names = (REFERENCE, *codecs) if codecs else ()
        waves = {name: audio.read(audio_file(clip_folder(folder, clip), name)) for name in names}
        if waves:
            found.append(Listening(clip, audio.DEFAULT_RATE, waves))
    return found


def _file_name(name: str) -> str:
    """Convert a name to a unique file name that is valid on every file system."""
    plain = re.sub(r"[^\w.-]", "_", name)[:100]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:6]}"
