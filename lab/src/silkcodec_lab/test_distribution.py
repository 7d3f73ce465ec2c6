"""Test that the laboratory's wheel adds `silk lab` and does not contain tests or results."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from typer.testing import CliRunner

from silkcodec.cli import app

LAB = Path(__file__).resolve().parents[2]


def test_the_wheel_contains_only_the_experiments(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(LAB)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        text = archive.read(entry).decode()
    assert "[silkcodec.commands]\nlab = silkcodec_lab.cli:lab" in text
    assert "silkcodec_lab/lm_cost/experiment.py" in names
    assert not [name for name in names if "test_" in name or name.endswith(".json")]


def test_silk_lab_is_installed() -> None:
    assert "lm-cost" in CliRunner().invoke(app, ["lab", "--help"]).stdout
