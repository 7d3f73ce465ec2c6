"""Predict an opinion score with DistillMOS, from a codec's output alone.

The metric does not use the original, so it cannot detect changes in words, voice or intonation. Clean speech with the
wrong words gets a high score. Do not rely on this metric alone.
"""

from __future__ import annotations

import contextlib
import io
from functools import cache
from typing import Any

from silkcodec.evaluate.metrics.base import Metric, Pair, Wave, is_installed
from silkcodec.evaluate.metrics.foreign import import_around
from silkcodec_torch.metrics.inference import one_torch_thread

DISTILLMOS_RATE = 16_000  # Hz
DISTILLMOS_WORST = 1.0  # lower end of the scale


def distillmos(pair: Pair) -> float:
    """Return the DistillMOS score of the output, from 1 to 5 (arXiv 2502.05356)."""
    import torch

    output: Wave = pair.at(DISTILLMOS_RATE)[1]
    network = _network()
    with one_torch_thread():
        return float(network(torch.from_numpy(output)[None]))


@cache
def _network() -> Any:
    # Only the command line of the package uses torchaudio.
    package = import_around("distillmos", torchaudio={})
    with contextlib.redirect_stdout(io.StringIO()):  # The constructor prints the path of the weights.
        return package.ConvTransformerSQAModel().eval()


def _lacks(model: str | None) -> str | None:
    for package in ("distillmos", "xls_r_sqa"):
        if not is_installed(package):
            return f"DistillMOS needs '{package}', which is not installed. Run: pip install distillmos"
    return None


METRIC = Metric(
    "distillmos",
    "DistillMOS",
    "MOS",
    "higher",
    distillmos,
    worst=DISTILLMOS_WORST,
    what="mean opinion score, predicted from the output alone",
    source="arXiv 2502.05356; `distillmos`",
    needs="`distillmos`",
    packages=("torch",),
    extra="hf",
    distribution="./pytorch",
    lacks=_lacks,
)
