"""WebDataset tars: which bytes of a tar are which recording. Nothing is extracted, and no name in it is ever a path.

    speech.tar     a/1.flac  a/1.json  a/1.txt  a/2.flac ...        members; up to the first dot is the sample's key

A tar is read by its headers alone, and a recording later by offset and size, from anywhere, in any order.
Compressed tars allow neither: sound is compressed already, so they save nothing and are refused.
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
from silkcodec.corpus.items import MAX_META, Item, Refusal, Refused, meta, refused
from silkcodec.errors import ArgumentError

MAX_HEADER = 1 << 20  # bytes that tarfile may read at once: a header can claim gigabytes of "extended" fields


@dataclass
class _Sample:
    """Neighbouring members of one key."""

    key: str
    sounds: list[tuple[str, int, int]] = field(default_factory=list)  # name, offset, size
    columns: dict[str, str] = field(default_factory=dict)


def items(file: str, place: str, shown: str, root: int) -> Iterator[Item | Refused]:
    """The recordings of a tar.

    Args:
        file: to open. place, root: as in `Item`. shown: the tar, as paths of rows begin.

    Raises:
        ArgumentError: it is no tar, or a compressed one. One that is damaged further on gives what is before.
    """
    sample = _Sample("")
    for found in _members(file, shown):
        if isinstance(found, Refused):
            yield from _of(sample, place, shown, root)
            yield found
            return
        name, offset, size, content = found
        key, suffix = _split(name)
        if key != sample.key:
            yield from _of(sample, place, shown, root)
            sample = _Sample(key)
        if audio.is_sound(name):
            if size < 0:
                problem = Refusal("unreadable", f"'{shown}/{name}' must be plain bytes; it is a link or has holes.")
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
    """Key and suffix, as WebDataset parts them: "a/b.left.flac" -> "a/b", "left.flac"."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix.lower()


def _columns(suffix: str, content: bytes) -> dict[str, str]:
    """What a .txt or a .json beside a recording says of it; what is neither says nothing."""
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
    """(name, offset, size; -1: not plain bytes, what a .txt or .json holds) of each; last, what damage ended it."""
    last = "its first member"
    try:
        opened = open(file, "rb")  # noqa: SIM115 - the next line's `with` closes it
    except OSError as error:
        raise ArgumentError(f"A tar must be readable; '{file}': {error.strerror or error}.") from error
    with opened as raw:
        n_bytes = os.fstat(raw.fileno()).st_size
        try:
            tar = tarfile.open(fileobj=_Cautious(raw), mode="r:", errors="surrogateescape")  # noqa: SIM115
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise ArgumentError(f"A tar must be an uncompressed tar; '{file}': {error}; unpack it: gunzip.") from error
        end = -1
        while True:
            try:
                member = tar.next()
                if member is None:
                    raw.seek(tar.offset)
                    if any(raw.read(tarfile.BLOCKSIZE)):  # tarfile takes garbage for the end
                        raise tarfile.ReadError("what follows is no header")
                    return
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                if member.offset_data <= end or member.size < 0:
                    raise tarfile.ReadError("a member lies before the one before it")
                plain = member.isreg() and not member.issparse()
                if plain and member.offset_data + member.size > n_bytes:
                    raise tarfile.ReadError(f"'{member.name}' is cut short")
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
    """A file of which nobody can read much at once."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class Window(io.RawIOBase):
    """Some bytes of a file as a file: what `audio.Reader` gets for a member of a tar. Closes the file with itself.

    Args:
        name: for messages.
    """

    def __init__(self, file: str, offset: int, size: int, name: str) -> None:
        self._raw = open(file, "rb")  # noqa: SIM115 - closed by close()
        self._offset, self._size, self._at = offset, size, 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self._size - self._at))
        self._raw.seek(self._offset + self._at)
        read = self._raw.readinto(view[:n])
        self._at += read
        return read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._raw.close()
        super().close()
