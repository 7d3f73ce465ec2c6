"""Measure word and character error rates with Whisper.

| name       | reference text                                | measures                                      |
|------------|-----------------------------------------------|-----------------------------------------------|
| wer, cer   | the manifest's `text` column                  | errors caused by the codec and the recognizer |
| dwer, dcer | the recognizer's transcript of the *original* | changes caused by the codec                   |

The recognizer is `faster-whisper` with temperature 0, 8-bit weights and one thread, so transcripts are reproducible
on the same machine. If the manifest does not name the language, Whisper detects it in the original.

The reference text and the transcript of the output are normalized first (see `normalized`). For languages that are
written without spaces between words, only character error rates are defined. In a mean, each clip is weighted by the
length of its reference text.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

from silkcodec.errors import WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, Weighted, is_silent

WHISPER_RATE = 16_000  # Hz
WINDOW_S = 30  # length of Whisper's input window
BEAM = 5
TOKENS_PER_S, TOKENS_MORE = 15, 20  # faster than any speaker; stops endless repetitions
TOKENS_MOST = 400  # number of tokens that fit into Whisper's decoder in addition to the prompt

UNSPACED = {"zh", "yue", "ja", "th", "lo", "my", "km", "bo"}  # languages written without spaces between words
ALIASES = {"cmn": "zh", "nb": "no", "iw": "he", "jv": "jw", "fil": "tl"}  # language codes -> Whisper's codes
APOSTROPHES = dict.fromkeys([0x27, 0x60, 0x2BC, 0x2019])  # straight, grave, modifier letter, typographic
# Arabic vowel marks and the tatweel are removed, because recognizers and most texts omit them.
ARABIC_MARKS = dict.fromkeys([0x0640, 0x0670, *range(0x064B, 0x0653)])

Unit = Literal["words", "characters"]


def wer(pair: Pair, model: str) -> Weighted:
    """Return the word error rate against the manifest's text, in percent, and that text's word count."""
    return _against_text(pair, model, "words")


def cer(pair: Pair, model: str) -> Weighted:
    """Return the character error rate against the manifest's text, in percent, and that text's length in characters."""
    return _against_text(pair, model, "characters")


def dwer(pair: Pair, model: str) -> Weighted:
    """Return the word error rate against the original's transcript, in percent, and that transcript's word count."""
    return _against_transcript(pair, model, "words")


def dcer(pair: Pair, model: str) -> Weighted:
    """Return the character error rate against the original's transcript, in percent, and that transcript's length."""
    return _against_transcript(pair, model, "characters")


def _against_text(pair: Pair, model: str, unit: Unit) -> Weighted:
    text = pair.columns.get("text", "")
    if not text.strip():
        raise UndefinedMetric("The clip has no text in the manifest's 'text' column.")
    language = _language(pair, model)
    return error_rate(text, _transcript_of_output(pair, model, language), unit, language)


def _against_transcript(pair: Pair, model: str, unit: Unit) -> Weighted:
    language = _language(pair, model)
    original = pair.of_reference(
        f"transcript by {model} in {language}", lambda wave: transcribe(wave, model, language), WHISPER_RATE
    )
    return error_rate(original, _transcript_of_output(pair, model, language), unit, language)


def _transcript_of_output(pair: Pair, model: str, language: str) -> str:
    text: str = pair.of_output(
        f"transcript by {model} in {language}", lambda wave: transcribe(wave, model, language), WHISPER_RATE
    )
    return text


def error_rate(reference: str, output: str, unit: Unit, language: str) -> Weighted:
    """Return the error rate of the output in percent, and the length of the reference in words or characters.

    The error rate is the edit distance divided by the length of the reference, both after normalization.

    Raises:
        UndefinedMetric: the normalized reference is empty, or `unit` is "words" and the language is written without
            spaces between words.
    """
    from rapidfuzz.distance import Levenshtein

    if unit == "words" and language in UNSPACED:
        raise UndefinedMetric(
            f"The language '{language}' is written without spaces between words. Use the character error rate."
        )
    expected, got = normalized(reference).split(), normalized(output).split()
    if unit == "characters":
        gap = "" if language in UNSPACED else " "
        expected, got = list(gap.join(expected)), list(gap.join(got))
    if not expected:
        raise UndefinedMetric(f"The reference text has no {unit} after normalization.")
    return Weighted(100.0 * Levenshtein.distance(expected, got) / len(expected), float(len(expected)))


def normalized(text: str) -> str:
    """Normalize text: apply NFKC, convert to lower case, remove apostrophes, and replace punctuation with spaces.

    >>> normalized("Don't STOP — well-known, “really”?")
    'dont stop well known really'
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(ARABIC_MARKS)
    plain = folded.translate(APOSTROPHES)
    return " ".join("".join(" " if unicodedata.category(c)[0] in "PSC" else c for c in plain).split())


