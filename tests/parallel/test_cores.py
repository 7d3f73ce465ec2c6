"""Test that the affinity mask and the CPU quota of a container limit the number of cores."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest

from repository import ROOT
from silkcodec.parallel import cores


def tree(folder: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Create files like /proc/self/cgroup and a folder like /sys/fs/cgroup."""
    for name, text in files.items():
        (folder / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mount" / name).write_text(text)
    (folder / "groups").write_text(groups)
    return folder / "groups", folder / "mount"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"},
            1.5,
        ),  # the parent group has the quota
        (
            "0::/docker/ffff\n",
            {"cpu.max": "50000 100000\n"},
            0.5,
        ),  # path on the host, with the group mounted at the root
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000", "cpu/x/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu,cpuacct:/x\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "1"}, math.inf),
        ("7:memory:/x\n", {"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "100000"}, math.inf),
        ("0::/\n", {"cpu.max": "rubbish"}, math.inf),
        ("rubbish\n", {}, math.inf),
    ],
)
def test_the_lowest_quota_is_used(tmp_path: Path, groups: str, files: dict[str, str], quota: float) -> None:
    assert cores.cpu_quota(*tree(tmp_path, groups, files)) == quota


def test_the_quota_is_infinite_without_control_groups(tmp_path: Path) -> None:
    assert cores.cpu_quota(tmp_path / "absent", tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.0, 1), (1.5, 2), (3.0, 3), (math.inf, 4)])
def test_affinity_and_quota_limit_the_cores(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.available_cores() == expected


def test_only_one_module_counts_cores() -> None:
    counted = re.compile(r"cpu_count|sched_getaffinity")
    files = [
        file for folder in ("src", "pytorch", "lab", "bench", "examples") for file in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 50
    found = {file.name for file in files if counted.search(file.read_text(encoding="utf-8"))}
    assert found == {"cores.py"}
