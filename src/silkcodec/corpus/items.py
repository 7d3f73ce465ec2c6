"""What there is to tokenise: an Item is a recording, or a part of one, and where its bytes are; nothing is read yet.

Everything here is data of a few hundred bytes that goes through JSON unchanged: into the plan, and to workers.
"""

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

MAX_NAME = 1_000  # characters of an id or a path
MAX_META = 1 << 16  # characters of what else is known of a recording
MAX_SECONDS = 1e8  # three years: beyond it a start or a duration is a slip

REASONS = {  # why a recording is not in the corpus
    "name": "its id or path has control characters, is not valid text, or is too long",
    "row": "its row has invalid or unsupported values",
    "outside": "its path leaves the folder of its input",
    "missing": "there is no such file",
    "changed": "its file was replaced or written to after the plan was made",
    "unreadable": "it is not audio, damaged, cut short or empty, or needs ffmpeg",
    "too long": "it is longer than --max-hours-per-file",
    "codec": "the codec failed on it",
    "crash": "it crashed every process that encoded it",
}


class Refusal(SilkError):
    """One recording that cannot be used, and why; the others go on.

    Attributes:
        reason: one of `REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        assert reason in REASONS
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Item:
    """A recording, or a part of one.

    Attributes:
        id: unique in the corpus.
        path: as the row shows it: below its input, with "/"; of a member of a tar "speech.tar/a/b.flac".
        root: the number of the input.
        place: the file to open, below the root's folder (absolute only where --allow-outside let it be).
        kind: "file": a sound file; "tar", "arrow", "parquet": bytes within such a file.
        at: of "tar" the offset and size in bytes; of "arrow" and "parquet" the numbers of the
            batch or row group and of the row in it.
        start_s, duration_s: the part; None: to the end.
        channel: of the file, counted from 0; None: the mean of all.
        meta: a JSON object of what else is known: text, speaker, language, ...
        stamp: size in bytes and time of change in ns of the file, when the plan was made; None: it was not there.
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
        """Without what is as usual."""
        usual = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != usual[key]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Item:
        pairs = {key: tuple(values[key]) for key in ("at", "stamp") if values.get(key) is not None}
        return cls(**{**values, **pairs})


@dataclass(frozen=True, slots=True)
class Refused:
    """A recording that was refused: a line of quarantine.jsonl."""

    id: str
    path: str
    reason: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def refused(id: str, path: str, refusal: Refusal) -> Refused:
    """With names cut to a length that nobody minds, in characters that every file and terminal can show."""
    safe = [_safe(text)[:MAX_NAME] for text in (id, path, " ".join(str(refusal).split()))]
    return Refused(safe[0], safe[1], refusal.reason, safe[2])


def _safe(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape", "backslashreplace").decode("ascii")


def check_names(item: Item) -> None:
    """Hold an item's id and path to text that is shown, stored and compared without surprises. Raises Refusal."""
    for what, text in (("id", item.id), ("path", item.path)):
        if not text or len(text) > MAX_NAME or not text.isprintable():
            shown = f"{len(text)} characters" if len(text) > MAX_NAME else repr(text)
            raise Refusal("name", f"The {what} must be 1..{MAX_NAME} printable characters; got {shown}.")


class UniqueIds:
    """Makes ids unique in the order they come: a second "a" becomes "a~2". Keeps 8 bytes of each."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._copies: Counter[str] = Counter()  # only of those that came twice
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
    """A start or a duration of a manifest as seconds; None where it says nothing. Raises Refusal."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= MAX_SECONDS or (what == "duration" and number == 0):
        raise Refusal("row", f"The {what} must be seconds, 0..{MAX_SECONDS:g}; got {str(value)[:40]!r}.")
    return number


def meta(columns: Mapping[str, object]) -> str | None:
    """What else is known of a recording, as a JSON object, sorted; None where nothing is. Raises Refusal."""
    if not columns:
        return None
    text = json.dumps(columns, ensure_ascii=False, sort_keys=True)
    if len(text) > MAX_META:
        raise Refusal("row", f"What is known of a recording must be under {MAX_META} characters; got {len(text)}.")
    return text.encode("utf-8", "replace").decode()  # half a character of UTF-16 cannot be stored


def below(place: str, folder: str, allow_outside: bool) -> str:
    """A path that a manifest names, by its words alone: relative to the folder of the manifest, with "/".

    Raises:
        Refusal: it leads out of that folder, and nobody has allowed that.
    """
    if "\0" in place:
        raise Refusal("name", f"The path must not hold a null character; got {place!r}.")
    whole = os.path.normpath(os.path.join(folder, place))
    relative = os.path.relpath(whole, folder)
    if not (relative == os.pardir or relative.startswith(os.pardir + os.sep) or os.path.isabs(relative)):
        return relative.replace(os.sep, "/")
    if not allow_outside:
        raise Refusal("outside", f"The path must lie in the folder of its input; got '{place}'; see --allow-outside.")
    return whole if os.path.isabs(place) else relative.replace(os.sep, "/")


def locate(item: Item, folder: str, allow_outside: bool) -> str:
    """Return the file of an item, links followed, and check that it is still the one that was planned.

    Call it right before the file is opened, and once more after it is read.

    Raises:
        Refusal: see `find`; or the file has changed since the plan was made.
    """
    real, stamp = find(item.place, folder, allow_outside, item.path)
    if item.stamp is not None and stamp != item.stamp:
        raise Refusal("changed", f"'{item.path}' was replaced or written to after the plan was made.")
    return real


def find(place: str, folder: str, allow_outside: bool, shown: str) -> tuple[str, tuple[int, int]]:
    """Return a regular file within an input, links followed, with its stamp: size in bytes, time of change in ns.

    Args:
        place: below `folder`. shown: as messages call the file.

    Raises:
        Refusal: it is missing, no regular file, or a link leads out of the folder and that is not allowed.
    """
    real = os.path.realpath(os.path.join(folder, place))
    top = os.path.realpath(folder)
    if not allow_outside and os.path.commonpath([real, top]) != top:
        raise Refusal("outside", f"'{shown}' must lie in the folder of its input; a link leads out of it.")
    try:
        status = os.stat(real)
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = error.strerror or error
        raise Refusal("missing" if missing else "unreadable", f"'{shown}' cannot be read: {reason}.") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device could be read for ever
        raise Refusal("unreadable", f"'{shown}' must be a file; it is a folder, a pipe or a device.")
    return real, (status.st_size, status.st_mtime_ns)
