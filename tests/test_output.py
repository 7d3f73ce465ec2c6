"""Test that files are written completely or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from silkcodec.errors import OutputError
from silkcodec.output import replacing
from waiting import PATIENCE_S


def test_a_file_that_another_process_creates_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(OutputError, match="already exists"), replacing(path) as file:
        file.write(b"new")
        path.write_bytes(b"other")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a.bin", b"other")]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replacing(path, overwrite=True) as file:
        file.write(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


def test_names_can_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    name = "😀" * 60 + ".wav"  # 244 bytes
    with replacing(tmp_path / name) as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_everything_is_written_to_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    with replacing(tmp_path / "pipe") as file:
        file.write(b"hello")
    reader.join(PATIENCE_S)
    assert received == [b"hello"]


def test_a_path_with_a_null_byte_is_refused() -> None:
    with pytest.raises(OutputError, match="null byte"), replacing("a\0.bin"):
        pass
