"""Run the Python blocks in README.md and docs/. The blocks of a page run in order and share a namespace.

The fence of a block starts with `python`. An optional second word states what the block needs: `server`, `evaluate` or
`transformers`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repository import DOCS, ROOT
from silkcodec import audio
from silkcodec.silk import Silk

OTHER_TESTS = {  # page -> the test that runs its Python
    "corpus.md": "tests/corpus/test_corpus_reading.py",
    "extending.md": "tests/test_contract.py",
}
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```python(?: (\w+))?\n(.*?)^```", re.S | re.M)


def blocks(page: Path, needs: str = "") -> list[str]:
    return [code for what, code in FENCE.findall(page.read_text(encoding="utf-8")) if what == needs]


WITH_PYTHON = [page for page in PAGES if blocks(page) and page.name not in OTHER_TESTS]


@pytest.fixture
def names(codec: Silk, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Define the names that the pages use without defining them, such as `wave` and `microphone`."""
    monkeypatch.chdir(tmp_path)
    for name in ("speech.wav", "speech/clip000.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(tmp_path / name, speech)
    return {
        "wave": speech,
        "sample_rate": 24_000,
        "microphone": np.array_split(speech, 50),
        "codes_of_frame": np.stack(codec.encode(speech).codes, axis=1)[:1],
    }


def run(page: Path, codes: list[str], names: dict[str, Any]) -> None:
    for code in codes:
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, names: dict[str, Any]) -> None:
    run(page, blocks(page), names)


def test_the_comparison_runs(names: dict[str, Any]) -> None:
    page = DOCS / "compare.md"
    run(page, blocks(page, "evaluate"), names)
    assert (
        names["result"]["means"]["original"]["mel_distance"]["mean"]
        < names["result"]["means"]["silk"]["mel_distance"]["mean"]
    )


@pytest.fixture
def server(weights_folder: Path) -> Iterator[Any]:
    for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            pytest.skip("needs [serve]")
    from servercase import Server

    running = Server(weights=weights_folder)
    yield running
    running.stop()


@pytest.mark.slow
def test_the_client_of_the_server_runs(names: dict[str, Any], server: Any) -> None:
    audio.write("talk.flac", names["wave"])
    received: list[Any] = []
    use: Callable[[Any], None] = received.append
    page = DOCS / "server.md"
    code = "\n".join(blocks(page, "server")).replace(":8000", f":{server.port}")
    run(page, [code], names | {"token": server.token, "use": use})
    assert len(np.concatenate(received)) > 0


def test_every_block_of_python_is_run_somewhere() -> None:
    needs = {(page.name, what) for page in PAGES for what, _ in FENCE.findall(page.read_text(encoding="utf-8")) if what}
    assert needs == {("server.md", "server"), ("compare.md", "evaluate"), ("language-models.md", "transformers")}
    assert all((ROOT / test).is_file() for test in OTHER_TESTS.values())
    for page in PAGES:  # Check that FENCE matches every fence, because other blocks would not run.
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^ *```\s*(?:python|py)\b", text, re.M)) == len(FENCE.findall(text)), page.name
