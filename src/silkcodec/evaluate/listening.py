"""What a report lets one listen to: one clip, as it was and as each codec made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE = "reference"  # the key of the untouched clip; it comes first


@dataclass(frozen=True)
class Listening:
    """One clip of a report's players.

    Attributes:
        clip: its name, as in the rows.
        sample_rate: of all waves, Hz.
        waves: "reference" first, then each codec that has the clip, in the order of the report: float32 [T]
            each, aligned and of one length, at their own levels.
    """

    clip: str
    sample_rate: int
    waves: dict[str, NDArray[np.float32]]
