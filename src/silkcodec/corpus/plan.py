"""The plan: which recordings are in which shard, decided before anything is encoded, and never again.

    OUT/plan.jsonl   a line per shard, {"items": [...]}, and per refused recording, {"refused": {...}}
    OUT/plan.json    the settings, the counts, and the SHA-256 of both together; written last

A run that finds a plan makes its own from the inputs once more and must come to the same hash: other recordings,
another codec, other weights or other settings are refused in one sentence. Items stay on the disk, so a plan of
millions costs the memory of its shards' offsets and of 8 bytes of each id.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from silkcodec.corpus.items import Item, Refused, UniqueIds
from silkcodec.errors import ArgumentError, OutputError
from silkcodec.output import replacing

HEADER, BODY = "plan.json", "plan.jsonl"
KIND, FORMAT = "silk corpus plan", 2  # format 1 has no stamps; its shards can be read and checked, not added to


@dataclass(frozen=True)
class Facts:
    """A codec as far as a corpus depends on it.

    Attributes:
        codec: its name and the hash of its weights, as its tokens carry it: "silk@0a1b2c3d4e5f".
        streams: it takes a recording block by block; the others need the whole wave in memory.
    """

    codec: str
    sample_rate: int
    codebook_sizes: tuple[int, ...]
    frame_rates: tuple[float, ...]
    streams: bool


@dataclass(frozen=True)
class Settings:
    """What the bytes of the shards depend on, beside the recordings.

    Attributes:
        file_format: "parquet" or "webdataset".
        shard_items: recordings in a shard.
        max_segment_s: longer recordings become several rows, each encoded by itself; None: one row each.
        max_hours: of sound that one recording may hold.
        provider: "cpu" or "cuda"; they round differently.
    """

    facts: Facts
    file_format: str
    shard_items: int
    max_segment_s: float | None
    max_hours: float
    provider: str
    allow_outside: bool


@dataclass(frozen=True)
class Shard:
    """The unit of work: some recordings that become one file."""

    index: int
    items: tuple[Item, ...]


class Plan:
    """A plan on the disk.

    Attributes:
        hash: of it all. n_items, n_refused, n_renamed: counts; the last of ids that came twice. counts: items by shard.

    Raises:
        OutputError: the body is not what the hash is of.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], settings: Settings) -> None:
        self.hash = str(header["hash"])
        self.n_items, self.n_refused, self.n_renamed = header["n_items"], header["n_refused"], header["n_renamed"]
        self._body = folder / BODY
        self._offsets: list[int] = []
        self.counts: list[int] = []
        with open(self._body, "rb") as file:
            at, digest = 0, hashlib.sha256(_line(asdict(settings)))
            for line in file:
                digest.update(line)
                if line.startswith(b'{"items":'):
                    self._offsets.append(at)
                    self.counts.append(len(json.loads(line)["items"]))
                at += len(line)
        if digest.hexdigest() != self.hash:
            raise OutputError(f"'{self._body}' must be what its header says; it was changed: choose another output.")

    @property
    def n_shards(self) -> int:
        return len(self._offsets)

    def shard(self, index: int) -> Shard:
        """One shard, 0..n_shards - 1, from the disk."""
        with open(self._body, "rb") as file:
            file.seek(self._offsets[index])
            values = json.loads(file.readline())
        return Shard(index, tuple(Item.from_json(item) for item in values["items"]))

    def refused(self) -> Iterator[Refused]:
        """What was refused before anything was opened."""
        with open(self._body, encoding="utf-8") as file:
            for line in file:
                if line.startswith('{"refused":'):
                    yield Refused(**json.loads(line)["refused"])


