"""Test that the table in docs/metrics.md matches the code."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from repository import DOCS
from silkcodec.evaluate.markdown import table
from silkcodec.evaluate.metrics import GROUP, METRICS, Metric, registered

PAGE = DOCS / "metrics.md"
needs_torch_metrics = pytest.mark.skipif(
    not entry_points(group=GROUP, name="distillmos"), reason="needs silkcodec-torch (pip install -e ./pytorch)"
)


def needs(metric: Metric) -> str:
    distribution = "" if metric.distribution == "silkcodec" else metric.distribution
    extra = [f"`{distribution}[{metric.extra}]`"] if metric.packages else []
    model = [f"a model, `{metric.model_key}=`"] if metric.model_key else []
    return ", ".join([*extra, *([metric.needs] if metric.needs else []), *model]) or "nothing"


def documented() -> str:
    rows = []
    for metric in (registered()[name] for name in METRICS):
        better = {"higher": "higher", "lower": "lower", "zero": "at zero", "original": "at the original"}[metric.better]
        name, source = f"`{metric.name}`", metric.source
        rows.append([name, metric.label, metric.what, metric.unit, better, needs(metric), source])
    return table(["name", "column", "meaning", "unit", "better", "needs", "source"], rows, numeric=False)


@needs_torch_metrics
def test_the_documented_table_matches_the_code() -> None:
    assert documented() in PAGE.read_text(encoding="utf-8"), (
        "print it with: PYTHONPATH=tests/helpers python tests/evaluate/test_metrics_docs.py"
    )


@needs_torch_metrics
def test_every_metric_has_a_description_and_a_source() -> None:
    found = registered().values()
    assert [metric.name for metric in found if not (metric.what and metric.source and metric.label)] == []


if __name__ == "__main__":
    print(documented())
