"""Measure quality with ViSQOL v3 in speech mode, which compares gammatone spectrograms (arXiv 2004.09584)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, is_installed

VISQOL_RATE = 16_000  # Hz, the rate of speech mode
VISQOL_MIN_S = 0.7  # a patch of 0.4 s, and the margins that the analysis removes at both ends
# Number of patches of 0.4 s to search before and after the expected position in the output. Pairs are aligned, so 1
# gives the same value as the default of 60, and the time grows linearly with the duration instead of quadratically.
SEARCH_PATCHES = 1
VISQOL_WORST = 1.0  # lower end of the scale


def visqol(pair: Pair) -> float:
    """Return ViSQOL's MOS-LQO, from 1 to about 4.5.

    Raises:
        UndefinedMetric: the reference is shorter than 0.7 s, or none of its 0.4 s segments contains speech.
    """
    if pair.duration_s < VISQOL_MIN_S:
        raise UndefinedMetric(f"ViSQOL needs at least {VISQOL_MIN_S} s of audio; got {pair.duration_s:.3f} s.")
    reference, output = (wave.astype(np.float64) for wave in pair.at(VISQOL_RATE))
    try:
        return float(_api().measure_from_arrays(reference, output, VISQOL_RATE).moslqo)
    except IndexError:  # No patch was selected. The selection depends only on the reference.
        raise UndefinedMetric("ViSQOL needs a 0.4 s segment with speech; the reference has none.") from None


@cache
def _api() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True, search_window=SEARCH_PATCHES)
    return api


def _lacks(model: str | None) -> str | None:
    absent = [package for package in ("visqol", "ai_edge_litert") if not is_installed(package)]
    if not absent:
        return None
    return f"ViSQOL needs '{absent[0]}', which is not installed. Run: pip install visqol-python ai-edge-litert"


VISQOL_METRICS = (
    Metric(
        "visqol",
        "ViSQOL",
        "MOS-LQO",
        "higher",
        visqol,
        worst=VISQOL_WORST,
        what="perceived quality compared with the original, in speech mode; 1 to about 4.5",
        source="ViSQOL v3, arXiv 2004.09584; `visqol-python`",
        needs="`visqol-python`, `ai-edge-litert`",
        lacks=_lacks,
    ),
)
