"""Inputs as they were typed -> the recordings in them, one after the other, in an order that is always the same.

    a folder             its sound files and tars to any depth, by path; hidden ones and links to folders are left out
    a folder of datasets' `save_to_disk`                                        see arrow.py
    a manifest           .tsv .csv .jsonl(.gz): path, optional id, start, duration (s); the rest is kept
    a manifest of cuts   Lhotse's; see lhotse.py
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

NOT_META = ("path", "id", "start", "offset", "duration")  # columns of a manifest that say which sound it is


@dataclass(frozen=True)
class Root:
    """An input.

    Attributes:
        kind: "folder", "dataset", "manifest", "tar" or "file".
        folder: that its paths are below; absolute.
        name: of the file in it, "" where the folder is the input.
        label: what the ids and paths of a folder begin with where there are several inputs: "" or "name/".
        skip: a folder in it that is left out: the output.
    """

    kind: str
    folder: str
    name: str = ""
    label: str = ""
    skip: str = ""


def roots(inputs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str] = "") -> list[Root]:
    """What was typed, as what it is; the output may lie in a folder of them.

    Raises:
        ArgumentError: nothing, or two folders of one name. AudioError: something that does not exist.
    """
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
        real = Path(os.path.abspath(path)) if manifest.is_manifest(path) else path.resolve()
        name = path.name.lower()
        kind = "manifest" if manifest.is_manifest(path) else "tar" if ".tar" in name or ".tgz" in name else "file"
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
    for folder, folders, files in os.walk(root.folder, onerror=errors.append):
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.join(folder, name) != root.skip
        ]
        relative = os.path.relpath(folder, root.folder)
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in (*audio.SUFFIXES, ".tar"):
                place = name if relative == os.curdir else os.path.join(relative, name)
                places.append(place.replace(os.sep, "/"))
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
        else:
            yield _whole(root, number, place)


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


def _manifest(root: Root, number: int, allow_outside: bool) -> Iterator[Item | Refused]:
    file = os.path.join(root.folder, root.name)
    for line, row in manifest.records(file):
        id, path = str(row.get("id") or f"line {line}"), f"line {line}"
        try:
            if lhotse.is_cut(row):
                named, fields, columns = lhotse.part(row)
                place = path = below(named, root.folder, allow_outside)
            else:
                texts = manifest.as_row(row)
                if texts is None:
                    named = " or ".join(manifest.PATH_KEYS)
                    raise ArgumentError(f"Line {line} of '{file}' must have a {named}; it has none.")
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
    "file": lambda root, number, outside: [_whole(root, number, root.name)],
}
