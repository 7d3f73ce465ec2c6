"""Implement `silk score`: compare reconstructions from other programs with their references.

    silk score speech/ ours=out/ours theirs=out/theirs -o scores

A reconstruction matches the reference with the same relative path, ignoring the suffix: out/ours/ann/1.wav matches
speech/ann/1.flac. If no paths match and file names are unique in each folder, files are matched by name.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.errors import ArgumentError, AudioError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.listening import REFERENCE
from silkcodec.evaluate.run import Candidate, Progress, Result, RunOptions, carry_out, conclude, prepare

SHOWN = 5
"""Maximum number of files listed in a message."""

Key = TypeVar("Key")
"""Type of the keys that identify recordings."""


def score(
    reference: str | os.PathLike[str],
    degraded: Sequence[str],
    folder: str | os.PathLike[str] | None = None,
    options: RunOptions | None = None,
    *,
    isolate: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Measure the quality of reconstructions relative to their references.

    Args:
        reference: audio file, folder or manifest with the original recordings.
        degraded: folders with reconstructions, or files if the reference is a file. "NAME=PATH" sets the name in the
            result. By default, the name is the last component of the path.
        folder: output folder for the result, the reports and rows.jsonl. If None, nothing is written.
        options: see `RunOptions`.
        isolate: whether to measure in separate processes. If False, `options.jobs` is ignored.
        progress: callback that receives the number of finished rows, the total, and the name of the latest clip.

    Returns:
        The contents of `results.json`, like the result of `compare.compare` but without rates and codebooks.

    Raises:
        ArgumentError: a clip or a reconstruction has no counterpart, or two entries of `degraded` have the same name.
        AudioError: a path does not exist, or a folder contains no audio files.
        OutputError: `folder` cannot be written to or already contains a result.
    """
    options = options or RunOptions()
    folders = _named(degraded)
    measured, clips = prepare([reference], folder, options)
    file, conditions = manifest.split_filter(os.fspath(reference))
    chosen = options.limit is not None or options.split is not None or bool(conditions) or manifest.is_manifest(file)
    candidates = [Candidate(name, matched(clips, path, file, chosen=chosen)) for name, path in folders.items()]
    rows = carry_out(clips, candidates, measured, folder, options, isolate=isolate, progress=progress)
    facts: dict[str, dict[str, str]] = {name: {} for name in folders}
    return conclude("silk score", clips, facts, rows, measured, folder, options)


def matched(clips: Sequence[Clip], place: Path, reference: Path, *, chosen: bool) -> dict[str, Path]:
    """Find the reconstruction of each clip.

    Args:
        clips: the reference clips.
        place: folder with reconstructions, or a file if there is only one clip.
        reference: path of the references.
        chosen: whether `clips` contains only some of the references. If so, reconstructions of other clips are ignored.

    Returns:
        The paths of the reconstructions, keyed by clip name.

    Raises:
        ArgumentError: a clip or a reconstruction has no counterpart, or two files differ only in their suffix.
        AudioError: `place` contains no audio files.
    """
    if not place.is_dir():
        if len(clips) != 1 or reference.is_dir():
            raise ArgumentError(
                f"'{place}' is a file, but the reference is not a single audio file. Pass a folder with "
                "reconstructions."
            )
        return {clips[0].name: place}
    files = audio.find_files(place)
    if not files:
        raise AudioError(f"'{place}' contains no audio files.")
    by_clip = {clip.name: str(PurePosixPath(clip.name).with_suffix("")) for clip in clips}
    by_file = {path: path.relative_to(place).with_suffix("").as_posix() for path in files}
    if not set(by_clip.values()) & set(by_file.values()):
        clip_names, file_names = _last_parts(by_clip), _last_parts(by_file)
        if not _twice(clip_names.values()) and not _twice(file_names.values()):
            by_clip, by_file = clip_names, file_names
    for names, where in ((by_clip.values(), reference), (by_file.values(), place)):
        for name in _twice(names):
            raise ArgumentError(f"'{where}' contains '{name}' twice, with different suffixes. Remove one of the files.")
    found = {name: path for path, name in by_file.items()}
    _check_matched(sorted(set(by_clip.values()) - set(found)), place, reference)
    if not chosen:
        _check_matched(sorted(set(found) - set(by_clip.values())), reference, place)
    return {clip: found[name] for clip, name in by_clip.items()}


def _named(degraded: Sequence[str]) -> dict[str, Path]:
    """Parse arguments of the form PATH or NAME=PATH, and return the paths keyed by name."""
    named: dict[str, Path] = {}
    for text in degraded:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            path, name = text, Path(os.path.abspath(text)).name
        if not name or not Path(path).exists():
            raise AudioError(f"Reconstructions not found: '{path}'. Pass FOLDER or NAME=FOLDER.")
        if name == REFERENCE:
            raise ArgumentError(f"The name '{REFERENCE}' is reserved for the originals. Set another with NAME=FOLDER.")
        if name in named:
            raise ArgumentError(
                f"Reconstructions must have different names; got '{name}' twice. Set a name with NAME=FOLDER."
            )
        named[name] = Path(path)
    if not named:
        raise ArgumentError("Pass at least one folder with reconstructions.")
    return named


def _last_parts(names: Mapping[Key, str]) -> dict[Key, str]:
    return {key: PurePosixPath(name).name for key, name in names.items()}


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _check_matched(names: Sequence[str], lacking: Path, having: Path) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        missing = ", ".join(names[:SHOWN]) + more
        raise ArgumentError(f"Every file in '{having}' must have a counterpart in '{lacking}'; missing: {missing}.")
