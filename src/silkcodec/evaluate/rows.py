"""The rows of a run on disk, `rows.jsonl`: what a killed run has done, and what a later one need not do again.

A line is what was measured of one codec on one clip in one go. Its key says what that depends on: the codec
(name, hash of its weights, layout), the clip (name, hash of its bytes). Lines of one key are one row: a metric
measured later adds its value by a line of its own. `measured_with` says of each value what it depends on
besides, so that another model of a metric, or another text of the clip, measures anew.

A last kind of line, with the status "audio", tells that the audio kept of a clip belongs to that key.
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

VERSION = 3  # raise it when the alignment or a row changes: older rows are then measured anew
MAX_COLUMN_CHARS = 80  # longer values (lists of files, notes) are not written into every row
PER_METRIC = ("metrics", "undefined", "weights", "measured_with")  # the parts of a row that lines of a key share


def row_key(clip: Clip, content: str, identity: str) -> str:
    """What a row depends on, as 16 hex digits.

    Args:
        content: the clip's `content_hash`.
        identity: of the codec, or of the file that it made.
    """
    return _digest([VERSION, clip.name, content, identity])


def content_hash(path: Path) -> str:
    """SHA-256 of a file; "unreadable" if it cannot be read: the row will say why."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def metric_identity(metric: Metric, clip: Clip) -> str:
    """What a metric's value depends on besides the two waves: its model, and what the manifest says of the clip.

    Only metrics with a model or with weights (error rates) read the manifest.
    """
    if metric.model_key is None and not metric.weighted_by:
        return metric.name
    return f"{metric.name} {metric.model or 'default'} {_digest(sorted(clip.columns.items()))}"


def still_good(row: Row | None, metric: Metric, clip: Clip) -> bool:
    """Whether a row holds this metric, measured as it would be now."""
    return row is not None and row["measured_with"].get(metric.name) == metric_identity(metric, clip)


def only(row: Row, names: Sequence[str]) -> Row:
    """A row with these metrics and no others."""
    if row["status"] != "ok":
        return row
    return row | {part: {name: value for name, value in row[part].items() if name in names} for part in PER_METRIC}


def joined(old: Row | None, new: Row) -> Row:
    """One row of two of the same key: what the newer adds. Times stay those of the first."""
    if old is None or old["status"] != "ok":
        return new
    if new["status"] != "ok":
        return new  # it went through once and fails now: the failure is what there is to tell
    return old | {part: old[part] | new[part] for part in PER_METRIC} | {"broken": new.get("broken", {})}


class RowsFile:
    """rows.jsonl, read once and appended to.

    Attributes:
        rows: by key, those that went through; failed ones are tried again.
        audio: (clip, codec) -> the key of the row that the audio kept of them belongs to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.audio: dict[tuple[str, str], str] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the line that a killed run was writing: measured again
            if not isinstance(row, dict) or not isinstance(row.get("key"), str):
                continue
            if row.get("status") == "audio":
                self.audio[row.get("clip", ""), row.get("codec", "")] = row["key"]
            elif row.get("status") == "ok" and all(isinstance(row.get(part), dict) for part in PER_METRIC):
                self.rows[row["key"]] = joined(self.rows.get(row["key"]), row)

    def keep_audio(self, row: Row) -> None:
        """Notes that the audio of a row was kept."""
        self.append({"key": row["key"], "clip": row["clip"], "codec": row["codec"], "status": "audio"})

    def append(self, row: Row) -> None:
        """One line, on disk before the next clip begins. Raises OutputError: the file cannot be written."""
        columns = {key: text for key, text in row.get("columns", {}).items() if len(text) <= MAX_COLUMN_CHARS}
        line = json.dumps(row | ({"columns": columns} if columns else {}), allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                # A killed run may have left half a line: it must not swallow the next row.
                file.seek(0, os.SEEK_END)
                if file.tell() > 0:
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        line = "\n" + line
                file.write(line.encode())
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"Rows must be kept beside the result; '{self.path}': {reason}.") from error


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
