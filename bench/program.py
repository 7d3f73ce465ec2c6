"""Define the parts that the command lines of the benchmarks share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from findings import TableError
from subprocesses import CommandError

from silkcodec.errors import SilkError


def output_file(text: str) -> Path:
    """Return the path of an output file, for `type` in `add_argument`.

    Raises:
        argparse.ArgumentTypeError: the path is a folder, or its folder does not exist.
    """
    path = Path(text)
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"The output must be a file in an existing folder; got '{text}'.")
    return path


def run(main: Callable[[], None]) -> None:
    """Run the main function of a program. If it raises an expected error, print the message and exit with code 2."""
    try:
        main()
    except (CommandError, SilkError, TableError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
