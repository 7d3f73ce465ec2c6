"""Under what conditions an experiment ran: machine, threads, versions, and other processes meanwhile."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from silkcodec.evaluate import machine


class Conditions:
    """The conditions of a measurement that begins now."""

    def __init__(self) -> None:
        self._found = {
            **machine.conditions(),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": version("torch")},
        }
        self._before = machine.clocks()

    def facts(self) -> dict[str, Any]:
        """Return them for the result of a measurement that ends now."""
        return {**self._found, "others_cores": machine.others_cores(self._before, machine.clocks())}
