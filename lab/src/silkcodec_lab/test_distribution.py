"""Test that the laboratory's wheel adds `silk lab` and does not contain tests or results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repository import ROOT
from silkcodec.cli import app
from wheels import build_wheel

LAB = Path(__file__).resolve().parents[2]


def test_the_wheel_contains_only_the_experiments(tmp_path: Path) -> None:
    names, text = build_wheel(LAB, tmp_path)
    assert "[silkcodec.commands]\nlab = silkcodec_lab.cli:lab" in text
    assert "silkcodec_lab/lm_cost/experiment.py" in names
    assert not [name for name in names if "test_" in name or name.endswith(".json")]


@pytest.mark.slow
def test_the_installed_wheels_add_the_command(tmp_path: Path) -> None:
    for folder in (ROOT / "pytorch", LAB):
        build_wheel(folder, tmp_path / folder.name)
    wheels = [str(wheel) for wheel in tmp_path.glob("*/*.whl")]
    target = tmp_path / "target"
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target), *wheels)
    code = """
from importlib.metadata import entry_points
from silkcodec.cli import app
(entry,) = entry_points(group="silkcodec.commands", name="lab")
print(entry.dist.locate_file(""))
app(["lab", "--help"])
"""
    folder, text = run("-c", code, env=os.environ | {"PYTHONPATH": str(target)}).split("\n", 1)
    assert Path(folder) == target
    assert "lm-cost" in text


def run(*arguments: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_silk_lab_is_installed() -> None:
    assert "lm-cost" in CliRunner().invoke(app, ["lab", "--help"]).stdout
