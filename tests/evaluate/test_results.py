"""Test that results are JSON with one record per line, including committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repository import ROOT
from silkcodec.evaluate import results

COMMITTED = sorted(
    {*ROOT.glob("bench/**/*.json"), *ROOT.glob("lab/src/*/*/results/*.json")} - {ROOT / "bench" / "targets.json"}
)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_committed_results_have_one_record_per_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == results.to_json(json.loads(text))


def test_text_contains_the_same_values() -> None:
    result = {"a": None, "b": [], "c": {}, "d": [[1, 2], [3.5]], "e": [{"f": {"g": {"h": [1, {"i": "é"}]}}}], "j": True}
    assert json.loads(results.to_json(result)) == result
    with pytest.raises(ValueError, match="JSON"):
        results.to_json({"mean": float("nan")})


def test_rounded_keeps_six_digits() -> None:
    assert results.rounded({"a": (1 / 3, 7), "b": [123456789.0]}) == {"a": [0.333333, 7], "b": [123457000.0]}


def test_head_contains_kind_and_time() -> None:
    head = results.head("silk x", 3)
    assert (head["kind"], head["format"]) == ("silk x", 3) and head["created"].endswith("+00:00")
