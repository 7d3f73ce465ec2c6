"""Test that a .silk file appears only when it is complete, and that failures keep the old file."""

from __future__ import annotations

import io
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silkcodec import container
from silkcodec.errors import OutputError
from silkfiles import (
    CODEC,
    to_bytes,
    tokens_of,
)


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.silk"
    container.write(tokens_of(3), path)
    with pytest.raises(KeyboardInterrupt), container.Writer(path, codec=CODEC, overwrite=True) as writer:
        writer.write(np.stack(tokens_of(60).codes, axis=1))
        raise KeyboardInterrupt
    assert container.read(path) == tokens_of(3)
    assert list(tmp_path.iterdir()) == [path]


def test_abort_leaves_no_file(tmp_path: Path) -> None:
    writer = container.Writer(tmp_path / "a.silk", codec=CODEC)
    writer.write(np.stack(tokens_of(60).codes, axis=1))
    assert writer.n_bytes > 0 and not (tmp_path / "a.silk").exists()
    writer.abort()
    assert not list(tmp_path.iterdir())


@contextmanager
def files_limited_to(n_bytes: int) -> Iterator[None]:
    """Make writes beyond the limit fail with OSError, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 100, 20_000])
def test_a_full_disk_raises_output_error_and_keeps_the_old_file(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.silk"
    container.write(tokens_of(3), path)
    with (
        files_limited_to(room),
        pytest.raises(OutputError, match=r"Cannot write to '.*a\.silk': File too large"),
    ):
        container.write(tokens_of(1000), path, overwrite=True)
    assert container.read(path) == tokens_of(3)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_devices_are_written_directly() -> None:
    with pytest.raises(OutputError, match="No space left on device"):
        container.write(tokens_of(1000), "/dev/full")
    assert Path("/dev/full").is_char_device()
    container.write(tokens_of(3), os.devnull)
    assert Path(os.devnull).is_char_device()


def test_unwritable_paths_raise_output_error(tmp_path: Path) -> None:
    path = tmp_path / "a.silk"
    container.write(tokens_of(3), path)
    with pytest.raises(OutputError, match="already exists"):
        container.write(tokens_of(4), path)
    assert container.read(path) == tokens_of(3)
    with pytest.raises(OutputError, match="is a file, not a folder"):
        container.write(tokens_of(3), path / "b.silk")
    with pytest.raises(OutputError, match="is a folder"):
        container.write(tokens_of(3), tmp_path)


def test_a_closed_pipe_raises_output_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as file, pytest.raises(OutputError, match="Broken pipe"):
        container.write(tokens_of(3), file)


def test_links_are_followed_and_modes_follow_the_umask(tmp_path: Path) -> None:
    target, link = tmp_path / "real" / "a.silk", tmp_path / "link.silk"
    target.parent.mkdir()
    link.symlink_to(target)
    old = os.umask(0o027)
    try:
        container.write(tokens_of(3), link)
    finally:
        os.umask(old)
    assert link.is_symlink() and container.read(target) == tokens_of(3)
    assert target.stat().st_mode & 0o777 == 0o640


def test_partial_writes_are_continued() -> None:
    class Slow(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, b: Any) -> int:
            self.data += bytes(b[:5])
            return len(b[:5])

    slow = Slow()
    container.write(tokens_of(3), slow)  # type: ignore[arg-type]
    assert slow.data == to_bytes(tokens_of(3))
