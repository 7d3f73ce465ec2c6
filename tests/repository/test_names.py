"""Test that no module uses private names of another module, and that names of modules and classes have one meaning."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from repository import ROOT

FOLDERS = ("src", "pytorch/src", "lab/src", "bench", "fuzz", "web", "website", "examples", "requirements")
PATHS = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not path.name.startswith("test_") and "node_modules" not in path.parts
)
NAMES = [str(path.relative_to(ROOT)) for path in PATHS]

LIBRARIES = {"torch", "signal"}  # libraries with private names that we use because they have no public equivalent
FORBIDDEN = {"pickle", "dill", "joblib", "shelve"}


@functools.cache
def source_trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(NAMES, PATHS, strict=True)}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of_others(tree: ast.AST) -> set[str]:
    """Return private names of other modules that a module reads: `other._name`, `from other import _name`."""
    own, read = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else read).add(node.attr)
            if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", *LIBRARIES}:
                own.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            read.update(alias.name for alias in node.names if node.module not in LIBRARIES)
    return {name for name in read - own if is_private(name)}


@pytest.mark.parametrize("path", NAMES)
def test_no_module_reads_private_names_of_another(path: str) -> None:
    tree = source_trees()[path]
    assert private_names_of_others(tree) == set()
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & FORBIDDEN


def test_private_names_of_others_are_found() -> None:
    code = "from a import _b\nimport c\nc._d\nself._own\n_local = 1\n_local\nc.e"
    assert private_names_of_others(ast.parse(code)) == {"_b", "_d"}


def classes(trees: dict[str, ast.Module]) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield the path and definition of every class."""
    for path, tree in trees.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def private_members(definition: ast.ClassDef, *, reads: bool) -> set[str]:
    """Return the private methods and attributes that a class defines, and with `reads` also those that it reads."""
    names = set()
    for node in ast.walk(definition):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
            names.update([node.attr] if reads or isinstance(node.ctx, ast.Store) else [])
    for node in definition.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return {name for name in names if is_private(name)}


def private_names_of_bases(trees: dict[str, ast.Module]) -> list[str]:
    """Return the private members of base classes in other modules that a class overrides or reads."""
    named = {definition.name: (path, definition) for path, definition in classes(trees)}

    def bases(definition: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
        for base in definition.bases:
            name = ast.unparse(base).split("[")[0].split(".")[-1]
            if name in named and named[name][1] is not definition:
                yield named[name]
                yield from bases(named[name][1])

    return sorted(
        f"{definition.name} in {path}: {base.name}.{name}"
        for path, definition in classes(trees)
        for other, base in bases(definition)
        for name in private_members(definition, reads=True) & private_members(base, reads=False)
        if other != path
    )


def test_no_class_uses_private_names_of_a_base_class_elsewhere() -> None:
    assert private_names_of_bases(source_trees()) == []


def test_private_names_of_base_classes_are_found() -> None:
    base = "class Base:\n    _a: int\n    def _b(self): ...\n    def _c(self): self._e = 1\n    def d(self): ..."
    near = "class Near(Base):\n    def _b(self): ..."
    far = "class Far(base.Near):\n    def _b(self): return self._e\n    def d(self): self._own = self._a"
    trees = {"base.py": ast.parse(f"{base}\n{near}"), "far.py": ast.parse(far)}
    assert [found.partition(": ")[2] for found in private_names_of_bases(trees)] == [
        "Base._a",
        "Base._b",
        "Base._e",
        "Near._b",
    ]


# Names that several modules share, and why that does not mislead.
SHARED_MODULES = {
    "answer": "Each experiment has the same modules.",
    "command": "Each experiment has the same modules.",
    "experiment": "Each experiment has the same modules.",
    "figure": "Each experiment has the same modules.",
    "page": "Each experiment has the same modules.",
    "baselines": "Both packages contain baseline codecs: silkcodec_torch those that need PyTorch.",
    "cli": "Each distribution defines its part of the `silk` command there.",
    "codec": "`silk.codec` implements the interface that `codec` defines.",
    "mel": "`mel` and `nn.mel` compute the same spectrogram with NumPy and PyTorch.",
    "model": "`silk.model` runs the network that `nn.model` defines.",
    "metrics": "Both packages contain metrics for `silk compare`: silkcodec_torch those that need PyTorch.",
}
SHARED_CLASSES = {
    "Reader": "`audio.Reader` and `container.Reader` are public names, always written with their package.",
    "Writer": "`audio.Writer` and `container.Writer` are public names, always written with their package.",
}


def shared(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_modules_with_one_name_have_one_meaning() -> None:
    paths = [Path(path) for path in NAMES if path.startswith(FOLDERS[:3])]
    assert shared(path.parent.name if path.stem == "__init__" else path.stem for path in paths) == set(SHARED_MODULES)


def test_classes_with_one_name_have_one_meaning() -> None:
    assert shared(definition.name for _, definition in classes(source_trees())) == set(SHARED_CLASSES)