def transcribe(wave: Wave, model: str, language: str) -> str:
    """Transcribe a waveform, float32 [T] at 16 kHz. Return "" for silence."""
    if is_silent(wave):
        return ""
    most = min(TOKENS_MOST, int(TOKENS_PER_S * len(wave) / WHISPER_RATE) + TOKENS_MORE)
    segments, _ = _whisper(model).transcribe(
        wave,
        language=language,
        beam_size=BEAM,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=len(wave)
        <= WINDOW_S * WHISPER_RATE,  # Longer audio needs timestamps to continue after a window.
        max_new_tokens=most,
    )
    return "".join(segment.text for segment in segments)


def _language(pair: Pair, model: str) -> str:
    """Return Whisper's code for the language of the clip.

    Raises:
        UndefinedMetric: the Whisper model does not support the language.
    """
    known = set(_whisper(model).supported_languages)
    named = pair.language
    language = ALIASES.get(named, named) or pair.of_reference(
        f"language by {model}", lambda wave: _whisper(model).detect_language(wave)[0], WHISPER_RATE
    )
    if language not in known:
        raise UndefinedMetric(f"The recognizer does not support the language '{language}'.")
    return str(language)


@cache
def _whisper(model: str) -> Any:
    import threading

    from faster_whisper import WhisperModel
    from tqdm import tqdm

    # Even a hidden progress bar creates a lock that processes share. A terminated worker would not release it.
    tqdm.set_lock(threading.RLock())
    try:
        return WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise WeightsError(
            f"Cannot load the Whisper model '{model}': {reason}. Pass a size, e.g. base, or a CTranslate2 folder."
        ) from error


def _lacks(model: str | None) -> str | None:
    if model is None:
        return (
            "Error rates need a recognizer. Pass --model whisper=base (or another size of Whisper), or "
            "--model whisper=FOLDER (with a model in CTranslate2 format)."
        )
    if Path(model).is_dir() and not (Path(model) / "model.bin").is_file():
        return f"The 'whisper' model must be a folder in CTranslate2 format; got '{model}', which has no model.bin."
    return None


def _metric(name: str, label: str, measure: Any, unit: Unit, what: str, source: str) -> Metric:
    return Metric(
        name,
        label,
        "%",
        "lower",
        measure,
        weighted_by=unit,
        what=what,
        source=source,
        packages=("faster_whisper", "rapidfuzz"),
        extra="asr",
        model_key="whisper",
        lacks=_lacks,
    )


WHISPER = "Whisper, arXiv 2212.04356"
WORD_METRICS = (
    _metric("wer", "WER", wer, "words", "word errors relative to the text in the manifest", WHISPER),
    _metric("cer", "CER", cer, "characters", "character errors relative to the text in the manifest", WHISPER),
    _metric(
        "dwer",
        "dWER",
        dwer,
        "words",
        "word errors relative to the same recognizer's transcript of the original",
        "as in DASB, arXiv 2406.14294",
    ),
    _metric(
        "dcer",
        "dCER",
        dcer,
        "characters",
        "character errors relative to the same recognizer's transcript of the original",
        "as in DASB, arXiv 2406.14294",
    ),
)
