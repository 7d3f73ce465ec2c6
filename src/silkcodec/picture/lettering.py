"""Draw text without a font library, using the 5 x 7 dot matrix font of a character terminal.

Strokes with soft edges connect adjacent dots of a letter, so text of any size looks smooth:

    . # # # .         o-o-o
    # . . . #        o     o
    # # # # #   ->   o-o-o-o
    # . . . #        o     o
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ink = NDArray[np.float32]  # [height, width], from 0 (paper) to 1 (ink)

_ADVANCE = 6  # dots from one letter to the next, including a gap of 1
_ROWS = 9  # 7 dots above the baseline and 2 dots below it
# Characters 32 to 126, with five columns each. A column has two hex digits, and its lowest bit is the top dot.
_FONT = (
    "0000000000" "00005f0000" "0007000700" "147f147f14" "242a7f2a12" "2313086462" "3649562050" "0008070300"
    "001c224100" "0041221c00" "2a1c7f1c2a" "08083e0808" "0080703000" "0808080808" "0000606000" "2010080402"
    "3e5149453e" "00427f4000" "7249494946" "2141494d33" "1814127f10" "2745454539" "3c4a494931" "4121110907"
    "3649494936" "464949291e" "0000140000" "0040340000" "0008142241" "1414141414" "0041221408" "0201590906"
    "3e415d594e" "7c1211127c" "7f49494936" "3e41414122" "7f4141413e" "7f49494941" "7f09090901" "3e41415173"
    "7f0808087f" "00417f4100" "2040413f01" "7f08142241" "7f40404040" "7f021c027f" "7f0408107f" "3e4141413e"
    "7f09090906" "3e4151215e" "7f09192946" "2649494932" "03017f0103" "3f4040403f" "1f2040201f" "3f4038403f"
    "6314081463" "0304780403" "6159494d43" "007f414141" "0204081020" "004141417f" "0402010204" "4040404040"
    "0003070800" "2054547840" "7f28444438" "3844444428" "384444287f" "3854545418" "00087e0902" "18a4a49c78"
    "7f08040478" "00447d4000" "2040403d00" "7f10284400" "00417f4000" "7c04780478" "7c08040478" "3844444438"
    "fc18242418" "18242418fc" "7c08040408" "4854545424" "04043f4424" "3c4040207c" "1c2040201c" "3c4030403c"
    "4428102844" "4c9090907c" "4464544c44" "0008364100" "0000770000" "0041360800" "0201020402"
)  # fmt: skip


def line(text: str, dot: float = 2.0) -> Ink:
    """Draw a line of text.

    Args:
        text: text to draw. Characters outside printable ASCII become "?".
        dot: distance between the dots of the font in pixels. Capital letters are 7 dots high.

    Returns:
        An image with values from 0 (paper) to 1 (ink), float32 [height, width].
    """
    letters = [_letter(character if " " <= character <= "~" else "?", dot) for character in text]
    width = round(_ADVANCE * dot * max(1, len(letters)))
    ink = np.zeros((round(_ROWS * dot), width), dtype=np.float32)
    for i, letter in enumerate(letters):
        left = round(i * _ADVANCE * dot)
        area = ink[:, left : left + letter.shape[1]]
        np.maximum(area, letter[:, : area.shape[1]], out=area)
    return ink


@lru_cache(maxsize=512)
def _letter(character: str, dot: float) -> Ink:
    columns = bytes.fromhex(_FONT)[5 * (ord(character) - 32) :][:5]
    dots = {(x, y) for x, column in enumerate(columns) for y in range(8) if column >> y & 1}
    rows, width = round(_ROWS * dot), round(_ADVANCE * dot)
    y, x = np.mgrid[:rows, :width].astype(np.float32) + 0.5
    distance = np.full((rows, width), 1e3, dtype=np.float32)
    for start, end in _strokes(dots):
        (x0, y0), (x1, y1) = (((u + 0.6) * dot, (v + 0.6) * dot) for u, v in (start, end))
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-6)
        along = np.clip(along, 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return np.clip(0.5 * max(1.0, 0.58 * dot) + 0.5 - distance, 0, 1).astype(np.float32)


def _strokes(dots: set[tuple[int, int]]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return strokes between adjacent dots. Diagonal strokes are used only if no other dot is adjacent to both ends."""
    strokes = [((x, y), (x, y)) for x, y in dots]
    for x, y in dots:
        strokes += [((x, y), other) for other in ((x + 1, y), (x, y + 1)) if other in dots]
        for dx in (-1, 1):
            if (x + dx, y + 1) in dots and (x + dx, y) not in dots and (x, y + 1) not in dots:
                strokes.append(((x, y), (x + dx, y + 1)))
    return strokes
