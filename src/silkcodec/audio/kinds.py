"""List the suffixes of audio files, and recognize audio files by their suffix."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from silkcodec.errors import ArgumentError, AudioError

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


def find_files(folder: str | os.PathLike[str], suffixes: Iterable[str] = SUFFIXES) -> list[Path]:
    """Return the files in a folder and its subfolders that have one of the suffixes, sorted by path.

    Hidden files and folders, and the decoded audio of `silk roundtrip` and `silk compare` are omitted. Broken links are
    included, so that reading them reports an error.

    Args:
        folder: folder to search. Links to folders are not followed.
        suffixes: suffixes in lower case, including the dot.

    Raises:
        ArgumentError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise ArgumentError(f"Cannot read the folder '{error.filename}': {error.strerror}.") from error

    wanted, found = frozenset(suffixes), []
    for place, folders, names in os.walk(folder, onerror=refuse):
        present = frozenset(names)
        folders[:] = subfolders(folders, present)
        for name in names:
            if _suffix(name) in wanted and not name.startswith(".") and not is_roundtrip(name, present):
                path = Path(place, name)
                if path.is_file() or path.is_symlink():  # not a pipe or a socket
                    found.append(path)
    return sorted(found)


def subfolders(folders: Iterable[str], names: Collection[str]) -> list[str]:
    """Return the folders to search, given the names of all folders and files in a folder, sorted by name."""
    skipped = "audio" if "rows.jsonl" in names else None  # the output of `silk compare`
    return sorted(name for name in folders if not name.startswith(".") and name != skipped)


def is_roundtrip(name: str, names: Collection[str]) -> bool:
    """Return whether `silk roundtrip` wrote a file: NAME.silk.wav, if NAME.silk is one of the files in its folder."""
    return name.endswith(".silk.wav") and name.removesuffix(".wav") in names


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
