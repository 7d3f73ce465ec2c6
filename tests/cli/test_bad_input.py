"""Test that user errors print one line on standard error, exit with code 2 and write no files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from silkcodec import audio, container
from silkcodec.cli import app
from silkcodec.silk import Silk


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, codec: Silk, speech: np.ndarray) -> Path:
    """Create a folder with valid and invalid files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_files(codec, speech)
    return folder


@pytest.fixture
def place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the files, which is also the current folder."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_files(codec: Silk, speech: np.ndarray) -> None:
    wave = speech[:30_000]
    audio.write("good.wav", wave)
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("I am not a sound.\n" * 100)
    Path("silence").mkdir()
    Path("silence/notes.txt").write_text("nothing to hear")
    soundfile.write("zero.wav", np.zeros(0), 24_000)
    for name, value in {"nan.wav": np.nan, "inf.wav": np.inf, "huge.wav": 20_000}.items():
        soundfile.write(name, np.array([0, 0.1, value], np.float32), 24_000, subtype="FLOAT")
    soundfile.write("cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 24_000)
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:20_000])

    tokens = codec.encode(np.tile(wave, 2), 24_000)
    container.write(tokens, "good.silk")
    good = Path("good.silk").read_bytes()
    Path("cut.silk").write_bytes(good[: len(good) // 2])
    Path("flipped.silk").write_bytes(good[:150] + bytes([good[150] ^ 4]) + good[151:])
    Path("newer.silk").write_bytes(good[:8] + b"\x63\0" + good[10:])
    Path("longer.silk").write_bytes(good + b"more")
    Path("empty.silk").write_bytes(b"")
    Path("skype.silk").write_bytes(b"#!SILK_V3" + bytes(100))
    Path("wechat.silk").write_bytes(b"\x02#!SILK_V3" + bytes(100))
    Path("wave.silk").write_bytes(Path("good.wav").read_bytes())
    container.write(replace(tokens, codec="silk@000000000000"), "other.silk")
    Path("taken.silk").write_bytes(b"precious")
    Path("taken.wav").write_bytes(b"precious")


ENCODE = {
    "missing.wav": "Input not found: 'missing.wav'",
    "silence": "must contain audio files; got 'silence'",
    "empty.wav": "'empty.wav' is empty",
    "text.wav": "Cannot read 'text.wav' as audio",
    "zero.wav": "1 sample, but 'zero.wav' has none",
    "nan.wav": "must be finite; got nan at sample 2",
    "inf.wav": "must be finite; got inf at sample 2",
    "huge.wav": "got 20000 at sample 2",
    "cut.flac": "'cut.flac'",
    "good.silk": "Cannot read 'good.silk' as audio",
    "good.wav -o taken.silk": "'taken.silk' already exists",
    "good.wav -o text.wav/x.silk": "'text.wav' is a file, not a folder",
    "good.wav --weights silence": "must contain config.json",
}
DECODE = {
    "missing.silk": "Input not found: 'missing.silk'",
    "silence": "must contain .silk files; got 'silence'",
    "empty.silk": "empty.silk",
    "wave.silk": "WAV",
    "skype.silk": "Skype's SILK codec",
    "wechat.silk": "Skype's SILK codec",
    "text.wav": "text.wav",
    "cut.silk": "truncated",
    "flipped.silk": "damaged at byte",
    "newer.silk": "The header of 'newer.silk' is damaged",
    "longer.silk": "more bytes follow",
    "other.silk": "got tokens from 'silk@000000000000'",
    "good.silk -o taken.wav": "'taken.wav' already exists",
    "good.silk -o text.wav/x.wav": "'text.wav' is a file, not a folder",
    "good.silk -o out.xyz": "must be one of",
    "good.silk -o silence/out.wav --start -1": "The start must be between 0 and 1e+12 s",
    "good.silk -o silence/out.wav --duration inf": "The duration must be between one sample and",
    "good.silk -o silence/out.wav --start 1e305": "The start must be between",
}
CASES = [("encode", *case) for case in ENCODE.items()] + [("roundtrip", *case) for case in ENCODE.items()]
CASES += [("decode", *case) for case in DECODE.items()]


@pytest.mark.parametrize(("verb", "words", "said"), CASES)
def test_bad_input_gives_one_line_and_exit_code_2(
    place: Path, weights_folder: Path, verb: str, words: str, said: str
) -> None:
    if verb == "roundtrip":
        words = words.replace("taken.silk", "taken.wav").replace("x.silk", "x.wav")
        said = said.replace("taken.silk", "taken.wav")
    options = [] if "--weights" in words else ["--weights", str(weights_folder)]
    options += [] if "-o" in words else ["-o", "out.silk" if verb == "encode" else "out.wav"]
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    result = CliRunner().invoke(app, [verb, *words.split(), *options])
    assert result.exit_code == 2, (result.output, result.exception)
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("silk: ")
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["missing", "empty", "wave", "skype", "newer"])
def test_info_names_files_that_are_not_silk_files(place: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["info", f"{name}.silk"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1 and f"{name}.silk" in result.stderr


def test_info_describes_a_damaged_file(place: Path) -> None:
    result = CliRunner().invoke(app, ["info", "cut.silk"])
    assert result.exit_code == 2
    assert "codec" in result.stdout and "truncated" in result.stderr


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_unusual_valid_input_is_accepted(place: Path, weights_folder: Path, rate: int) -> None:
    stereo = np.random.default_rng(0).uniform(-0.1, 0.1, (rate // 2, 2))
    soundfile.write("odd.wav", stereo, rate, subtype="PCM_U8" if rate == 8_000 else "PCM_24")
    result = CliRunner().invoke(app, ["roundtrip", "odd.wav", "--weights", str(weights_folder)])
    assert result.exit_code == 0, result.output
    assert len(audio.read("odd.silk.wav")) == 12_000


@pytest.mark.parametrize("verb", ["encode", "decode", "roundtrip"])
def test_a_full_disk_leaves_no_incomplete_file(
    place: Path, weights_folder: Path, full_disk: int, verb: str, speech: np.ndarray, codec: Silk
) -> None:
    n_frames = 50  # at least 2,400 bytes
    wave = np.tile(speech, 5)[: n_frames * 9600]
    soundfile.write("long.wav", wave if verb == "encode" else wave[:40_000], 24_000)
    with open("long.silk", "wb") as file:
        container.write(codec.encode(wave[:40_000], 24_000), file)
    before = set(os.listdir())
    words = [verb, "long.silk" if verb == "decode" else "long.wav"]
    words += ["-o", "out.silk" if verb == "encode" else "out.wav", "--weights", str(weights_folder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1 and "No space left on device" in result.stderr
    assert set(os.listdir()) == before


def test_tokens_out_of_range_are_rejected(codec: Silk, speech: np.ndarray) -> None:
    from silkcodec.errors import TokensError
    from silkcodec.tokens import Tokens

    tokens = codec.encode(speech[:9600], 24_000)
    wrong: list[Callable[[], object]] = [
        lambda: replace(tokens, codes=(np.array([8**7]), *tokens.codes[1:])),
        lambda: replace(tokens, codes=(np.array([-1]), *tokens.codes[1:])),
        lambda: replace(tokens, codes=tokens.codes[:-1]),
        lambda: replace(tokens, n_samples=9601),
        lambda: Tokens((), (), (), 24_000, 1, codec.codec_id),
    ]
    for make in wrong:
        with pytest.raises(TokensError):
            make()
