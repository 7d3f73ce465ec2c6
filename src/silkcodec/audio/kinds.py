"""Recognize audio files by their suffix, and list the suffixes that require ffmpeg.

libsndfile reads files with the suffixes in `NATIVE_SUFFIXES`. ffmpeg, if it is on PATH, reads those with the suffixes
in `FFMPEG_SUFFIXES`. Code that searches folders or tar files uses `is_sound`, which accepts the suffixes in both lists.
If ffmpeg is missing, opening a file that requires it raises an error, so a recording is never silently skipped because
of its format.
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
"""Suffixes by which audio files in folders are recognized. A file that is passed by its path can have any suffix."""


def is_sound(name: str | os.PathLike[str]) -> bool:
    """Return whether a file name has an audio suffix.

    Args:
        name: file name or path.
    """
    return _suffix(name) in SUFFIXES


def is_readable(name: str | os.PathLike[str]) -> bool:
    """Return whether a file with this name can be read. Some suffixes require ffmpeg on PATH.

    Args:
        name: file name or path.
    """
    return _suffix(name) not in FFMPEG_SUFFIXES or ffmpeg.command() is not None


def needs_ffmpeg(name: str) -> AudioError:
    """Return the error to raise for a file that requires ffmpeg when ffmpeg is not on PATH.

    Args:
        name: name of the file for the message.
    """
    return AudioError(
        f"Cannot read {name} without ffmpeg, which is not on PATH. Install ffmpeg (apt install ffmpeg,"
        " brew install ffmpeg, conda install ffmpeg) or convert the file to FLAC."
    )


def _suffix(name: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(name))[1].lower()
