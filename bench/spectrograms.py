"""Draw docs/spectrograms.webp, which compares three clips with Silk's output for earlier and for current weights.

    python bench/spectrograms.py --speech ../shared/speech --earlier out/silk-1852ddff96a9

`make quality` extracts the earlier weights from the Git history and runs this program.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import program
from matplotlib.figure import Figure
from PIL import Image

from silkcodec import audio
from silkcodec.evaluate.metrics.texture import HOP, fricative_frames
from silkcodec.silk import Silk
from silkcodec.spec import SILK_SAMPLE_RATE

CLIPS = {  # full-band clips from evaluation/clips.tsv
    "English, speaker held out": "gcompris-voices/en/julia-wycherley/013_010.opus",
    "English, source held out": "freeswitch-richard/en_GB/racitup-richard/000_002.opus",
    "Ancient Greek, language held out": "0ad-voice/grc/0ad-greek-f/002_000.opus",
}
PART_S = 2.0
FLOOR_DB = -80  # relative to the loudest point in the three spectrograms of a clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder with the speech")
    parser.add_argument("--earlier", type=Path, required=True, help="folder with the earlier weights")
    parser.add_argument(
        "--out", type=program.output_file, default="docs/spectrograms.webp", help="file for the picture"
    )
    arguments = parser.parse_args()
    codecs = {"": None, "earlier weights": Silk(arguments.earlier), "embedded weights": Silk()}
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    axes = figure.subplots(len(CLIPS), len(codecs), sharex=True, sharey=True)
    for row, (title, path) in zip(axes, CLIPS.items(), strict=True):
        wave = audio.read(arguments.speech / path, SILK_SAMPLE_RATE)
        start = most_fricative(wave)
        part = slice(start, start + round(PART_S * SILK_SAMPLE_RATE))
        waves = [wave if codec is None else codec.decode(codec.encode(wave)) for codec in codecs.values()]
        powers = [spectrogram_db(wave[part]) for wave in waves]
        loudest = max(power.max() for power in powers)
        for axis, (name, codec), power in zip(row, codecs.items(), powers, strict=True):
            axis.imshow(
                power - loudest, origin="lower", aspect="auto", cmap="magma", vmin=FLOOR_DB, vmax=0,
                extent=(0, PART_S, 0, SILK_SAMPLE_RATE / 2000),
            )  # fmt: skip
            axis.set_title(f"{title}: original" if codec is None else f"{name}, {codec.codec_id}", fontsize=9)
        row[0].set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    Image.open(picture).convert("RGB").save(arguments.out, quality=80, method=6)


def most_fricative(wave: np.ndarray) -> int:
    """Return the index of the first sample of the excerpt with the most fricative frames."""
    is_fricative = np.zeros(len(wave) // HOP + 1, dtype=int)
    is_fricative[fricative_frames(wave)] = 1
    counts = np.convolve(is_fricative, np.ones(round(PART_S * SILK_SAMPLE_RATE / HOP), dtype=int), mode="valid")
    return int(counts.argmax()) * HOP


def spectrogram_db(wave: np.ndarray) -> np.ndarray:
    """Return the power spectrogram in dB, [257, F], with windows of 512 samples and a hop of 96."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::96] * np.hanning(512)
    return 10 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T ** 2 + 1e-12)


if __name__ == "__main__":
    program.run(main)
