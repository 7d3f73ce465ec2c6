"""Describe the recordings to tokenize."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

from silkcodec.errors import SilkError

MAX_NAME = 1_000  # maximum length of an id or path in characters
MAX_META = 1 << 16  # maximum length of a recording's metadata in characters
MAX_SECONDS = 1e8  # about three years; a larger start or duration is an error

REASONS = {  # reasons for excluding a recording from the corpus
    "name": "its id or path has control characters, is not valid text, or is too long",
    "row": "its row has invalid or unsupported values",
    "outside": "its path is outside the input folder",
    "missing": "its file does not exist",
    "changed": "its file was replaced or written to after the plan was made",
    "unreadable": "it is not audio, is damaged, truncated or empty, or needs ffmpeg",
    "too long": "it is longer than --max-hours-per-file",
    "codec": "the codec failed on it",
    "crash": "it crashed every process that tried to encode it",
}


class Refusal(SilkError):
    """Raised for a recording that cannot be used. Tokenization continues with the next recording.

    Attributes:
        reason: one of `REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        assert reason in REASONS
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Item:
    """The location of a recording, or of a part of a recording.

    Attributes:
        id: id of the recording, which is unique in the corpus.
        path: path to store in the corpus, relative to the input, e.g. "speech.tar/a/b.flac" for a tar member.
        root: index of the input that contains the recording.
        place: path of the file to open, relative to the folder of the input. It can be absolute only with
            --allow-outside.
        kind: "file" for an audio file; "tar", "arrow" or "parquet" for bytes within a file of that kind.
        at: offset and size in bytes for "tar"; number of the batch or row group, and number of the row in it, for
            "arrow" and "parquet".
        start_s, duration_s: start and duration of the part in seconds. If the duration is None, the part extends to the
            end of the recording.
        channel: channel to use, counted from 0. None averages all channels.
        meta: metadata, such as text and speaker, as a JSON object.
        stamp: the file's size in bytes and modification time in ns when the plan was made, or None if unknown.
    """

    id: str
    path: str
    root: int
    place: str
    kind: str = "file"
    at: tuple[int, int] | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    meta: str | None = None
    stamp: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the item as a JSON object, without the fields that have their default values."""
        usual = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != usual[key]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Item:
        """Create an item from the result of `to_json`."""
        pairs = {key: tuple(values[key]) for key in ("at", "stamp") if values.get(key) is not None}
        return cls(**{**values, **pairs})


@dataclass(frozen=True, slots=True)
class Refused:
    """A rejected recording, as listed in quarantine.jsonl."""

    id: str
    path: str
    reason: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def refused(id: str, path: str, refusal: Refusal) -> Refused:
    """Convert a `Refusal` to a `Refused` object with printable strings of limited length."""
    safe = [printable(text)[:MAX_NAME] for text in (id, path, " ".join(str(refusal).split()))]
    return Refused(safe[0], safe[1], refusal.reason, safe[2])


def printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape", "backslashreplace").decode("ascii")


def check_names(item: Item) -> None:
    """Raise Refusal if the id or the path of an item is empty, too long or not printable."""
    for what, text in (("id", item.id), ("path", item.path)):
        if not text or len(text) > MAX_NAME or not text.isprintable():
            shown = f"{len(text)} characters" if len(text) > MAX_NAME else repr(text)
            raise Refusal("name", f"The {what} must have 1 to {MAX_NAME} printable characters; got {shown}.")


class UniqueIds:
    """Make ids unique by renaming duplicates: the second "a" becomes "a~2"."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._copies: Counter[str] = Counter()  # only duplicate ids
        self.n_renamed = 0

    def __call__(self, id: str) -> str:
        chosen = id
        while (digest := blake2b(chosen.encode(), digest_size=8).digest()) in self._seen:
            self._copies[id] += 1
            chosen = f"{id}~{self._copies[id] + 1}"
        self._seen.add(digest)
        self.n_renamed += chosen != id
        return chosen


def seconds(value: object, what: str) -> float | None:
    """Parse a start time or duration in seconds. Return None if it is empty, and raise Refusal if it is invalid."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= MAX_SECONDS or (what == "duration" and number == 0):
        least = "above 0" if what == "duration" else "at least 0"
        raise Refusal("row", f"The {what} must be {least} and at most {MAX_SECONDS:g} s; got {str(value)[:40]!r}.")
    return number


def meta(columns: Mapping[str, object]) -> str | None:
    """Convert metadata to JSON, or return None if there is none. Raises Refusal if it is too long."""
    if not columns:
        return None
    text = json.dumps(columns, ensure_ascii=False, sort_keys=True)
    if len(text) > MAX_META:
        raise Refusal("row", f"The metadata of a recording must have at most {MAX_META} characters; got {len(text)}.")
    return text.encode("utf-8", "replace").decode()  # A lone surrogate cannot be stored.


def below(place: str, folder: str, allow_outside: bool) -> str:
    """Make a path relative to the input folder. The file is not accessed.

    Raises:
        Refusal: the path contains a null character, or it is outside the folder and `allow_outside` is False.
    """
    if "\0" in place:
        raise Refusal("name", f"The path must not contain a null character; got {place!r}.")
    whole = os.path.normpath(os.path.join(folder, place))
    relative = os.path.relpath(whole, folder)
    if not (relative == os.pardir or relative.startswith(os.pardir + os.sep) or os.path.isabs(relative)):
        return relative.replace(os.sep, "/")
    if not allow_outside:
        raise Refusal(
            "outside",
            f"The path must be inside the input folder; got '{place}'. Pass --allow-outside to allow it.",
        )
    return whole if os.path.isabs(place) else relative.replace(os.sep, "/")


def locate(item: Item, folder: str, allow_outside: bool) -> str:
    """Return the path of an item's file, with links resolved.

    Raises:
        Refusal: the file is missing, was changed after the plan was made, or is not allowed; see `find`.
    """
    real, stamp = find(item.place, folder, allow_outside, item.path)
    if item.stamp is not None and stamp != item.stamp:
        raise Refusal("changed", f"'{item.path}' was replaced or written to after the plan was made.")
    return real


def find(place: str, folder: str, allow_outside: bool, shown: str) -> tuple[str, tuple[int, int]]:
    """Resolve the links in the path of a regular file.

    Args:
        place: path relative to `folder`.
        folder: folder of the input.
        allow_outside: allow files outside the folder.
        shown: name of the file in error messages.

    Returns:
        Two values: the path, and a pair of the file's size in bytes and its modification time in ns.

    Raises:
        Refusal: the file is missing or not a regular file, or a link points outside the folder and `allow_outside` is
            False.
    """
    real = os.path.realpath(os.path.join(folder, place))
    top = os.path.realpath(folder)
    if not allow_outside and os.path.commonpath([real, top]) != top:
        raise Refusal("outside", f"'{shown}' must be inside the input folder; a link points outside it.")
    try:
        status = os.stat(real)
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = error.strerror or error
        raise Refusal("missing" if missing else "unreadable", f"Cannot read '{shown}': {reason}.") from error
    if not stat.S_ISREG(status.st_mode):  # Reading from a pipe or a device may never end.
        raise Refusal("unreadable", f"'{shown}' must be a regular file; it is a folder, a pipe or a device.")
    return real, (status.st_size, status.st_mtime_ns)
