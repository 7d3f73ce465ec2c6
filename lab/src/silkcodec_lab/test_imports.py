"""Test that the laboratory imports only public names from the other distributions, and that `silk lab` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def test_only_public_names_are_imported() -> None:
    private = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("silkcodec.", "silkcodec_torch.")):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]  # type: ignore[union-attr]
                private += [f"{path.name}: {name}" for name in names if name.startswith("_")]
    assert private == []


def test_the_command_imports_nothing_heavy() -> None:
    code = "import sys, silkcodec_lab.cli; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"numpy", "torch", "matplotlib", "onnxruntime", "soundfile", "rich"} & set(done.stdout.split())
