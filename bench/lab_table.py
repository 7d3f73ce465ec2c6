"""Build the table of experiments in docs/results.md."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from silkcodec.evaluate.markdown import table
from silkcodec_lab.pages import EXPERIMENTS, committed, load_result


def laboratory(_: Path) -> str:
    """Return a table with the question and the answer of each experiment."""
    rows = []
    for name, package in EXPERIMENTS.items():
        module = import_module(f"{package}.answer")
        found = [load_result(path) for path in committed(name) if path.stem == name]
        answer = f"{module.answer(found[0])} [Details](lab/{name}.md)" if found else "not measured yet"
        rows.append([f"`{name}`", module.QUESTION, answer])
    return table(["`silk lab`", "question", "answer"], rows, numeric=False)


TABLES: dict[str, Callable[[Path], str]] = {"laboratory": laboratory}
