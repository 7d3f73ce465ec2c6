"""Run the examples in the docstrings of silkcodec, bench/, website/ and requirements/."""

from __future__ import annotations

import pytest

import docstring_examples
from repository import ROOT

FOLDERS = {"src": 8, "bench": 1, "website": 1, "requirements": 1}  # folder -> minimum number of modules with examples
MODULES = [(folder, name) for folder in FOLDERS for name in docstring_examples.modules(ROOT / folder)]


@pytest.mark.parametrize(("folder", "name"), MODULES)
def test_the_examples_of_a_module_run(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / folder))
    docstring_examples.run(name)


@pytest.mark.parametrize(("folder", "least"), FOLDERS.items())
def test_modules_with_examples_are_found(folder: str, least: int) -> None:
    assert sum(found == folder for found, _ in MODULES) >= least
