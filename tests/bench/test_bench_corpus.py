"""Test bench/scaling.py: known results of the simulation, and the tables built from its JSON."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import corpus_table
import pytest
import scaling

SURE = scaling.Assumptions(mtbf_hours=math.inf, slow_share=0.0)


def corpus(quick: bool = False) -> dict[str, Any]:
    """Return a measurement of bench/corpus.py: shards of 4 minutes at about 60 x real time, two workers."""
    rng = random.Random(0)
    shards = [{"sound_s": (sound := rng.uniform(200, 280)), "wall_s": sound / rng.uniform(55, 65)} for _ in range(30)]
    wall_s = 2.0 + sum(shard["wall_s"] for shard in shards) / 2
    hours = sum(shard["sound_s"] for shard in shards) / 3600
    engine = {
        "x_realtime": 3600 * hours / wall_s,
        "efficiency": 0.95,
        "start_s": 2.0,
        "wall_s": wall_s,
        "worker_peak_mb": 250.0,
        "worker_peak_growth_mb": 1.5,
        "shards": shards,
        "report": {"hours": hours, "bytes": 700_000 * hours, "quarantined": 0},
    }
    killed = {"kills": 3, "shards_done_at_kills": [7, 15, 22], "rows": 240}
    return {
        "kind": "silk corpus",
        "format": 1,
        "created": "2026-01-02T00:00:00+00:00",
        "quick": quick,
        "conditions": {
            "codec": "silk@aaaaaaaaaaaa",
            "workers": 2,
            "cores": 2,
            "cpu": "a processor",
            "system": "Linux",
            "versions": {"ray": "2"},
            "others_cores": 0.0,
        },
        "single": {"x_realtime": 62.0},
        "engines": {"local": engine, "ray": engine},
        "killed": {"local": killed, "ray": killed},
        "same": {"runs": 4, "shards": 30, "rows": 240, "sha256_of_all": "ab" * 32},
        "recordings": 240,
        "input_bytes": 10_800_000 * hours,
        "plan_bytes": 240 * 150,
    }


def test_known_results() -> None:
    alone = scaling.simulate([10.0] * 7, 1, 2.0, SURE, seed=0)
    assert alone == {"wall_s": 72.0, "work_s": 70.0, "lost_s": 0.0, "losses": 0, "idle_tail_s": 10.0}
    assert scaling.simulate([10.0] * 7, 3, 2.0, SURE, seed=0)["wall_s"] == 32.0
    assert scaling.simulate([5.0, 1.0, 1.0, 1.0], 2, 0.0, SURE, seed=0)["wall_s"] == 5.0


def test_the_cost_of_lost_workers_matches_the_formula() -> None:
    assumed = scaling.Assumptions(mtbf_hours=1.0, slow_share=0.0, replace_s=60.0)
    measured = scaling.ShardTimes((3600.0,), (60.0,), 5.0)
    done = scaling.simulate([600.0] * 40_000, 100, 5.0, assumed, seed=3)
    paper = scaling.on_paper(400_000, 10.0, 100, measured, assumed)
    assert done["wall_s"] == pytest.approx(paper["wall_s"], rel=0.02)
    assert done["work_s"] == pytest.approx(600.0 * 40_000) and done["losses"] > 5_000


def test_long_shards_are_sums_of_measured_ones(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text(json.dumps(corpus()))
    found, measured = scaling.read(tmp_path / "corpus.json")
    assert scaling.replay(found, measured)["ratio"] == pytest.approx(1, abs=0.06)
    for hours in (0.1, 10.0):
        shards = scaling.Shards(measured, hours, random.Random(0))
        mean = sum(shards.draw() for _ in range(2_000)) / 2_000
        assert mean == pytest.approx(3600 * hours * measured.work_per_sound, rel=0.02)


def test_tables_are_built_from_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src/silkcodec/silk/weights").mkdir(parents=True)
    bench = tmp_path / "bench"
    bench.mkdir()
    for name, table in corpus_table.TABLES.items():
        assert table(bench).startswith("Not "), name
    (bench / "corpus.json").write_text(json.dumps(corpus(quick=True)))
    monkeypatch.setattr(scaling, "PLANS", ((1e3, 10), (1e9, 10)))
    monkeypatch.setattr(scaling, "SHARD_HOURS", (10.0, 100.0))
    words = ["scaling", "--corpus", str(bench / "corpus.json"), "--out", str(bench / "scaling.json"), "--price", "2"]
    monkeypatch.setattr(sys, "argv", words)
    scaling.main()
    plan = json.loads((bench / "scaling.json").read_text())["plans"][0]
    assert plan["cost"] == pytest.approx(2 * plan["simulated"]["billed_core_hours"], rel=1e-4)
    texts = {name: table(bench) for name, table in corpus_table.TABLES.items()}
    assert "| `--engine ray` | 3 | 7, 15, 22 | 240 | yes |" in texts["corpus"]
    assert all("quick" in texts[name] for name in ("corpus", "scaling"))
    assert "| 1,000,000,000 | 10 |" in texts["scaling"] and "nan" not in "".join(texts.values())
    assert texts["scaling-shards"].count("\n") == 3 and texts["scaling-checks"].startswith("|")
