"""Test the programs in pytorch/synthesis with a small random model, without downloads."""

# ruff: noqa: RUF001 (phonetic symbols look like other letters)

from __future__ import annotations

import csv
import io
import json
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fetch
import phonemes
import synthesize
from kokoro import MAX_TOKENS, STYLE, Kokoro
from phonemes import from_espeak, split_punctuation
from repository import ROOT
from silkcodec import audio
from silkcodec_torch.train.config import DataConfig
from silkcodec_torch.train.data import index_rows, pack
from synthesize import Sentence, bandwidth_hz, plan, trimmed

SAMPLES_PER_TOKEN = 480
VOCABULARY = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz .,", 1)}
VOICES = ("af_one", "am_two", "bf_three", "ef_four", "ff_five", "zf_six")
PACKAGES = ROOT / ".venv" / "models" / "kokoro" / "packages"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model with the inputs and files of Kokoro. Each token gives 20 ms of noise, scaled by style and speed."""
    folder = tmp_path_factory.mktemp("kokoro")
    rng = np.random.default_rng(1)
    table = 0.1 * rng.standard_normal((len(VOCABULARY) + 1, SAMPLES_PER_TOKEN))
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["frames"]),
        helper.make_node("ReduceMean", ["style"], ["level"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["frames", "level"], ["scaled"]),
        helper.make_node("Div", ["scaled", "speed"], ["faster"]),
        helper.make_node("Reshape", ["faster", "flat"], ["audio"]),
    ]
    weights = [
        numpy_helper.from_array(table.astype(np.float32), "table"),
        numpy_helper.from_array(np.array([-1]), "flat"),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, STYLE]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["samples"])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
    (folder / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    (folder / "voices").mkdir()
    for name in VOICES:
        rng.uniform(0.5, 1.5, (MAX_TOKENS, STYLE)).astype("<f4").tofile(folder / "voices" / f"{name}.bin")
    return folder


@pytest.fixture(autouse=True)
def letters_as_phonemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use lower-case letters as phonemes, because the packages for real phonemes are not installed."""

    def convert(text: str, letter: str) -> str:
        return "".join(c if c.isascii() else chr(97 + ord(c) % 26) for c in text.lower())

    monkeypatch.setattr(synthesize, "phonemizer", lambda packages: convert)


