"""Test that the laboratory's wheel adds `silk lab` and does not contain tests or results."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from silkcodec.cli import app
from wheels import build_wheel

LAB = Path(__file__).resolve().parents[2]


def test_the_wheel_contains_only_the_experiments(tmp_path: Path) -> None:
    names, text = build_wheel(LAB, tmp_path)
    assert "[silkcodec.commands]\nlab = silkcodec_lab.cli:lab" in text
    assert "silkcodec_lab/lm_cost/experiment.py" in names
    assert not [name for name in names if "test_" in name or name.endswith(".json")]


def test_silk_lab_is_installed() -> None:
    assert "lm-cost" in CliRunner().invoke(app, ["lab", "--help"]).stdout
