"""Draw two spectrograms as a PNG file with Pillow.

+------------------------------------------+
| title 1                                  |   Both spectrograms have the same color scale,
| kHz  |  original                    | dB |   in decibels relative to the loudest point in either.
| title 2                                  |
| kHz  |  decoded                     | dB |
|         0   1   2   3   s                |
+------------------------------------------+
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from silkcodec.mel import N_MELS, SAMPLE_RATE, filterbank, hz_to_mel

PANEL_WIDTH = 1400  # pixels, and therefore the maximum number of spectrogram columns that can be shown
PANEL_HEIGHT = 3 * N_MELS
RANGE_DB = 80.0  # range of the color scale, from the loudest point down to black
_LEFT, _RIGHT, _TITLE, _GAP, _BOTTOM = 96, 108, 50, 14, 62  # pixels around the panels
_BAR = 20  # width of the color bar in pixels
_TITLE_SIZE, _LABEL_SIZE = 24, 19  # font sizes in pixels
_INK, _FAINT = (38, 38, 46), (120, 120, 128)
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
        The contents of a PNG file.
    """
    height = 2 * (_TITLE + PANEL_HEIGHT) + _GAP + _BOTTOM
    image = Image.new("RGB", (_LEFT + PANEL_WIDTH + _RIGHT, height), "white")
    draw = ImageDraw.Draw(image)
    for i, (panel, title) in enumerate(zip(_loudness([original, decoded]), titles, strict=True)):
        top = _TITLE + i * (PANEL_HEIGHT + _TITLE + _GAP)
        _panel(image, top, panel)
        _text(draw, _LEFT, top - 22, title, "left", size=_TITLE_SIZE)
    _time_axis(draw, 2 * (_TITLE + PANEL_HEIGHT) + _GAP, duration_s)
    return _png(image)


def bare_spectrograms(mels: Sequence[NDArray[np.float32]]) -> list[bytes]:
    """Draw spectrograms with a common color scale and without axes, for a page that draws its own axes.

    Args:
        mels: natural logarithms of mel magnitudes, float32 [C, 128] each.

    Returns:
        The contents of one PNG file per spectrogram, C pixels wide and 128 pixels high, with the highest band on top.
    """
    return [_png(_colored(panel)) for panel in _loudness(mels)]


def band_height(hz: float) -> float:
    """Return the vertical position of a frequency in a spectrogram without axes, from 0 (bottom) to 1 (top)."""
    return float(hz_to_mel(hz)) / float(hz_to_mel(SAMPLE_RATE / 2))


def _loudness(mels: Sequence[NDArray[np.float32]]) -> list[NDArray[np.floating]]:
    """Convert log-mel spectrograms [C, 128] to images [128, C] with the highest band first.

    The loudest point across all spectrograms has the value 1. Points that are 80 dB quieter have the value 0, and even
    quieter points have negative values.
    """
    # Without this correction, noise in the wide high-frequency bands would appear brighter than speech.
    per_hertz = np.log(filterbank().sum(axis=0))
    densities_db = [_DB_PER_NEPER * (mel - per_hertz) for mel in mels]
    top_db = max(float(density.max()) for density in densities_db)
    return [(density.T[::-1] - top_db) / RANGE_DB + 1 for density in densities_db]


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _panel(image: Image.Image, top: int, loudness: NDArray[np.floating]) -> None:
    """Draw a spectrogram, its frequency axis and its color bar."""
    draw = ImageDraw.Draw(image)
    stretched = Image.fromarray(loudness.astype(np.float32)).resize(
        (PANEL_WIDTH, PANEL_HEIGHT), Image.Resampling.BILINEAR
    )
    _framed(image, _LEFT, top, np.asarray(stretched))
    for hz in _TICKS_HZ:
        y = top + round((PANEL_HEIGHT - 1) * (1 - band_height(hz)))
        draw.line((_LEFT - 8, y, _LEFT - 2, y), _INK)
        _text(draw, _LEFT - 14, y, f"{hz / 1000:g}", "right")
    _text(draw, 8, top - 22, "kHz", "left", color=_FAINT)

    left = _LEFT + PANEL_WIDTH + 22
    _framed(image, left, top, np.repeat(np.linspace(1, 0, PANEL_HEIGHT)[:, None], _BAR, axis=1))
    for db in range(0, round(RANGE_DB) + 1, 20):
        y = top + round((PANEL_HEIGHT - 1) * db / RANGE_DB)
        draw.line((left + _BAR + 1, y, left + _BAR + 6, y), _INK)
        _text(draw, left + _BAR + 12, y, f"-{db}" if db else "0", "left")
    _text(draw, left, top - 22, "dB", "left", color=_FAINT)


def _framed(image: Image.Image, left: int, top: int, values: NDArray[np.floating]) -> None:
    """Draw an array of values from 0 to 1 as an image with a frame around it."""
    bottom, right = top + values.shape[0], left + values.shape[1]
    ImageDraw.Draw(image).rectangle((left - 1, top - 1, right, bottom), outline=_INK)
    image.paste(_colored(values), (left, top))


def _time_axis(draw: ImageDraw.ImageDraw, top: int, duration_s: float) -> None:
    step = time_step_s(duration_s)
    for i in range(int(duration_s / step + 1e-9) + 1):
        x = _LEFT + round((PANEL_WIDTH - 1) * i * step / duration_s)
        draw.line((x, top + 1, x, top + 7), _INK)
        _text(draw, x, top + 22, clock(i * step, step), "center")
    unit = "minutes:seconds" if step * 10 > 60 else "seconds"
    _text(draw, _LEFT + PANEL_WIDTH, top + 46, unit, "right", color=_FAINT)


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


def _colored(values: NDArray[np.floating]) -> Image.Image:
    """Convert an array [height, width] of values between 0 and 1 to an image with a color palette."""
    anchors = np.array([list(bytes.fromhex(color)) for color in _MAGMA.split()])
    at = np.linspace(0, 1, len(anchors))
    palette = np.stack([np.interp(np.linspace(0, 1, 256), at, channel) for channel in anchors.T], axis=1)
    image = Image.fromarray(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))
    image.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    return image


def _text(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    text: str,
    align: str,
    *,
    color: tuple[int, int, int] = _INK,
    size: int = _LABEL_SIZE,
) -> None:
    """Draw a line of text that is vertically centered on y. `align` is "left", "center" or "right"."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    anchor = {"left": "lm", "center": "mm", "right": "rm"}[align]
    draw.text((x, y), printable, color, ImageFont.load_default(size), anchor=anchor)
