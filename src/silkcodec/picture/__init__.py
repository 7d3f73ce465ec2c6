"""Draw two spectrograms as a PNG file with NumPy and zlib, so that no optional package is required.

+------------------------------------------+
| title 1                                  |   Both spectrograms have the same color scale,
| kHz  |  original                    | dB |   in decibels relative to their loudest point.
| title 2                                  |
| kHz  |  decoded                     | dB |
|         0   1   2   3   s                |
+------------------------------------------+
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from silkcodec.mel import N_MELS, SAMPLE_RATE, filterbank, hz_to_mel
from silkcodec.picture import lettering

Image = NDArray[np.uint8]  # [height, width, 3]

PANEL_WIDTH = 1400  # pixels, and therefore the maximum number of spectrogram columns that can be shown
PANEL_HEIGHT = 3 * N_MELS
RANGE_DB = 80.0  # range of the color scale, from the loudest point down to black
_LEFT, _RIGHT, _TITLE, _GAP, _BOTTOM = 96, 108, 50, 14, 62  # pixels around the panels
_BAR = 20  # width of the color bar in pixels
_INK, _FAINT = (38, 38, 46), (150, 150, 158)
_TICKS_HZ = (0, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12000)
_DB_PER_NEPER = 20 / np.log(10)

# Every 15th color of "magma" by Nathaniel Smith and Stefan van der Walt (CC0, https://bids.github.io/colormap).
# This colormap is perceptually uniform, even when printed in gray or viewed by color-blind readers.
_MAGMA = (
    "000004 090720 1a1042 311165 4a1079 621980 792282 912b81 aa337d"
    " c23b75 d9466b ec5860 f7725c fc8e64 feaa74 fec68a fde2a3 fcfdbf"
)


def spectrograms(
    original: NDArray[np.float32],
    decoded: NDArray[np.float32],
    duration_s: float,
    titles: tuple[str, str],
) -> bytes:
    """Draw two log-mel spectrograms one above the other.

    Args:
        original, decoded: natural logarithms of mel magnitudes, float32 [C, 128] each.
        duration_s: duration of each recording in seconds, for the time axis.
        titles: title line for each spectrogram.

    Returns:
        The content of a PNG file.
    """
    height = 2 * (_TITLE + PANEL_HEIGHT) + _GAP + _BOTTOM
    image = np.full((height, _LEFT + PANEL_WIDTH + _RIGHT, 3), 255, dtype=np.uint8)
    for i, (panel, title) in enumerate(zip(_loudness([original, decoded]), titles, strict=True)):
        top = _TITLE + i * (PANEL_HEIGHT + _TITLE + _GAP)
        _panel(image, top, panel)
        _text(image, _LEFT, top - 22, title, align="left", dot=2.5)
    _time_axis(image, 2 * (_TITLE + PANEL_HEIGHT) + _GAP, duration_s)
    return png(image)


def bare_spectrograms(mels: Sequence[NDArray[np.float32]]) -> list[bytes]:
    """Draw spectrograms with a common color scale and without axes, for a page that draws its own axes.

    Args:
        mels: natural logarithms of mel magnitudes, float32 [C, 128] each.

    Returns:
        The contents of one PNG file per spectrogram, C pixels wide and 128 pixels high, with the highest band on top.
    """
    return [png(_colors(panel)) for panel in _loudness(mels)]


def band_height(hz: float) -> float:
    """Return the vertical position of a frequency in a spectrogram without axes, from 0 (bottom) to 1 (top)."""
    return float(hz_to_mel(hz)) / float(hz_to_mel(SAMPLE_RATE / 2))


def _loudness(mels: Sequence[NDArray[np.float32]]) -> list[NDArray[np.floating]]:
    """Convert log-mel spectrograms [C, 128] to images [128, C] with the highest band first.

    The loudest point of all spectrograms has the value 1. A point that is 80 dB quieter has the value 0.
    """
    # Without this correction, noise in the wide high-frequency bands would appear brighter than speech.
    per_hertz = np.log(filterbank().sum(axis=0))
    densities_db = [_DB_PER_NEPER * (mel - per_hertz) for mel in mels]
    top_db = max(float(density.max()) for density in densities_db)
    return [(density.T[::-1] - top_db) / RANGE_DB + 1 for density in densities_db]


def png(image: Image) -> bytes:
    """Encode an RGB image, uint8 [height, width, 3], as a PNG file (https://www.w3.org/TR/png)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    differences = image.copy()  # PNG filter type 1: each pixel minus the pixel to its left
    differences[:, 1:] -= image[:, :-1]
    rows = np.concatenate([np.ones((height, 1), np.uint8), differences.reshape(height, -1)], axis=1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _panel(image: Image, top: int, loudness: NDArray[np.floating]) -> None:
    """Draw a spectrogram, its frequency axis and its color bar."""
    panel = image[top : top + PANEL_HEIGHT, _LEFT : _LEFT + PANEL_WIDTH]
    panel[:] = _colors(_stretch(_stretch(loudness, PANEL_WIDTH).T, PANEL_HEIGHT).T)
    _frame(image, top, _LEFT, PANEL_WIDTH)

    for hz in _TICKS_HZ:
        y = top + round((PANEL_HEIGHT - 1) * (1 - band_height(hz)))
        image[y, _LEFT - 8 : _LEFT - 1] = _INK
        _text(image, _LEFT - 14, y, f"{hz / 1000:g}", align="right")
    _text(image, 8, top - 22, "kHz", align="left", color=_FAINT)

    left = _LEFT + PANEL_WIDTH + 22
    bar = np.linspace(1, 0, PANEL_HEIGHT)
    image[top : top + PANEL_HEIGHT, left : left + _BAR] = _colors(bar)[:, None]
    _frame(image, top, left, _BAR)
    for db in range(0, round(RANGE_DB) + 1, 20):
        y = top + round((PANEL_HEIGHT - 1) * db / RANGE_DB)
        image[y, left + _BAR + 1 : left + _BAR + 7] = _INK
        _text(image, left + _BAR + 12, y, f"-{db}" if db else "0", align="left")
    _text(image, left, top - 22, "dB", align="left", color=_FAINT)


def _time_axis(image: Image, top: int, duration_s: float) -> None:
    step = time_step_s(duration_s)
    for i in range(int(duration_s / step + 1e-9) + 1):
        x = _LEFT + round((PANEL_WIDTH - 1) * i * step / duration_s)
        image[top + 1 : top + 8, x] = _INK
        _text(image, x, top + 22, clock(i * step, step), align="center")
    unit = "minutes:seconds" if step * 10 > 60 else "seconds"
    _text(image, _LEFT + PANEL_WIDTH, top + 46, unit, align="right", color=_FAINT)


def time_step_s(duration_s: float) -> float:
    """Return the tick spacing of a time axis in seconds: a round number that results in 4 to 12 ticks."""
    steps = [base * 10.0**power for power in range(-5, 2) for base in (1, 2, 5)]
    steps = [step for step in steps if step <= 20] + [30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
    return next((step for step in steps if duration_s / step <= 11), 3600.0 * max(1, int(duration_s / 36000)))


def clock(at_s: float, step_s: float) -> str:
    """Return the label of a tick on a time axis, in seconds or, on a long axis, as minutes:seconds.

    Args:
        at_s: time of the tick in seconds.
        step_s: tick spacing in seconds, which determines the number of decimal places.
    """
    if step_s * 10 > 60:
        return f"{int(at_s) // 60}:{int(at_s) % 60:02d}"
    digits = max(0, -int(np.floor(np.log10(step_s) + 1e-9)))
    return f"{at_s:.{digits}f}"


def _colors(values: NDArray[np.floating]) -> Image:
    """Map an array [...] of values from 0 to 1 to RGB colors, uint8 [..., 3]."""
    anchors = np.array([list(bytes.fromhex(color)) for color in _MAGMA.split()], dtype=np.float64)
    at = np.linspace(0, 1, len(anchors))
    table = np.stack([np.interp(np.linspace(0, 1, 256), at, channel) for channel in anchors.T], axis=1)
    index = np.rint(255 * np.clip(values, 0, 1)).astype(np.intp)
    return np.rint(table).astype(np.uint8)[index]


def _stretch(rows: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    """Resize an array from [N, C] to [N, width] by linear interpolation between the centers of the columns."""
    n = rows.shape[1]
    at = np.clip((np.arange(width) + 0.5) * n / width - 0.5, 0, n - 1)
    left = np.minimum(at.astype(np.intp), max(0, n - 2))
    right = np.minimum(left + 1, n - 1)
    weight = at - left
    return rows[:, left] * (1 - weight) + rows[:, right] * weight


def _frame(image: Image, top: int, left: int, width: int) -> None:
    bottom, right = top + PANEL_HEIGHT, left + width
    image[[top - 1, bottom], left - 1 : right + 1] = _INK
    image[top - 1 : bottom + 1, [left - 1, right]] = _INK


def _text(
    image: Image,
    x: int,
    y: int,
    text: str,
    *,
    align: str,
    color: tuple[int, int, int] = _INK,
    dot: float = 2.0,
) -> None:
    """Draw text at column x with capital letters centered on row y. `align` is "left", "center" or "right"."""
    ink = lettering.line(text, dot)
    left = x - {"left": 0, "center": round(ink.shape[1] - dot) // 2, "right": round(ink.shape[1] - dot)}[align]
    left, top = max(0, left), y - round(3.6 * dot)
    area = image[top : top + ink.shape[0], left : left + ink.shape[1]]
    cover = ink[: area.shape[0], : area.shape[1], None]
    area[:] = np.rint(area * (1 - cover) + np.array(color) * cover).astype(np.uint8)
