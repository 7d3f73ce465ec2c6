"""Record the finished shards of a corpus in the ledger, a file with one JSON object per line.

A shard is complete if it has a line in the ledger and its file matches the SHA-256 in that line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from silkcodec.errors import OutputError

NAME, LOCK = "ledger.jsonl", ".lock"
Record = dict[str, Any]


class Ledger:
    """Open the ledger in an output folder for appending.

    Args:
        folder: output folder.
        plan: hash of the plan. Lines with a different hash are ignored.

    Attributes:
        records: records of the complete shards, keyed by shard number.

    Raises:
        OutputError: the ledger cannot be read or written.
    """

    def __init__(self, folder: Path, plan: str) -> None:
        self._path, self._plan = folder / NAME, plan
        try:
            self._file = open(self._path, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
            self._file.seek(0)
            content = self._file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                self._file.truncate(whole)
        except OSError as error:
            raise self._cannot(error) from error
        found = _lines(content[:whole], plan)
        last = {record["shard"]: record for record in found}
        self.records = {shard: record for shard, record in last.items() if problem(folder, record) is None}

    def add(self, record: Record) -> None:
        """Append a record and flush the file to disk. Raises OutputError if this fails."""
        line = json.dumps({"plan": self._plan[:16], **record}, ensure_ascii=False).encode() + b"\n"
        try:
            at = self._file.seek(0, os.SEEK_END)
            if self._file.write(line) != len(line):  # A full disk can accept part of the line without an error.
                self._file.truncate(at)
                raise OSError(28, os.strerror(28))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot(error) from error
        self.records[record["shard"]] = record

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(f"Cannot write to '{self._path}': {error.strerror or error}.")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def _lines(content: bytes, plan: str) -> Iterator[Record]:
    for line in content.splitlines():
        try:
            record = json.loads(line)
            if record.pop("plan") == plan[:16] and isinstance(record["shard"], int):
                yield record
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            continue  # The shard is encoded again.


def read(folder: Path, plan: str) -> dict[int, Record]:
    """Return the records in the ledger of a folder, keyed by shard number.

    Raises:
        OutputError: the ledger cannot be read.
    """
    try:
        content = (folder / NAME).read_bytes()
    except OSError as error:
        raise OutputError(f"Cannot read '{folder / NAME}': {error.strerror or error}.") from error
    return {record["shard"]: record for record in _lines(content, plan)}


def problem(folder: Path, record: Record) -> str | None:
    """Describe how the file of a shard differs from its record, or return None if it matches."""
    try:
        with open(folder / record["file"], "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes != record["bytes"]:
                return f"it must have {record['bytes']} bytes; it has {n_bytes}"
            if hashlib.file_digest(file, "sha256").hexdigest() != record["sha256"]:
                return "its SHA-256 differs from the one in the ledger"
            return None
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except (KeyError, TypeError, ValueError):
        return "its entry in the ledger is damaged"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock an output folder against other runs during the `with` block.

    Raises:
        OutputError: another run is using the folder, or the lock file cannot be written.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    try:
        file = open(folder / LOCK, "wb")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"Cannot write to '{folder}': {error.strerror or error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"Another run is using '{folder}'. Wait for that run to finish, or choose another output folder."
            ) from error
        except OSError:  # The file system does not support locks.
            pass
        yield
