"""Stand in for standard streams that are closed, as daemons and some schedulers start their programs.

Python sets them to None, and the next file that is opened gets their descriptor: what a C library prints would end up
in it. So the descriptors are put on the null device. Text for them is dropped; bytes are an error.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from silkcodec.errors import ArgumentError, OutputError, SilkError


class _Closed(io.TextIOWrapper):
    """The null device as text. Its bytes raise `error`."""

    error: SilkError

    @property
    def buffer(self) -> Any:
        raise self.error


def replace_closed() -> None:
    """Put the null device in the place of each standard stream that is closed. Called once, before anything else."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = _null("r", ArgumentError("Standard input is closed; name a file, or open it: < FILE."))
    if sys.stdout is None:
        sys.stdout = _null("w", OutputError("Standard output is closed; name a file with -o, or open it: > FILE."))
    if sys.stderr is None:
        sys.stderr = _null("w", OutputError("Standard error is closed."))


def _null(mode: str, error: SilkError) -> Any:
    stream = _Closed(open(os.devnull, f"{mode}b"), encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    stream.error = error
    return stream
