"""Compare batched model calls with single calls, and print the results as JSON.

For each batch size, the program counts the output values that differ from those of single calls, and measures the
processor time per frame.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.serve.batcher import run_batch
from silkcodec.silk import Silk
from silkcodec.spec import FRAME_SAMPLES, LOOKAHEAD

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SIZES = (1, 2, 4, 8, 16)


def measure(n_frames: int) -> list[dict[str, Any]]:
    codec, n = Silk(threads=1), SIZES[-1]
    speech = np.concatenate([audio.read(path) for path in sorted(SAMPLES.glob("*.flac"))])
    length = LOOKAHEAD + n_frames * FRAME_SAMPLES
    starts = np.linspace(0, len(speech) - 1, n).astype(int)
    # The streams are longer than the samples (15 s), so the samples are repeated.
    waves = np.stack([np.take(speech, np.arange(start, start + length), mode="wrap") for start in starts])
    frames = waves[:, LOOKAHEAD:].reshape(n, n_frames, FRAME_SAMPLES)
    codec.prepare(encode=True, decode=True)
    for _ in range(3):  # The first calls of a graph allocate memory.
        run_batch(codec, "levels", frames[:1, 0], [codec.encoder_states()])
        run_batch(codec, "wave", np.zeros((1, 128), np.uint8), [codec.decoder_states()])
    rows, single = [], {}
    for size in SIZES:
        row: dict[str, Any] = {"size": size, "frames": n * n_frames}
        levels = np.zeros((n, n_frames, 128), np.uint8)
        for output in ("latent", "levels", "wave"):
            values, states, cpu_s = [], [], 0.0
            for first in range(0, n, size):
                group = range(first, first + size)
                if output == "wave":
                    now = [codec.decoder_states() for _ in group]
                else:
                    now = [codec.encoder_states(prime=waves[b, :LOOKAHEAD]) for b in group]
                for t in range(n_frames):
                    given = single["levels"][0].reshape(n, n_frames, 128) if output == "wave" else frames
                    began = time.process_time()
                    value, now = run_batch(codec, output, given[first : first + size, t], now)
                    cpu_s += time.process_time() - began
                    values.append((first, t, value))
                states += now
            whole = np.stack([np.concatenate([v for _, t, v in values if t == i]) for i in range(n_frames)], axis=1)
            if size == 1:
                if output == "levels":
                    levels = whole.reshape(n, n_frames, 128)
                single[output] = (levels if output == "levels" else whole, states)
            known, known_states = single[output]
            row[f"{output}_differ"] = int((whole.reshape(-1) != known.reshape(-1)).sum())
            pairs = zip(chain.from_iterable(states), chain.from_iterable(known_states), strict=True)
            row[f"{output}_states_differ"] = int(sum((a != b).sum() for a, b in pairs))
            if output != "latent":
                row[f"{'encode' if output == 'levels' else 'decode'}_ms"] = 1e3 * cpu_s / (n * n_frames)
        rows.append(row)
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
