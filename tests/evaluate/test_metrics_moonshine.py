"""Test the second recognizer: its vocabulary file, its transcripts, and its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repository import SAMPLES
from silkcodec import audio
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.metrics import METRICS, Pair, UndefinedMetric, find_metrics, moonshine

MISSING = METRICS["dwer_moonshine"].missing()
needs_network = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def test_vocabulary_lengths_have_one_byte_or_two() -> None:
    long = bytes([300 % 128 + 128, 300 // 128]) + bytes(300)
    assert moonshine.vocabulary(b"\x02ab" + long + b"\x01c") == [b"ab", bytes(300), b"c"]


@needs_network
def test_a_sentence_is_recognized_and_silence_has_no_words() -> None:
    wave = audio.read(SAMPLES / "english.flac", moonshine.RATE)
    folder = str(moonshine._packaged())
    assert moonshine.transcribe(wave, folder).startswith("Can I get a twenty ounce Americano")
    assert moonshine.transcribe(np.zeros_like(wave), folder) == ""


@needs_network
def test_a_long_wave_is_recognized_in_parts() -> None:
    wave = audio.read(SAMPLES / "english.flac", moonshine.RATE)
    pause = np.zeros(20 * moonshine.RATE, dtype=np.float32)
    text = moonshine.transcribe(np.concatenate([wave, pause, pause, wave]), str(moonshine._packaged()))
    assert text.count("Americano") == 2


@needs_network
def test_only_english_is_measured() -> None:
    wave = audio.read(SAMPLES / "english.flac")
    (metric,) = find_metrics(["dwer_moonshine"])
    assert metric.weigh(Pair(wave, wave, {"language": "en_GB"})) == (0.0, 10.0)
    for columns in ({"language": "ar"}, {}):
        with pytest.raises(UndefinedMetric, match="only English"):
            metric(Pair(wave, wave, columns))


def test_a_folder_without_the_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidfuzz", reason="needs [asr]")
    (metric,) = find_metrics(["dwer_moonshine"], {"moonshine": str(tmp_path)})
    with pytest.raises(ArgumentError, match=r"tokenizer\.bin"):
        metric.require()
    for name in moonshine.FILES:
        (tmp_path / name).write_bytes(b"\x01a")
    with pytest.raises(WeightsError, match="'moonshine' model must be a folder"):
        moonshine.Network(tmp_path)
    monkeypatch.setattr(moonshine, "_packaged", lambda: None)
    assert "pip install --no-deps moonshine-voice" in str(find_metrics(["dwer_moonshine"])[0].missing())
