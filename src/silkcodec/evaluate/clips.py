"""Clips: what to measure on. Files, folders, or manifests (`silkcodec.manifest`) -> a list of Clip.

Of a manifest only some rows may be meant: `INDEX.tsv:language=zh*,source=a|b`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from silkcodec import audio, manifest
from silkcodec.errors import ArgumentError, AudioError

UNKNOWN_SPEAKERS = {"", "unknown", "unnamed", "n/a", "?"}


@dataclass(frozen=True)
class Clip:
    """One recording to measure on.

    Attributes:
        path: where it lies.
        name: relative to the manifest, the folder, or the folder that all given files share: the same on every
            machine.
        columns: what is known of it, by column of the manifest: "language", "speaker", "text", ... Where a split
            is asked for also "speaker_seen" and "language_seen": "seen", "unseen" or "unknown", by the rows of
            all other splits.
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
    """All clips of some files, folders (searched to any depth) and manifests, sorted by name.

    Args:
        inputs: paths. A folder with an INDEX.tsv stands for it where a split or a filter is asked for. A filter
            stands behind a colon: `PATH:column=value,...`, a value being `a|b` or a pattern, as in `language=zh*`;
            each condition must hold.
        split: only rows of a manifest whose column `split` is this.
        limit: at most so many clips, drawn at random: the same ones for the same seed and clips.
        seed: of that draw.
        root: the folder that the paths in manifests are relative to; None: the folder of the manifest.

    Raises:
        ArgumentError: no input, a split of something that has none, a filter that no row passes, a limit below 1,
            a damaged manifest.
        AudioError: a path that does not exist, a folder without clips.
    """
    if not inputs:
        raise ArgumentError("One sound file, folder or manifest is needed at least; got none.")
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1; got {limit}.")
    clips: list[Clip] = []
    files: list[Path] = []
    for given in inputs:
        text = os.fspath(given)
        conditions = filter_of(text)
        path = Path(text.removesuffix(conditions))
        if path.is_dir() and (split is not None or conditions) and (path / manifest.INDEX_NAME).is_file():
            path = path / manifest.INDEX_NAME
        if not path.exists():
            raise AudioError(f"A clip, folder or manifest must exist; '{path}' does not.")
        if path.is_file() and manifest.is_manifest(path):
            folder = path.parent if root is None else Path(root)
            clips += _filtered(_from_manifest(path, split, folder), conditions, path)
        elif conditions:
            raise ArgumentError(f"A filter can only choose of a manifest (INDEX.tsv); got '{text}'.")
        elif split is not None:
            raise ArgumentError(f"A split can only be chosen of a manifest (INDEX.tsv); got '{path}' and {split!r}.")
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
            f"Clips must have different names below their inputs; got '{twice}' twice: give the folder above them."
        )
    chosen = sorted(unique.values(), key=lambda clip: clip.name)
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, limit), key=lambda clip: clip.name)
    return chosen


def filter_of(text: str) -> str:
    """What stands behind the path of an input, with its colon: `:language=zh*`; else nothing."""
    _, colon, conditions = text.rpartition(":")
    return colon + conditions if colon and "=" in conditions and not os.path.exists(text) else ""


def _filtered(clips: list[Clip], conditions: str, file: Path) -> list[Clip]:
    for condition in conditions[1:].split(",") if conditions else ():
        column, equals, wanted = condition.partition("=")
        if not equals:
            raise ArgumentError(f"A filter must be column=value; got '{condition}' behind '{file}'.")
        kept = [c for c in clips if any(fnmatchcase(c.columns.get(column, ""), one) for one in wanted.split("|"))]
        if not kept:
            known = ", ".join(sorted({clip.columns.get(column, "") for clip in clips})[:12])
            raise ArgumentError(f"'{condition}' must choose clips of '{file}'; there are only: {known}.")
        clips = kept
    return clips


def _shared_folder(files: Sequence[Path]) -> str:
    return os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])


def _from_folder(folder: Path) -> list[Clip]:
    found = [p for p in folder.rglob("*") if audio.is_sound(p) and p.is_file()]
    if not found:
        raise AudioError(f"A folder must hold sound files; '{folder}' holds none.")
    return [Clip(path, path.relative_to(folder).as_posix()) for path in found]


def _from_manifest(file: Path, split: str | None, root: Path) -> list[Clip]:
    rows = manifest.read(file)
    chosen = rows
    if split is not None:
        chosen = [row for row in rows if row.get("split") == split]
        if not chosen:
            splits = ", ".join(sorted({row["split"] for row in rows if "split" in row})) or "none"
            raise ArgumentError(f"'{file}' has no clips of the split {split!r}; it has: {splits}.")
        _mark_seen(chosen, [row for row in rows if row.get("split") != split])
    for row in chosen:
        if not (root / row["path"]).is_file():
            raise AudioError(f"'{file}' names '{row['path']}', which does not exist in '{root}'.")
        if row.get("offset", "0").strip("0."):  # NeMo cuts clips out of long files so
            raise ArgumentError(f"A row must stand for a whole file; '{row['path']}' of '{file}' begins inside one.")
    paths = [Path(os.path.abspath(root / row["path"])) for row in chosen]
    folder = Path(os.path.abspath(root))
    if not all(path.is_relative_to(folder) for path in paths):
        folder = Path(_shared_folder(paths))  # absolute paths, or ../: a name must not hold a place on this machine
    clips = []
    for path, row in zip(paths, chosen, strict=True):
        columns = {key: value for key, value in row.items() if key != "path"}
        clips.append(Clip(path, path.relative_to(folder).as_posix(), columns))
    return clips


def _mark_seen(chosen: list[dict[str, str]], rest: list[dict[str, str]]) -> None:
    """Adds speaker_seen and language_seen to `chosen`: whether the other splits hold them too.

    A language is its first subtag: pt_BR was seen where pt was. A speaker is a name, whatever the source.
    """
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
