"""Assign the recordings of a corpus to shards before encoding starts.

    OUT/plan.jsonl   {"items": [...]} for each shard, and {"refused": {...}} for each rejected recording
    OUT/plan.json    settings, numbers of recordings and shards, and a SHA-256 of the plan; written last

A resumed run recreates the plan, and raises an error if the recordings, the codec or the settings have changed.
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
KIND, FORMAT = "silk corpus plan", 2


@dataclass(frozen=True)
class Facts:
    """The codec properties that a corpus depends on.

    Attributes:
        codec: codec name and hash of the weights, e.g. "silk@0a1b2c3d4e5f".
        sample_rate: sample rate in Hz.
        codebook_sizes: size of each codebook.
        frame_rates: frame rate of each codebook in Hz.
        streams: whether the codec encodes block by block. Other codecs need a whole recording in memory.
    """

    codec: str
    sample_rate: int
    codebook_sizes: tuple[int, ...]
    frame_rates: tuple[float, ...]
    streams: bool


@dataclass(frozen=True)
class CorpusSettings:
    """The settings of a corpus.

    Attributes:
        file_format: "parquet" or "webdataset".
        facts: properties of the codec.
        shard_items: number of recordings per shard.
        max_segment_s: maximum duration of a row in seconds. Longer recordings are split into several rows. None stores
            each recording in one row.
        max_hours: maximum duration of a recording in hours.
        provider: "cpu" or "cuda".
        allow_outside: whether inputs may refer to files outside their folders.
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
    """A shard's number and its recordings."""

    index: int
    items: tuple[Item, ...]


class Plan:
    """The plan of a corpus.

    Attributes:
        hash: SHA-256 of the plan.
        n_items, n_refused: numbers of accepted and rejected recordings.
        n_renamed: number of duplicate ids, which were renamed.
        counts: number of recordings in each shard.

    Raises:
        OutputError: plan.jsonl was changed.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], settings: CorpusSettings) -> None:
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
            raise OutputError(f"'{self._body}' has changed since the run was started. Choose another output folder.")

    @property
    def n_shards(self) -> int:
        """Return the number of shards."""
        return len(self._offsets)

    def shard(self, index: int) -> Shard:
        """Read a shard from the plan."""
        with open(self._body, "rb") as file:
            file.seek(self._offsets[index])
            values = json.loads(file.readline())
        return Shard(index, tuple(Item.from_json(item) for item in values["items"]))

    def refused(self) -> Iterator[Refused]:
        """Yield the recordings that were rejected when the plan was made."""
        with open(self._body, encoding="utf-8") as file:
            for line in file:
                if line.startswith('{"refused":'):
                    yield Refused(**json.loads(line)["refused"])


def make(folder: Path, found: Iterator[Item | Refused], settings: CorpusSettings, extra: Mapping[str, Any]) -> Plan:
    """Create the plan for an output folder, or check that its existing plan is still valid.

    Args:
        folder: output folder.
        found: all recordings, including the rejected ones.
        settings: settings of the corpus.
        extra: additional fields to store in plan.json.

    Returns:
        The plan.

    Raises:
        ArgumentError: the inputs contain no usable recording.
        OutputError: the folder contains a different plan, or cannot be written to.
    """
    begun = read_header(folder)
    if begun is not None:
        _check_settings(folder, begun, settings)
    digest = hashlib.sha256(_line(asdict(settings)))
    counts = {"n_items": 0, "n_refused": 0, "n_shards": 0}
    ids = UniqueIds()
    first: Refused | None = None
    body = folder / (BODY if begun is None else f".{BODY}.again.part")
    with replacing(body, overwrite=True, durable=True) as file:
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
    if begun is not None and begun["hash"] == digest.hexdigest():
        os.replace(body, folder / BODY)  # repairs a damaged plan.jsonl
    elif begun is not None:
        changed = _first_change(folder / BODY, body)
        body.unlink()
    if not counts["n_items"]:
        why = f"; rejected recordings: {counts['n_refused']}. The first error is: {first.message}" if first else "."
        raise ArgumentError(f"The inputs must contain at least one usable recording{why}")
    header = {"kind": KIND, "format": FORMAT, "hash": digest.hexdigest(), **counts, "n_renamed": ids.n_renamed}
    if begun is None:
        header |= {"settings": asdict(settings), **extra}
        with replacing(folder / HEADER, overwrite=True, durable=True) as file:
            file.write((json.dumps(header, indent=1) + "\n").encode())
    elif begun["hash"] != header["hash"]:
        raise OutputError(
            f"The recordings have changed since the run in '{folder}' was started{changed or ''}. The run has"
            f" {begun['n_items']} recordings; the inputs now contain {counts['n_items']}. Restore the inputs, or choose"
            " another output folder."
        )
    return Plan(folder, header, settings)


def read_header(folder: Path) -> dict[str, Any] | None:
    """Read plan.json, or return None if it does not exist. Raises OutputError if it is damaged."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["kind"] == KIND and header["format"] == FORMAT and isinstance(header["settings"]["facts"], dict):
            return header
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        pass
    raise OutputError(
        f"'{folder / HEADER}' is damaged, or is from another version of Silk. Choose another output folder."
    )


def _check_settings(folder: Path, begun: Mapping[str, Any], settings: CorpusSettings) -> None:
    """Raise OutputError if the settings differ from those of the existing plan."""
    now = json.loads(_line(asdict(settings)))
    then = begun["settings"]
    pairs = [(key, then["facts"].get(key), value) for key, value in now["facts"].items()]
    pairs += [(key, then.get(key), value) for key, value in now.items() if key != "facts"]
    for key, old, new in pairs:
        if old != new:
            raise OutputError(
                f"The run in '{folder}' was started with {key} = {old}; got {new}. Choose another output folder."
            )


def _first_change(old: Path, new: Path) -> str | None:
    """Describe the first recording that differs between two plans, or return None if it cannot be determined."""
    with (
        suppress(OSError, ValueError, LookupError, TypeError, StopIteration, RecursionError),
        open(old, "rb") as then,
        open(new, "rb") as now,
    ):
        before, after = next(pair for pair in zip(then, now, strict=False) if pair[0] != pair[1])
        pairs = zip(json.loads(before)["items"], json.loads(after)["items"], strict=False)
        path = next(str(item["path"]) for known, item in pairs if known != item)
        return f" (the first changed recording is '{path}')"
    return None


def _line(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def folder_for(path: str | os.PathLike[str]) -> Path:
    """Return the output folder, and create it if necessary. Raises OutputError if it contains anything but a corpus."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output must be a folder; '{folder}' is a file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(folder) if not name.startswith(".") and name != BODY]
        if names and HEADER not in names:
            raise OutputError(f"'{folder}' must be empty or contain a corpus; it contains '{sorted(names)[0]}'.")
    except OSError as error:
        raise OutputError(f"Cannot write to '{folder}': {error.strerror or error}.") from error
    return folder
