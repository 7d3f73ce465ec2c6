"""Pass each input of the fuzzer's corpus to its target once, so that earlier failures do not return."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from repository import ROOT

pytestmark = pytest.mark.slow

FUZZ = ROOT / "fuzz"
INPUTS = sorted(path for path in (FUZZ / "corpus").glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def targets() -> Any:
    for module, extra in (("pyarrow", "corpus"), ("constriction", "entropy")):
        pytest.importorskip(module, reason=f"needs [{extra}]")
    spec = importlib.util.spec_from_file_location("fuzz_targets", FUZZ / "targets.py")
    assert spec is not None and spec.loader is not None
    module_of_targets = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module_of_targets
    spec.loader.exec_module(module_of_targets)
    yield module_of_targets
    module_of_targets.clean()


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_does_no_harm(targets: ModuleType, path: Path) -> None:
    targets.run(path.parent.name, path.read_bytes())


def test_every_target_has_a_small_corpus_and_is_run(targets: ModuleType) -> None:
    runner = (FUZZ / "fuzz.py").read_text(encoding="utf-8")
    listed = re.search(r"^TARGETS = \((.*?)\)", runner, re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed.group(1))) == set(targets.TARGETS) == {path.parent.name for path in INPUTS}
    assert sum(path.stat().st_size for path in INPUTS) < 200_000


def test_the_targets_notice_a_fault(targets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (FUZZ / "corpus" / "silk_file" / "chunks.bin").read_bytes()
    monkeypatch.setattr(targets, "Pipe", lambda file: targets.io.BytesIO(file[:-1]))
    with pytest.raises(AssertionError, match="pipe and from a file gives different tokens"):
        targets.run("silk_file", whole)
    monkeypatch.setitem(targets.TARGETS, "messages", lambda data: data[99])
    with pytest.raises(IndexError):
        targets.run("messages", b"")


def test_forged_files_reach_what_lies_behind_the_checksums(targets: ModuleType) -> None:
    whole = (FUZZ / "corpus" / "silk_file" / "chunks.bin").read_bytes()[1:]
    assert targets.reseal(whole) == whole
    damaged = bytearray(whole)
    damaged[200] ^= 1
    with pytest.raises(targets.SilkError):
        targets.container.read(targets.io.BytesIO(bytes(damaged)))
    assert targets.container.read(targets.io.BytesIO(targets.reseal(bytes(damaged)))).n_frames == 6
