"""Record the conditions of a measurement: machine, threads, versions, and load from other processes."""

from __future__ import annotations

from typing import Any

import torch

from silkcodec.evaluate import machine


class Conditions:
    """Record the conditions of a measurement. Create this object before the measurement starts."""

    def __init__(self) -> None:
        self._found = {
            **machine.conditions(),
            "threads": torch.get_num_threads(),
            "versions": machine.versions("torch"),
        }
        self._before = machine.clocks()

    def facts(self) -> dict[str, Any]:
        """Return the conditions as JSON values. Call this method after the measurement."""
        return {**self._found, "others_cores": machine.others_cores(self._before, machine.clocks())}
