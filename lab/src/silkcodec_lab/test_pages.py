"""Test the list of experiments, their committed results and pages, and their commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silkcodec.cli import app
from silkcodec.errors import ArgumentError
from silkcodec_lab import pages
from silkcodec_lab.cli import COMMANDS, lab

DOCS = Path(__file__).resolve().parents[3] / "docs" / "lab"
COMMITTED = [path for experiment in pages.EXPERIMENTS for path in pages.committed(experiment)]


@pytest.mark.parametrize("measured", COMMITTED, ids=lambda path: path.stem)
def test_committed_pages_match_their_json(measured: Path) -> None:
    result = pages.load_result(measured)
    assert pages.name_of(result) == measured.stem
    written = DOCS / f"{measured.stem}.md"
    assert written.read_text(encoding="utf-8") == pages.render(result), f"run: silk lab page {measured} -o docs/lab"
    assert written.with_suffix(".png").exists()


def test_every_page_in_the_documentation_has_a_committed_result() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == {path.stem for path in COMMITTED}


def test_every_experiment_is_a_command() -> None:
    assert set(COMMANDS) == set(pages.EXPERIMENTS)
    text = CliRunner().invoke(lab, ["--help"]).stdout
    assert all(f" {name} " in text for name in COMMANDS)


def test_a_result_of_another_format_is_an_error(tmp_path: Path) -> None:
    (path,) = pages.committed("lm-cost")
    result = json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / "old.json").write_text(json.dumps({**result, "format": 1}))
    with pytest.raises(ArgumentError, match="Rerun the experiment"):
        pages.load_result(tmp_path / "old.json")


@pytest.mark.parametrize("experiment", pages.EXPERIMENTS)
def test_a_result_without_its_fields_is_an_error(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text(json.dumps({"kind": f"silk lab {experiment}", "format": pages.FORMAT}))
    done = CliRunner().invoke(app, ["lab", "page", str(tmp_path / "part.json"), "-o", str(tmp_path / "out")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "lacks the field" in done.stderr and not (tmp_path / "out").exists()
