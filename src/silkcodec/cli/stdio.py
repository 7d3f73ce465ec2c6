"""Replace closed standard streams. Daemons and some schedulers start programs with closed streams.

Python sets a closed stream to None, and the next file that is opened gets its descriptor. The output of a C library
would then go to that file. This module therefore points the descriptors to the null device. Text written to such a
stream is dropped, and access to its bytes raises an error.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from silkcodec.errors import ArgumentError, OutputError, SilkError


class _Closed(io.TextIOWrapper):
    """Represent a closed stream as text of the null device. Access to its bytes raises `error`."""

    error: SilkError

    @property
    def buffer(self) -> Any:
        raise self.error


def replace_closed() -> None:
    """Replace each closed standard stream with the null device. Call this once, before anything else."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # Gets the lowest free number, which is `descriptor`.
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = _null("r", ArgumentError("Standard input is closed; pass a file name, or redirect it: < FILE."))
    if sys.stdout is None:
        sys.stdout = _null("w", OutputError("Standard output is closed; pass a file with -o, or redirect it: > FILE."))
    if sys.stderr is None:
        sys.stderr = _null("w", OutputError("Standard error is closed."))


def _null(mode: str, error: SilkError) -> Any:
    stream = _Closed(open(os.devnull, f"{mode}b"), encoding="utf-8")  # noqa: SIM115 - open until the program ends
    stream.error = error
    return stream
