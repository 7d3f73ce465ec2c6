"""The residual chain at one moment of a recording: which entry each codebook chooses, and what it leaves over.

    column of the log-mel spectrogram at the moment [128] - entry 1 - entry 2 - ... - entry 32 = what is left

The codebooks are fitted to other speech, or to the rest of the recording, each to what those before it leave over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import find_clips
from silkcodec_lab.chains import LLOYD_STEPS, Chain, nearest
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.pages import Result, head

COLUMN_S = mel.HOP / mel.SAMPLE_RATE  # 10 ms
NEAR_S = 0.5  # about the moment that no codebook is fitted to, where they are fitted to the recording itself
MAX_COLUMNS = 20_000  # to fit to, drawn at random: 200 s
FEWEST_PER_ENTRY = 2  # columns: a codebook beyond that is a copy of its training speech
MAX_CODEBOOKS = 32
SHOWN = (1, 2, 4, 8, 16, 32)  # lengths of the chain whose sums are kept, and its whole length
DB = 20 / math.log(10)  # of a natural logarithm of a magnitude


def residual(
    path: str | os.PathLike[str],
    at_s: float,
    *,
    speech: Sequence[str | os.PathLike[str]] = (),
    n_codebooks: int = MAX_CODEBOOKS,
    entries: int = 64,
    minutes: float = 10.0,
    seed: int = 0,
) -> Result:
    """Follows one column of a recording's log-mel spectrogram down the chain.

    Args:
        path: the recording.
        at_s: the moment, seconds from its start.
        speech: what to fit the codebooks to: audio files, folders, an INDEX.tsv; the recording itself is left out of
            it. None given: the recording, without half a second on either side of the moment.
        n_codebooks, entries: length of the chain, 1..32, and size of each codebook.
        minutes: of speech to fit to at most, clips drawn at random.
        seed: of clips, columns and first entries.

    Returns:
        What goes to residual.json.

    Raises:
        ArgumentError: a moment outside the recording, a chain that cannot be, too little speech.
        AudioError: see `audio.read` and `find_clips`.
    """
    if not 1 <= n_codebooks <= MAX_CODEBOOKS:
        raise ArgumentError(f"n_codebooks must be 1..{MAX_CODEBOOKS}; got {n_codebooks}.")
    if entries < 2:
        raise ArgumentError(f"entries must be at least 2; got {entries}.")
    conditions = Conditions()
    recording = columns(audio.read(path, mel.SAMPLE_RATE))
    if not 0 <= at_s < len(recording) * COLUMN_S:
        raise ArgumentError(f"the moment must be 0..{len(recording) * COLUMN_S:.2f} s for '{path}'; got {at_s:g} s.")
    place = min(int(at_s / COLUMN_S + 1e-6), len(recording) - 1)
    training, n_clips = _speech(Path(path), recording, place, speech, minutes, seed)
    if len(training) < FEWEST_PER_ENTRY * entries:
        raise ArgumentError(
            f"{entries} entries need {FEWEST_PER_ENTRY * entries * COLUMN_S:.2f} s of speech to be fitted to; got "
            f"{len(training) * COLUMN_S:.2f} s; give more with --speech, or take fewer --entries."
        )
    fitted = torch.from_numpy(training[np.random.default_rng(seed).permutation(len(training))[:MAX_COLUMNS]])
    chain = Chain.fit(fitted, [entries] * n_codebooks, seed)
    vector, mean = recording[place], fitted.mean(dim=0).numpy()
    stages, sums = follow(chain, vector, mean)
    return {
        **head("residual"),
        "settings": {
            "file": Path(path).name,
            "at_s": place * COLUMN_S,
            "fitted_to": "speech" if speech else "recording",
            "n_codebooks": n_codebooks,
            "entries": entries,
            "minutes": minutes,
            "seed": seed,
            "lloyd_steps": LLOYD_STEPS,
            "near_s": NEAR_S,
        },
        "speech": {"n_clips": n_clips, "duration_s": len(training) * COLUMN_S, "n_columns": len(fitted)},
        "recording_s": len(recording) * COLUMN_S,
        "machine": conditions.facts(),
        "band_hz": band_centres_hz().tolist(),
        "vector": vector.tolist(),
        "mean": mean.tolist(),
        "mean_error_db": _db(vector - mean),
        "stages": stages,
        "sums": {str(k): sums[k - 1].tolist() for k in sorted({*SHOWN, n_codebooks}) if k <= n_codebooks},
        "recording_error_db": errors_db(chain, torch.from_numpy(recording)),
        "train_error_db": errors_db(chain, fitted),
    }


def follow(
    chain: Chain, vector: NDArray[np.float32], mean: NDArray[np.float32]
) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """One vector [D] down the chain: what each stage chose, and the sums of the entries so far, [K, D].

    In float64, where differences of float32 numbers of like size are exact: entries and residual are taken together
    after every stage, and `sum_off_by` is the largest difference from the vector.
    """
    start = vector.astype(np.float64)
    left, total = start.copy(), np.zeros_like(start)
    spread = max(float(np.square(start - mean).sum()), 1e-30)
    stages, sums = [], []
    for book in chain.books:
        table = book.entries.double().numpy()
        distances = np.square(left - table).sum(axis=1)
        chosen = int(distances.argmin())
        entry = table[chosen]
        next_best = float(np.delete(distances, chosen).min())
        lengths = float(np.linalg.norm(left) * np.linalg.norm(entry))
        cosine = float(left @ entry) / lengths if lengths else 0.0
        before, left, total = left, left - entry, total + entry
        stages.append(
            {
                "entry": chosen,
                "entry_db": _db(entry),
                "before_db": _db(before),
                "error_db": _db(left),
                "next_best_db": math.sqrt(next_best / len(start)) * DB,
                "cosine": cosine,
                "share_left": float(np.square(left).sum()) / spread,
                "sum_off_by": float(np.abs(total + left - start).max()),
            }
        )
        sums.append(total)
    return stages, np.stack(sums)


def errors_db(chain: Chain, vectors: Tensor) -> list[float]:
    """Root mean square of what is left of vectors float32 [N, D] after each stage, dB a band."""
    left, errors = vectors, []
    for book in chain.books:
        left = left - book(nearest(book, left))
        errors.append(float(left.double().square().mean().sqrt()) * DB)
    return errors


def columns(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """wave [T] at 24 kHz -> float32 [C, 128]: its log-mel columns, without those that see beyond the end."""
    return mel.log_mel(wave)[: max(0, len(wave) - mel.LOOKAHEAD) // mel.HOP]


def band_centres_hz() -> NDArray[np.float64]:
    """Of the mel bands: where each triangle has its top, float64 [128]."""
    edges = np.linspace(0.0, float(mel.hz_to_mel(mel.SAMPLE_RATE / 2)), mel.N_MELS + 2)
    return mel.mel_to_hz(edges[1:-1])


def _speech(
    path: Path,
    recording: NDArray[np.float32],
    place: int,
    inputs: Sequence[str | os.PathLike[str]],
    minutes: float,
    seed: int,
) -> tuple[NDArray[np.float32], int]:
    """The columns to fit to, and of how many clips they are. Raises ArgumentError, AudioError."""
    if not inputs:
        near = round(NEAR_S / COLUMN_S)
        return np.concatenate([recording[: max(0, place - near)], recording[place + near + 1 :]]), 1
    if not minutes > 0:
        raise ArgumentError(f"speech must be more than 0 minutes; got {minutes:g}.")
    clips = [clip for clip in find_clips(inputs) if not os.path.samefile(clip.path, path)]
    if not clips:
        raise ArgumentError(f"the codebooks must be fitted to other speech than '{path}'; got nothing else.")
    order = np.random.default_rng(seed).permutation(len(clips))
    found, left_s, n_clips = [], 60 * minutes, 0
    for i in order:
        if left_s <= 0:
            break
        with audio.Reader(clips[i].path, mel.SAMPLE_RATE) as reader:
            wave = reader.read(round(left_s * mel.SAMPLE_RATE))
        left_s -= len(wave) / mel.SAMPLE_RATE
        found.append(columns(wave))
        n_clips += 1
    return np.concatenate(found), n_clips


def _db(values: NDArray[Any]) -> float:
    """Root mean square over the bands of natural logarithms, as dB."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) * DB
