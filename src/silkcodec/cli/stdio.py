"""Replace closed standard streams with the null device.

Otherwise, the next file opened would get the descriptor of a closed stream, and output to that stream would go into
the file.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from silkcodec.errors import ArgumentError, OutputError, SilkError


class _Closed(io.TextIOWrapper):
    """Discard text written to a closed stream, and raise `error` if its `buffer` is used."""

    error: SilkError

    @property
    def buffer(self) -> Any:
        raise self.error


def prepare() -> None:
    """Replace closed standard streams with the null device, and allow any file name in standard output.

    Call this function before any file is opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # The new descriptor is the lowest free one, `descriptor`.
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = _null("r", ArgumentError("Standard input is closed. Pass a file name, or redirect it: < FILE."))
    if sys.stdout is None:
        sys.stdout = _null("w", OutputError("Standard output is closed. Pass a file with -o, or redirect it: > FILE."))
    if isinstance(sys.stdout, io.TextIOWrapper):  # File names that are not valid UTF-8 are printed unchanged.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    if sys.stderr is None:
        sys.stderr = _null("w", OutputError("Standard error is closed."))


def discard_output() -> None:
    """Connect standard output to the null device if its buffered text cannot be written.

    Otherwise, the interpreter would report the same error again when it exits.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _null(mode: str, error: SilkError) -> Any:
    stream = _Closed(open(os.devnull, f"{mode}b"), encoding="utf-8")  # noqa: SIM115 - open until the program ends
    stream.error = error
    return stream
