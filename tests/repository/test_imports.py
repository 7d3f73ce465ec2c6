"""Test the import rules: one direction, one module per library, and no slow imports at start."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repository import ROOT

SOURCE = ROOT / "src"
PACKAGE = SOURCE / "silkcodec"

# A module imports only from its own floor or one below, at its top. Parts of a name count for all below it.
FLOORS = [
    {"errors", "spec", "tokens", "mel", "parallel"},
    {"output", "progress", "audio", "container", "lm", "bare_codes", "picture"},
    {"codec", "silk"},
    {"files", "baselines", "evaluate", "corpus", "serve"},
    {"cli"},
]

DOORS = {  # library -> the only modules that may import it
    "onnxruntime": {"silk.graphs", "evaluate.metrics"},
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "PIL": {"picture"},
    "constriction": {"container.payload"},
    "typer": {"cli"},
    "rich": {"cli.console", "progress", "evaluate"},
    "torch": set(),
    "transformers": set(),
    "huggingface_hub": set(),
    "snac": set(),
    "ray": {"corpus.ray"},
    "pyarrow": {"corpus"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve.connections", "serve.server"},
    "websockets": {"serve.client", "serve.connections"},
    "prometheus_client": {"serve.prometheus"},
    "matplotlib": {"evaluate"},
    "jinja2": {"evaluate.html"},
    "pesq": {"evaluate"},
    "pystoi": {"evaluate"},
    "pyworld": {"evaluate"},
    "visqol": {"evaluate"},
    "faster_whisper": {"evaluate"},
    "rapidfuzz": {"evaluate"},
    "distillmos": set(),
    "silkcodec_torch": set(),
    "silkcodec_lab": set(),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(name: str, *, top_only: bool) -> set[str]:
    """Return absolute names that a module imports; `from a import b` gives a and a.b, which may be a module."""
    tree = tree_of(MODULES[name])
    found: set[str] = set()
    is_package = MODULES[name].name == "__init__.py"
    here = ["silkcodec", *(name.split(".") if name else [])]

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and top_only:
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                up = child.level - 1 if is_package else child.level
                base = here[: len(here) - up] if child.level else []
                source = ".".join([*base, *([child.module] if child.module else [])])
                found.update({source} | {f"{source}.{alias.name}" for alias in child.names})
            visit(child)

    visit(tree)
    return found


def own(found: set[str]) -> set[str]:
    """Return the modules of this package among them, without the package's name."""
    names = {name.removeprefix("silkcodec.") for name in found if name.startswith("silkcodec.")}
    return {name for name in names if name in MODULES}


def floor(name: str) -> int | None:
    return next((i for i, names in enumerate(FLOORS) if name.split(".")[0] in names), None)


def test_every_module_has_its_place() -> None:
    homeless = [name for name in MODULES if name and floor(name) is None]
    assert homeless == [], "give new modules a floor in this test"


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_point_one_way(name: str) -> None:
    for other in own(imports(name, top_only=True)):
        here, there = floor(name), floor(other)
        assert here is not None and there is not None and there <= here, f"{name} imports {other}, above it"


@pytest.mark.parametrize("name", MODULES)
def test_each_library_has_one_door(name: str) -> None:
    for full in imports(name, top_only=False):
        library = full.split(".")[0]
        doors = DOORS.get(library)
        if doors is not None:
            inside = any(name == door or name.startswith(f"{door}.") for door in doors)
            assert inside, f"{name} imports {library}, whose door is {sorted(doors)}"


def test_only_the_command_line_imports_cli() -> None:
    """Imports inside functions and those of the other distributions count, too."""
    sources = [path for tree in ("src", "pytorch/src", "lab/src") for path in (ROOT / tree).rglob("*.py")]
    outside = [path for path in sources if PACKAGE / "cli" not in path.parents and not path.name.startswith("test_")]
    assert len(outside) > 100
    imports_cli = re.compile(r"silkcodec\.cli\b|silkcodec import .*\bcli\b")
    assert [path for path in outside if imports_cli.search(import_statements(path))] == []


def import_statements(path: Path) -> str:
    """Return the import statements of a module, wherever they are."""
    nodes = ast.walk(tree_of(path))
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"numpy", "onnxruntime", "soundfile", "soxr", "PIL", "typer", "rich", "torch", "scipy", "constriction"}
    assert not loaded_after("import silkcodec; silkcodec.__version__; dir(silkcodec)") & heavy
    assert not loaded_after("from silkcodec import load, Codec, Tokens, SilkError") & (heavy - {"numpy"})


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "onnxruntime", "soundfile", "soxr", "PIL", "rich", "torch", "scipy", "constriction"}
    for words in (["--help"], ["encode", "--help"], ["--version"]):
        code = f"""
from silkcodec.cli import app
try:
    app({words!r})
except SystemExit as end:
    assert not end.code
"""
        assert not loaded_after(code) & heavy


def test_a_command_imports_neither_other_commands_nor_the_entry_points() -> None:
    code = """
import sys
from silkcodec.cli import app
try:
    app(["codecs", "--help"])
except SystemExit as end:
    assert not end.code
loaded = {name for name in ("comparison", "corpora", "learning", "commands") if f"silkcodec.cli.{name}" in sys.modules}
assert loaded == set(), loaded
"""
    loaded_after(code)


def test_every_public_name_is_there() -> None:
    silkcodec = importlib.import_module("silkcodec")
    assert all(getattr(silkcodec, name) is not None for name in silkcodec.__all__)
    errors = importlib.import_module("silkcodec.errors")
    assert {name for name in vars(errors) if name.endswith("Error")} <= set(silkcodec.__all__)
