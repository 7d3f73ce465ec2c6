"""Inputs as they were typed -> the recordings in them, one after the other, in an order that is always the same.

    a folder             its sound files and tars to any depth, by path; hidden ones and links to folders are left out
                         with metadata.csv or metadata.jsonl (Hugging Face's AudioFolder): their columns are kept
    a folder of datasets' `save_to_disk`, or a .parquet with an Audio column    see arrow.py
    a manifest           .tsv .csv .jsonl(.gz): path, optional id, start, duration (s); the rest is kept; wav.scp
    Lhotse's manifests   cuts and recordings; see lhotse.py
    a .tar               WebDataset; see tars.py
    a sound file         itself

Only tars and Arrow files are opened here, for their tables of contents. Paths in manifests are checked by their words
here and, links followed, where they are opened (`items.locate`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from silkcodec import audio, manifest
from silkcodec.corpus import arrow, lhotse, tars
from silkcodec.corpus.items import Item, Refusal, Refused, below, check_names, find, meta, refused, seconds
from silkcodec.errors import ArgumentError, AudioError

METADATA = ("metadata.csv", "metadata.jsonl")  # of an AudioFolder
NOT_META = ("path", "id", "start", "offset", "duration")  # columns of a manifest that say which sound it is


@dataclass(frozen=True)
class Root:
    """An input.

    Attributes:
        kind: "folder", "dataset", "manifest", "tar", "parquet" or "file".
        folder: that its paths are below; absolute.
        name: of the file in it, "" where the folder is the input.
        file: a manifest, which need not be in the folder that its paths are below.
        layout: of a manifest.
        label: what the ids and paths of a folder begin with where there are several inputs: "" or "name/".
        skip: a folder in it that is left out: the output.
    """

    kind: str
    folder: str
    name: str = ""
    label: str = ""
    skip: str = ""
    file: str = ""
    layout: manifest.Layout = manifest.USUAL


def roots(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] = "",
    *,
    below: str | os.PathLike[str] | None = None,
    layout: manifest.Layout = manifest.USUAL,
) -> list[Root]:
    """What was typed, as what it is; the output may lie in a folder of them.

    Args:
        below: the folder that paths of manifests are relative to; None: each manifest's own.
        layout: of the manifests.

    Raises:
        ArgumentError: nothing, two folders of one name, or options of manifests without one. AudioError: something
            that does not exist.
    """
    if below is not None and not os.path.isdir(below):
        raise AudioError(f"--root must be a folder; '{below}' is none.")
    if (below is not None or layout != manifest.USUAL) and not any(map(manifest.is_manifest, inputs)):
        raise ArgumentError("--root, --column, --separator and --encoding are for manifests; no input is one.")
    skip = os.path.realpath(output) if output else ""
    if not inputs:
        raise ArgumentError("One folder, manifest, tar or sound file is needed at least; got none.")
    found = []
    for path in map(Path, inputs):
        if not path.exists():
            raise AudioError(f"An input must exist; there is no '{path}'.")
        if path.is_dir():
            real = path.resolve()
            label = f"{real.name}/" if len(inputs) > 1 else ""
            found.append(Root("dataset" if arrow.is_dataset(real) else "folder", str(real), "", label, skip))
            continue
        if manifest.is_manifest(path):
            file = os.path.abspath(path)
            folder = os.path.dirname(file) if below is None else os.path.realpath(below)
            found.append(Root("manifest", folder, path.name, file=file, layout=layout))
            continue
        real, name = path.resolve(), path.name.lower()
        kind = "tar" if ".tar" in name or ".tgz" in name else "parquet" if name.endswith(".parquet") else "file"
        found.append(Root(kind, str(real.parent), real.name))
    labels = [root.label for root in found if root.label]
    if len(set(labels)) < len(labels):
        raise ArgumentError(f"Folders must have different names; got {', '.join(labels)}: give the one above them.")
    return found


def items(found: Sequence[Root], allow_outside: bool) -> Iterator[Item | Refused]:
    """All recordings of these inputs; their ids may still come twice.

    Raises:
        ArgumentError: a manifest, tar or dataset that cannot be read.
    """
    for number, root in enumerate(found):
        last, stamp = "", None  # many items of a tar have one file
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
    """The stamp of an item's file; None where there is none to read, which its worker will report."""
    try:
        return find(item.place, root.folder, allow_outside, item.path)[1]
    except Refusal:
        return None


