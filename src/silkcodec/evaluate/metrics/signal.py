"""Compute metrics that compare two waveforms without a model: PESQ, STOI, ESTOI, mel distance, SI-SDR and level."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from silkcodec import mel
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, is_silent, rms_dbfs

PESQ_RATE = 16_000  # Hz, the only rate of P.862.2
PESQ_MAX_S = 19.0  # see pesq_wb
PESQ_MIN_S = 0.25  # minimum of the reference implementation
STOI_MIN_S = 0.384  # 30 frames; pystoi fails on clips that are much shorter
PESQ_WORST = 0.999  # lower limit of the mapping in P.862.2; a raw score of -0.5 maps to 1.04, loud noise to less
SI_SDR_WORST_DB = -100.0
SI_SDR_BEST_DB = 100.0  # The ratio of identical waveforms is infinite, and a finite limit keeps the mean finite.


def pesq_wb(pair: Pair) -> float:
    """Return the wideband PESQ score (ITU-T P.862.2) as MOS-LQO, from 1.0 to 4.64.

    Clips longer than 19 s are split into equal parts, because they could overflow tables in the reference
    implementation. The score is the mean over the parts that contain speech.

    Raises:
        UndefinedMetric: the clip is shorter than 0.25 s or does not contain 0.2 s of uninterrupted speech.
    """
    import pesq

    if pair.duration_s < PESQ_MIN_S:
        raise UndefinedMetric(f"PESQ needs at least {PESQ_MIN_S} s of audio; got {pair.duration_s:.3f} s.")
    reference, output = pair.at(PESQ_RATE)
    n_parts = int(np.ceil(len(reference) / (PESQ_MAX_S * PESQ_RATE)))
    scores = []
    for part, made in zip(np.array_split(reference, n_parts), np.array_split(output, n_parts), strict=True):
        score = None if is_silent(part) else _pesq_of_part(pesq, part, made)
        if score is not None:
            scores.append(score)
    if not scores:
        raise UndefinedMetric("PESQ needs at least 0.2 s of uninterrupted speech; the reference has less.")
    return float(np.mean(scores))


def _pesq_of_part(pesq: Any, reference: Wave, output: Wave) -> float | None:
    """Return the PESQ score of one part of a clip at 16 kHz, or None if its reference contains no speech."""
    if is_silent(output):
        return PESQ_WORST
    try:
        return float(pesq.pesq(PESQ_RATE, reference, output, "wb"))
    except pesq.NoUtterancesError:
        pass
    try:  # A reference with an utterance always has a score when compared with itself.
        pesq.pesq(PESQ_RATE, reference, reference, "wb")
    except pesq.NoUtterancesError:
        return None
    return PESQ_WORST


def stoi(pair: Pair) -> float:
    """Return the short-time objective intelligibility (STOI), which is at most 1.

    Raises:
        UndefinedMetric: the reference has less than 384 ms of speech.
    """
    return _stoi(pair, extended=False)


def estoi(pair: Pair) -> float:
    """Return the extended STOI, which is about 0 for unrelated audio and at most 1.

    Raises:
        UndefinedMetric: the reference has less than 384 ms of speech.
    """
    return _stoi(pair, extended=True)


def _stoi(pair: Pair, *, extended: bool) -> float:
    import pystoi

    if pair.duration_s < STOI_MIN_S:
        raise UndefinedMetric(f"STOI needs at least 384 ms of speech; got {pair.duration_s:.3f} s of audio.")
    reference, output = pair.at(PESQ_RATE)  # pystoi resamples to 10 kHz. The input at this rate is shared with PESQ.
    with warnings.catch_warnings():
        # With fewer than 30 frames of speech (384 ms), pystoi warns and returns 1e-5, which looks like a score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        # ESTOI adds noise from NumPy's global generator, at the level of rounding errors. The seed fixes this noise.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(pystoi.stoi(reference, output, PESQ_RATE, extended=extended))
        except RuntimeWarning:
            raise UndefinedMetric("STOI needs at least 384 ms of speech; the reference has less.") from None
        finally:
            np.random.set_state(state)


def mel_distance(pair: Pair) -> float:
    """Return the mean absolute difference between the log-mel spectrograms of the reference and the output.

    A distance of 1.0 corresponds to a factor of e (8.7 dB) in magnitude.
    """
    columns = -(-len(pair.reference) // mel.HOP)  # excludes columns that only contain padding
    difference = mel.log_mel(pair.output)[:columns] - mel.log_mel(pair.reference)[:columns]
    return float(np.mean(np.abs(difference)))


def si_sdr_db(pair: Pair) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB, clamped to the range -100..100.

    Codecs that do not preserve the waveform score far below 0 even if they sound good. See arXiv 1811.02508 for the
    definition.

    Raises:
        UndefinedMetric: the reference is constant.
    """
    reference = pair.reference.astype(np.float64) - pair.reference.mean(dtype=np.float64)
    output = pair.output.astype(np.float64) - pair.output.mean(dtype=np.float64)
    reference_power = float(reference @ reference)
    if reference_power == 0.0:
        raise UndefinedMetric("SI-SDR is undefined because the reference is constant.")
    target = (float(output @ reference) / reference_power) * reference
    residual = output - target
    signal, distortion = float(target @ target), float(residual @ residual)
    if signal == 0.0:
        return SI_SDR_WORST_DB
    if distortion == 0.0:
        return SI_SDR_BEST_DB
    return float(np.clip(10.0 * np.log10(signal / distortion), SI_SDR_WORST_DB, SI_SDR_BEST_DB))


def level_db(pair: Pair) -> float:
    """Return the RMS level of the output in dB relative to the reference, with a minimum of -100."""
    return max(rms_dbfs(pair.output) - rms_dbfs(pair.reference), -100.0)


SIGNAL_METRICS = (
    Metric(
        "pesq_wb",
        "PESQ-WB",
        "MOS-LQO",
        "higher",
        pesq_wb,
        worst=PESQ_WORST,
        what="perceived quality compared with the original, 1.0 to 4.64; computed after level normalization",
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
        what="intelligibility: correlation of the envelopes in 15 bands with those of the original; at most 1",
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
        what="extended STOI, which also correlates across bands; about 0 for unrelated audio, at most 1",
        source="Jensen & Taal 2016, `pystoi`",
        packages=("pystoi",),
    ),
    Metric(
        "mel_distance",
        "Mel distance",
        "natural log",
        "lower",
        mel_distance,
        what="mean absolute difference between log-mel spectrograms, 128 bands up to 12 kHz; depends on the level",
        source="`silkcodec.mel`",
    ),
    Metric(
        "si_sdr_db",
        "SI-SDR",
        "dB",
        "higher",
        si_sdr_db,
        worst=SI_SDR_WORST_DB,
        what="waveform fidelity, independent of the level; clamped to -100..100",
        source="Le Roux et al. 2019, arXiv 1811.02508",
    ),
    Metric(
        "level_db",
        "Level",
        "dB",
        "zero",
        level_db,
        what="RMS level of the output relative to the original",
        source="defined in `metrics/signal.py`",
    ),
)
