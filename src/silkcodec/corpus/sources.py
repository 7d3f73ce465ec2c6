"""List the recordings in the inputs to `silk tokenize`.

    folder             audio files, tars and Parquet files at any depth, sorted by path, with metadata from metadata.csv
                       or metadata.jsonl (Hugging Face's AudioFolder); hidden files and linked folders are skipped
    dataset            a folder from `Dataset.save_to_disk`, or a .parquet with an Audio column; see arrow.py
    manifest           .tsv, .csv or .jsonl(.gz) with a path and optionally an id, start and duration in seconds, and
                       metadata; or wav.scp
    Lhotse manifest    cuts and recordings; see lhotse.py
    .tar               WebDataset; see tars.py
    audio file         the file itself

This module checks paths only as strings. `items.locate` resolves links before a file is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from silkcodec import audio
from silkcodec.audio import kinds, manifest
from silkcodec.corpus import arrow, lhotse, tars
from silkcodec.corpus.items import Item, Refusal, Refused, below, check_names, find, meta, refused, seconds
from silkcodec.errors import ArgumentError, AudioError

METADATA = ("metadata.csv", "metadata.jsonl")  # metadata files of an AudioFolder
NOT_META = ("path", "id", "start", "offset", "duration")  # manifest columns that are not metadata


@dataclass(frozen=True)
class Root:
    """An input to `silk tokenize`.

    Attributes:
        kind: "folder", "dataset", "manifest", "tar", "parquet" or "file".
        folder: absolute path of the folder that contains the recordings.
        name: name of the file in `folder`, or "" if the input is a folder.
        label: prefix for the ids and paths: "name/" for a folder if there are several inputs, and "" otherwise.
        skip: path of the output folder, which is skipped if it is inside the input.
        file: path of a manifest, which can be outside `folder`.
        dialect: dialect of a manifest; see `manifest.Dialect`.
    """

    kind: str
    folder: str
    name: str = ""
    label: str = ""
    skip: str = ""
    file: str = ""
    dialect: manifest.Dialect = manifest.USUAL


def roots(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] = "",
    *,
    below: str | os.PathLike[str] | None = None,
    dialect: manifest.Dialect = manifest.USUAL,
) -> list[Root]:
    """Determine the kind and location of each input.

    Args:
        inputs: paths of the inputs.
        output: output folder, which can be inside an input folder.
        below: base folder for the paths in manifests. None uses the folder of each manifest.
        dialect: dialect of the manifests.

    Raises:
        ArgumentError: there are no inputs, two folders have the same name, or manifest options are given without a
            manifest.
        AudioError: an input does not exist.
    """
    if below is not None and not os.path.isdir(below):
        raise AudioError(f"--root must be a folder; got '{below}'.")
    if (below is not None or dialect != manifest.USUAL) and not any(map(manifest.is_manifest, inputs)):
        raise ArgumentError(
            "--root, --column, --separator and --encoding require a manifest. Pass a manifest as an input."
        )
    skip = os.path.realpath(output) if output else ""
    if not inputs or "" in inputs:
        raise ArgumentError("Pass at least one folder, manifest, tar or audio file. An input must not be empty.")
    found = []
    for path in map(Path, inputs):
        if not path.exists():
            raise AudioError(f"Input not found: '{path}'.")
        if path.is_dir():
            real = path.resolve()
            label = f"{real.name}/" if len(inputs) > 1 else ""
            found.append(Root("dataset" if arrow.is_dataset(real) else "folder", str(real), "", label, skip))
            continue
        if manifest.is_manifest(path):
            file = os.path.abspath(path)
            folder = os.path.dirname(file) if below is None else os.path.realpath(below)
            found.append(Root("manifest", folder, path.name, file=file, dialect=dialect))
            continue
        real, name = path.resolve(), path.name.lower()
        kind = "tar" if re.search(r"\.(tar(\.\w+)?|tgz)$", name) else "parquet" if name.endswith(".parquet") else "file"
        found.append(Root(kind, str(real.parent), real.name))
    labels = [root.label for root in found if root.label]
    if len(set(labels)) < len(labels):
        raise ArgumentError(
            f"The input folders must have different names; got {', '.join(labels)}."
            " Pass a folder that contains all of them instead."
        )
    return found


def items(found: Sequence[Root], allow_outside: bool) -> Iterator[Item | Refused]:
    """Yield all recordings in the inputs. Ids can occur more than once.

    Raises:
        ArgumentError: a manifest, tar or dataset cannot be read.
    """
    for number, root in enumerate(found):
        last, stamp = "", None  # avoids reading the stamp of a tar again for each member
        for item in _KINDS[root.kind](root, number, allow_outside):
            if isinstance(item, Item):
                try:
                    check_names(item)
                    if item.place != last:
                        last, stamp = item.place, _stamp(root, item, allow_outside)
                    item = replace(item, stamp=stamp)
                except Refusal as refusal:
                    item = refused(item.id, item.path, refusal)
            yield item


def _stamp(root: Root, item: Item, allow_outside: bool) -> tuple[int, int] | None:
    """Return the size and modification time of an item's file, or None if they are unknown."""
    try:
        return find(item.place, root.folder, allow_outside, item.path)[1]
    except Refusal:
        return None


