"""Find and run the examples (`>>>`) in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path


def modules(folder: Path) -> list[str]:
    """Return the names of the modules in a folder that contain examples."""
    files = [file for file in sorted(folder.rglob("*.py")) if not file.name.startswith("test_")]
    with_examples = [file for file in files if ">>> " in file.read_text(encoding="utf-8")]
    names = [".".join(file.relative_to(folder).with_suffix("").parts) for file in with_examples]
    return [name.removesuffix(".__init__") for name in names]


def run(name: str) -> None:
    """Run the examples of a module, and check their output."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert "doctest: +SKIP" not in source, f"{name} has examples that do not run"
    result = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted == source.count(">>> ") and not result.failed
