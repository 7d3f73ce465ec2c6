"""Fit the codebooks of the web page to a folder of speech.

    python web/fit_codebooks.py SPEECH    # a folder with an INDEX.tsv -> web/codebooks/

The page has one codebook with 1,024 entries, and a chain of 8 codebooks with 256 entries each. They quantize vectors of
16 numbers, which describe the shape of the spectrum in 20 ms (`web/src/signal/shapes.ts`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, mel
from silkcodec.audio import manifest

OUT = Path(__file__).resolve().parent / "codebooks"
ENTRIES, CHAIN, CHAIN_ENTRIES = 1024, 8, 256
ROWS = 16  # rows of the picture of the codebook in the page
WIDTH, POOL_COLUMNS = 16, 2
DB = 20 / np.log(10)
LOWEST_DB = -60.0
SPEECH_DB = -45.0  # columns without a value above this are pauses, and only 5 % of them are used
PER_SOURCE_S = 60.0
STEPS = 15

Vectors = NDArray[np.float32]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("speech", type=Path, help="a folder with an INDEX.tsv")
    speech = arguments.parse_args().speech
    vectors, used = collect(speech)
    rng = np.random.default_rng(0)
    palette = arranged(kmeans(vectors, ENTRIES, rng))
    books, left = [], vectors.copy()
    for _ in range(CHAIN):
        books.append(kmeans(left, CHAIN_ENTRIES, rng))
        left -= books[-1][nearest(left, books[-1])]
    tables = [palette, *books]
    OUT.mkdir(exist_ok=True)
    (OUT / "codebooks.bin").write_bytes(b"".join(table.astype("<f2").tobytes() for table in tables))
    about = {
        "entries": ENTRIES,
        "chain": CHAIN,
        "chain_entries": CHAIN_ENTRIES,
        "width": WIDTH,
        "vectors": len(vectors),
        "seconds": round(sum(used.values())),
        "sources": {source: round(seconds) for source, seconds in sorted(used.items())},
        "error_db": round(rms(vectors - palette[nearest(vectors, palette)]), 2),
        "spread_db": round(rms(vectors - vectors.mean(axis=0)), 2),
    }
    (OUT / "codebooks.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(about, indent=1))


def collect(folder: Path) -> tuple[Vectors, dict[str, float]]:
    """Return vectors of the training speech ([N, 16]) and the duration used from each source in seconds."""
    rows = [row for row in manifest.read(folder / manifest.INDEX_NAME) if row.get("split") == "train"]
    used: dict[str, float] = {}
    found = []
    rng = np.random.default_rng(0)
    for i in rng.permutation(len(rows)):
        source, seconds = rows[i]["source"], float(rows[i]["duration_s"])
        if used.get(source, 0.0) + seconds > PER_SOURCE_S:
            continue
        used[source] = used.get(source, 0.0) + seconds
        vectors = shapes(mel.log_mel(audio.read(folder / rows[i]["path"])))
        pause = vectors.max(axis=1) < SPEECH_DB
        found.append(vectors[~pause | (rng.random(len(vectors)) < 0.05)])
    return np.concatenate(found), used


def shapes(columns: Vectors) -> Vectors:
    """Return the vectors (float32 [C // 2, 16]) of a spectrogram ([C, 128]), in dB relative to the loud level."""
    loudest = np.sort(columns.max(axis=1))
    loud = loudest[int(0.95 * (len(loudest) - 1))]
    db = np.maximum((columns - loud) * DB, LOWEST_DB)
    n = len(db) // POOL_COLUMNS
    return db[: n * POOL_COLUMNS].reshape(n, POOL_COLUMNS, WIDTH, -1).mean(axis=(1, 3)).astype(np.float32)


def kmeans(vectors: Vectors, k: int, rng: np.random.Generator) -> Vectors:
    """Fit k codebook entries with Lloyd's algorithm."""
    entries = vectors[rng.choice(len(vectors), k, replace=False)].copy()
    for _ in range(STEPS):
        chosen = nearest(vectors, entries)
        counts = np.bincount(chosen, minlength=k)
        for d in range(vectors.shape[1]):
            sums = np.bincount(chosen, weights=vectors[:, d], minlength=k)
            entries[:, d] = sums / np.maximum(counts, 1)
        empty = counts == 0
        entries[empty] = vectors[rng.choice(len(vectors), int(empty.sum()), replace=False)]
    return entries


def nearest(vectors: Vectors, entries: Vectors) -> NDArray[np.int64]:
    half = 0.5 * np.square(entries).sum(axis=1)
    parts = [(vectors[i : i + 8192] @ entries.T - half).argmax(axis=1) for i in range(0, len(vectors), 8192)]
    return np.concatenate(parts)


def arranged(entries: Vectors) -> Vectors:
    """Sort codebook entries into rows from loud to quiet, and each row from low to high frequencies."""
    tilt = entries @ np.linspace(-1, 1, WIDTH) - entries.mean(axis=1) * np.linspace(-1, 1, WIDTH).sum()
    by_level = np.argsort(-entries.mean(axis=1), kind="stable").reshape(ROWS, -1)
    return np.concatenate([entries[row[np.argsort(tilt[row], kind="stable")]] for row in by_level])


def rms(values: Vectors) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


if __name__ == "__main__":
    main()