def _folder(root: Root, number: int, allow_outside: bool) -> Iterator[Item | Refused]:
    places: list[str] = []
    errors: list[OSError] = []
    known = _Known(root, allow_outside)
    for folder, folders, files in os.walk(root.folder, onerror=errors.append):
        folders[:] = [n for n in kinds.subfolders(folders, files) if os.path.join(folder, n) != root.skip]
        relative, present = os.path.relpath(folder, root.folder), frozenset(files)
        for name in sorted(files):  # Rows of metadata files keep this order.
            place = name if relative == os.curdir else os.path.join(relative, name).replace(os.sep, "/")
            if name in METADATA:
                known.add(place)
            elif name.startswith(".") or kinds.is_roundtrip(name, present):
                continue
            elif audio.is_sound(name) or name.lower().endswith((".tar", ".parquet")):
                places.append(place)
    for error in sorted(errors, key=lambda error: str(error.filename)):
        place = os.path.relpath(str(error.filename), root.folder)
        problem = Refusal("unreadable", f"Cannot read the folder '{place}': {error.strerror or error}.")
        yield refused(root.label + place, root.label + place, problem)
    for place in sorted(places):
        if place.lower().endswith(".tar"):
            try:
                yield from _tar(root, number, place, allow_outside)
            except ArgumentError as problem:  # Exclude this file, and continue with the next one.
                yield refused(root.label + place, root.label + place, Refusal("unreadable", str(problem)))
        elif place.lower().endswith(".parquet"):
            yield from _parquet(root, number, place, allow_outside, alone=False)
        else:
            yield known.item(_whole(root, number, place))
    yield from known.left()


class _Known:
    """Collect metadata from the metadata files of a Hugging Face AudioFolder.

    https://huggingface.co/docs/datasets/audio_dataset#audiofolder
    """

    def __init__(self, root: Root, allow_outside: bool) -> None:
        self._root, self._allow_outside = root, allow_outside
        self._rows: dict[str, tuple[str, dict[str, str]]] = {}  # place -> (line, columns)
        self._refused: list[Refused] = []

    def add(self, place: str) -> None:
        """Read a metadata file. Files without a file_name column are ignored."""
        shown = self._root.label + place
        found: list[tuple[str, manifest.Row]] = []
        bad: list[Refused] = []
        try:
            file, _ = find(place, self._root.folder, self._allow_outside, shown)
            for line, row in manifest.records(file):
                where = f"{shown}, line {line}"
                if isinstance(row, dict) and row.get("file_name"):
                    found.append((where, manifest.as_row({**row, "path": row["file_name"]}) or {}))
                else:
                    bad.append(
                        refused(where, where, Refusal("row", f"Line {line} of '{shown}' must have a file_name."))
                    )
        except manifest.HeaderError:
            return
        except Refusal as refusal:
            self._refused.append(refused(shown, shown, refusal))
        except ArgumentError as problem:
            self._refused.append(refused(shown, shown, Refusal("unreadable", str(problem))))
        if found:
            self._refused += bad
        for where, columns in found:
            try:
                folder = os.path.join(self._root.folder, os.path.dirname(place))
                named = os.path.join(folder, columns.pop("path", ""))
                columns.pop("file_name", None)
                self._rows[below(named, self._root.folder, False)] = where, columns
            except Refusal as refusal:
                self._refused.append(refused(where, where, refusal))

    def item(self, item: Item) -> Item | Refused:
        """Return an item with its metadata added, or a `Refused` if the metadata is invalid."""
        _, columns = self._rows.pop(item.place, ("", {}))
        try:
            return replace(item, meta=meta(columns))
        except Refusal as refusal:
            return refused(item.id, item.path, refusal)

    def left(self) -> Iterator[Refused]:
        """Yield a `Refused` for each metadata row that is invalid or has no matching file."""
        yield from self._refused
        for place, (where, _) in self._rows.items():
            yield refused(where, self._root.label + place, Refusal("missing", f"File not found: '{place}' ({where})."))


