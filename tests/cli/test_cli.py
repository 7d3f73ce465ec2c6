"""Test the results, the output and the exit codes of the command line for files, folders, patterns and pipes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner

from silkcodec import audio, container
from silkcodec.cli import app, paths
from silkcodec.errors import OutputError
from silkcodec.progress import SoundProgress, counting, sound_progress
from silkcodec.silk import Silk
from waiting import wait_until

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sound(folder: Path, speech: np.ndarray) -> str:
    audio.write(folder / "a.wav", speech[:30_000])
    return "a.wav"


@pytest.fixture
def silk(weights_folder: Path) -> Run:
    """Run `silk` in this process with the weights under test, and check the exit code."""

    def run(*words: str, code: int = 0, stdin: bytes = b"") -> Any:
        models = {"encode", "decode", "roundtrip"}
        options = ["--weights", str(weights_folder)] if words and words[0] in models else []
        result = CliRunner().invoke(app, [*words, *options], input=stdin)
        assert result.exit_code == code, (words, result.output, result.exception)
        return result

    return run


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- encode and decode


def test_encode_and_decode_write_next_to_the_input(silk: Run, folder: Path, sound: str, codec: Silk) -> None:
    result = silk("encode", sound)
    assert "a.wav -> a.silk" in result.stdout and "76 tokens" in result.stdout
    wave = audio.read(sound)
    assert container.read("a.silk") == codec.encode(wave, 24_000), "the command line is the library"
    Path(sound).rename("original.wav")
    silk("decode", "a.silk")
    np.testing.assert_allclose(audio.read("a.wav"), np.clip(codec.decode(codec.encode(wave, 24_000)), -1, 1), atol=1e-4)
    assert files_below(folder) == ["a.silk", "a.wav", "original.wav"]


def test_existing_files_require_force(silk: Run, folder: Path, sound: str) -> None:
    Path("a.silk").write_bytes(b"precious")
    result = silk("encode", sound, code=2)
    assert "'a.silk' already exists" in result.stderr and "--force" in result.stderr
    assert Path("a.silk").read_bytes() == b"precious"
    silk("encode", sound, "--skip-existing")
    assert Path("a.silk").read_bytes() == b"precious"
    silk("encode", sound, "--force")
    assert container.info("a.silk").n_samples == 30_000


def test_outputs_keep_the_folder_structure(silk: Run, folder: Path, sound: str) -> None:
    for name in ("in/x/one.wav", "in/y/two.FLAC", "in/three.wav", "in/.hidden/four.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sound, name)
    Path("in/notes.txt").write_text("not audio")
    silk("encode", "in", "-o", "out")
    assert files_below(folder / "out") == ["three.silk", "x/one.silk", "y/two.silk"]
    silk("encode", "in", "a.wav", "-o", "both")
    assert files_below(folder / "both") == ["a.silk", "in/three.silk", "in/x/one.silk", "in/y/two.silk"]
    silk("encode", "a.wav", "-o", "new")
    assert files_below(folder / "new") == ["a.silk"], "a name without a suffix is a folder"
    silk("encode", "in/**/*.wav", "-o", "some")
    assert files_below(folder / "some") == ["three.silk", "x/one.silk"]
    silk("decode", "out", "-o", "back", "--format", "flac")
    assert files_below(folder / "back") == ["three.flac", "x/one.flac", "y/two.flac"]


def test_standard_input_and_output_can_be_used(silk: Run, folder: Path, sound: str) -> None:
    silk("encode", sound)
    encoded = silk("encode", "-", stdin=Path(sound).read_bytes())
    assert encoded.stdout_bytes == Path("a.silk").read_bytes()
    silk("decode", "a.silk", "-o", "b.wav")
    decoded = silk("decode", "-", stdin=encoded.stdout_bytes)
    (folder / "c.wav").write_bytes(decoded.stdout_bytes)
    np.testing.assert_array_equal(audio.read("c.wav"), audio.read("b.wav"))
    silk("encode", "-", "-o", "d.silk", stdin=Path(sound).read_bytes())
    assert Path("d.silk").read_bytes() == encoded.stdout_bytes


def test_a_decoded_part_equals_the_same_part_of_the_whole(silk: Run, folder: Path, speech: np.ndarray) -> None:
    audio.write("a.wav", np.tile(speech, 2))
    silk("encode", "a.wav")
    silk("decode", "a.silk", "-o", "whole.wav")
    silk("decode", "a.silk", "-o", "part.wav", "--start", "5.123", "--duration", "1.5")
    part, start = audio.read("part.wav"), round(5.123 * 24_000)
    assert len(part) == 36_000
    np.testing.assert_allclose(part, audio.read("whole.wav")[start : start + 36_000], atol=2e-2)
    silk("decode", "a.silk", "-o", "tail.wav", "--start", "8")
    assert len(audio.read("tail.wav")) == 2 * len(speech) - 192_000
    result = silk("decode", "a.silk", "-o", "x.wav", "--start", "100", code=2)
    assert "8.200 s" in result.stderr and not Path("x.wav").exists()


def test_recover_decodes_the_part_before_the_damage(silk: Run, folder: Path, speech: np.ndarray) -> None:
    audio.write("a.wav", np.tile(speech, 4))
    silk("encode", "a.wav")
    Path("b.silk").write_bytes(Path("a.silk").read_bytes()[:-100])
    result = silk("decode", "b.silk", code=2)
    assert "'b.silk' is truncated" in result.stderr and not Path("b.wav").exists()
    result = silk("decode", "b.silk", "--recover")
    assert "only the part before the damage" in result.stderr
    assert len(audio.read("b.wav")) == 25 * 9600


def test_entropy_coding_keeps_the_tokens(silk: Run, folder: Path, speech: np.ndarray) -> None:
    pytest.importorskip("constriction")
    audio.write("a.wav", np.tile(speech, 4))
    silk("encode", "a.wav")
    silk("encode", "a.wav", "--entropy", "-o", "b.silk")
    assert container.read("b.silk") == container.read("a.silk")


def test_json_has_units_and_measured_rates(silk: Run, folder: Path, sound: str) -> None:
    result = json.loads(silk("encode", sound, "--json").stdout)
    assert result["tokens_per_second"] == 47.5 and result["bits_per_second"] == 960
    assert (result["n_samples"], result["n_frames"], result["n_tokens"]) == (30_000, 4, 76)
    assert result["file_bytes"] == Path("a.silk").stat().st_size
    shown = json.loads(silk("info", "a.silk", "--json").stdout)
    assert (shown["n_samples"], shown["tokens_per_second"], shown["payload_bps"]) == (30_000, 47.5, 960)
    codecs = [json.loads(line) for line in silk("codecs", "--json").stdout.splitlines()]
    rates = {row["name"]: row["tokens_per_second"] for row in codecs}
    assert (rates["silk"], rates["opus:6k"], rates["codec2:1200"]) == (47.5, 750, 150)


# --- roundtrip


def test_roundtrip_writes_three_files_and_prints_the_table(silk: Run, folder: Path, sound: str) -> None:
    from silkcodec import mel

    result = silk("roundtrip", sound, "-o", "out/")
    assert files_below(folder / "out") == ["a.silk", "a.silk.png", "a.silk.wav"]
    for words in ("1.25 s", "76", "47.5", "960", "mel distance", str(Path("out/a.silk").stat().st_size)):
        assert words in result.stdout
    numbers = json.loads(silk("roundtrip", sound, "-o", "out/", "--force", "--json").stdout)
    original, decoded = audio.read(sound), audio.read("out/a.silk.wav")
    assert len(original) == len(decoded)
    difference = np.abs(mel.log_mel(original) - mel.log_mel(decoded))[: -(-len(original) // 240)]
    assert numbers["mel_distance"] == pytest.approx(difference.mean(), rel=0.2)  # The decoded file has 16-bit samples.
    with Image.open("out/a.silk.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[2] == 3 and len(np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]))) > 100


def test_roundtrip_of_several_files_and_of_a_pipe(silk: Run, folder: Path, sound: str) -> None:
    shutil.copy(sound, "b.wav")
    result = silk("roundtrip", sound, "b.wav", "-o", "out")
    assert len(files_below(folder / "out")) == 6
    assert all(name in result.stdout for name in ("a.wav", "b.wav"))
    silk("roundtrip", "-", "-o", "piped.wav", stdin=Path(sound).read_bytes())
    assert {"piped.wav", "piped.silk", "piped.png"} <= set(files_below(folder))
    assert Path("piped.silk").read_bytes() == Path("out/a.silk").read_bytes()


def test_the_ticks_of_the_picture_are_round_numbers() -> None:
    from silkcodec import picture

    for duration_s in (0.0001, 0.01, 0.4, 1, 3.7, 12, 59, 61, 600, 3600, 36_000, 200_000):
        step = picture.time_step_s(duration_s)
        assert 1 <= duration_s / step <= 12, duration_s
    assert (picture.clock(0.5, 0.5), picture.clock(90, 30), picture.clock(20, 5)) == ("0.5", "1:30", "20")


def test_streamed_mel_equals_the_whole_mel(speech: np.ndarray) -> None:
    from silkcodec.files.mel_comparison import Comparison, MelStream
    from silkcodec.mel import log_mel

    stream = MelStream()
    columns = np.concatenate([*(stream.feed(b) for b in np.split(speech, [1, 700, 50_001])), stream.flush()])
    n_columns = -(-len(speech) // 240)
    np.testing.assert_allclose(columns, log_mel(speech)[:n_columns], atol=1e-4)
    comparison = Comparison(len(speech), width=100)
    comparison.feed(speech, speech / 2)
    comparison.finish()
    assert comparison.original.shape == comparison.decoded.shape == (100, 128)
    expected = np.abs(log_mel(speech) - log_mel(speech / 2))[:n_columns].mean()
    assert comparison.mel_distance == pytest.approx(expected, rel=1e-4)


# --- errors and exit codes


def test_other_files_are_processed_after_a_failure(silk: Run, folder: Path, sound: str) -> None:
    Path("in").mkdir()
    shutil.copy(sound, "in/1.wav")
    Path("in/2.wav").write_text("not audio")
    loud = np.full(30_000, 1e30, np.float32)  # The header is valid, so the error occurs while reading.
    soundfile.write("in/3.wav", loud, 24_000, subtype="FLOAT")
    shutil.copy(sound, "in/4.wav")
    result = silk("encode", "in", "-o", "out", code=2)
    assert files_below(folder / "out") == ["1.silk", "4.silk"]
    assert "Cannot read 'in/2.wav' as audio" in result.stderr
    assert "'in/3.wav'" in result.stderr
    assert result.stderr.splitlines()[-1] == "silk: 2 of 4 files failed."


def test_outputs_are_checked_before_the_model_is_loaded(silk: Run, folder: Path, sound: str) -> None:
    Path("a.silk").write_bytes(b"")
    for words in (("encode", sound), ("encode", "missing.wav"), ("encode", sound, "-o", "a.wav/x.silk")):
        result = CliRunner().invoke(app, [*words, "--weights", "no/such/folder"])
        assert result.exit_code == 2
        assert "weights" not in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "a.wav", "b.wav", "-o", "a.wav"], "several inputs; got the file 'a.wav'"),
        (["encode", "a.wav", "sub/a.wav", "-o", "out"], "would both be written to 'out/a.silk'"),
        (["encode", "a.wav", "-o", "a.wav", "--force"], "must differ from the inputs"),
        (["encode", "a.wav", "-o", "x.wav"], "must end with .silk; got 'x.wav'"),
        (["encode", "a.wav", "-o", "x.M4A"], "must end with .silk; got 'x.M4A'"),
        (["encode", "a.wav", "--channel", "1"], "channel must be 0 for 'a.wav'; got 1"),
        (["roundtrip", "a.wav", "--channel", "1"], "channel must be 0 for 'a.wav'; got 1"),
        (["encode", "-", "a.wav"], "must be the only input"),
        (["encode", "a.wav", "b.wav", "-o", "-"], "the input must be a single file; got 2"),
        (["encode", "*.flac"], "must match at least one file; got '*.flac'"),
        (["decode", "a.wav", "--format", "exe"], "must be one of"),
        (["roundtrip", "-"], "Pass -o NAME.wav"),
        (["roundtrip", "a.wav", "-o", "-"], "got '-'"),
        (["encode", "a.wav", "--provider", "tpu"], "provider must be cpu or cuda"),
    ],
)
def test_usage_errors_are_one_line(folder: Path, sound: str, words: list[str], said: str) -> None:
    Path("sub").mkdir()
    for name in ("b.wav", "sub/a.wav"):
        shutil.copy(sound, name)
    before = files_below(folder)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
    assert files_below(folder) == before


def test_unknown_suffixes_are_kept() -> None:
    job = paths.Job("talk.v2", "talk.v2.silk")
    assert paths._renamed(Path(job.source), ".silk") == job.target
    assert paths._renamed(Path("talk.v2.MP3"), ".silk") == "talk.v2.silk"


def test_files_that_differ_only_in_their_suffix_keep_it(folder: Path, sound: str, silk: Run) -> None:
    Path("in").mkdir()
    for name in ("a.wav", "a.flac", "b.wav"):
        audio.write(Path("in") / name, audio.read(sound))
    silk("encode", "in", "-o", "out")
    assert files_below(Path("out")) == ["a.flac.silk", "a.wav.silk", "b.silk"]
    silk("decode", "out", "-o", "back")
    assert files_below(Path("back")) == ["a.flac.wav", "a.wav.wav", "b.wav"]
    silk("roundtrip", "in", "-o", "trip")
    assert {"a.flac.silk.wav", "a.wav.silk.wav", "b.silk.wav"} < set(files_below(Path("trip")))


def test_recordings_that_need_ffmpeg_are_counted_as_failures(
    folder: Path, sound: str, silk: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    Path("b.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    audio.write("c.wav", audio.read(sound))
    result = silk("encode", ".", "-o", "out", code=2)
    assert "Cannot read 'b.m4a' without ffmpeg" in result.stderr and "1 of 3 files failed" in result.stderr
    assert files_below(Path("out")) == ["a.silk", "c.silk"]


def test_canceling_channels_are_reported_and_a_channel_can_be_selected(folder: Path, sound: str, silk: Run) -> None:
    wave = audio.read(sound)
    soundfile.write("anti.wav", np.stack([wave, -wave], axis=1), 24_000)
    result = silk("encode", "anti.wav", "-o", "mean.silk", "--json")
    assert "channels of 'anti.wav' cancel each other out" in result.stderr
    assert "cancel" in json.loads(result.stdout)["warning"]
    soundfile.write("two.wav", np.stack([wave[::-1], wave], axis=1), 24_000)
    silk("encode", sound, "-o", "a.silk")
    for name, channel in (("anti", "0"), ("two", "1"), ("two", "0")):
        assert not silk("encode", f"{name}.wav", "-o", f"{name}{channel}.silk", "--channel", channel).stderr
    assert container.read("anti0.silk") == container.read("two1.silk") == container.read("a.silk")
    assert container.read("two0.silk") != container.read("a.silk")
    assert not silk("roundtrip", "anti.wav", "--channel", "0").stderr


def silk_process(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "silkcodec.cli", *words], stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_killed_process_leaves_no_incomplete_file(
    folder: Path, weights_folder: Path, speech: np.ndarray, how: signal.Signals, code: int
) -> None:
    with audio.Writer("long.wav") as writer:  # several minutes
        for _ in range(100):
            writer.write(speech)
    process = silk_process("encode", "long.wav", "--weights", str(weights_folder))
    wait_until(lambda: list(folder.glob(".long.silk.*.part")) or process.poll() is not None)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    assert b"Traceback" not in stderr
    left = [name for name in files_below(folder) if name != "long.wav"]
    assert left == [] or (how == signal.SIGKILL and all(name.endswith(".part") for name in left))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("target", [["-o", "-"], []], ids=["data", "messages"])
def test_a_full_disk_at_standard_output_gives_one_line(sound: str, weights_folder: Path, target: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        process = silk_process("encode", sound, *target, "--weights", str(weights_folder), stdout=full)
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr.count(b"\n")) == (2, 1) and b"No space left on device" in stderr


def test_a_closed_pipe_gives_one_line(sound: str, weights_folder: Path) -> None:
    process = silk_process("encode", sound, "-o", "-", "--weights", str(weights_folder), stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), stderr.count(b"\n")) == (2, 1) and b"Broken pipe" in stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_closed_standard_streams_give_at_most_one_line(folder: Path, sound: str, weights_folder: Path) -> None:
    """Daemons and some schedulers start programs with closed streams."""
    python, weights = f"'{sys.executable}' -m silkcodec.cli", f"--weights '{weights_folder}'"

    def shell(line: str) -> tuple[int, str]:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    assert shell(f"{python} encode {sound} {weights} <&- >&- 2>&-") == (0, "")
    code, stderr = shell(f"{python} decode a.silk -o - {weights} >&-")
    assert (code, stderr.count("\n")) == (2, 1) and "Standard output is closed" in stderr
    for words in ("encode - -o b.silk", "decode - -o c.wav", "roundtrip - -o c.wav", "info -"):
        code, stderr = shell(f"{python} {words} <&-")
        assert (code, stderr.count("\n")) == (2, 1) and "Standard input is closed" in stderr, words
    assert files_below(folder) == ["a.silk", sound]
    # If standard error is closed, messages must not be written to standard output.
    line = f"{python} decode a.silk -o - {weights} 2>&-"
    piped = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, timeout=120).stdout
    assert len(piped) == 44 + 2 * 30_000 and piped[:4] == b"RIFF"


def test_long_runs_without_a_terminal_print_one_line_per_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])

    def lines(call: Callable[[], None]) -> list[str]:
        for _ in range(29):  # 4 min 50 s
            now_s[0] += 10
            call()
        return capsys.readouterr().err.splitlines()

    with sound_progress([], "encode") as progress:
        progress.begin("talk.wav")
        progress.opened(7200)
        shown = [re.findall(r"(\d+) of 7200 s .* (\d:\d\d) min", line) for line in lines(lambda: progress.advance(100))]
        assert shown == [[(str(600 * n), f"{n}:00")] for n in range(1, 5)]
    with sound_progress(["-"], "encode") as progress:  # a pipe, whose length is unknown
        assert "encode: 6 s of audio" in lines(lambda: progress.advance(1))[0]
    with counting("tokenize") as count:
        assert "tokenize: 3 of 9, 2.00 h" in lines(lambda: count(3, 9, "2.00 h"))[0]


def test_the_total_duration_is_estimated_from_opened_files(tmp_path: Path) -> None:
    sources = []
    for name, n_bytes in (("a", 100), ("b", 50), ("c", 300)):
        sources.append(str(tmp_path / name))
        Path(sources[-1]).write_bytes(bytes(n_bytes))
    shown: list[tuple[float, float]] = []
    progress = SoundProgress(sources, lambda done, total: shown.append((done, total)))
    for source, duration_s in zip(sources, (10.0, None, 60.0), strict=True):
        progress.begin(source)
        if duration_s is not None:  # The second file cannot be read.
            progress.opened(duration_s)
            progress.advance(duration_s)
    assert shown == [(10.0, pytest.approx(45.0)), (70.0, 70.0)]


@pytest.fixture
def loud(folder: Path, codec: Silk, speech: np.ndarray) -> tuple[str, np.ndarray]:
    """Return a .silk file whose decoded samples exceed full scale, and these samples."""
    tokens, gain = codec.encode(speech[:30_000]), 6.0
    with container.Writer(folder / "loud.silk", codec=tokens.codec, n_samples=tokens.n_samples, gain=gain) as writer:
        writer.write(np.stack(tokens.codes, axis=1))
    wave = gain * codec.decode(tokens)
    assert np.abs(wave).max() > 1 > np.abs(wave[:240]).max()
    return "loud.silk", wave


def test_clipping_is_counted_and_reported(silk: Run, loud: tuple[str, np.ndarray]) -> None:
    name, wave = loud
    n_clipped, peak = int((np.abs(wave) > 1).sum()), float(np.abs(wave).max())
    result = silk("decode", name)
    assert f"loud.wav: {n_clipped} samples were clipped by up to {20 * np.log10(peak):.1f} dB" in result.stderr
    assert "--rescale" in result.stderr
    found = json.loads(silk("decode", name, "--json", "--force").stdout)
    assert found["n_clipped"] == n_clipped and found["peak"] == pytest.approx(peak, rel=1e-3)
    quiet = json.loads(silk("decode", name, "--duration", "0.01", "--json", "--force").stdout)
    assert quiet["n_clipped"] == 0


@pytest.mark.parametrize("target", ["out.wav", "out.flac", "-"])
def test_rescale_scales_a_loud_recording_to_full_scale(
    silk: Run, loud: tuple[str, np.ndarray], folder: Path, target: str
) -> None:
    name, wave = loud
    result = silk("decode", name, "--rescale", "-o", target)
    assert "clipped" not in result.stderr
    written = audio.read(io.BytesIO(result.stdout_bytes) if target == "-" else folder / target)
    assert np.abs(written).max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(written, wave / np.abs(wave).max(), atol=1e-3)


def test_rescale_does_not_change_other_recordings(silk: Run, sound: str, folder: Path) -> None:
    silk("encode", sound)
    silk("decode", "a.silk", "-o", "plain.wav")
    silk("decode", "a.silk", "-o", "rescaled.wav", "--rescale")
    assert (folder / "plain.wav").read_bytes() == (folder / "rescaled.wav").read_bytes()


@pytest.mark.parametrize(("subtype", "step"), [("16", 2**-16), ("24", 2**-24), ("float", 1e-9)])
@pytest.mark.parametrize("target", ["out.wav", "-"])
def test_every_sample_type_can_be_written(
    silk: Run, sound: str, folder: Path, codec: Silk, speech: np.ndarray, subtype: str, step: float, target: str
) -> None:
    silk("encode", sound)
    wave = codec.decode(container.read("a.silk"))
    result = silk("decode", "a.silk", "-o", target, "--subtype", subtype)
    written = audio.read(io.BytesIO(result.stdout_bytes) if target == "-" else folder / target)
    np.testing.assert_allclose(written, wave, atol=1.01 * step + 1e-7)


def test_float_samples_are_not_clipped(silk: Run, loud: tuple[str, np.ndarray], folder: Path) -> None:
    name, wave = loud
    assert "clipped" not in silk("decode", name, "--subtype", "float").stderr
    np.testing.assert_allclose(audio.read(folder / "loud.wav"), wave, atol=1e-6)
    silk("decode", name, "--subtype", "8", code=2)
    silk("decode", name, "--subtype", "float", "--format", "flac", code=2)


def test_roundtrip_reports_and_avoids_clipping(silk: Run, folder: Path, loud: tuple[str, np.ndarray]) -> None:
    silk("decode", "loud.silk", "--subtype", "float")
    audio.write(folder / "in.wav", audio.read("loud.wav"), subtype="FLOAT")
    found = json.loads(silk("roundtrip", "in.wav", "--json", "--subtype", "float").stdout)
    assert found["n_clipped"] == 0 and found["peak"] > 0
    again = json.loads(silk("roundtrip", "in.wav", "--json", "--force", "--rescale").stdout)
    assert again["n_clipped"] == 0 and again["mel_distance"] == found["mel_distance"]


def test_quiet_and_offset_recordings_are_reported_and_normalized(silk: Run, folder: Path, speech: np.ndarray) -> None:
    audio.write("quiet.wav", speech[:30_000] * np.float32(0.005), subtype="FLOAT")
    audio.write("offset.wav", speech[:30_000] + np.float32(0.2), subtype="FLOAT")
    assert "quiet.wav: the recording is quiet" in silk("encode", "quiet.wav").stderr
    assert "offset.wav: the recording has a DC offset of 0.20" in silk("encode", "offset.wav").stderr
    result = silk("encode", "quiet.wav", "offset.wav", "--normalize", "--force", "--json")
    assert "--normalize" not in result.stderr
    quiet, offset = map(json.loads, result.stdout.splitlines())
    assert quiet["level_dbfs"] < -60 and quiet["gain"] < 0.05
    assert offset["offset"] == pytest.approx(0.2, abs=0.01)
    info = json.loads(silk("info", "quiet.silk", "--json").stdout)
    assert (info["format_version"], info["gain"]) == (2, pytest.approx(quiet["gain"]))
    piped = silk("encode", "-", "-o", "-", "--normalize", stdin=(folder / "quiet.wav").read_bytes())
    assert piped.stdout_bytes == (folder / "quiet.silk").read_bytes()
    trip = json.loads(silk("roundtrip", "quiet.wav", "--normalize", "--json", "--force").stdout)
    assert 0 < trip["peak"] < 0.1


# --- unusual names, folders and disks


def test_names_that_are_not_utf_8(folder: Path, sound: str, weights_folder: Path) -> None:
    names = [b"in/a.wav", b"in/b\xff.wav", b"in/c.wav"]
    Path("in").mkdir()
    for name in names:
        shutil.copy(sound, os.fsdecode(name))
    command = [sys.executable, "-m", "silkcodec.cli", "encode", "in", "--weights", str(weights_folder)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 3 and b"in/b\xff.silk" in done.stdout
    assert all(Path(os.fsdecode(name)).with_suffix(".silk").exists() for name in names)


@pytest.mark.parametrize("words", [("encode", "{}.wav"), ("encode", "a.wav", "-o", "{}.silk"), ("roundtrip", "{}.wav")])
def test_a_name_that_is_too_long_is_one_sentence(silk: Run, sound: str, words: tuple[str, ...]) -> None:
    result = silk(*(word.format("x" * 300) for word in words), code=2)
    assert "File name too long." in result.stderr and result.stderr.count("\n") == 1


def test_the_outputs_of_a_round_trip_are_not_inputs(silk: Run, sound: str) -> None:
    Path("in").mkdir()
    shutil.copy(sound, "in/talk.wav")
    silk("roundtrip", "in")
    assert Path("in/talk.silk.wav").exists()
    silk("roundtrip", "in", "--force")
    silk("encode", "in", "-o", "out")
    assert files_below(Path("out")) == ["talk.silk"]
    Path("in/talk.silk").unlink()  # Without it, the file is a recording like any other.
    silk("encode", "in", "-o", "again")
    assert files_below(Path("again")) == ["talk.silk", "talk.silk.silk"]


def test_a_broken_link_is_reported(silk: Run, sound: str) -> None:
    Path("in").mkdir()
    shutil.copy(sound, "in/a.wav")
    Path("in/lost.wav").symlink_to("gone.wav")
    result = silk("encode", "in", "-o", "out", code=2)
    assert "Cannot read 'in/lost.wav': No such file or directory." in result.stderr
    assert files_below(Path("out")) == ["a.silk"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can read all folders")
def test_a_folder_that_cannot_be_read_is_reported(silk: Run, sound: str) -> None:
    Path("in/closed").mkdir(parents=True)
    shutil.copy(sound, "in/a.wav")
    Path("in/closed").chmod(0)
    assert "Cannot read the folder 'in/closed': Permission denied." in silk("encode", "in", code=2).stderr


@pytest.mark.parametrize("words", [("encode", ""), ("decode", ""), ("info", ""), ("encode", "a.wav", "-o", "")])
def test_an_empty_path_is_refused(silk: Run, sound: str, words: tuple[str, ...]) -> None:
    assert "must not be empty. Pass" in silk(*words, code=2).stderr
    assert files_below(Path()) == ["a.wav"]


def test_standard_output_can_be_appended_to(silk: Run, sound: str, weights_folder: Path) -> None:
    silk("encode", sound)
    silk("decode", "a.silk", "-o", "a.decoded.wav")
    Path("all").write_bytes(b"before")
    command = [sys.executable, "-m", "silkcodec.cli", "decode", "a.silk", "-o", "-", "--weights", str(weights_folder)]
    with open("all", "ab") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=True)
    content, header = Path("all").read_bytes(), len(b"before") + 44
    assert content.startswith(b"beforeRIFF") and content[header:] == Path("a.decoded.wav").read_bytes()[44:]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_can_be_normalized_and_compared(silk: Run, sound: str) -> None:
    os.mkfifo("pipe.wav")
    for words in (("encode", "--normalize"), ("roundtrip",)):
        writer = threading.Thread(target=Path("pipe.wav").write_bytes, args=(Path(sound).read_bytes(),), daemon=True)
        writer.start()
        silk(words[0], "pipe.wav", "-o", f"{words[0]}.silk" if words[0] == "encode" else "trip.wav", *words[1:])
        writer.join()
    assert container.read("trip.silk") and Path("trip.png").exists()


def test_names_are_printed_in_any_encoding(sound: str, weights_folder: Path) -> None:
    shutil.copy(sound, "中.wav")
    command = [sys.executable, "-m", "silkcodec.cli", "encode", "中.wav", sound, "-o", "out"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    subprocess.run([*command, "--weights", str(weights_folder)], env=environment, check=True, capture_output=True)
    assert files_below(Path("out")) == ["a.silk", "中.silk"]


def test_a_roundtrip_that_fails_can_be_repeated(silk: Run, sound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr("silkcodec.files.roundtrip.Comparison.feed", fail)
        silk("roundtrip", sound, code=2)
    assert files_below(Path()) == [sound]
    silk("roundtrip", sound)


def test_the_format_must_match_the_output(silk: Run, sound: str) -> None:
    silk("encode", sound)
    result = silk("decode", "a.silk", "-o", "b.wav", "--format", "flac", code=2)
    assert "The suffix of 'b.wav' must match --format flac." in result.stderr and not Path("b.wav").exists()
    assert "Standard output is always WAV" in silk("decode", "a.silk", "-o", "-", "--format", "flac", code=2).stderr
    silk("decode", "a.silk", "-o", "b.flac", "--format", "flac")


def test_a_part_counts_only_its_own_frames(silk: Run, folder: Path, speech: np.ndarray) -> None:
    audio.write(folder / "long.wav", np.resize(speech, 12 * 24_000))
    silk("encode", "long.wav")
    result = silk("decode", "long.silk", "-o", "part.wav", "--start", "10", "--duration", "1", "--json")
    assert json.loads(result.stdout)["n_frames"] == 3
    refused = silk("decode", "long.silk", "-o", "none.wav", "--duration", "1e-6", code=2)
    assert "The duration must be between one sample and 1e+12 s; got 1e-06 s." in refused.stderr


def test_brackets_in_names_are_shown(silk: Run, sound: str) -> None:
    Path(sound).rename("[red]a.wav")
    assert "[red]a.wav" in silk("roundtrip", "[red]a.wav").stdout
