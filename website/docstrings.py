"""Provide a Griffe extension that prepares the docstrings for the Python reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from house_style import rewritten


class HouseStyle(griffe.Extension):
    """Convert each docstring to Google style before Griffe parses it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)