def _whole(root: Root, number: int, place: str) -> Item:
    return Item(root.label + os.path.splitext(place)[0], root.label + place, number, place)


def _tar(root: Root, number: int, place: str, allow_outside: bool) -> Iterator[Item | Refused]:
    shown = root.label + place
    try:
        file, _ = find(place, root.folder, allow_outside, shown)
    except Refusal as refusal:
        yield refused(shown, shown, refusal)
        return
    yield from tars.items(file, place, shown, number)


def _parquet(root: Root, number: int, place: str, allow_outside: bool, alone: bool) -> Iterator[Item | Refused]:
    """Yield the recordings in a Parquet file.

    If the file has no Audio column, skip it, or raise ArgumentError if `alone` is True.
    """
    shown = root.label + place
    try:
        file, _ = find(place, root.folder, allow_outside, shown)
        if alone or arrow.has_audio(file):
            yield from arrow.parquet_items(file, place, shown, number, root.folder, allow_outside)
    except Refusal as refusal:
        yield refused(shown, shown, refusal)
    except ArgumentError as problem:
        if alone:
            raise
        yield refused(shown, shown, Refusal("unreadable", str(problem)))


def _manifest(root: Root, number: int, allow_outside: bool) -> Iterator[Item | Refused]:
    for line, row in manifest.records(root.file, root.dialect):
        id = path = f"line {line}"
        try:
            if isinstance(row, ArgumentError):
                raise Refusal("row", str(row))
            id = str(row.get("id") or id)
            if lhotse.is_cut(row):
                named, fields, columns = lhotse.part(row)
                place = path = below(named, root.folder, allow_outside)
            elif lhotse.is_recording(row):
                place = path = below(lhotse.whole(row), root.folder, allow_outside)
                fields, columns = {}, {}
            else:
                texts = manifest.as_row(row)
                if texts is None:
                    named = " or ".join(manifest.PATH_KEYS)
                    raise Refusal("row", f"Line {line} of '{root.name}' must have a path ({named}).")
                path = texts["path"]
                place = path = below(path, root.folder, allow_outside)
                id = texts.get("id", os.path.splitext(place)[0])
                fields = _part(texts)
                columns = {key: value for key, value in texts.items() if key not in NOT_META}
            yield Item(id, path, number, place, meta=meta(columns), **fields)
        except Refusal as refusal:
            yield refused(id, path, refusal)


def _part(row: manifest.Row) -> dict[str, Any]:
    """Return the `Item` fields for the start and duration in a manifest row."""
    start = seconds(row.get("start", row.get("offset")), "start")
    return {"start_s": start or 0.0, "duration_s": seconds(row.get("duration"), "duration")}


_KINDS: dict[str, Any] = {
    "folder": _folder,
    "dataset": lambda root, number, outside: arrow.items(root.folder, root.label, number, outside),
    "manifest": _manifest,
    "tar": lambda root, number, outside: _tar(root, number, root.name, outside),
    "parquet": lambda root, number, outside: _parquet(root, number, root.name, outside, alone=True),
    "file": lambda root, number, outside: [_whole(root, number, root.name)],
}
