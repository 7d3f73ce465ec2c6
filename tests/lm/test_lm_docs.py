"""Test that the code for Transformers in docs/language-models.md runs, and that the sizes on the page are correct."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from repository import DOCS
from silkcodec import lm
from silkcodec.silk import Silk

TEXT = (DOCS / "language-models.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_code_of_transformers_runs(speech: Any, codec: Silk, weights_folder: Path, tmp_path: Path) -> None:
    for package in ("torch", "transformers", "onnx"):
        pytest.importorskip(package, reason="needs ./pytorch[hf]")
    from silkcodec_torch.hf.conversion import export

    export(weights_folder, tmp_path)
    (code,) = re.findall(r"^```python transformers\n(.*?)^```", TEXT, re.S | re.M)
    names: dict[str, Any] = {"wave": speech, "sample_rate": 24_000, "tokens": codec.encode(speech)}
    exec(code.replace('"hub/silk"', repr(str(tmp_path))), names)


def test_the_sizes_are_correct(codec: Silk) -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.M)
    assert [int(dims) for dims, _ in rows] == [1, 2, 3, 4, 7]
    for dims, cells in rows:
        layout = lm.Layout.of_codec(codec, dims_per_token=int(dims))
        counted = layout.n_tokens, layout.tokens_per_second, layout.codebook_sizes[0], sum(layout.codebook_sizes)
        assert [float(cell.replace(",", "")) for cell in cells.split(" | ")] == list(counted)