def _folder(root: Root, number: int, allow_outside: bool) -> Iterator[Item | Refused]:
    places: list[str] = []
    errors: list[OSError] = []
    known = _Known(root, allow_outside)
    for folder, folders, files in os.walk(root.folder, onerror=errors.append):
        folders[:] = [name for name in folders if not name.startswith(".") and os.path.join(folder, name) != root.skip]
        relative = os.path.relpath(folder, root.folder)
        for name in files:
            place = name if relative == os.curdir else os.path.join(relative, name).replace(os.sep, "/")
            if name in METADATA:
                known.add(place)
            elif not name.startswith(".") and (audio.is_sound(name) or name.lower().endswith((".tar", ".parquet"))):
                places.append(place)
    for error in sorted(errors, key=lambda error: str(error.filename)):
        place = os.path.relpath(str(error.filename), root.folder)
        problem = Refusal("unreadable", f"The folder '{place}' cannot be read: {error.strerror or error}.")
        yield refused(root.label + place, root.label + place, problem)
    for place in sorted(places):
        if place.lower().endswith(".tar"):
            try:
                yield from _tar(root, number, place, allow_outside)
            except ArgumentError as problem:  # one of many
                yield refused(root.label + place, root.label + place, Refusal("unreadable", str(problem)))
        elif place.lower().endswith(".parquet"):
            yield from _parquet(root, number, place, allow_outside, alone=False)
        else:
            yield known.item(_whole(root, number, place))
    yield from known.left()


class _Known:
    """What the metadata files of an AudioFolder say of the recordings beside and below them.

    https://huggingface.co/docs/datasets/audio_dataset#audiofolder
    """

    def __init__(self, root: Root, allow_outside: bool) -> None:
        self._root, self._allow_outside = root, allow_outside
        self._rows: dict[str, tuple[str, dict[str, str]]] = {}  # by place: the line, and its columns
        self._refused: list[Refused] = []

    def add(self, place: str) -> None:
        """Read a metadata file. One without any file_name belongs to something else and is ignored."""
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
                    bad.append(refused(where, where, Refusal("row", f"Line {line} of '{shown}' has no file_name.")))
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
        """An item with what is known of it."""
        _, columns = self._rows.pop(item.place, ("", {}))
        try:
            return replace(item, meta=meta(columns))
        except Refusal as refusal:
            return refused(item.id, item.path, refusal)

    def left(self) -> Iterator[Refused]:
        """The rows that no file was found for, and those that cannot be read."""
        yield from self._refused
        for place, (where, _) in self._rows.items():
            yield refused(where, self._root.label + place, Refusal("missing", f"{where}: there is no file '{place}'."))


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
    """The rows of a Parquet file with an Audio column; without one it is no recording, unless it was named `alone`."""
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
    for line, row in manifest.records(root.file, root.layout):
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
                    raise Refusal("row", f"Line {line} of '{root.name}' must have a {named}; it has none.")
                path = texts["path"]
                place = path = below(path, root.folder, allow_outside)
                id = texts.get("id", os.path.splitext(place)[0])
                fields = _part(texts)
                columns = {key: value for key, value in texts.items() if key not in NOT_META}
            yield Item(id, path, number, place, meta=meta(columns), **fields)
        except Refusal as refusal:
            yield refused(id, path, refusal)


def _part(row: manifest.Row) -> dict[str, Any]:
    """NeMo calls the start an offset."""
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
