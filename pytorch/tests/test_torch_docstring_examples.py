"""Run the examples in the docstrings of silkcodec-torch, if there are any."""

from __future__ import annotations

import docstring_examples
from repository import ROOT


def test_the_examples_of_all_modules_run() -> None:
    for name in docstring_examples.modules(ROOT / "pytorch" / "src"):
        docstring_examples.run(name)
