"""Test metrics of other distributions, including missing and broken ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

from silkcodec.errors import ArgumentError
from silkcodec.evaluate import metrics
from silkcodec.evaluate.metrics import GROUP, METRICS, Pair, find_metrics, registered
from speechlike import speechlike


def install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(metrics, "entry_points", EntryPoints(points).select)


def test_a_metric_of_another_distribution_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("loudness")
    module.METRIC = replace(METRICS["level_db"], name="loudness", measure=lambda pair: 7.0)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "loudness", module)
    install(monkeypatch, EntryPoint("loudness", "loudness:METRIC", GROUP))
    assert list(registered()) == [*METRICS, "loudness"]
    (metric,) = find_metrics(["loudness"])
    wave = speechlike(1.0)
    assert metric.missing() is None and metric(Pair(wave, wave)) == 7.0


def test_a_broken_metric_does_not_affect_other_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, EntryPoint("broken", "no_such_module:METRIC", GROUP))
    level, broken = find_metrics(["level_db", "broken"])
    assert level.missing() is None
    assert "no_such_module" in (broken.missing() or "") and "Reinstall" in (broken.missing() or "")


def test_other_distributions_cannot_replace_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, EntryPoint("level_db", "no_such_module:METRIC", GROUP))
    assert registered()["level_db"] is METRICS["level_db"]


@pytest.mark.parametrize("name", ["speaker_similarity", "distillmos"])
def test_without_silkcodec_torch_the_error_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (metric,) = find_metrics([name], {"speaker": "some/model"})
    with pytest.raises(ArgumentError, match=r"pip install \./pytorch$"):
        metric.require()
    assert list(registered()) == list(METRICS)
