"""Test that the report, the `silk explain` page and the documentation site take colors and fonts from one file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from repository import ROOT

HTML = ROOT / "src" / "silkcodec" / "evaluate" / "html"
REPORT = HTML / "report.css"
PAGE = ROOT / "web" / "src" / "style" / "page.css"
SITE = ROOT / "website" / "theme" / "assets" / "silk.css"
COMPONENTS = sorted((ROOT / "web" / "src").rglob("*.svelte"))
SET_IN_SCRIPTS = {"--at"}


def defined(path: Path) -> set[str]:
    """Return the variables that a style sheet or the markup of a component defines."""
    return set(re.findall(r"(?:(?<=style:)|(?<![\w-]))--[\w-]+(?=:|=\{|=\")", path.read_text("utf-8")))


def used(path: Path) -> set[str]:
    return set(re.findall(r"var\((--[\w-]+)", path.read_text("utf-8")))


@pytest.mark.parametrize("path", [REPORT, PAGE, SITE, *COMPONENTS], ids=lambda path: path.name)
def test_all_variables_are_tokens_or_defined_in_the_style_sheet(path: Path) -> None:
    own = defined(PAGE) | defined(path) if path in COMPONENTS else defined(path)
    assert used(path) - {name for name in used(path) if name.startswith("--md-")} <= (
        own | defined(HTML / "tokens.css") | SET_IN_SCRIPTS
    )


@pytest.mark.parametrize("path", [REPORT, PAGE, SITE], ids=lambda path: path.name)
def test_no_style_sheet_defines_a_token_or_a_font_again(path: Path) -> None:
    for_screens = path.read_text("utf-8").partition("@media print")[0]
    assert not set(re.findall(r"(--[\w-]+):", for_screens)) & defined(HTML / "tokens.css")
    assert not re.search(r"Inter|Georgia|Source Serif|Menlo", for_screens)


def test_all_three_include_the_tokens() -> None:
    assert f'@import "../../../{(HTML / "tokens.css").relative_to(ROOT)}"' in PAGE.read_text("utf-8")
    assert "extra_css: [assets/tokens.css, assets/silk.css]" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert '"evaluate" / "html" / "tokens.css"' in (ROOT / "website" / "hooks.py").read_text("utf-8")
    assert '_asset("tokens.css") + _asset("report.css")' in (HTML / "__init__.py").read_text("utf-8")
