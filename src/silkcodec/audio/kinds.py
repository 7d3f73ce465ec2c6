"""List the suffixes of audio files, and recognize audio files by their suffix."""

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
    """Return whether a file name has the suffix of an audio file.

    Args:
        name: file name or path.
    """
    return _suffix(name) in SUFFIXES


def is_readable(name: str | os.PathLike[str]) -> bool:
    """Return whether files with the suffix of `name` can be read. Some suffixes require ffmpeg.

    Args:
        name: file name or path.
    """
    return _suffix(name) not in FFMPEG_SUFFIXES or ffmpeg.command() is not None


def needs_ffmpeg(name: str) -> AudioError:
    """Return an error that tells the user to install ffmpeg.

    Args:
        name: name of the file that requires ffmpeg.
    """
    return AudioError(
        f"Cannot read {name} without ffmpeg, which is not on PATH. Install ffmpeg (apt install ffmpeg,"
        " brew install ffmpeg, conda install ffmpeg) or convert the file to FLAC."
    )


def _suffix(name: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(name))[1].lower()
