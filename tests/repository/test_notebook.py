"""Test examples/quickstart.ipynb: its code runs from top to bottom, and no output is stored.

The cells are executed in one namespace, without Jupyter, so that the tests need no packages for it.
"""

from __future__ import annotations

import ast
import json
import sys
import types
from typing import Any

import pytest

from repository import ROOT

NOTEBOOK = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))


def test_no_output_is_stored() -> None:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])


def test_every_cell_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    players: list[Any] = []
    display = types.ModuleType("IPython.display")
    display.Audio = lambda wave, rate: players.append((len(wave), rate))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(ROOT / "examples")
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            exec(compile(tree, f"examples/quickstart.ipynb, {cell['id']}", "exec"), names)
    assert len(players) == 3 and all(rate == 24_000 for _, rate in players)
    printed = capsys.readouterr().out
    assert "47.5 tokens/s, 960.0 bit/s" in printed
    assert "silk" in printed and "gsm" in printed
