"""Define fixtures that the tests of all three distributions share."""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from silkcodec.silk import Silk

if importlib.util.find_spec("torch") is None:  # in the environment of make test-fast
    collect_ignore_glob = ["pytorch/*"]

# Some tests send SIGINT, but programs that a shell starts with `&` ignore it, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, with any time for each, so that a test fails only if the code has changed.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


CONTRACT = "tests/test_contract.py"  # takes longer than all other files


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that start Chromium. In parallel runs, put the files with slow tests first."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
        items.sort(key=lambda item: item.path not in long)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the values that tests recorded with `record_property`."""
    recorded: dict[str, list[str]] = {}
    for report in [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]:
        for name, value in report.user_properties:
            recorded.setdefault(name, []).append(str(value))
    for name, values in sorted(recorded.items()):
        terminalreporter.write_line(f"{name}: {', '.join(sorted(values))}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule the tests for `--dist loadfile` by file, but contract tests by codec."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            codec = re.search(r"\[(.+?)[-\]]", nodeid)
            return f"{scope}[{codec[1]}]" if codec and scope == CONTRACT else scope

    config.option.loadscopereorder = False  # By default, files with few tests come last, even if they are slow.
    return Scheduling(config, log)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> int:
    """Simulate a full disk: writing more than the returned number of bytes to a file fails with ENOSPC."""
    from silkcodec import output

    room = 2_000
    real_open = open

    class FullDisk:
        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: Any) -> int:
            if self._file.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def open_on_full_disk(*args: Any, **kwargs: Any) -> Any:
        return FullDisk(real_open(*args, **kwargs))

    monkeypatch.setattr(output, "open", open_on_full_disk, raising=False)
    return room


@pytest.fixture(scope="session", autouse=True)
def shared_sessions() -> Iterator[None]:
    """Start one ONNX Runtime session per graph, because this takes longer than most tests. Sessions have no state."""
    from silkcodec.silk import graphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "start_session", functools.lru_cache(maxsize=8)(graphs.start_session))
        yield


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """Return the folder of the weights to test: SILK_TEST_WEIGHTS or, by default, the embedded weights."""
    from silkcodec.silk import EMBEDDED

    return Path(os.environ.get("SILK_TEST_WEIGHTS", EMBEDDED))


@pytest.fixture
def linked_weights(weights_folder: Path, tmp_path: Path) -> Path:
    """Return a weights folder with its own config.json. The other files are links, so tests must not write to them."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in weights_folder.resolve().iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    shutil.copy(weights_folder / "config.json", folder)
    return folder


@pytest.fixture
def copied_weights(weights_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the weights folder."""
    return Path(shutil.copytree(weights_folder, tmp_path / "weights"))


@pytest.fixture(scope="session")
def codec(weights_folder: Path) -> Silk:
    """Return Silk, loaded once per session."""
    from silkcodec.silk import Silk

    return Silk(weights_folder)


@pytest.fixture(scope="session")
def speech() -> Any:
    """Return a synthetic voice with varying pitch and formants, float32 [98400] at 24 kHz."""
    rng = np.random.default_rng(7)
    t = np.arange(98_400) / 24_000
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t)) / 24_000
    first, second = 500 + 250 * np.sin(2 * np.pi * 2.1 * t), 1600 + 700 * np.sin(2 * np.pi * 1.3 * t)
    voice = np.zeros_like(t)
    for k in range(1, 40):
        hz = k * (140 + 40 * np.sin(2 * np.pi * 0.7 * t))
        gain = np.exp(-(((hz - first) / 180) ** 2)) + 0.5 * np.exp(-(((hz - second) / 250) ** 2)) + 0.02
        voice += gain * np.sin(k * phase)
    loudness = np.clip(np.sin(2 * np.pi * 1.7 * t) + 0.4, 0, 1)
    return (0.08 * voice * loudness + 0.002 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.fixture(scope="session")
def random_baseline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes a small neural baseline with random weights and returns its folder."""
    pytest.importorskip("transformers", reason="needs ./pytorch[baselines]")
    pytest.importorskip("torch", reason="needs ./pytorch[baselines]")
    import random_baselines

    folder = tmp_path_factory.mktemp("baselines")

    def write(name: str) -> Path:
        target: Path = folder / name
        return target if target.exists() else random_baselines.write_model(name, folder, small=True)

    return write
