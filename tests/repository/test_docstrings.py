"""Test that the docstrings of the API reference are complete. The source is parsed, not imported.

The API reference shows the modules that docs/api/*.md list after `:::`. In these modules, every name in `__all__` is
public. Without `__all__`, every name that the module defines is public if it has no leading underscore.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from api_reference import SOURCES, modules, path_of
from repository import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$")
ENTRY = re.compile(r"^ {4}([*\w]+(?:, [*\w]+)*): \S")
RAISED = re.compile(r"(?:^|\. )((?:\w+(?:Error|Interrupt|Exception), )*\w+(?:Error|Interrupt|Exception)): ")
IN_PROSE = re.compile(r"\b[Rr]aises? `?(\w+Error)")
UNDOCUMENTED = {"NotImplementedError", "AssertionError", "StopIteration"}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def assigned(node: ast.stmt) -> list[str]:
    """Return the names that a statement assigns."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [element for target in targets for element in getattr(target, "elts", [target])]
    return [name.id for name in names if isinstance(name, ast.Name)]


def defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    return [node.name] if isinstance(node, (Function, ast.ClassDef)) else assigned(node)


def public_names(module: str) -> list[str]:
    """Return the names that the API reference shows for a module."""
    body = tree_of(module).body
    for node in body:
        if "__all__" in assigned(node):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return list(dict.fromkeys(name for node in body for name in defined(node) if not name.startswith("_")))


def find(module: str, name: str) -> tuple[str, ast.stmt, str | None]:
    """Return the module that defines a name, the last statement that defines it, and the string below the statement."""
    body = tree_of(module).body
    for at in reversed(range(len(body))):
        if name in defined(body[at]):
            below = body[at + 1] if at + 1 < len(body) else None
            text = getattr(getattr(below, "value", None), "value", None) if isinstance(below, ast.Expr) else None
            return module, body[at], text if isinstance(text, str) else None
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in SOURCES:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    raise LookupError(f"{module}.{name} is public, but the module neither defines nor imports it.")


def sections(docstring: str) -> dict[str, list[str]]:
    """Return the lines of each section of a docstring. The text outside all sections has the key ""."""
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in docstring.split("\n"):
        if section := SECTION.match(line):
            current = section[1]
            found.setdefault(current, [])
            continue
        if line and not line.startswith(" "):
            current = ""
        found[current].append(line)
    return found


def entries(lines: list[str]) -> set[str]:
    """Return the names that a section documents. One entry can document several names."""
    return {name.lstrip("*") for line in lines if (entry := ENTRY.match(line)) for name in entry[1].split(", ")}


def documented_errors(lines: list[str]) -> set[str]:
    text = " ".join(line.strip() for line in lines)
    return {name for found in RAISED.finditer(text) for name in found[1].split(", ")} | entries(lines)


def arguments(function: Function) -> list[str]:
    """Return the names of the arguments. Names with a leading underscore are excluded."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    every += [arg for arg in (function.args.vararg, function.args.kwarg) if arg is not None]
    return [arg.arg for arg in every if arg.arg not in ("self", "cls") and not arg.arg.startswith("_")]


def raised(node: ast.AST) -> Iterator[str]:
    """Yield the exception classes that a function raises itself. An error that it re-raises is not yielded."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            error = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = ast.unparse(error).rpartition(".")[2]
            if name[:1].isupper() and name not in UNDOCUMENTED:
                yield name
        yield from raised(child)


def problems(function: Function, owner: ast.ClassDef | None = None) -> Iterator[str]:
    """Yield what is missing from the docstring of a function or method."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    text = ast.get_docstring(function) or ""
    if function.name == "__init__" and owner is not None:
        text = f"{ast.get_docstring(owner) or ''}\n\n{text}"
    found = sections(text)
    if not text.strip():
        yield "has no docstring"
        return
    if any(decorator.endswith(("property", ".setter")) for decorator in decorators):
        return
    documented = entries(found.get("Args", []))
    if function.name == "__init__":
        documented |= entries(found.get("Attributes", []))
    if missing := [name for name in arguments(function) if name not in documented]:
        yield f"does not document {', '.join(missing)} in 'Args:'"
    returned = None if function.returns is None else ast.unparse(function.returns)
    returns_value = returned not in (None, "None", "NoReturn", "Never", "Self")
    if returns_value and not found.keys() & {"Returns", "Yields"} and not text.startswith(("Return ", "Yield ")):
        yield "has no 'Returns:', and its first line does not start with 'Return' or 'Yield'"
    prose = " ".join(line.strip() for line in found[""])
    errors = {*raised(function), *IN_PROSE.findall(prose)} - documented_errors(found.get("Raises", []))
    if errors:
        yield f"does not document {', '.join(sorted(errors))} in 'Raises:'"


def undocumented() -> Iterator[str]:
    """Yield one line per public name of the API reference whose docstring is missing or incomplete."""
    for module in modules():
        for name in public_names(module):
            home, node, below = find(module, name)
            where = f"{path_of(home).relative_to(ROOT)}:{node.lineno}: {name}"
            if isinstance(node, Function):
                yield from (f"{where} {problem}." for problem in problems(node))
            elif isinstance(node, ast.ClassDef):
                if not ast.get_docstring(node):
                    yield f"{where} has no docstring."
                for member in node.body:
                    if isinstance(member, Function) and (member.name == "__init__" or not member.name.startswith("_")):
                        place = f"{path_of(home).relative_to(ROOT)}:{member.lineno}: {name}.{member.name}"
                        yield from (f"{place} {problem}." for problem in problems(member, node))
            elif not below:
                yield f"{where} has no string below its assignment."


def test_docstrings_of_the_api_reference_are_complete() -> None:
    lines = sorted(set(undocumented()))
    assert not lines, "Complete these docstrings; see CONTRIBUTING.md:\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): ...", ["has no docstring"]),
        ('def f(n: int) -> None:\n    """Do."""', ["does not document n in 'Args:'"]),
        ('def f(n, k) -> None:\n    """Do.\n\n    Args:\n        n, k: numbers.\n    """', []),
        ('def f(_: float) -> None:\n    """Do."""', []),
        (
            'def f() -> int:\n    """Count."""',
            ["has no 'Returns:', and its first line does not start with 'Return' or 'Yield'"],
        ),
        ('def f() -> int:\n    """Return the number."""', []),
        ('def f() -> int:\n    """Count.\n\n    Returns:\n        The number.\n    """', []),
        ('def f() -> None:\n    """Do."""\n    raise ValueError("x")', ["does not document ValueError in 'Raises:'"]),
        ('def f() -> None:\n    """Do. Raises OSError."""', ["does not document OSError in 'Raises:'"]),
        (
            'def f():\n    """Do.\n\n    Raises:\n        OSError: no. KeyError: bad.\n    """\n    raise KeyError',
            [],
        ),
    ],
)
def test_problems_are_found(source: str, expected: list[str]) -> None:
    function = ast.parse(source).body[0]
    assert isinstance(function, Function)
    assert list(problems(function)) == expected
