"""Run the examples in the docstrings of silkcodec-lab."""

from __future__ import annotations

from pathlib import Path

import pytest

import docstring_examples

MODULES = docstring_examples.modules(Path(__file__).resolve().parents[1])


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    docstring_examples.run(name)


def test_modules_with_examples_are_found() -> None:
    assert len(MODULES) >= 5
