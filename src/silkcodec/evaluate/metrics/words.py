"""Whether the words survive: a recogniser's transcript of the output against what was said.

| name       | against                                         | says                                           |
|------------|-------------------------------------------------|------------------------------------------------|
| wer, cer   | the manifest's column `text`                    | the codec's errors and the recogniser's own    |
| dwer, dcer | the recogniser's transcript of the *original*   | what the codec changed for this recogniser     |

The recogniser is Whisper through `faster-whisper`, given under the key "whisper" as a size ("base", fetched from
the hub once) or a folder. It repeats itself to the letter: temperature 0 and no fallback to sampling, no memory of
earlier segments, 8-bit weights, one thread. The language is the manifest's column `language`; without one it is
heard in the original and taken for all outputs.

Both texts are brought to one form first (`normalised`). Where words are not written apart (Chinese, Japanese,
Thai, ...) only characters are counted. Means weigh each clip by its reference's words or characters, so that they
are errors over words of the whole set.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

from silkcodec.errors import WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, Weighted, is_silent

WHISPER_RATE = 16_000  # Hz
WINDOW_S = 30  # what Whisper hears at once
BEAM = 5
TOKENS_PER_S, TOKENS_MORE = 15, 20  # faster than anybody speaks: ends a recogniser that repeats itself forever
TOKENS_MOST = 400  # what fits Whisper's decoder beside its prompt

UNSPACED = {"zh", "yue", "ja", "th", "lo", "my", "km", "bo"}  # languages that write no spaces between words
ALIASES = {"cmn": "zh", "nb": "no", "iw": "he", "jv": "jw", "fil": "tl"}  # codes that Whisper calls otherwise
APOSTROPHES = dict.fromkeys([0x27, 0x60, 0x2BC, 0x2019])  # straight, grave, modifier letter, typographer's
# Arabic vowel marks and the letter stretcher: recognisers and most texts leave them out.
ARABIC_MARKS = dict.fromkeys([0x0640, 0x0670, *range(0x064B, 0x0653)])

Unit = Literal["words", "characters"]


def wer(pair: Pair, model: str) -> Weighted:
    """Word error rate against the manifest's text, in percent."""
    return _against_text(pair, model, "words")


def cer(pair: Pair, model: str) -> Weighted:
    """Character error rate against the manifest's text, in percent."""
    return _against_text(pair, model, "characters")


def dwer(pair: Pair, model: str) -> Weighted:
    """Word error rate against the recogniser's own transcript of the original, in percent."""
    return _against_transcript(pair, model, "words")


def dcer(pair: Pair, model: str) -> Weighted:
    """Character error rate against the recogniser's own transcript of the original, in percent."""
    return _against_transcript(pair, model, "characters")


def _against_text(pair: Pair, model: str, unit: Unit) -> Weighted:
    text = pair.columns.get("text", "")
    if not text.strip():
        raise UndefinedMetric("a text to compare with must be in the manifest's column 'text'; this clip has none.")
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
    """Edit distance of two texts over the reference's length, in percent; the weight is that length.

    Raises:
        UndefinedMetric: nothing is left of the reference, or the language has no words to count.
    """
    from rapidfuzz.distance import Levenshtein

    if unit == "words" and language in UNSPACED:
        raise UndefinedMetric(f"words need spaces between them, which the language {language!r} does not write.")
    expected, got = normalised(reference).split(), normalised(output).split()
    if unit == "characters":
        gap = "" if language in UNSPACED else " "
        expected, got = list(gap.join(expected)), list(gap.join(got))
    if not expected:
        raise UndefinedMetric(f"{unit} to compare with are needed; the original's text has none.")
    return Weighted(100.0 * Levenshtein.distance(expected, got) / len(expected), float(len(expected)))


def normalised(text: str) -> str:
    """One form for texts that sound the same: NFKC, lower case, no apostrophes, other punctuation as spaces.

    >>> normalised("Don't STOP — well-known, “really”?")
    'dont stop well known really'
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(ARABIC_MARKS)
    plain = folded.translate(APOSTROPHES)
    return " ".join("".join(" " if unicodedata.category(c)[0] in "PSC" else c for c in plain).split())


def transcribe(wave: Wave, model: str, language: str) -> str:
    """What Whisper hears in a wave, float32 [T] at 16 kHz; nothing in silence."""
    if is_silent(wave):
        return ""
    most = min(TOKENS_MOST, int(TOKENS_PER_S * len(wave) / WHISPER_RATE) + TOKENS_MORE)
    segments, _ = _whisper(model).transcribe(
        wave,
        language=language,
        beam_size=BEAM,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=len(wave) <= WINDOW_S * WHISPER_RATE,  # longer ones need them, to go on where a window ends
        max_new_tokens=most,
    )
    return "".join(segment.text for segment in segments)


def _language(pair: Pair, model: str) -> str:
    """The clip's language as Whisper calls it.

    Raises:
        UndefinedMetric: Whisper, or this model of it, does not know the language.
    """
    known = set(_whisper(model).supported_languages)
    named = pair.columns.get("language", "").replace("_", "-").split("-")[0].lower()
    language = ALIASES.get(named, named) or pair.of_reference(
        f"language by {model}", lambda wave: _whisper(model).detect_language(wave)[0], WHISPER_RATE
    )
    if language not in known:
        raise UndefinedMetric(f"the recogniser must know the clip's language; this one has not learned {named!r}.")
    return str(language)


@cache
def _whisper(model: str) -> Any:
    import threading

    from faster_whisper import WhisperModel
    from tqdm import tqdm

    # Its progress bar, even unseen, would make a lock between processes, which a worker that is ended leaves behind.
    tqdm.set_lock(threading.RLock())
    try:
        return WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"whisper must be a size or a folder of a CTranslate2 model; {model!r}: {reason}") from error


def _lacks(model: str | None) -> str | None:
    if model is None:
        return (
            "Error rates need a recogniser: --model whisper=base (or another size of Whisper), or "
            "--model whisper=FOLDER of one in CTranslate2's format."
        )
    if Path(model).is_dir() and not (Path(model) / "model.bin").is_file():
        return f"whisper must be a folder with model.bin, in CTranslate2's format; '{model}' has none."
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


WORD_METRICS = (
    _metric("wer", "WER", wer, "words", "word errors relative to the manifest's text", "Whisper, arXiv 2212.04356"),
    _metric("cer", "CER", cer, "characters", "character errors relative to the manifest's text", "the same"),
    _metric(
        "dwer",
        "dWER",
        dwer,
        "words",
        "word differences from the same recognizer's transcript of the original",
        "as in DASB, arXiv 2406.14294",
    ),
    _metric("dcer", "dCER", dcer, "characters", "character differences from that transcript", "the same"),
)
