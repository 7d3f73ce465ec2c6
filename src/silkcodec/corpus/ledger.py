"""The ledger: what came of each shard, a line of JSON each, appended and synced after the shard is on the disk.

Only the process that leads a run writes it. A shard counts as done when it has a line here and a file of that SHA-256;
the line that a kill has torn is cut off, and its shard done again: the order file, then line, makes that harmless.

It is the only record beside the shards: quarantine.jsonl and report.json are made from it at the end of every run.
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
    """The ledger of an output folder, open to go on.

    Args:
        plan: the hash of the plan; lines of another one do not count.

    Attributes:
        records: by shard number.

    Raises:
        OutputError: it cannot be read or written.
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
        """Append what came of a shard, and wait until it is on the disk. Raises OutputError."""
        line = json.dumps({"plan": self._plan[:16], **record}, ensure_ascii=False).encode() + b"\n"
        try:
            at = self._file.seek(0, os.SEEK_END)
            if self._file.write(line) != len(line):  # a full disk takes a part before it says so
                self._file.truncate(at)
                raise OSError(28, os.strerror(28))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot(error) from error
        self.records[record["shard"]] = record

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(f"'{self._path}' cannot be written: {error.strerror or error}.")

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
            continue  # its shard will be done again


def read(folder: Path, plan: str) -> dict[int, Record]:
    """Return the records of a folder's ledger by shard number, whether their files are whole or not."""
    try:
        content = (folder / NAME).read_bytes()
    except OSError as error:
        raise OutputError(f"'{folder / NAME}' cannot be read: {error.strerror or error}.") from error
    return {record["shard"]: record for record in _lines(content, plan)}


def problem(folder: Path, record: Record) -> str | None:
    """Say what is wrong with the file of a shard; None if its size and SHA-256 are those of the ledger."""
    try:
        with open(folder / record["file"], "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes != record["bytes"]:
                return f"it must have {record['bytes']} bytes; it has {n_bytes}"
            if hashlib.file_digest(file, "sha256").hexdigest() != record["sha256"]:
                return "its SHA-256 is not the one of the ledger"
            return None
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except (KeyError, TypeError, ValueError):
        return "its line in the ledger is damaged"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold an output folder against a second run; the system lets go when this process ends, however it ends.

    Raises:
        OutputError: another run is at it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    try:
        file = open(folder / LOCK, "wb")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written: {error.strerror or error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"'{folder}' must be worked on by one run at a time; another one is at it.") from error
        except OSError:  # a file system without locks
            pass
        yield
