"""Test that the files of a release agree: versions, package metadata, and the length of the README."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import groupby

import pytest

import silkcodec
from repository import ROOT

DISTRIBUTIONS = {".": "src/silkcodec", "pytorch": "pytorch/src/silkcodec_torch", "lab": "lab/src/silkcodec_lab"}
MAX_README_LINES = 120
MAX_TABLE_ROWS = 6


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project(folder: str) -> dict:
    return tomllib.loads(text(f"{folder}/pyproject.toml"))["project"]


def test_all_distributions_have_the_same_version() -> None:
    found = [
        re.findall(r'^__version__ = "(.+)"$', text(f"{package}/__init__.py"), re.M)
        for package in DISTRIBUTIONS.values()
    ]
    assert found == [[silkcodec.__version__]] * len(DISTRIBUTIONS)
    assert json.loads(text("web/codec/package.json"))["version"] == silkcodec.__version__


def test_the_documents_name_the_current_version() -> None:
    assert re.findall(r"^version: (\S+)$", text("CITATION.cff"), re.M) == [silkcodec.__version__]
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.M)[0] == silkcodec.__version__
    archives = [
        name
        for page in ("docs/browser.md", "web/codec/README.md")
        for name in re.findall(r"silkcodec-[\d.]+\.tgz", text(page))
    ]
    assert set(archives) == {f"silkcodec-{silkcodec.__version__}.tgz"}


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_a_distribution_has_keywords_and_classifiers(folder: str) -> None:
    described = project(folder)
    assert described["keywords"] and described["license"] == "Apache-2.0"
    typed = (ROOT / DISTRIBUTIONS[folder] / "py.typed").is_file()
    assert ("Typing :: Typed" in described["classifiers"]) == typed
    assert "Programming Language :: Python :: 3.11" in described["classifiers"]


def test_the_readme_is_short() -> None:
    lines = text("README.md").splitlines()
    assert len(lines) <= MAX_README_LINES
    tables = [len(list(rows)) - 2 for is_row, rows in groupby(lines, lambda line: line.startswith("|")) if is_row]
    assert tables and max(tables) <= MAX_TABLE_ROWS


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_training_data_is_that_of_the_model_card(page: str) -> None:
    ((hours, languages),) = re.findall(r"only (\d+) hours of .*? in (\d+) languages and variants", text(page))
    listed = re.findall(r"([\d.]+) hours, (\d+) languages and variants\.", text("src/silkcodec/silk/weights/README.md"))
    assert (hours, languages) in [(f"{float(total):.0f}", count) for total, count in listed]
