"""Store the rows of a run in `rows.jsonl`, so that later runs can reuse them.

Each line belongs to one codec and one clip, and its key is a hash of both. Lines with the same key form one row,
because metrics that are measured later are appended as new lines. A line with the status "audio" contains no
measurements, but records that the audio for the row was stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silkcodec.errors import OutputError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics import Metric

Row = dict[str, Any]

VERSION = 3  # Increment this when the alignment or the row format changes, so that all rows are measured again.
MAX_COLUMN_CHARS = 80  # Longer values (lists of files, notes) are not written to every row.
PER_METRIC = ("metrics", "undefined", "weights", "measured_with")  # fields merged over all lines with the same key


def row_key(clip: Clip, content: str, identity: str) -> str:
    """Return the key of a row as 16 hex digits.

    Args:
        clip: the reference clip.
        content: `content_hash` of the clip.
        identity: identifier and layout of the codec, or the `content_hash` of the output file for `silk score`.
    """
    return _digest([VERSION, clip.name, content, identity])


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or "unreadable" if the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def metric_identity(metric: Metric, clip: Clip) -> str:
    """Return a string that changes if a stored value for a metric becomes invalid, e.g. because its model changed."""
    if metric.model_key is None and not metric.weighted_by:
        return metric.name
    model = Path(metric.model or "default")
    files = sorted([model, *model.rglob("*")]) if metric.model else []  # A folder named default is not a model.
    times = [file.stat().st_mtime_ns for file in files if file.is_file()]
    return f"{metric.name} {_digest([str(model), *times, *sorted(clip.columns.items())])}"


def still_good(row: Row | None, metric: Metric, clip: Clip) -> bool:
    """Return whether a row contains a valid value for a metric."""
    return row is not None and row["measured_with"].get(metric.name) == metric_identity(metric, clip)


def only(row: Row, names: Sequence[str]) -> Row:
    """Return a copy of a row that keeps only the given metrics."""
    if row["status"] != "ok":
        return row
    return row | {part: {name: value for name, value in row[part].items() if name in names} for part in PER_METRIC}


def joined(old: Row | None, new: Row) -> Row:
    """Merge two rows with the same key. New metric values replace old ones. Times come from the older row."""
    if old is None or old["status"] != "ok":
        return new
    if new["status"] != "ok":
        return new  # The clip succeeded before and fails now, so the row reports the failure.
    broken = new.get("broken", {})  # Values from an earlier model must not remain if the new model fails.
    kept = {part: {name: old[part][name] for name in old[part] if name not in broken} for part in PER_METRIC}
    return old | {part: kept[part] | new[part] for part in PER_METRIC} | {"broken": broken}


class RowsFile:
    """Read rows.jsonl, if it exists, and append new rows to it.

    Attributes:
        rows: successful rows, keyed by row key.
        audio: keys of the rows whose audio is stored, keyed by (clip, codec).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.audio: dict[tuple[str, str], str] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # An interrupted run left this line incomplete, so the row is measured again.
            if not isinstance(row, dict) or not isinstance(row.get("key"), str):
                continue
            if row.get("status") == "audio":
                self.audio[row.get("clip", ""), row.get("codec", "")] = row["key"]
            elif row.get("status") == "ok" and all(isinstance(row.get(part), dict) for part in PER_METRIC):
                self.rows[row["key"]] = joined(self.rows.get(row["key"]), row)

    def keep_audio(self, row: Row) -> None:
        """Record that the audio of a row was stored."""
        self.append({"key": row["key"], "clip": row["clip"], "codec": row["codec"], "status": "audio"})

    def append(self, row: Row) -> None:
        """Append a row to the file.

        Raises:
            OutputError: the file cannot be written.
        """
        columns = {key: text for key, text in row.get("columns", {}).items() if len(text) <= MAX_COLUMN_CHARS}
        line = json.dumps(row | ({"columns": columns} if columns else {}), allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                # An interrupted run may have left an incomplete line. Start the next row on a new line.
                file.seek(0, os.SEEK_END)
                if file.tell() > 0:
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        line = "\n" + line
                file.write(line.encode())
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"Cannot write to '{self.path}': {reason}.") from error


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
