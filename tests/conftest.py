"""What several test files share."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> int:
    """A disk that takes this many bytes for each file of ours, then says ENOSPC, as write(2) does."""
    from silkcodec import output

    room = 20_000
    real_open = open

    class FullDisk:
        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: Any) -> int:
            if self._file.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def open_on_full_disk(*args: Any, **kwargs: Any) -> Any:
        return FullDisk(real_open(*args, **kwargs))

    monkeypatch.setattr(output, "open", open_on_full_disk, raising=False)
    return room
