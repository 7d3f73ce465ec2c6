"""Store the rows of a run in `rows.jsonl`, so that the run can resume and later runs can reuse the rows.

Each line contains measurements of one codec on one clip. The key of a line is a hash of the codec (name, weights,
layout) and the clip (name, content). Lines with the same key form one row, because a metric that is measured later is
appended as a new line. For each metric with a model, `measured_with` records the model and the clip's manifest columns.
If either changes, the metric is measured again.

A line with the status "audio" records that audio was stored for the row with the same key.
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
        clip: the reference clip. Only its name is used.
        content: `content_hash` of the clip.
        identity: identifier and layout of the codec, or the `content_hash` of its output file.
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
    """Return a string that changes when the stored value of a metric for a clip becomes invalid.

    The string consists of the metric's name, its model and a hash of the clip's manifest columns. For metrics without a
    model and without clip weights, it consists only of the name.
    """
    if metric.model_key is None and not metric.weighted_by:
        return metric.name
    return f"{metric.name} {metric.model or 'default'} {_digest(sorted(clip.columns.items()))}"


def still_good(row: Row | None, metric: Metric, clip: Clip) -> bool:
    """Return whether a row contains this metric, computed with the same metric model and manifest columns as now."""
    return row is not None and row["measured_with"].get(metric.name) == metric_identity(metric, clip)


def only(row: Row, names: Sequence[str]) -> Row:
    """Return a copy of a row with only the given metrics."""
    if row["status"] != "ok":
        return row
    return row | {part: {name: value for name, value in row[part].items() if name in names} for part in PER_METRIC}


def joined(old: Row | None, new: Row) -> Row:
    """Merge two rows with the same key. The newer row's metrics take precedence.

    Other fields, such as times, come from the older row.
    """
    if old is None or old["status"] != "ok":
        return new
    if new["status"] != "ok":
        return new  # The clip succeeded before and fails now, so the row reports the failure.
    return old | {part: old[part] | new[part] for part in PER_METRIC} | {"broken": new.get("broken", {})}


class RowsFile:
    """Read rows.jsonl, if it exists, and append new rows to it.

    Attributes:
        rows: successful rows, keyed by row key. Failed rows are omitted, so that they are measured again.
        audio: keys of the rows whose audio is stored, in a dictionary indexed by (clip, codec).
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
        """Append one row to the file.

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
            raise OutputError(f"Cannot write '{self.path}': {reason}.") from error


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
