"""Quantize one log-mel column of a recording with residual codebooks, and measure the error after each codebook.

    log-mel column [128] - entry of codebook 1 - entry of codebook 2 - ... - entry of codebook 32 = residual

The codebooks are fitted to other speech or to the rest of the recording.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec import audio, mel
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import find_clips
from silkcodec_lab.chains import LLOYD_STEPS, ResidualChain, nearest
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.pages import Result, head
from silkcodec_lab.selection import beginning, check_positive

COLUMN_S = mel.HOP / mel.SAMPLE_RATE  # 10 ms
NEAR_S = 0.5  # seconds before and after the moment that are excluded from training on the same recording
MAX_COLUMNS = 20_000  # maximum number of training columns (200 s), selected at random
FEWEST_PER_ENTRY = 2  # minimum number of training columns per entry
MAX_CODEBOOKS = 32
SHOWN = (1, 2, 4, 8, 16, 32)  # numbers of codebooks whose sums are included in the result
DB = 20 / math.log(10)  # converts a natural logarithm of a magnitude to dB


def residual(
    path: str | os.PathLike[str],
    at_s: float,
    *,
    speech: Sequence[str | os.PathLike[str]] = (),
    n_codebooks: int = MAX_CODEBOOKS,
    entries: int = 64,
    minutes: float = 10.0,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Quantize one log-mel column of a recording with residual codebooks, and measure the error after each codebook.

    Args:
        path: Path of the recording.
        at_s: Position of the column in seconds.
        speech: Audio files, folders, or a manifest with training speech. If empty, the rest of the recording is used.
        n_codebooks: Number of codebooks, 1 to 32.
        entries: Number of entries of each codebook.
        minutes: Maximum duration of the training speech in minutes, if `speech` is given.
        seed: Random seed.
        progress: Progress callback, which is called with the number of fitted codebooks, their total and a label.

    Returns:
        The contents of residual.json.

    Raises:
        ArgumentError: The position is outside the recording, an argument is invalid, or there is too little speech.
        AudioError: A file cannot be read.
    """
    if not 1 <= n_codebooks <= MAX_CODEBOOKS:
        raise ArgumentError(f"--codebooks must be between 1 and {MAX_CODEBOOKS}; got {n_codebooks}.")
    if entries < 2:
        raise ArgumentError(f"--entries must be at least 2; got {entries}.")
    conditions = Conditions()
    recording = columns(audio.read(path, mel.SAMPLE_RATE))
    if not 0 <= at_s < len(recording) * COLUMN_S:
        raise ArgumentError(
            f"--at must be between 0 and {len(recording) * COLUMN_S:.2f} s for '{path}'; got {at_s:g} s."
        )
    place = min(int(at_s / COLUMN_S + 1e-6), len(recording) - 1)
    training, n_clips = _speech(Path(path), recording, place, speech, minutes, seed)
    if len(training) < FEWEST_PER_ENTRY * entries:
        raise ArgumentError(
            f"A codebook with {entries} entries needs at least {FEWEST_PER_ENTRY * entries * COLUMN_S:.2f} s of "
            f"training speech; got {len(training) * COLUMN_S:.2f} s. Add speech with --speech, or lower --entries."
        )
    fitted = torch.from_numpy(training[np.random.default_rng(seed).permutation(len(training))[:MAX_COLUMNS]])

    def sizes() -> Iterator[int]:
        for done in range(1, n_codebooks + 1):
            yield entries
            if progress is not None:  # The next size is requested after a codebook is fitted.
                progress(done, n_codebooks, "codebooks")

    chain = ResidualChain.fit(fitted, sizes(), seed)
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
        "machine": conditions.facts(),
        "band_hz": band_centers_hz().tolist(),
        "vector": vector.tolist(),
        "mean": mean.tolist(),
        "mean_error_db": _db(vector - mean),
        "stages": stages,
        "sums": {str(k): sums[k - 1].tolist() for k in sorted({*SHOWN, n_codebooks}) if k <= n_codebooks},
        "recording_error_db": errors_db(chain, torch.from_numpy(recording)),
        "train_error_db": errors_db(chain, fitted),
    }


def follow(
    chain: ResidualChain, vector: NDArray[np.float32], mean: NDArray[np.float32]
) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """Quantize one vector, [D], with each residual codebook in turn, and measure the error.

    Returns:
        A dictionary of measurements for each codebook, and the quantized vectors after each codebook, float64 [K, D].
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


def errors_db(chain: ResidualChain, vectors: Tensor) -> list[float]:
    """Return the RMS error in dB of quantized log-mel vectors, float32 [N, D], after each codebook."""
    left, errors = vectors, []
    for book in chain.books:
        left = left - book(nearest(book, left))
        errors.append(float(left.double().square().mean().sqrt()) * DB)
    return errors


def columns(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the complete log-mel columns of a 24 kHz waveform, float32 [C, 128]."""
    return mel.log_mel(wave)[: max(0, len(wave) - mel.LOOKAHEAD) // mel.HOP]


def band_centers_hz() -> NDArray[np.float64]:
    """Return the center frequencies of the mel bands in Hz, float64 [128]."""
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
    """Return the log-mel columns for training (float32 [C, 128]) and the number of training clips."""
    if not inputs:
        near = round(NEAR_S / COLUMN_S)
        return np.concatenate([recording[: max(0, place - near)], recording[place + near + 1 :]]), 1
    check_positive("--minutes", minutes)
    clips = [clip for clip in find_clips(inputs) if not os.path.samefile(clip.path, path)]
    if not clips:
        raise ArgumentError(f"--speech must contain recordings other than '{path}'; it contains none.")
    order = np.random.default_rng(seed).permutation(len(clips))
    found, left_s, n_clips = [], 60 * minutes, 0
    for i in order:
        if left_s <= 0:
            break
        wave = beginning(clips[i].path, left_s)
        left_s -= len(wave) / mel.SAMPLE_RATE
        found.append(columns(wave))
        n_clips += 1
    return np.concatenate(found), n_clips


def _db(values: NDArray[Any]) -> float:
    """Return the RMS, in dB, of natural logarithms of magnitudes."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) * DB
