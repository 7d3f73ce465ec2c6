"""Fuzz one target. `fuzz.py` runs this program.

The first argument is the target. The other arguments are passed to libFuzzer.
"""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent))
with atheris.instrument_imports(include=["silkcodec"]):
    import targets

NAME = sys.argv.pop(1)


def one(data: bytes) -> None:
    """Pass one input from the fuzzer to the target."""
    targets.run(NAME, data)


atexit.register(targets.clean)
atheris.Setup(sys.argv, one)
atheris.Fuzz()
