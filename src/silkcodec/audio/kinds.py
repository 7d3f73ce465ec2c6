"""Recognize sound files by their suffix, and list the suffixes that need ffmpeg.

libsndfile reads `NATIVE_SUFFIXES`. ffmpeg, if it is on PATH, reads `FFMPEG_SUFFIXES`. All code that searches a folder
or a tar uses `is_sound`, so no recording is silently skipped because of its format: without ffmpeg, opening such a
file raises `needs_ffmpeg`.
"""

from __future__ import annotations

import os

from silkcodec.audio import ffmpeg
from silkcodec.errors import AudioError

NATIVE_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"),
    *(".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
)
"""Suffixes of formats that libsndfile reads."""

FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".3g2", ".aac", ".webm", ".weba", ".mka", ".mkv", ".wma", ".asf"),
    *(".amr", ".awb", ".ac3", ".ape", ".wv", ".tta", ".spx", ".avi", ".flv"),
)
"""Suffixes of audio and video formats that only ffmpeg reads."""

SUFFIXES = NATIVE_SUFFIXES + FFMPEG_SUFFIXES
"""Suffixes of sound files in a folder. A file that is passed by name may have any suffix."""


def is_sound(name: str | os.PathLike[str]) -> bool:
    """Return whether a file name has the suffix of a sound file."""
    return _suffix(name) in SUFFIXES


def is_readable(name: str | os.PathLike[str]) -> bool:
    """Return whether this machine can read files of this suffix: natively, or because ffmpeg is on PATH."""
    return _suffix(name) not in FFMPEG_SUFFIXES or ffmpeg.command() is not None


def needs_ffmpeg(name: str) -> AudioError:
    """Return the error for a recording that only ffmpeg can read. `name` is the file's name in the message."""
    return AudioError(
        f"{name} is in a format that needs ffmpeg, which is not on PATH. Install ffmpeg (apt install ffmpeg,"
        " brew install ffmpeg, conda install ffmpeg) or convert the file to FLAC."
    )


def _suffix(name: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(name))[1].lower()
