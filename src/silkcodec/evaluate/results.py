"""Format measurement results as JSON, with one record per line to keep diffs readable."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import silkcodec

RECORD_DEPTH = 3  # A list item is a record if it has at most this many levels of nested containers.


def head(kind: str, result_format: int) -> dict[str, Any]:
    """Return the first fields of every result: its kind, format version, silkcodec version and creation time."""
    return {
        "kind": kind,
        "format": result_format,
        "version": silkcodec.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def rounded(value: Any) -> Any:
    """Round all floats in a JSON value to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def to_json(result: Any) -> str:
    """Format a result as JSON with one record per line.

    >>> result = {"kind": "k", "means": {"silk": {"n": 2, "mean": 0.5}}, "rows": [{"a": [1, 2]}, {"a": []}]}
    >>> print(to_json(result), end="")
    {
     "kind": "k",
     "means": {
      "silk": {"n": 2, "mean": 0.5}
     },
     "rows": [
      {"a": [1, 2]},
      {"a": []}
     ]
    }
    """
    return _lines(result, "", is_item=False, is_root=True) + "\n"


def _lines(value: Any, indent: str, *, is_item: bool, is_root: bool = False) -> str:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    is_record = _depth(value) <= (RECORD_DEPTH if is_item else 1)
    if not items or (is_record and not is_root):
        return json.dumps(value, allow_nan=False)
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key))}: {_lines(item, deeper, is_item=False)}" for key, item in value.items()]
        begin, end = "{}"
    else:
        parts = [_lines(item, deeper, is_item=True) for item in value]
        begin, end = "[]"
    return begin + "\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}{end}"


def _depth(value: Any) -> int:
    """Return the nesting depth of a value: 0 for a scalar, 1 for a list or dictionary of scalars, and so on."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    return 0 if items is None else 1 + max(map(_depth, items), default=0)
