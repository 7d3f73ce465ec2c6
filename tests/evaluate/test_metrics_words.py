"""Test word and character errors with a fake recognizer that returns given texts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.metrics import Pair, UndefinedMetric, Weighted, find_metrics, measure_all, words

for package in ("rapidfuzz", "faster_whisper"):
    pytest.importorskip(package, reason="needs the [asr] extra")

LOUD = np.full(24_000, 0.5, dtype=np.float32)  # recognized as the original by the fake recognizer
SOFT = np.full(24_000, 0.1, dtype=np.float32)  # the output


class Recognizer:
    """Return `original` for a loud wave and `output` for a soft one, and count the calls."""

    supported_languages = ("en", "zh", "ar", "no")

    def __init__(self, original: str, output: str) -> None:
        self.texts, self.languages, self.detected = (original, output), [], 0

    def transcribe(self, wave: np.ndarray, **options: object) -> tuple[list[SimpleNamespace], None]:
        self.languages.append(options["language"])
        text = self.texts[0 if np.abs(wave).mean() > 0.3 else 1]
        return [SimpleNamespace(text=f" {text}")], None

    def detect_language(self, wave: np.ndarray) -> tuple[str, float]:
        self.detected += 1
        return "en", 0.9


@pytest.fixture
def recognize_as(monkeypatch: pytest.MonkeyPatch):
    def install(original: str, output: str) -> Recognizer:
        recognizer = Recognizer(original, output)
        monkeypatch.setattr(words, "_whisper", lambda model: recognizer)
        monkeypatch.setattr(words, "_lacks", lambda model: None)
        return recognizer

    return install


def test_errors_are_counted_against_the_text_and_against_the_transcript_of_the_original(recognize_as) -> None:
    recognize_as("the cat sat on a mat", "The bat sat on the mat!")
    columns = {"text": "The cat sat on the mat.", "language": "en"}
    pair = Pair(LOUD, SOFT, columns)
    assert words.wer(pair, "any") == Weighted(pytest.approx(100 / 6), 6)
    assert words.dwer(pair, "any") == Weighted(pytest.approx(200 / 6), 6)
    assert words.cer(pair, "any") == Weighted(pytest.approx(100 / 22), 22)
    assert words.dcer(pair, "any").weight == 20


def test_a_clip_is_transcribed_once(recognize_as) -> None:
    recognizer = recognize_as("one two", "one two")
    metrics = find_metrics(["wer", "cer", "dwer", "dcer"], {"whisper": "any"})
    shared: dict[str, object] = {}
    for _ in range(2):
        values, _, weights = measure_all(Pair(LOUD, SOFT, {"text": "one two"}, shared), metrics)
        assert values == {"wer": 0.0, "cer": 0.0, "dwer": 0.0, "dcer": 0.0}
        assert weights == {"wer": 2.0, "cer": 7.0, "dwer": 2.0, "dcer": 7.0}
    assert len(recognizer.languages) == 3  # one original and two outputs
    assert recognizer.detected == 1 and set(recognizer.languages) == {"en"}  # outputs use the language of the original


def test_chinese_has_characters_and_no_words(recognize_as) -> None:
    recognize_as("你好世界", "你好、事界。")
    pair = Pair(LOUD, SOFT, {"language": "zh_TW", "text": "你好 世界"})
    assert words.cer(pair, "any") == Weighted(25.0, 4)
    with pytest.raises(UndefinedMetric, match="spaces"):
        words.wer(pair, "any")


def test_without_a_text_only_wer_is_undefined(recognize_as) -> None:
    recognize_as("one two", "one")
    pair = Pair(LOUD, SOFT, {"language": "en"})
    with pytest.raises(UndefinedMetric, match="'text'"):
        words.wer(pair, "any")
    assert words.dwer(pair, "any").value == 50.0


def test_an_unsupported_language_is_undefined(recognize_as) -> None:
    recognize_as("a", "b")
    with pytest.raises(UndefinedMetric, match="'chr'"):
        words.dwer(Pair(LOUD, SOFT, {"language": "chr"}), "any")
    assert words.dwer(Pair(LOUD, SOFT, {"language": "nb"}), "any").value == 100.0  # Whisper's "no"


def test_empty_references_are_undefined_and_silent_outputs_are_wrong(recognize_as) -> None:
    recognizer = recognize_as("...", "a")
    with pytest.raises(UndefinedMetric, match="after normalization"):
        words.dwer(Pair(LOUD, SOFT, {"language": "en"}), "any")
    silent = Pair(LOUD, np.zeros_like(LOUD), {"language": "en", "text": "two words"})
    recognizer.languages.clear()
    assert words.wer(silent, "any") == Weighted(100.0, 2)
    assert recognizer.languages == []  # silence is not transcribed


def test_normalization() -> None:
    assert words.normalized("\uff26\uff35\uff2c\uff2c\u3000width… ½") == "full width 1 2"  # full-width letters
    assert words.normalized("مَرْحَبًا") == words.normalized("مرحبا")


def test_an_invalid_model_folder_is_reported_early(tmp_path: Path) -> None:
    (metric,) = find_metrics(["wer"], {"whisper": str(tmp_path)})
    with pytest.raises(ArgumentError, match=r"model\.bin"):
        metric.require()
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="Cannot load the Whisper model"):
        metric(Pair(LOUD, SOFT, {"language": "en", "text": "a"}))
