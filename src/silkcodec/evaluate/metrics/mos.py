"""Predict opinion scores with networks that use the output alone.

These metrics do not use the original, so they cannot detect changed words, a changed voice or a changed melody. Clean
speech with wrong words scores high. Never rely on them alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec.errors import WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair, Wave, is_installed
from silkcodec.evaluate.metrics.foreign import import_around, one_torch_thread, onnx_session, package_file

MOS_RATE = 16_000  # Hz, for both metrics
MOS_WORST = 1.0  # lower end of the scale
DNSMOS_SAMPLES = int(9.01 * MOS_RATE)  # input length of the network
DNSMOS_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)  # of the raw overall score, from Microsoft's dnsmos_local.py


def dnsmos(pair: Pair, model: str | None) -> float:
    """Return the overall score of DNSMOS P.835 for the output alone, 1 .. 5 (arXiv 2110.01763).

    Clips shorter than 9.01 s are repeated. Longer ones are scored in windows of 9.01 s that start every second, and the
    scores are averaged.

    Raises:
        WeightsError: `model` is not the network of DNSMOS.
    """
    session = _dnsmos_session(model or str(_packaged()))
    output = pair.at(MOS_RATE)[1]
    if len(output) < DNSMOS_SAMPLES:
        output = np.resize(output, DNSMOS_SAMPLES)
    raw = [
        float(session.run(None, {"input_1": output[None, start : start + DNSMOS_SAMPLES]})[0][0][2])
        for start in range(0, len(output) - DNSMOS_SAMPLES + 1, MOS_RATE)
    ]
    return float(np.mean(np.polyval(DNSMOS_POLYNOMIAL, raw)))


@cache
def _dnsmos_session(file: str) -> Any:
    session = onnx_session(Path(file))
    taken = session.get_inputs()[0]
    if taken.name != "input_1" or taken.shape[-1] != DNSMOS_SAMPLES:
        raise WeightsError(
            f"dnsmos must be the network sig_bak_ovr.onnx with an input of {DNSMOS_SAMPLES} samples; "
            f"'{Path(file).name}' has {taken.shape[-1]} ({taken.name})."
        )
    return session


def _packaged() -> Path | None:
    return package_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx")


def _lacks_dnsmos(model: str | None) -> str | None:
    if model is None and _packaged() is None:
        return (
            "DNSMOS needs its network. Pass --model dnsmos=sig_bak_ovr.onnx (from Microsoft's DNS-Challenge), or run: "
            "pip install --no-deps speechmos"
        )
    if model is not None and not Path(model).is_file():
        return f"dnsmos must be the file sig_bak_ovr.onnx; '{model}' does not exist."
    return None


def distillmos(pair: Pair) -> float:
    """Return the DistillMOS score of the output alone, 1 .. 5 (arXiv 2502.05356)."""
    import torch

    output: Wave = pair.at(MOS_RATE)[1]
    network = _distillmos_network()
    with one_torch_thread():
        return float(network(torch.from_numpy(output)[None]))


@cache
def _distillmos_network() -> Any:
    import contextlib
    import io

    # The package uses torchaudio only in its command line, to read files.
    package = import_around("distillmos", torchaudio={})
    with contextlib.redirect_stdout(io.StringIO()):  # It prints the path of its weights.
        return package.ConvTransformerSQAModel().eval()


def _lacks_distillmos(model: str | None) -> str | None:
    for package in ("distillmos", "xls_r_sqa"):
        if not is_installed(package):
            return f"DistillMOS needs {package!r}, which is not installed; run: pip install distillmos"
    return None


MOS_METRICS = (
    Metric(
        "dnsmos",
        "DNSMOS",
        "MOS",
        "higher",
        dnsmos,
        worst=MOS_WORST,
        what="predicted overall opinion (P.835) of the output alone; barely distinguishes between poor codecs",
        source="arXiv 2110.01763; sig_bak_ovr.onnx, `speechmos`",
        model_key="dnsmos",
        lacks=_lacks_dnsmos,
    ),
    Metric(
        "distillmos",
        "DistillMOS",
        "MOS",
        "higher",
        distillmos,
        worst=MOS_WORST,
        what="predicted opinion of the output alone",
        source="arXiv 2502.05356; `distillmos`",
        needs="`distillmos`",
        packages=("torch",),
        extra="baselines",
        lacks=_lacks_distillmos,
    ),
)
