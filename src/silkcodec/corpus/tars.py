"""List the recordings in WebDataset tars without extracting them.

    speech.tar     a/1.flac  a/1.json  a/1.txt  a/2.flac ...        members; a sample's key ends at the first dot

Only headers and metadata are read. Workers later read the recordings by offset and size, so compressed tars are
rejected.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from silkcodec import audio
from silkcodec.audio.spans import Span
from silkcodec.corpus.items import MAX_META, Item, Refusal, Refused, meta, refused
from silkcodec.errors import ArgumentError

MAX_HEADER = 1 << 20  # Limits each read by tarfile, because a header can declare gigabytes of fields.


@dataclass
class _Sample:
    """The members of a tar that form a WebDataset sample."""

    key: str
    sounds: list[tuple[str, int, int]] = field(default_factory=list)  # name, offset, size
    columns: dict[str, str] = field(default_factory=dict)


def items(file: str, place: str, shown: str, root: int) -> Iterator[Item | Refused]:
    """Yield the recordings in a tar, up to the first damaged header.

    Args:
        file: path of the tar.
        place, root: see `Item`.
        shown: prefix for the paths of the recordings.

    Raises:
        ArgumentError: the file is not a tar, or is compressed.
    """
    sample = _Sample("")
    for found in _members(file, shown):
        if isinstance(found, Refused):
            yield from _of(sample, place, shown, root)
            yield found
            return
        name, offset, size, content = found
        if name.rpartition("/")[2].startswith("."):  # hidden, such as the ._ files of macOS
            continue
        key, suffix = _split(name)
        if key != sample.key:
            yield from _of(sample, place, shown, root)
            sample = _Sample(key)
        if audio.is_sound(name):
            if size < 0:
                problem = Refusal(
                    "unreadable", f"'{shown}/{name}' must be a regular file; it is a link or a sparse file."
                )
                yield refused(key, f"{shown}/{name}", problem)
            else:
                sample.sounds.append((name, offset, size))
        elif content:
            sample.columns |= _columns(suffix, content)
    yield from _of(sample, place, shown, root)


def _of(sample: _Sample, place: str, shown: str, root: int) -> Iterator[Item | Refused]:
    for name, offset, size in sample.sounds:
        path = f"{shown}/{name}"
        try:
            yield Item(sample.key, path, root, place, "tar", (offset, size), meta=meta(sample.columns))
        except Refusal as refusal:
            yield refused(sample.key, path, refusal)


def _split(name: str) -> tuple[str, str]:
    """Split a member name into key and suffix, e.g. "a/b.left.flac" into "a/b" and "left.flac"."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix.lower()


def _columns(suffix: str, content: bytes) -> dict[str, str]:
    """Parse the metadata in a .txt or .json member of a sample."""
    text = content.decode("utf-8", "replace").strip()
    if suffix == "txt":
        return {"text": text} if text else {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _members(file: str, shown: str) -> Iterator[tuple[str, int, int, bytes] | Refused]:
    """Yield each tar member's name, offset, size and metadata, and finally a `Refused` if the tar is damaged."""
    last = "its beginning"
    try:
        opened = open(file, "rb")  # noqa: SIM115 - the next line's `with` closes it
    except OSError as error:
        raise ArgumentError(f"Cannot read '{file}': {error.strerror or error}.") from error
    with opened as raw:
        n_bytes = os.fstat(raw.fileno()).st_size
        try:
            tar = tarfile.open(fileobj=_Cautious(raw), mode="r:", errors="surrogateescape")  # noqa: SIM115
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"'{file}' must be an uncompressed tar file: {error}. If it is compressed, decompress it, e.g. with"
                " gunzip."
            ) from error
        end = -1
        while True:
            try:
                member = tar.next()
                if member is None:
                    raw.seek(tar.offset)
                    if any(raw.read(tarfile.BLOCKSIZE)):  # tarfile mistakes invalid bytes for the end of the tar.
                        raise tarfile.ReadError("the next bytes are not a header")
                    return
                tar.members.clear()  # type: ignore[attr-defined]  # Otherwise, tarfile keeps every member in memory.
                if member.offset_data <= end or member.size < 0:
                    raise tarfile.ReadError("a member overlaps the previous one or comes before it")
                plain = member.isreg() and not member.issparse()
                if plain and member.offset_data + member.size > n_bytes:
                    raise tarfile.ReadError(f"'{member.name}' is truncated")
                end = member.offset_data
                content = b""
                if plain and _split(member.name)[1] in ("txt", "json") and member.size <= MAX_META:
                    raw.seek(member.offset_data)
                    content = raw.read(member.size)
            except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
                problem = Refusal("unreadable", f"The tar '{shown}' is damaged after {last}: {error}.")
                yield refused(shown, shown, problem)
                return
            last = f"'{member.name}'"
            if not member.isdir():
                yield member.name, member.offset_data, member.size if plain else -1, content


class _Cautious(io.RawIOBase):
    """Limit each read from a file to MAX_HEADER bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header declares an invalid size of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class Window(Span):
    """Present a member of a tar as a file.

    Args:
        file: path of the tar.
        offset, size: position and size of the member in bytes.
        name: name for error messages.
    """

    def __init__(self, file: str, offset: int, size: int, name: str) -> None:
        self._raw = open(file, "rb")  # noqa: SIM115 - closed by close()
        super().__init__(self._raw, offset, offset + size)
        self.name = name

    def close(self) -> None:
        """Close the tar."""
        self._raw.close()
        super().close()