def make(folder: Path, found: Iterator[Item | Refused], settings: Settings, extra: Mapping[str, Any]) -> Plan:
    """The plan of a folder: written now, or the one that is there, if it is the same.

    Args:
        found: all recordings.
        extra: what else the header says, for readers; the hash is not of it.

    Raises:
        ArgumentError: no recording can be used. OutputError: the folder holds another plan, or cannot be written.
    """
    begun = read_header(folder)
    if begun is not None:
        if begun["format"] != FORMAT:
            raise OutputError(
                f"'{folder}' was begun by an earlier version of Silk; finish it with that, or choose another output."
            )
        _check_settings(folder, begun, settings)
    digest = hashlib.sha256(_line(asdict(settings)))
    counts = {"n_items": 0, "n_refused": 0, "n_shards": 0}
    ids = UniqueIds()
    first: Refused | None = None
    body = folder / (BODY if begun is None else f".{BODY}.again.part")
    with replacing(body, overwrite=True, durable=begun is None) as file:
        waiting: list[dict[str, Any]] = []

        def put(line: Mapping[str, Any]) -> None:
            content = _line(line)
            digest.update(content)
            file.write(content)

        def put_shard() -> None:
            put({"items": waiting})
            counts["n_shards"] += 1
            waiting.clear()

        for item in found:
            if isinstance(item, Refused):
                first = first or item
                counts["n_refused"] += 1
                put({"refused": item.to_json()})
                continue
            counts["n_items"] += 1
            waiting.append({**item.to_json(), "id": ids(item.id)})
            if len(waiting) == settings.shard_items:
                put_shard()
        if waiting:
            put_shard()
    changed = None
    if begun is not None:
        changed = _first_change(folder / BODY, body)
        body.unlink()
    if not counts["n_items"]:
        why = f"; of {counts['n_refused']} the first: {first.message}" if first else ""
        raise ArgumentError(f"There must be a recording to tokenise; none was found{why}")
    header = {"kind": KIND, "format": FORMAT, "hash": digest.hexdigest(), **counts, "n_renamed": ids.n_renamed}
    if begun is None:
        header |= {"settings": asdict(settings), **extra}
        with replacing(folder / HEADER, overwrite=True, durable=True) as file:
            file.write((json.dumps(header, indent=1, ensure_ascii=False) + "\n").encode())
    elif begun["hash"] != header["hash"]:
        raise OutputError(
            f"'{folder}' was begun with other recordings ({begun['n_items']}, now {counts['n_items']}, or other names,"
            f" order, parts or contents{changed or ''}); restore the inputs, or choose another output."
        )
    return Plan(folder, header, settings)


def read_header(folder: Path) -> dict[str, Any] | None:
    """The header of a folder's plan; None where there is none. Raises OutputError where it is damaged."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["kind"] == KIND and header["format"] in (1, FORMAT) and isinstance(header["settings"]["facts"], dict):
            return header
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        pass
    raise OutputError(f"'{folder / HEADER}' must be a plan of this version; it is not; choose another output.")


def count_shards(folder: Path) -> int:
    """Return how many shards the plan of a folder has. Raises OutputError where its body cannot be read."""
    try:
        with open(folder / BODY, "rb") as file:
            return sum(line.startswith(b'{"items":') for line in file)
    except OSError as error:
        raise OutputError(f"'{folder / BODY}' cannot be read: {error.strerror or error}.") from error


def _check_settings(folder: Path, begun: Mapping[str, Any], settings: Settings) -> None:
    """Say which setting differs, before the inputs are read. Raises OutputError."""
    now = json.loads(_line(asdict(settings)))
    then = begun["settings"]
    pairs = [(key, then["facts"].get(key), value) for key, value in now["facts"].items()]
    pairs += [(key, then.get(key), value) for key, value in now.items() if key != "facts"]
    for key, old, new in pairs:
        if old != new:
            name = key.replace("_", " ")
            raise OutputError(f"'{folder}' was begun with the {name} {old}; got {new}; choose another output.")


def _first_change(old: Path, new: Path) -> str | None:
    """Name the first recording that differs between two plans, for a message; None if that cannot be told."""
    with open(old, "rb") as then, open(new, "rb") as now:
        for before, after in zip(then, now, strict=False):
            if before == after:
                continue
            with suppress(ValueError, LookupError, TypeError, StopIteration, RecursionError):
                pairs = zip(json.loads(before)["items"], json.loads(after)["items"], strict=False)
                path = next(str(item["path"]) for known, item in pairs if known != item)
                return f"; the first is '{path}'"
            return None
    return None


def _line(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def folder_for(path: str | os.PathLike[str]) -> Path:
    """The output folder: made if need be, and nobody else's. Raises OutputError."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output must be a folder; '{folder}' is a file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(folder) if not name.startswith(".") and name != BODY]
        if names and HEADER not in names:
            raise OutputError(f"'{folder}' must be empty, or hold a corpus; it holds '{sorted(names)[0]}'.")
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written: {error.strerror or error}.") from error
    return folder
