"""Use DNSMOS to predict a mean opinion score from a codec's output alone.

The metric does not use the original, so it cannot detect changes in words, voice or intonation. Clean speech with the
wrong words gets a high score. Do not rely on this metric alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec.errors import WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair
from silkcodec.evaluate.metrics.foreign import onnx_session, package_file

DNSMOS_RATE = 16_000  # Hz
DNSMOS_WORST = 1.0  # lower end of the scale
DNSMOS_SAMPLES = int(9.01 * DNSMOS_RATE)  # input length of the network
DNSMOS_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)  # for the raw overall score, from Microsoft's dnsmos_local.py


def dnsmos(pair: Pair, model: str | None) -> float:
    """Return the overall DNSMOS P.835 score of the output, from 1 to 5 (arXiv 2110.01763).

    Audio shorter than 9.01 s is repeated until it has this length. For longer audio, the score is the mean over windows
    of 9.01 s that start every second.

    Raises:
        WeightsError: `model` is not the DNSMOS network.
    """
    session = _session(model or str(_packaged()))
    output = pair.at(DNSMOS_RATE)[1]
    if len(output) < DNSMOS_SAMPLES:
        output = np.resize(output, DNSMOS_SAMPLES)
    raw = [
        float(session.run(None, {"input_1": output[None, start : start + DNSMOS_SAMPLES]})[0][0][2])
        for start in range(0, len(output) - DNSMOS_SAMPLES + 1, DNSMOS_RATE)
    ]
    return float(np.mean(np.polyval(DNSMOS_POLYNOMIAL, raw)))


@cache
def _session(file: str) -> Any:
    session = onnx_session(Path(file))
    taken = session.get_inputs()[0]
    if taken.name != "input_1" or taken.shape[-1] != DNSMOS_SAMPLES:
        raise WeightsError(
            f"The 'dnsmos' model must be sig_bak_ovr.onnx, which takes {DNSMOS_SAMPLES} samples; "
            f"got '{Path(file).name}', which takes {taken.shape[-1]}."
        )
    return session


def _packaged() -> Path | None:
    return package_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx")


def _lacks(model: str | None) -> str | None:
    if model is None and _packaged() is None:
        return (
            "DNSMOS needs its model. Pass --model dnsmos=sig_bak_ovr.onnx (from Microsoft's DNS-Challenge), or run: "
            "pip install --no-deps speechmos"
        )
    if model is not None and not Path(model).is_file():
        return f"File not found: '{model}'. The 'dnsmos' model must be the path to sig_bak_ovr.onnx."
    return None


DNSMOS_METRICS = (
    Metric(
        "dnsmos",
        "DNSMOS",
        "MOS",
        "higher",
        dnsmos,
        worst=DNSMOS_WORST,
        what="overall quality (P.835), predicted from the output alone; barely distinguishes between poor codecs",
        source="arXiv 2110.01763; sig_bak_ovr.onnx, `speechmos`",
        model_key="dnsmos",
        lacks=_lacks,
    ),
)
