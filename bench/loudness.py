"""Measure the STOI of quiet recordings and of recordings with a DC offset, with and without `--normalize`.

    python bench/loudness.py --out bench/loudness.json      # about a minute; needs the [eval] extra

The recordings are those in samples/, scaled to an RMS level or with an added offset.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import program

from silkcodec import audio
from silkcodec.audio import Wave, level
from silkcodec.evaluate.metrics import Pair
from silkcodec.evaluate.metrics.signal import stoi
from silkcodec.evaluate.results import head, rounded, to_json
from silkcodec.silk import Silk

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("english.flac", "mandarin.flac", "arabic.flac")
LEVELS_DBFS = (-30, -40, -50, -60, -70)
OFFSETS = (0.02, 0.1, 0.3)


def main() -> None:
    """Measure STOI for all levels and offsets, and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=program.output_file, required=True)
    out = parser.parse_args().out
    codec = Silk()
    waves = {name: audio.read(ROOT / "samples" / name) for name in SAMPLES}
    rows = []
    for what, values in (("level_dbfs", LEVELS_DBFS), ("offset", OFFSETS)):
        for value in values:
            for name, wave in waves.items():
                changed = at_level(wave, value) if what == "level_dbfs" else with_offset(wave, value)
                plain = codec.decode(codec.encode(changed))
                normal, gain = level.normalize(changed, codec.sample_rate)
                restored = codec.decode(codec.encode(normal)) * np.float32(gain)
                scores = {"plain": stoi(Pair(wave, plain)), "normalized": stoi(Pair(wave, restored))}
                rows.append({what: value, "file": name, **scores})
    result = {**head("silk loudness", 1), "codec": codec.codec_id, "rows": rows}
    out.write_text(to_json(rounded(result)), encoding="utf-8")


def at_level(wave: Wave, dbfs: float) -> Wave:
    """Scale a waveform to an RMS level and round it to 16 bits."""
    scale = 10 ** (dbfs / 20) / np.sqrt(np.mean(wave.astype(np.float64) ** 2))
    return (np.rint(wave * scale * 32_768) / 32_768).astype(np.float32)


def with_offset(wave: Wave, offset: float) -> Wave:
    """Add a constant to a waveform."""
    return (wave + np.float32(offset)).astype(np.float32)


if __name__ == "__main__":
    program.run(main)
