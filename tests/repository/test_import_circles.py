"""Test that the three distributions and the scripts have no import cycles. At the end, pytest prints the counts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Set
from pathlib import Path

import pytest

from repository import ROOT

TREES = {"src": ROOT / "src", "pytorch": ROOT / "pytorch" / "src", "lab": ROOT / "lab" / "src"}
TREES |= {name: ROOT / name for name in ("bench", "web", "website", "fuzz")}  # folders of scripts

Graph = dict[str, set[str]]
Record = Callable[[str, object], None]  # the `record_property` fixture; conftest.py prints the values


def graph(tree: Path, *, deferred: bool) -> Graph:
    """Return module -> modules of the same tree that it imports.

    Args:
        deferred: also imports inside functions, and for type checkers only.
    """
    paths = tree.glob("*.py") if tree == ROOT / "web" else tree.rglob("*.py")  # web/ contains node_modules/
    modules = {name(tree, path): path for path in sorted(paths)}
    return {module: imported(module, path, modules.keys(), deferred) - {module} for module, path in modules.items()}


def name(tree: Path, path: Path) -> str:
    parts = path.relative_to(tree).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(module: str, path: Path, modules: Set[str], deferred: bool) -> set[str]:
    """Return which of the modules a module imports; `from a import b` counts as a.b if that is a module, else as a."""
    found: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if not deferred and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if not deferred and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) + 1 - child.level] if child.level else []
                source = ".".join([*base, *([child.module] if child.module else [])])
                names = (f"{source}.{alias.name}" for alias in child.names)
                found.update(name if name in modules else source for name in names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found & modules


def circles(edges: Graph) -> list[list[str]]:
    """Return the groups of modules that reach each other (Tarjan's strongly connected components), sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def connect(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                connect(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            connect(node)
    return sorted(found)


@pytest.mark.parametrize("tree", TREES)
def test_no_module_imports_itself_through_others(tree: str, record_property: Record) -> None:
    found = circles(graph(TREES[tree], deferred=False))
    record_property("import circles", f"{tree} {len(found)}")
    assert found == []


@pytest.mark.parametrize("tree", TREES)
def test_imports_inside_functions_hide_no_circle(tree: str, record_property: Record) -> None:
    found = circles(graph(TREES[tree], deferred=True))
    record_property("import circles, including imports inside functions", f"{tree} {len(found)}")
    assert found == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    sources = {
        "__init__": "",
        "a": "from p import b",
        "b": "def f():\n    from .c import x",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.a\nimport p.d",
        "d": "import os",
    }
    for module, text in sources.items():
        (package / f"{module}.py").write_text(text)
    assert circles(graph(tmp_path, deferred=False)) == []
    assert circles(graph(tmp_path, deferred=True)) == [["p.a", "p.b", "p.c"]]
