"""The generated parts of the documentation site (website/), without MkDocs. `make docs` builds the site itself."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

import numpy as np
import pytest

import api_reference
from repository import DOCS, ROOT
from silkcodec import audio
from silkcodec.cli import app
from silkcodec.silk import EMBEDDED, Silk

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))


@pytest.fixture
def website(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of website/."""
    monkeypatch.syspath_prepend(str(ROOT / "website"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in ("commands", "drawing", "house_style", "linked_files", "listening"):
        if name not in before:
            sys.modules.pop(name, None)


def test_every_file_that_a_page_links_to_exists(website: Any) -> None:
    linked = list(website("linked_files").Repository(ROOT).linked(PAGES))
    assert "src/silkcodec/silk/model.py" in linked and "examples/quickstart.ipynb" in linked
    assert not any(name.startswith("docs/") for name in linked)


def test_links_to_files_lead_to_their_pages(website: Any) -> None:
    repository = website("linked_files").Repository(ROOT)
    text = "[a](../src/silkcodec/mel.py), [b](codecs.md#weights), [c](../samples/english.flac), `[d](x)`, [e](../lab)"
    assert repository.with_site_links(text, "docs/server.md") == (
        "[a](files/src/silkcodec/mel.py.md), [b](codecs.md#weights), [c](files/samples/english.flac), `[d](x)`, "
        "[e](files/lab/README.md)"
    )
    assert repository.with_site_links("[f](../docs/format.md)", "lab/README.md") == "[f](../../format.md)"
    with pytest.raises(website("linked_files").BrokenLink, match="nonesuch"):
        repository.with_site_links("[g](../nonesuch.py)", "docs/server.md")


def test_every_page_is_in_the_navigation() -> None:
    """MkDocs checks this too; here it fails without MkDocs."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r"([\w/-]+\.md)$", navigation, re.MULTILINE))
    assert named - {"cli.md"} == {page.removeprefix("docs/") for page in PAGES}


def test_the_page_of_the_command_line_has_every_command(website: Any) -> None:
    pytest.importorskip("silkcodec_lab", reason="needs silkcodec-lab")
    page = website("commands").page(ROOT)
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"\n## silk {command.callback.__name__}\n" in page
    assert "\n## silk train\n" in page and "--same-encoder" in page
    assert "| `--entropy` |" in page and "\n### silk lab coverage\n" in page


def test_a_drawing_has_every_name_and_arrow(website: Any) -> None:
    drawn = website("drawing").svg("flowchart TD\n    a --> b\n    b --> c\n    a --> c\n")
    assert re.findall(r"<text[^>]*>(\w)</text>", drawn) == ["a", "b", "c"]
    assert drawn.count("marker-end") == 3


def test_the_decoded_samples_are_those_of_the_embedded_weights(website: Any) -> None:
    """If this fails after a change of the weights, run: python website/listening.py"""
    listening = website("listening")
    folder = ROOT / "samples" / "decoded"
    names = {f"{sample}-{name.replace(':', '-')}.flac" for sample in listening.SAMPLES for name in listening.COMMITTED}
    assert names | {"README.md"} == {path.name for path in folder.iterdir()}
    assert max((folder / name).stat().st_size for name in names) < 150_000
    assert Silk(EMBEDDED).codec_id in (folder / "README.md").read_text(encoding="utf-8")
    wave, _ = listening.decode(Silk(EMBEDDED), audio.read(ROOT / "samples" / "english.flac"))
    assert np.abs(wave - audio.read(folder / "english-silk.flac")).max() < 0.01


def test_docstrings_are_rewritten(website: Any) -> None:
    style = website("house_style")
    plain = "Cut.\n\nArgs:\n    n: samples,\n        or 0.\n\nReturns:\n    int64 [F]."
    assert style.rewritten(plain) == plain
    assert style.rewritten("Do.\n\nArgs:\n    a, b: text.") == "Do.\n\nArgs:\n    a: text.\n    b: text."
    assert style.rewritten("Do.\n\n>>> 1\n1") == "Do.\n\nExamples:\n    >>> 1\n    1"
    assert style.rewritten("Do.\n\nx -> y\nxx  z") == "Do.\n\n    x -> y\n    xx  z"


def test_the_reference_names_modules() -> None:
    files = {api_reference.path_of(name) for name in api_reference.modules()}
    assert len(files) > 10
    assert {file for file in files if not file.is_file()} == set()


def test_every_table_of_measurements_is_on_one_page() -> None:
    pages = [ROOT / name for name in ("README.md", "bench/README.md", "web/README.md", *PAGES)]
    markers = [
        name for page in pages for name in re.findall(r"^<!-- bench:([\w-]+) -->$", page.read_text("utf-8"), re.M)
    ]
    assert len(markers) > 20
    assert sorted(name for name in set(markers) if markers.count(name) > 1) == []
