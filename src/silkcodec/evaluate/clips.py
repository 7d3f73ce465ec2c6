"""Find clips in files, folders and manifests."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.errors import ArgumentError, AudioError

UNKNOWN_SPEAKERS = {"", "unknown", "unnamed", "n/a", "?"}


@dataclass(frozen=True)
class Clip:
    """A recording used to measure codecs.

    Attributes:
        path: path of the audio file.
        name: path relative to the input folder, the manifest's folder, or the common folder of all input files.
        columns: values in the clip's manifest row, keyed by column name. If a split is selected, the
            "speaker_seen" and "language_seen" columns are added. Their value is "unknown" if the row names no speaker
            or language, "seen" if the speaker or language also occurs in another split, and otherwise "unseen".
    """

    path: Path
    name: str
    columns: dict[str, str] = field(default_factory=dict)


def find_clips(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
) -> list[Clip]:
    """Return all clips in files, folders and manifests, sorted by name. Folders are searched recursively.

    Args:
        inputs: paths of files, folders and manifests. The path of a manifest can be followed by a colon and a filter:
            `PATH:column=value,...`. Values can contain wildcards, e.g. `zh*`, and alternatives, e.g. `a|b`. If a split
            or filter is given for a folder, the INDEX.tsv in this folder is read.
        split: value in the manifest's `split` column. None selects all rows.
        limit: maximum number of clips. If there are more, a random sample is returned.
        seed: random seed for `limit`.
        root: folder that the paths in manifests are relative to. None means the manifest's folder.

    Raises:
        ArgumentError: `inputs` is empty, a split, filter or root is given for an input without a manifest, no row
            matches, two clips have the same name, `limit` is below 1, or a manifest is damaged.
        AudioError: a path does not exist, or a folder contains no audio files.
    """
    if not inputs or "" in inputs:
        raise ArgumentError("Pass at least one audio file, folder or manifest. An input must not be empty.")
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1; got {limit}.")
    clips: list[Clip] = []
    files: list[Path] = []
    for given in inputs:
        text = os.fspath(given)
        path, conditions = manifest.split_filter(text)
        if path.is_dir() and (split is not None or conditions) and (path / manifest.INDEX_NAME).is_file():
            path = path / manifest.INDEX_NAME
        if not path.exists():
            raise AudioError(f"File or folder not found: '{path}'. Pass an audio file, folder or manifest.")
        if path.is_file() and manifest.is_manifest(path):
            folder = path.parent if root is None else Path(root)
            clips += _from_manifest(path, split, conditions, folder)
        elif conditions or split is not None or root is not None:
            option = "A filter" if conditions else "A split" if split is not None else "A root folder"
            raise ArgumentError(f"{option} requires a manifest, e.g. INDEX.tsv; got '{text}'.")
        elif path.is_dir():
            clips += _from_folder(path)
        else:
            files.append(path)
    if files:
        shared = _shared_folder(files)
        clips += [Clip(file, Path(os.path.abspath(file)).relative_to(shared).as_posix()) for file in files]
    unique = {clip.name: clip for clip in clips}
    if len(unique) < len(clips):
        twice = next(clip.name for clip in clips if unique[clip.name] is not clip)
        raise ArgumentError(
            f"Two clips have the same path relative to their folders: '{twice}'."
            " Pass a folder that contains both folders."
        )
    chosen = sorted(unique.values(), key=lambda clip: clip.name)
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, limit), key=lambda clip: clip.name)
    return chosen


def _shared_folder(files: Sequence[Path]) -> str:
    return os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])


def _from_folder(folder: Path) -> list[Clip]:
    found = audio.find_files(folder)
    if not found:
        raise AudioError(f"'{folder}' contains no audio files.")
    return [Clip(path, path.relative_to(folder).as_posix()) for path in found]


def _from_manifest(file: Path, split: str | None, conditions: str, root: Path) -> list[Clip]:
    rows = manifest.read(file)
    chosen = rows
    if split is not None:
        chosen = [row for row in rows if row.get("split") == split]
        if not chosen:
            splits = ", ".join(sorted({row["split"] for row in rows if "split" in row})) or "none"
            raise ArgumentError(f"'{file}' has no clips in split '{split}'. Available splits: {splits}.")
        _mark_seen(chosen, [row for row in rows if row.get("split") != split])
    for row in chosen:
        if not (root / row["path"]).is_file():
            raise AudioError(f"'{file}' lists '{row['path']}', which does not exist in '{root}'.")
        if any(row.get(name, "0").strip("0.") for name in ("offset", "start")):  # The clip is inside a long file.
            raise ArgumentError(
                f"Manifest rows with an offset are not supported; got one for '{row['path']}' in '{file}'. Save this"
                " part of the recording as a separate audio file."
            )
    paths = {row["path"]: Path(os.path.abspath(root / row["path"])) for row in chosen}
    folder = Path(os.path.abspath(root))
    if not all(path.is_relative_to(folder) for path in paths.values()):
        # Clip names must not contain local paths, so use the common folder for absolute paths and paths with ../.
        folder = Path(_shared_folder(list(paths.values())))
    clips = []
    # The filter comes last, so that the names do not depend on it.
    for row in manifest.filtered(chosen, conditions, file):
        path = paths[row["path"]]
        columns = {key: value for key, value in row.items() if key != "path"}
        clips.append(Clip(path, path.relative_to(folder).as_posix(), columns))
    return clips


def _mark_seen(chosen: list[dict[str, str]], rest: list[dict[str, str]]) -> None:
    """Add speaker_seen and language_seen columns to the rows in `chosen`, by comparing them with those in `rest`."""
    speakers = {row.get("speaker") or "" for row in rest}
    languages = {_language(row) for row in rest}
    for row in chosen:
        speaker = row.get("speaker") or ""
        if speaker.lower() in UNKNOWN_SPEAKERS:
            row["speaker_seen"] = "unknown"
        else:
            row["speaker_seen"] = "seen" if speaker in speakers else "unseen"
        language = _language(row)
        row["language_seen"] = "unknown" if not language else "seen" if language in languages else "unseen"


def _language(row: dict[str, str]) -> str:
    return (row.get("language") or "").replace("-", "_").split("_")[0].lower()
