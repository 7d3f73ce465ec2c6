"""Test docs/architecture.md: named files exist, and arrows of its drawing are imports."""

from __future__ import annotations

import re

import pytest
from test_import_circles import graph

from repository import ROOT

PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
DRAWING = re.search(r"```mermaid\n(.*?)```", TEXT, re.DOTALL)
ARROWS = re.findall(r"^ +(\S+) --> (\S+)$", DRAWING[1] if DRAWING else "", re.MULTILINE)


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    return graph(ROOT / "src", deferred=True)


def test_every_line_of_the_drawing_is_an_arrow() -> None:
    assert DRAWING is not None
    assert len(ARROWS) == len(DRAWING[1].strip().splitlines()) - 1 > 10  # the first line says that it is a flowchart


@pytest.mark.parametrize("arrow", ARROWS, ids=" -> ".join)
def test_every_arrow_is_an_import(arrow: tuple[str, str], imports: dict[str, set[str]]) -> None:
    upper, lower = (f"silkcodec.{name}" for name in arrow)
    assert upper in imports and lower in imports
    assert lower in imports[upper]


def test_every_module_named_exists(imports: dict[str, set[str]]) -> None:
    table = TEXT.split("## Other packages")[1]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}
    named |= {name for name in re.findall(r"`(\w+\.\w+)`", TEXT) if not name.endswith(".py")}
    assert len(named) > 10
    assert {name for name in named if f"silkcodec.{name}" not in imports} == set()


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((.+?)\)", TEXT)
    assert len(links) > 5
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []


def test_the_package_stays_small() -> None:
    """With PyTorch, training and the experiments, the package had 30,016 lines."""
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "src").rglob("*.py"))
    assert lines <= 30_016 - 8_000


def test_the_package_root_stays_small() -> None:
    files = [path.name for path in (ROOT / "src" / "silkcodec").iterdir() if path.is_file()]
    assert len(files) <= 10, files