def run(folder: Path, model: Path, *options: str, hours: str = "0.003") -> int:
    return synthesize.main([str(folder), "--model", str(model), "--hours", hours, *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "INDEX.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


# --- phonemes and tokens


@pytest.mark.parametrize(
    ("letter", "espeak", "kokoro"),
    [
        ("a", "lˈɪɾə^l", "lˈɪTᵊl"),
        ("a", "wˌɪt^ʃ wʌz fˈa^ɪv jˈɪ^ɹz ˈo^ʊld", "wˌɪʧ wʌz fˈIv jˈɪɹz ˈOld"),
        ("a", "ɐnˈʌðɚ mˈo^ʊmənt ˈæftɚɹ ɪt", "ənˈʌðəɹ mˈOmənt ˈæftəɹ ɪt"),
        ("a", "wˈɜːld d^ʒˈɑːb", "wˈɜɹld ʤˈɑb"),
        ("a", "a^ɪ lˈa^ɪk", "ˌI lˈIk"),
        ("b", "mˈə^ʊmənt ðe^ə hˈi^ə dˈe^ɪ", "mˈQmənt ðɛː hˈɪə dˈA"),
        ("e", "la mˈant^ʃa", "la mˈanʧa"),
        ("i", "mˈɛd^zːo", "mˈɛʣːo"),
    ],
)
def test_espeak_phonemes_become_those_of_kokoro(letter: str, espeak: str, kokoro: str) -> None:
    assert from_espeak(espeak, letter) == kokoro


def test_punctuation_is_kept_and_numbers_are_not_split() -> None:
    parts = split_punctuation("Mr. Smith said--“No!” It cost 3.50, at 10:30.")
    assert parts == [("Mr Smith said", "—“"), ("No", "!” "), ("It cost 3.50", ", "), ("at 10:30", ".")]
    assert split_punctuation("no end") == [("no end", "")]
    assert split_punctuation("") == []


@pytest.mark.skipif(not PACKAGES.is_dir(), reason="needs make kokoro")
def test_real_text_has_phonemes() -> None:
    convert = phonemes.phonemizer(PACKAGES)
    assert convert("Well, which bottle?", "a") == "wˈɛl, wˌɪʧ bˈɑTᵊl?"
    assert convert("床前明月光。", "z") == "ꭧʰwa↗ŋʨʰjɛ↗n mi↗ŋɥe↘kwa→ŋ."


def test_tokens_are_padded_and_select_the_style(model: Path) -> None:
    kokoro = Kokoro(model)
    tokens = kokoro.tokens("ab€c")
    assert tokens == [1, 2, 3]  # without the character that is not in the vocabulary
    style = np.fromfile(model / "voices" / "am_two.bin", dtype="<f4").reshape(MAX_TOKENS, STYLE)
    (table,) = (t for t in onnx.load(model / "model.onnx").graph.initializer if t.name == "table")
    expected = numpy_helper.to_array(table)[[0, 1, 2, 3, 0]].ravel() * style[2].mean() / 1.25
    assert np.allclose(kokoro.speak(tokens, "am_two", 1.25), expected, atol=1e-6)


# --- the plan


def test_every_voice_reads_every_sentence_once() -> None:
    sentences = [Sentence("en", str(i), {}) for i in range(5)]
    voices = {"en": ["af_one", "am_two", "bf_three"]}
    clips = list(islice(plan(sentences, voices, 1, (0.9, 1.1)), 15))
    assert len({(clip.sentence.text, clip.voice) for clip in clips}) == 15 == len({clip.path for clip in clips})
    assert all(0.9 <= clip.speed <= 1.1 for clip in clips) and len({clip.speed for clip in clips}) > 5
    assert clips == list(islice(plan(sentences, voices, 1, (0.9, 1.1)), 15))
    assert clips != list(islice(plan(sentences, voices, 2, (0.9, 1.1)), 15))


@pytest.mark.parametrize("language", synthesize.INCLUDED)
def test_included_texts_state_their_source(language: str) -> None:
    lines = (synthesize.TEXTS / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if not line.startswith("#")]
    assert any(line.startswith("# Source: ") and "public domain" in line for line in lines)
    assert len(sentences) >= 300 and len(set(sentences)) == len(sentences)


# --- the output


def test_training_reads_the_manifest(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "speech"
    assert run(out, model) == 0
    found = rows(out)
    assert 9.5 < sum(float(row["duration_s"]) for row in found) < 20  # of 10.8 s; the last clip ends later
    assert {row["language"] for row in found} == {"en", "en_GB", "es", "fr", "zh"}
    for row in found:
        assert row["speaker"] == Path(row["path"]).parent.name and row["speaker"] in VOICES
        assert row["language"] == {"a": "en", "b": "en_GB", "e": "es", "f": "fr", "z": "zh"}[row["speaker"][0]]
        assert (row["synthetic"], row["split"], row["bandwidth_hz_est"]) == ("yes", "train", "12000")
        assert row["licence"] == "Apache-2.0 (voice), public domain (text)" and row["text"]
        wave = audio.read(out / row["path"])
        assert float(row["duration_s"]) == pytest.approx(len(wave) / 24_000, abs=0.006)
    config = DataConfig(
        folder=str(out), index="INDEX.tsv", min_bandwidth_hz=10_000, bandwidth_column="bandwidth_hz_est"
    )
    assert [row["path"] for row in index_rows(config)["train"]] == [row["path"] for row in found]
    assert len(pack(config, "train", tmp_path / "cache").clips) == len(found)


def test_the_seed_determines_all_files(model: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "3"), ("two", "3"), ("other", "4")):
        assert run(tmp_path / name, model, "--seed", seed) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one").keys() != contents(tmp_path / "other").keys()


def test_a_run_resumes_after_an_interrupt(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "whole", model) == 0
    speak, calls = Kokoro.speak, []

    def interrupted(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return speak(*arguments)

    monkeypatch.setattr(Kokoro, "speak", interrupted)
    out = tmp_path / "resumed"
    assert run(out, model) == 130 and len(rows(out)) == 3
    assert "resumes" in capsys.readouterr().err
    (out / rows(out)[1]["path"]).unlink()
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*.flac")}
    assert run(out, model) == 0
    assert contents(out) == contents(tmp_path / "whole")
    assert {file: file.stat().st_mtime_ns for file in times} == times  # Existing files are kept.


def test_a_run_resumes_without_its_manifest(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "speech"
    assert run(out, model) == 0
    before = contents(out)
    (out / "INDEX.tsv").unlink()  # A killed run has not saved the last rows.
    assert run(out, model) == 0
    assert contents(out) == before


def test_more_hours_extend_a_folder(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "speech"
    assert run(out, model, hours="0.001") == 0
    first = rows(out)
    assert run(out, model, hours="0.003") == 0
    assert rows(out)[: len(first)] == first and len(rows(out)) > len(first)
    assert run(tmp_path / "whole", model, hours="0.003") == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_fewer_hours_keep_the_rows_of_existing_clips(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "speech"
    assert run(out, model, hours="0.003") == 0
    before = contents(out)
    assert run(out, model, hours="0.001") == 0
    assert contents(out) == before
    (out / rows(out)[-1]["path"]).unlink()
    assert run(out, model, hours="0.001") == 0
    assert len(rows(out)) == len(contents(out)) - 2  # all files except the settings and the manifest


def test_own_text_and_chosen_voices(model: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("# a comment\n\nfirst   line\nsecond line\n")
    options = ["--text", f"en={tmp_path / 'own.txt'}", "--text-license", "CC0-1.0", "--voices", "am_two,bf_three"]
    assert run(tmp_path / "speech", model, *options, hours="0.0005") == 0
    found = rows(tmp_path / "speech")
    assert {row["text"] for row in found} == {"first line", "second line"}
    assert {row["speaker"] for row in found} <= {"am_two", "bf_three"}
    assert {row["licence"] for row in found} == {"Apache-2.0 (voice), CC0-1.0 (text)"}


def test_silence_is_trimmed_and_the_peak_is_limited() -> None:
    speech = (0.3 * np.random.default_rng(1).standard_normal(12_000)).astype(np.float32)
    wave = np.concatenate([np.zeros(24_000, np.float32), 9 * speech, np.zeros(24_000, np.float32)])
    found = trimmed(wave)
    assert len(found) == 12_000 + 2 * 2_400 and np.abs(found).max() == pytest.approx(0.99)
    assert np.array_equal(trimmed(speech), speech * np.float32(min(1, 0.99 / np.abs(speech).max())))
    assert len(trimmed(np.zeros(4_800, np.float32))) == 4_800


@pytest.mark.parametrize(("cutoff_hz", "expected_hz"), [(12_000, 12_000), (7_900, 8_000), (3_400, 3_500)])
def test_the_bandwidth_is_measured(cutoff_hz: int, expected_hz: int) -> None:
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(48_000))
    spectrum[np.fft.rfftfreq(48_000, 1 / 24_000) > cutoff_hz] = 0
    assert bandwidth_hz(np.fft.irfft(spectrum).astype(np.float32)) == expected_hz


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hours", "0"], "--hours must be above 0"),
        (["--hours", "nan"], "--hours must be above 0"),
        (["--seed", "-1"], "--seed must be at least 0; got -1."),
        (["--threads", "-2"], "--threads must be at least 0; got -2."),
        (["--speeds", "1.2", "0.8"], "got 1.2 0.8."),
        (["--text", "xx"], "The language must be one of"),
        (["--text", "hi"], "No text list is included for 'hi'."),
        (["--text", "en=nowhere.txt"], "Text file not found: 'nowhere.txt'."),
        (["--text", "en={text}"], "--text-license must state"),
        (["--text", "en={long}", "--text-license", "x"], "line 2 of"),
        (["--text", "en={empty}", "--text-license", "x"], "must contain at least one sentence"),
        (["--text", "en={binary}", "--text-license", "x"], "as UTF-8 text"),
        (["--voices", "af_nobody"], "Unknown voice 'af_nobody'. Available voices: af_one"),
        (["--text", "en", "--voices", "zf_six"], "The voice 'zf_six' does not speak en."),
        (["--voices", "af_one"], "--voices must contain a voice for 'es'."),
        (["--model", "nowhere"], "Cannot load Kokoro from 'nowhere'"),
    ],
)
def test_wrong_options_give_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    files = {"text": b"a line\n", "long": b"short\n" + 600 * b"a", "empty": b"# nothing\n", "binary": b"\xff\xfe"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    options = [option.format(**{name: tmp_path / name for name in files}) for option in options]
    assert run(tmp_path / "speech", model, *options) == 2
    assert message in (found := capsys.readouterr().err) and found.count("\n") == 1
    assert not (tmp_path / "speech").exists()


def test_a_folder_of_other_clips_is_not_changed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speech"
    assert run(out, model, hours="0.0005") == 0
    before = contents(out)
    assert run(out, model, "--seed", "2") == 2 and "a different value of 'seed'" in capsys.readouterr().err
    assert contents(out) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert run(tmp_path / "full", model) == 2 and "must be a new or empty folder" in capsys.readouterr().err


def test_a_damaged_model_gives_one_sentence(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("model.onnx", "vocabulary.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    (tmp_path / "voices").mkdir()
    for voice in VOICES:
        (tmp_path / "voices" / f"{voice}.bin").write_bytes(bytes(8))
    assert run(tmp_path / "speech", tmp_path) == 2 and "must be 522240 bytes long; got 8." in capsys.readouterr().err
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    assert run(tmp_path / "speech", tmp_path) == 2
    assert "as an ONNX model" in (found := capsys.readouterr().err) and found.count("\n") == 1


def test_voices_are_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("package/voices/af_one.bin", b"voice"), ("package/README.md", b"text")):
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    fetch.unpack_voices(packed.getvalue(), tmp_path / "voices")
    assert contents(tmp_path / "voices") == {"af_one.bin": b"voice"}
