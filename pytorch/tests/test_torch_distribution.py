"""Test that the silkcodec-torch wheel adds commands and metrics, which load without heavy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repository import ROOT
from silkcodec.cli import app
from wheels import build_wheel


def test_the_wheel_contains_the_package_and_its_configs(tmp_path: Path) -> None:
    names, text = build_wheel(ROOT / "pytorch", tmp_path)
    assert "train = silkcodec_torch.cli:train" in text and "export = silkcodec_torch.cli:export" in text
    assert "speaker_similarity = silkcodec_torch.metrics.speaker:METRIC" in text
    assert {"silkcodec_torch/nn/encoder.py", "silkcodec_torch/train/configs/default.toml"} <= set(names)
    assert not [name for name in names if "test_" in name]


def test_help_lists_the_commands_in_their_section() -> None:
    lines = CliRunner().invoke(app, ["--help"]).stdout.split("\nTraining:\n")[1].splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["train", "export"]
    assert "Not installed" not in CliRunner().invoke(app, ["train", "--help"]).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "missing.toml", "-o", "run"], "Config not found: 'missing.toml'. Pass a .toml file or one of: "),
        (["export", "missing", "-o", "out"], "Run not found: 'missing'"),
        (["export", "-o", "out"], "RUN is missing"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_commands_import_nothing_heavy() -> None:
    code = "import sys, silkcodec_torch.cli; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"numpy", "torch", "onnxruntime", "soundfile", "rich"} & set(done.stdout.split())
