"""Compute metrics from two waves alone: PESQ, STOI, mel distance, SI-SDR, level.

PESQ normalises the level of both waves itself. STOI, ESTOI and SI-SDR do not depend on the level. The mel distance
does, on purpose. `level_db` measures the level difference.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from silkcodec import mel
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, is_silent, rms_dbfs

PESQ_RATE = 16_000  # Hz, the only rate of P.862.2
PESQ_MAX_S = 19.0  # see pesq_wb
PESQ_MIN_S = 0.25  # minimum of the reference implementation
PESQ_WORST = 0.999  # lower end of the mapping in P.862.2; in loud noise raw scores fall below -0.5, which maps to 1.04
SI_SDR_WORST_DB = -100.0
SI_SDR_BEST_DB = 100.0  # Identical waves have an infinite ratio; a finite bound keeps the mean finite.


def pesq_wb(pair: Pair) -> float:
    """PESQ, wide band (P.862.2): MOS-LQO, 1.0 .. 4.64.

    A clip longer than 19 s is cut into equal parts of at most 19 s and the parts are averaged: the reference
    implementation keeps utterances in tables of 50 and does not check; one takes at least 200 ms of speech
    and 200 ms of pause, so less than 20 s cannot overrun them. Parts without an utterance in them are left
    out of the average.

    Raises:
        UndefinedMetric: shorter than 0.25 s, or no part holds an utterance (0.2 s of uninterrupted speech).
    """
    import pesq

    if pair.duration_s < PESQ_MIN_S:
        raise UndefinedMetric(f"PESQ needs {PESQ_MIN_S} s of audio or more; got {pair.duration_s:.3f} s.")
    reference, output = pair.at(PESQ_RATE)
    n_parts = int(np.ceil(len(reference) / (PESQ_MAX_S * PESQ_RATE)))
    scores = []
    for part, made in zip(np.array_split(reference, n_parts), np.array_split(output, n_parts), strict=True):
        score = None if is_silent(part) else _pesq_of_part(pesq, part, made)
        if score is not None:
            scores.append(score)
    if not scores:
        raise UndefinedMetric("PESQ needs 0.2 s of uninterrupted speech; found none in the reference.")
    return float(np.mean(scores))


def _pesq_of_part(pesq: Any, reference: Wave, output: Wave) -> float | None:
    """Return the PESQ of one part at 16 kHz, or None if its reference holds no utterance."""
    if is_silent(output):
        return PESQ_WORST
    try:
        return float(pesq.pesq(PESQ_RATE, reference, output, "wb"))
    except pesq.NoUtterancesError:
        pass
    try:  # A reference with an utterance always has a score against itself.
        pesq.pesq(PESQ_RATE, reference, reference, "wb")
    except pesq.NoUtterancesError:
        return None
    return PESQ_WORST


def stoi(pair: Pair) -> float:
    """Short-time objective intelligibility, up to 1 (`pystoi` resamples to 10 kHz itself)."""
    return _stoi(pair, extended=False)


def estoi(pair: Pair) -> float:
    """Extended STOI, which does not take the bands for independent: about 0 for unrelated waves, up to 1."""
    return _stoi(pair, extended=True)


def _stoi(pair: Pair, *, extended: bool) -> float:
    import pystoi

    reference, output = pair.at(PESQ_RATE)  # the rate of PESQ, so that the waves are resampled only once
    with warnings.catch_warnings():
        # With fewer than 30 frames of speech (384 ms) pystoi warns and returns 1e-5, which looks like a score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        # ESTOI adds noise at the level of rounding errors from NumPy's global generator, so it is seeded here.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(pystoi.stoi(reference, output, PESQ_RATE, extended=extended))
        except RuntimeWarning:
            raise UndefinedMetric("STOI needs 384 ms of speech in the reference; found less.") from None
        finally:
            np.random.set_state(state)


def mel_distance(pair: Pair) -> float:
    """Mean absolute difference of the two log-mel spectrograms (natural log, 128 bands, 10 ms columns).

    1.0 means a factor e = 8.7 dB in magnitude, on average over all bands and columns. Level counts.
    """
    columns = -(-len(pair.reference) // mel.HOP)  # excludes columns that only hold padding
    difference = mel.log_mel(pair.output)[:columns] - mel.log_mel(pair.reference)[:columns]
    return float(np.mean(np.abs(difference)))


def si_sdr_db(pair: Pair) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, means removed (arXiv 1811.02508), within -100 .. 100.

    Vocoders keep no waveform and score far below zero however good they sound: read it with that in mind.
    """
    reference = pair.reference.astype(np.float64) - pair.reference.mean(dtype=np.float64)
    output = pair.output.astype(np.float64) - pair.output.mean(dtype=np.float64)
    reference_power = float(reference @ reference)
    if reference_power == 0.0:
        raise UndefinedMetric("SI-SDR needs a reference that changes; got a constant.")
    target = (float(output @ reference) / reference_power) * reference
    residual = output - target
    signal, distortion = float(target @ target), float(residual @ residual)
    if signal == 0.0:
        return SI_SDR_WORST_DB
    if distortion == 0.0:
        return SI_SDR_BEST_DB
    return float(np.clip(10.0 * np.log10(signal / distortion), SI_SDR_WORST_DB, SI_SDR_BEST_DB))


def level_db(pair: Pair) -> float:
    """RMS level of the output relative to the reference in dB: 0 where the level is kept, at least -100."""
    return max(rms_dbfs(pair.output) - rms_dbfs(pair.reference), -100.0)


SIGNAL_METRICS = (
    Metric(
        "pesq_wb",
        "PESQ-WB",
        "MOS-LQO",
        "higher",
        pesq_wb,
        worst=PESQ_WORST,
        what="perceived quality against the original, 1.0 to 4.64; levels are equalised first",
        source="ITU-T P.862.2, `pesq`",
        packages=("pesq",),
    ),
    Metric(
        "stoi",
        "STOI",
        "",
        "higher",
        stoi,
        worst=0.0,
        what="intelligibility: correlation of the envelopes of 15 bands with the original's, up to 1",
        source="Taal et al. 2011, `pystoi`",
        packages=("pystoi",),
    ),
    Metric(
        "estoi",
        "ESTOI",
        "",
        "higher",
        estoi,
        worst=0.0,
        what="extended STOI, with correlation across bands; about 0 for unrelated waves, up to 1",
        source="Jensen & Taal 2016, `pystoi`",
        packages=("pystoi",),
    ),
    Metric(
        "mel_distance",
        "Mel distance",
        "natural log",
        "lower",
        mel_distance,
        what="mean absolute difference of the log-mel spectrograms, 128 bands to 12 kHz; depends on level",
        source="`silkcodec.mel`",
    ),
    Metric(
        "si_sdr_db",
        "SI-SDR",
        "dB",
        "higher",
        si_sdr_db,
        worst=SI_SDR_WORST_DB,
        what="waveform fidelity, independent of level; within -100 to 100",
        source="Le Roux et al. 2019, arXiv 1811.02508",
    ),
    Metric(
        "level_db",
        "Level",
        "dB",
        "zero",
        level_db,
        what="RMS level of the output relative to the reference",
        source="own",
    ),
)
