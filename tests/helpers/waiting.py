"""Wait for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 180.0  # only a guard against hangs


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """Wait until a condition returns a true value, and return this value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition did not become true within {seconds:g} s"
        time.sleep(0.01)
    return value
