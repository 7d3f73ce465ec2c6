"""Install distributions that exist only during a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def install(folder: Path, name: str, groups: dict[str, dict[str, str]], patch: pytest.MonkeyPatch) -> None:
    """Register the entry points of a distribution in this process and its child processes.

    Args:
        folder: folder of the distribution, which is added to the import path. Child processes also find tests/helpers.
        name: name of the distribution.
        groups: group -> name -> object reference.
        patch: fixture or context that removes the distribution.
    """
    found = folder / f"{name}-1.0.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *map(" = ".join, points.items()))]
    (found / "entry_points.txt").write_text("\n".join(lines) + "\n")
    patch.syspath_prepend(folder)
    here = str(Path(__file__).parent)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), here, os.environ.get("PYTHONPATH", "")]))
