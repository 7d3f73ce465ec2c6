"""Clips: what to evaluate on. Files, folders, or an index (TSV with a column `path`) -> a list of Clip."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silkcodec import audio
from silkcodec.errors import ArgumentError, AudioError

INDEX_NAME = "INDEX.tsv"
MAX_COLUMN_CHARS = 80  # longer values (lists of files, notes) are not carried into every row
UNKNOWN_SPEAKERS = {"", "unknown", "unnamed", "n/a", "?"}


@dataclass(frozen=True)
class Clip:
    """One recording to evaluate on.

    Attributes:
        path: where it lies.
        name: relative to the index, the folder, or the folder that all given files share: the same on every
            machine.
        columns: what is known of it, by column of the index: "language", "speaker", ... Where a split is
            asked for also "speaker_seen" and "language_seen": "seen", "unseen" or "unknown", by the rows of
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
) -> list[Clip]:
    """All clips of some files, folders (searched to any depth) and indexes, sorted by name.

    Args:
        inputs: paths. A folder with an INDEX.tsv stands for it where a split is asked for.
        split: only rows of an index whose column `split` is this.
        limit: at most so many clips, drawn at random: the same ones for the same seed and clips.
        seed: of that draw.

    Raises:
        ArgumentError: no input, a split of something that has none, a limit below 1.
        AudioError: a path that does not exist, a folder or split without clips, a damaged index.
    """
    if not inputs:
        raise ArgumentError("evaluate needs one file, folder or INDEX.tsv at least; got none.")
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1; got {limit}.")
    clips: list[Clip] = []
    files: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir() and split is not None and (path / INDEX_NAME).is_file():
            path = path / INDEX_NAME
        if not path.exists():
            raise AudioError(f"a clip, folder or index must exist; '{path}' does not.")
        if path.suffix.lower() == ".tsv":
            clips += _from_index(path, split)
        elif split is not None:
            raise ArgumentError(
                f"a split can only be chosen of an index (INDEX.tsv); got '{path}' and {split!r}."
            )
        elif path.is_dir():
            clips += _from_folder(path)
        else:
            files.append(path)
    if files:
        shared = Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))
        clips += [Clip(file, Path(os.path.abspath(file)).relative_to(shared).as_posix()) for file in files]
    unique = {clip.name: clip for clip in clips}
    if len(unique) < len(clips):
        raise ArgumentError(
            "clips must have different names below their inputs; got one twice: give the folder above them."
        )
    chosen = sorted(unique.values(), key=lambda clip: clip.name)
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, limit), key=lambda clip: clip.name)
    return chosen


def _from_folder(folder: Path) -> list[Clip]:
    found = [p for p in folder.rglob("*") if p.suffix.lower() in audio.SUFFIXES and p.is_file()]
    if not found:
        raise AudioError(f"a folder must hold audio ({' '.join(audio.SUFFIXES)}); '{folder}' holds none.")
    return [Clip(path, path.relative_to(folder).as_posix()) for path in found]


def _from_index(index: Path, split: str | None) -> list[Clip]:
    """Clips of a TSV file: a header line with a column `path` (relative to the index), one line per clip."""
    try:
        with open(index, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise AudioError(
            f"an index must be a TSV file in UTF-8; '{index}' cannot be read: {error}."
        ) from error
    if not rows or "path" not in rows[0]:
        raise AudioError(
            f"an index must have a header with a column 'path' and a line per clip; '{index}' has not."
        )
    chosen = rows
    if split is not None:
        chosen = [row for row in rows if row.get("split") == split]
        if not chosen:
            splits = sorted({row.get("split") or "" for row in rows} - {""})
            raise AudioError(
                f"'{index}' has no clips of the split {split!r}; it has: {', '.join(splits) or 'none'}."
            )
        rest = [row for row in rows if row.get("split") != split]
        _mark_seen(chosen, rest)
    clips = []
    for row in chosen:
        path = index.parent / row["path"]
        if not path.is_file():
            raise AudioError(f"'{index}' names '{row['path']}', which does not exist beside it.")
        # DictReader keeps surplus fields under None and fills missing ones with None.
        columns = {
            key: value for key, value in row.items() if key and value and len(value) <= MAX_COLUMN_CHARS
        }
        columns.pop("path", None)
        clips.append(Clip(path, row["path"], columns))
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
