"""Test that the benchmarks report wrong options and failures in one sentence, before they measure anything."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import choose_table
import corpus
import numpy as np
import program
import pytest
import server
import server_load
import tables

PROGRAMS = ("speed", "codec_bench", "corpus", "server", "server_neighbor", "scaling", "loudness", "spectrograms")

Fails = Callable[..., str]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Return a function that runs a program, checks that it exits with 2, and returns the last line of its errors."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit) as stopped:
            program.run(importlib.import_module(name).main)
        assert stopped.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_folder_of_the_result_must_exist(name: str, fails: Fails) -> None:
    assert "must be a file in an existing folder; got 'nowhere/x.json'" in fails(name, "--out", "nowhere/x.json")
    assert "must be a file in an existing folder; got '.'" in fails(name, "--out", ".")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["corpus", "--speech", "nowhere", "--out", "x.json"], "Cannot read manifest 'nowhere/INDEX.tsv'"),
        (["server", "--memory", "--out", "x.json"], "'x.json' does not exist"),
        (["scaling", "--corpus", "nowhere.json", "--out", "x.json"], "File not found: 'nowhere.json'."),
        (["scaling", "--corpus", "nowhere.json", "--out", "x.json", "--mtbf-hours", "0"], "between 1 and 1,000,000"),
        (["scaling", "--corpus", "nowhere.json", "--out", "x.json", "--mtbf-hours", "inf"], "got inf."),
        (["scaling", "--corpus", "nowhere.json", "--out", "x.json", "--slow-share", "nan"], "got nan."),
        (["tables", "--keep", "--check"], "not allowed with argument"),
    ],
)
def test_wrong_options_give_one_sentence(fails: Fails, words: list[str], says: str) -> None:
    assert says in fails(*words)


def test_a_damaged_result_gives_one_sentence(fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "codecs.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert fails("tables").startswith("Cannot read 'codecs.json':")


def test_a_codec_without_speed_has_a_dash(tmp_path: Path) -> None:
    rates = {"tokens_per_second": 47.5, "bits_per_second": 960.0}
    speed = {way: {"times_real_time": 20.0} for way in ("encode", "decode")}
    codecs = {
        "silk": {**rates, "speed": speed},
        "mimi:8": {"failed": "no weights"},
        "snac:24k": {**rates, "speed": None},
    }
    measured = {"kind": "silk codecs", "format": 1, "quick": False, "codecs": codecs}
    (tmp_path / "held_out.json").write_text(json.dumps({"kind": "silk held-out", "format": 1, "codecs": {}}))
    for quick, shown in ((False, "20x / 20x"), (True, "-")):
        (tmp_path / "codecs.json").write_text(json.dumps({**measured, "quick": quick}))
        rows = {row.split(" | ")[0].strip("| *"): row for row in choose_table.choose(tmp_path).splitlines()}
        assert f"| 47.5 | 960 | - | - | - | {shown} |" in rows["silk"]
        assert "| 47.5 | 960 | - | - | - | - |" in rows["snac:24k"]
        assert "| - | - | - | - | - | - |" in rows["mimi:8"] and "| - | - | - | - | - | - |" in rows["dac:44k"]


def test_messages_contain_all_samples() -> None:
    speech: Any = SimpleNamespace(pcm=np.arange(25_000, dtype="<i2"), n_frames=2)
    for chunk_ms, n_messages in ((100.0, 11), (125.0, 9)):
        messages, complete = server_load.agenda("encode", speech, chunk_ms)
        assert len(messages) == n_messages and messages[-1][0] == 25_000 / 24_000
        assert b"".join(message for _, message in messages) == speech.pcm.tobytes()
        assert complete[0] == pytest.approx(-(-10_080 // (24 * chunk_ms)) * chunk_ms / 1000)


def test_workers_that_survive_a_kill_make_the_run_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plan.json").write_text('{"n_shards": 2}')
    monkeypatch.setattr(corpus, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(corpus, "ledger", lambda out: [{}, {}])
    monkeypatch.setattr(corpus, "bury", lambda family: 1)
    with pytest.raises(SystemExit, match="1 worker processes were still running"):
        corpus.interrupted("local", tmp_path / "listed", tmp_path, 1, 1)


@pytest.mark.parametrize(("changes", "is_failed"), [({}, False), ({"wrong": 1}, True), ({"n_streams": 3}, True)])
def test_faults_that_affect_other_streams_make_the_run_fail(
    changes: dict[str, int], is_failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"n_streams": 2, "wrong": 0, "missing": 0, "late": 0, **changes}
    monkeypatch.setattr(server, "generator", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(server, "result_of", lambda _: {"outcomes": {"ended": 1, "worker_lost": 1}, **counts})
    monkeypatch.setattr(server.os, "kill", lambda *_: None)
    for name in ("vanish", "chatter", "oversize", "trickle"):
        monkeypatch.setattr(server, name, lambda *_: None)
    calls: Any = dict.fromkeys(("wait_for", "wait_for_workers"), lambda *_, **__: None)
    running: Any = SimpleNamespace(workers=lambda _: [1], **calls)
    with pytest.raises(SystemExit, match="affected streams that were not") if is_failed else contextlib.nullcontext():
        assert server.faults(running, 1, 0.0)["told_of_worker"] == 1
