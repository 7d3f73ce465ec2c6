"""Test that `silk tokenize` writes every row once, with the same bytes after any interruption."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import corpuscodecs
from corpuscodecs import shards
from silkcodec import audio
from silkcodec.cli import app
from silkcodec.corpus import Options, read, tokenize
from silkcodec.corpus.checking import check
from silkcodec.corpus.ledger import Ledger, locked
from silkcodec.corpus.shard import facts_of, load_codec
from silkcodec.errors import ArgumentError, OutputError
from silkcodec.silk import Silk
from waiting import PATIENCE_S, wait_until

pytest.importorskip("pyarrow", reason="needs [corpus]")
PEAKS = Options("peaks", workers=1, shard_items=2)


@pytest.fixture(autouse=True)
def peaks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    corpuscodecs.install(tmp_path_factory.mktemp("plugin"), monkeypatch)


def ids(folder: Path) -> list[str]:
    return [row.id for row in read(folder, verify=True)]


def test_rows_have_the_tokens_of_the_codec(tmp_path: Path, codec: Silk, speech: Any) -> None:
    for name, n in (("b/two", 30_000), ("one", 98_400)):
        audio.write(tmp_path / "in" / f"{name}.wav", speech[:n])
    report = tokenize([tmp_path / "in"], tmp_path / "out", Options(str(codec.folder), workers=2, shard_items=1))
    rows = list(read(tmp_path / "out", verify=True))
    assert [(row.id, row.path, row.start) for row in rows] == [("b/two", "b/two.wav", 0), ("one", "one.wav", 0)]
    for row in rows:
        assert row.tokens == codec.encode(audio.read(tmp_path / "in" / row.path), 24_000)
    assert report["rows"] == 2 and report["tokens"] == sum(row.tokens.n_tokens for row in rows)
    assert report["bits"] == pytest.approx(sum(384 * row.tokens.n_frames for row in rows))
    assert report["hours"] == pytest.approx(128_400 / 24_000 / 3600)


@pytest.mark.parametrize("file_format", ["parquet", "webdataset"])
def test_the_number_of_workers_does_not_change_the_bytes(tmp_path: Path, file_format: str) -> None:
    corpuscodecs.clips(tmp_path / "in", 7)
    for workers in (1, 3):
        options = Options("peaks", file_format, workers=workers, shard_items=2)
        report = tokenize([tmp_path / "in"], tmp_path / f"out{workers}", options)
        assert (report["shards"], report["rows"], report["quarantined"]) == (4, 7, 0)
    assert shards(tmp_path / "out1") == shards(tmp_path / "out3")
    assert ids(tmp_path / "out1") == [f"clip{i:03d}" for i in range(7)]
    codec = corpuscodecs.Peaks()
    for row in read(tmp_path / "out1"):
        assert row.tokens == codec.encode(audio.read(tmp_path / "in" / row.path), 24_000)


@pytest.mark.slow
def test_a_killed_run_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpuscodecs.clips(tmp_path / "in", 24, 0.1)
    tokenize([tmp_path / "in"], tmp_path / "whole", PEAKS)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "silkcodec.cli", "tokenize", str(tmp_path / "in"), "-o", str(out)]
    command += ["--codec", "peaks", "--shard-items", "2", "--workers", "2"]
    for n_there, how, code in ((2, signal.SIGINT, 130), (6, signal.SIGKILL, -9)):
        monkeypatch.setenv("PEAKS_HANGS_FROM", str(2_400 + 240 * 2 * n_there))  # in shard n_there
        run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        wait_until(lambda n=n_there, run=run: len(shards(out)) >= n or run.poll() is not None)
        assert run.poll() is None, "the run ended before it was killed"
        os.killpg(run.pid, how)
        assert run.wait(PATIENCE_S) == code
        assert len(shards(out)) < 12
        with open(out / "ledger.jsonl", "ab") as ledger:
            ledger.write(b'{"plan": "torn, as by a lo')
        (out / ".tokens-00011-of-00012.parquet.ab12.part").write_bytes(b"half")
    monkeypatch.delenv("PEAKS_HANGS_FROM")
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert shards(out) == shards(tmp_path / "whole"), "the bytes must be those of an uninterrupted run"
    assert ids(out) == [f"clip{i:03d}" for i in range(24)]
    assert not list(out.glob(".*.part"))
    records = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    assert {record["file"]: record["sha256"] for record in records} == shards(out)


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    corpuscodecs.clips(tmp_path / "in", 8)
    tokenize([tmp_path / "in"], tmp_path / "whole", PEAKS)
    killed = []

    def kill(begun: int, total: int, text: str) -> None:
        if begun in (1, 5) and begun not in killed:
            killed.append(begun)
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    report = tokenize([tmp_path / "in"], tmp_path / "out", PEAKS, progress=kill)
    assert killed == [1, 5] and report["quarantined"] == 0
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_a_finished_corpus_is_not_changed(tmp_path: Path) -> None:
    corpuscodecs.clips(tmp_path / "in", 3)
    first = tokenize([tmp_path / "in"], tmp_path / "out", PEAKS)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("tokens-*")}
    again = tokenize([tmp_path / "in"], tmp_path / "out", PEAKS)
    assert again["this_run"]["shards"] == 0 and again["rows"] == first["rows"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("tokens-*")} == times
    next(iter(times)).write_bytes(b"truncated")
    assert tokenize([tmp_path / "in"], tmp_path / "out", PEAKS)["this_run"]["shards"] == 1
    assert ids(tmp_path / "out") == ["clip000", "clip001", "clip002"]


def test_another_plan_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = corpuscodecs.clips(tmp_path / "in", 3), tmp_path / "out"
    tokenize([folder], out, PEAKS)
    before = shards(out)
    for options, says in (
        (Options("peaks", shard_items=3), "started with shard_items = 2; got 3"),
        (Options("silk", shard_items=2), "started with codec = peaks@"),
        (Options("peaks", "webdataset", shard_items=2), "started with file_format = parquet"),
    ):
        with pytest.raises(OutputError, match=says):
            tokenize([folder], out, options)
    with monkeypatch.context() as patch:
        patch.setenv("PEAKS_WEIGHTS", "ffffffffffff")
        with pytest.raises(OutputError, match="peaks@0123456789ab; got peaks@ffffffffffff"):
            tokenize([folder], out, PEAKS)
    os.replace(corpuscodecs.clips(tmp_path / "more", 4) / "clip003.wav", folder / "clip003.wav")
    with pytest.raises(OutputError, match=r"recordings have changed.* The run has 3 .* now contain 4"):
        tokenize([folder], out, PEAKS)
    (folder / "clip003.wav").unlink()
    with open(out / "plan.jsonl", "ab") as body:
        body.write(b'{"items":[]}\n')
    tokenize([folder], out, PEAKS)  # The plan is restored from the inputs.
    assert shards(out) == before and check(out)["problems"] == []
    (out / "plan.jsonl").unlink()
    tokenize([folder], out, PEAKS)
    assert shards(out) == before and check(out)["rows"] == 3
    with pytest.raises(OutputError, match=r"must be empty or contain a corpus; it contains 'clip000\.wav'"):
        tokenize([folder], folder, PEAKS)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    corpuscodecs.clips(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="Another run is using"):
        tokenize([tmp_path / "in"], tmp_path / "out", PEAKS)


def test_bad_recordings_are_quarantined_and_counted(tmp_path: Path) -> None:
    folder, out = corpuscodecs.clips(tmp_path / "in", 3), tmp_path / "out"
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.flac").write_text("no sound")
    whole = (folder / "clip002.wav").read_bytes()
    audio.write(folder / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 40_000).astype(np.float32))
    (folder / "cut.flac").write_bytes((folder / "cut.flac").read_bytes()[:20_000])
    audio.write(folder / "kills.wav", np.zeros(corpuscodecs.KILLS, np.float32))
    audio.write(folder / "raises.wav", np.zeros(corpuscodecs.RAISES, np.float32))
    audio.write(folder / "long.wav", np.zeros(80_000, np.float32))
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "secret.wav").symlink_to("/etc/hostname")
    (folder / "two\nlines.wav").write_bytes(whole)
    options = Options("peaks", workers=2, shard_items=4, max_hours=3 / 3600)
    report = tokenize([folder], out, options)
    assert ids(out) == ["clip000", "clip001", "clip002"]
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert {line["id"]: line["reason"] for line in lines} == {
        "empty": "unreadable",
        "text": "unreadable",
        "cut": "unreadable",
        "kills": "crash",
        "raises": "codec",
        "long": "too long",
        "pipe": "unreadable",
        "gone": "missing",
        "secret": "outside",
        "two\\nlines": "name",
    }
    assert report["quarantined"] == 10 and report["recordings"] == 13 and report["rows"] == 3
    assert report["quarantined_by_reason"]["unreadable"] == 4
    assert "SIGKILL" in next(line["message"] for line in lines if line["id"] == "kills")
    again = tokenize([folder], out, options)
    assert again["quarantined_by_reason"] == report["quarantined_by_reason"], "a resumed run keeps the quarantine"


def test_long_recordings_can_be_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    audio.write(tmp_path / "in/a.wav", rng.uniform(-0.5, 0.5, 60_000).astype(np.float32))
    tokenize([tmp_path / "in"], tmp_path / "out", Options("peaks", workers=1, max_segment_s=1))
    rows = list(read(tmp_path / "out"))
    assert [(row.id, row.start, row.tokens.n_samples) for row in rows] == [
        ("a#0", 0, 24_000), ("a#1", 1, 24_000), ("a#2", 2, 12_000)
    ]  # fmt: skip
    whole = corpuscodecs.Peaks().encode(audio.read(tmp_path / "in/a.wav"), 24_000)
    assert np.array_equal(np.concatenate([row.tokens.codes[0] for row in rows]), whole.codes[0])


def test_a_full_disk_is_one_sentence(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from silkcodec.corpus import plan, shard, sources

    found = sources.roots([corpuscodecs.clips(tmp_path / "in", 2)])
    facts = facts_of(load_codec("peaks", "cpu"))
    settings = plan.CorpusSettings(facts, "parquet", 2, None, 1.0, "cpu", False)
    made = plan.make(plan.folder_for(tmp_path / "out"), sources.items(found, False), settings, {"load": "peaks"})
    job = shard.ShardJob(settings, "peaks", tuple(root.folder for root in found), str(tmp_path / "out"), made.hash, 1)
    request.getfixturevalue("full_disk")
    with pytest.raises(OutputError, match=r"Cannot write to .*: No space left on device"):
        shard.tokenize_shard(load_codec("peaks", "cpu"), made.shard(0), job)
    assert not shards(tmp_path / "out") and not list((tmp_path / "out").glob(".*.part"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_disk_while_the_ledger_is_written(tmp_path: Path) -> None:
    with Ledger(tmp_path, "f" * 64) as ledger:
        ledger.add({"shard": 0})
        ledger._file.close()
        ledger._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - the ledger closes it
        with pytest.raises(OutputError, match=r"Cannot write to .*ledger.jsonl': No space left"):
            ledger.add({"shard": 1})
        assert list(ledger.records) == [0]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpuscodecs.clips(Path("in"), 3)
    (tmp_path / "in" / "bad.wav").write_text("no sound")

    def silk(*words: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, (words, result.output, result.exception)
        return result

    result = silk("tokenize", "in", "-o", "out", "--codec", "peaks", "--workers", "1")
    assert result.stdout.startswith("out: 0.00 h, 3 rows in 1 shards") and "x real time with 1 workers" in result.stdout
    assert "silk: quarantined 1 of 4 recordings (1 unreadable); see 'out/quarantine.jsonl'." in result.stderr
    assert "nothing to do" in silk("tokenize", "in", "-o", "out", "--codec", "peaks").stdout
    assert json.loads(silk("tokenize", "in", "-o", "out", "--codec", "peaks", "--json").stdout)["rows"] == 3
    by = ("--codec", "peaks")
    assert "clip001 -> x.wav   0.51 s" in silk("detokenize", "out", "--id", "clip001", "-o", "x.wav", *by).stdout
    assert len(audio.read("x.wav")) == 12_240
    silk("detokenize", "out", "--row", "0", "--row", "-1", "-o", "listen", *by)
    assert sorted(os.listdir("listen")) == ["clip000.wav", "clip002.wav"]
    quiet = corpuscodecs.Peaks.decode
    monkeypatch.setattr(corpuscodecs.Peaks, "decode", lambda self, tokens: 9 * quiet(self, tokens))
    row = ("detokenize", "out", "--row", "0", "--force", "-o", "loud.wav", *by)
    assert "loud.wav: " in silk(*row).stderr and "samples were clipped" in silk(*row).stderr
    for kept in (("--rescale",), ("--subtype", "float")):
        assert "clipped" not in silk(*row, *kept).stderr
    monkeypatch.setattr(corpuscodecs.Peaks, "decode", quiet)
    for words, says in (
        (("detokenize", "out", "--id", "nobody", "-o", "y.wav"), "The id 'nobody' is not in the corpus 'out'."),
        (("detokenize", "out", "--row", "3", "-o", "y.wav"), "--row must be between 0 and 2"),
        (("detokenize", "out", "--row", "0", "-o", "x.wav"), "already exists"),
        (("detokenize", "in", "--row", "0", "-o", "y.wav"), "There are no shards"),
        (("detokenize", "out", "--row", "0", "-o", "y.wav"), "corpus 'out' must be built in; got 'peaks'"),
        (("tokenize", "--check", "-o", "in"), "there is no plan.json in 'in'"),
        (("tokenize", "in", "--check", "-o", "out"), "--check cannot be combined with INPUT"),
        (("tokenize", "-o", "o2"), "Pass at least one folder"),
        (("tokenize", "nowhere", "-o", "o2"), "Input not found: 'nowhere'"),
        (("tokenize", "in/bad.wav", "-o", "o2", "--codec", "peaks", "--workers", "1"), "All recordings are unusable"),
        (("tokenize", "in", "-o", "o3", "--format", "csv"), "--format must be parquet or webdataset"),
        (("tokenize", "in", "-o", "o3", "--codec", "peaks", "--provider", "cuda"), "--provider must be cpu"),
        (("tokenize", "in", "-o", "o3", "--address", "auto"), "--address and --gpus require --engine ray"),
    ):
        assert says in silk(*words, code=2).stderr
    assert not Path("o3").exists()


def test_a_missing_shard_is_reported(tmp_path: Path) -> None:
    corpuscodecs.clips(tmp_path / "in", 6)
    tokenize([tmp_path / "in"], tmp_path / "out", PEAKS)
    (tmp_path / "out" / "tokens-00001-of-00003.parquet").unlink()
    with pytest.raises(ArgumentError, match="has 2 of 3"):
        read(tmp_path / "out")
    assert [row.id for row in read(tmp_path / "out", partial=True)] == ["clip000", "clip001", "clip004", "clip005"]
