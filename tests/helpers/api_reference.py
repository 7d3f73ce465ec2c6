"""Find the modules in the API reference, which docs/api/*.md list after `:::`."""

from __future__ import annotations

import re
from pathlib import Path

from repository import DOCS, ROOT

SOURCES = {"silkcodec": ROOT / "src", "silkcodec_torch": ROOT / "pytorch" / "src"}


def modules() -> list[str]:
    """Return the names of the modules."""
    pages = [page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.md"))]
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]


def path_of(module: str) -> Path:
    """Return the source file of a module."""
    base = SOURCES[module.partition(".")[0]] / module.replace(".", "/")
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
