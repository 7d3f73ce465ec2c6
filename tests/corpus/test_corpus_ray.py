"""Test that --engine ray writes the same bytes as local processes and reports crashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corpuscodecs
from corpuscodecs import shards
from silkcodec import audio
from silkcodec.corpus import Options, tokenize
from silkcodec.corpus import ray as engine
from silkcodec.errors import SilkError

pytest.importorskip("pyarrow", reason="needs [corpus]")
pytest.importorskip("ray", reason="needs [ray]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray itself causes many warnings.


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        corpuscodecs.install(tmp_path_factory.mktemp("plugin"), patch)
        ray = engine.require()
        engine._start(ray, 2, None)
        try:
            yield ray
        finally:
            ray.shutdown()


def test_ray_writes_the_bytes_of_local_processes(tmp_path: Path, cluster: Any) -> None:
    corpuscodecs.clips(tmp_path / "in", 7)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    begun: list[int] = []
    for name, workers in (("local", 2), ("ray", 3)):  # One actor has to wait, because the cluster has two cores.
        options = Options("peaks", engine=name, workers=workers, shard_items=2)
        report = tokenize([tmp_path / "in"], tmp_path / name, options, progress=lambda n, of, text: begun.append(n))
        assert (report["rows"], report["quarantined_by_reason"]) == (7, {"unreadable": 1})
        assert begun[-1] == 8
    assert shards(tmp_path / "ray") == shards(tmp_path / "local") and len(shards(tmp_path / "ray")) == 4
    again = tokenize([tmp_path / "in"], tmp_path / "local", Options("peaks", engine="ray", shard_items=2))
    assert again["this_run"]["shards"] == 0, "one engine can resume a run of the other"


def test_a_recording_that_crashes_its_actors_is_reported(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio.write(tmp_path / "in" / "kills.wav", np.zeros(corpuscodecs.KILLS, np.float32))
    monkeypatch.setattr(engine, "MAX_CRASHES", 2)
    with pytest.raises(SilkError, match=r"2 workers crashed while encoding shard 0\. Run the same command"):
        tokenize([tmp_path / "in"], tmp_path / "out", Options("peaks", engine="ray", workers=1))
