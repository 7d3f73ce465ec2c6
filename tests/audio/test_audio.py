"""Test that audio is read, converted and written correctly, and that invalid input is rejected."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from silkcodec import audio
from silkcodec.errors import ArgumentError, AudioError, OutputError


def sine(n_samples: int, sample_rate: int = 24_000, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(n_samples) / sample_rate)).astype(np.float32)


# --- arrays


def test_integers_are_scaled_to_full_scale() -> None:
    for dtype in (np.int8, np.int16, np.int32):
        lowest = np.array([np.iinfo(dtype).min, 0], dtype=dtype)
        assert audio.as_wave(lowest, 24_000).tolist() == [-1.0, 0.0]
    assert audio.as_wave(np.array([0, 128], dtype=np.uint8), 24_000).tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("dtype", [list, np.int64, np.int32])
def test_unscaled_wide_integers_are_rejected(speech: np.ndarray, dtype: Any) -> None:
    """Scaling these values by the range of their type would make them nearly silent."""
    values = np.rint(speech * 32_768).astype(np.int16)
    wide = values.tolist() if dtype is list else values.astype(dtype)
    for call in (lambda x: audio.as_wave(x, 24_000), lambda x: audio.as_block(x, 24_000)):
        with pytest.raises(AudioError, match=r"Convert 16-bit values .*np.int16"):
            call(wide)
        with pytest.raises(AudioError, match="Convert 16-bit values"):
            call(wide[5000:5005])
        assert not call([0, 0, 0]).any() and not call(np.zeros(7, np.int64)).any()  # zeros are valid at any scale


def test_quiet_int32_samples_are_accepted(speech: np.ndarray) -> None:
    from_16_bits = np.rint(speech * 32_768).astype(np.int32) << 16
    from_24_bits = np.rint(speech * 100).astype(np.int32) << 8  # 98 dB below full scale
    from_32_bits = np.rint(speech.astype(np.float64) * 2**31).astype(np.int32)
    for samples in (from_16_bits, from_24_bits, from_32_bits):
        np.testing.assert_allclose(audio.as_wave(samples, 24_000), samples / 2.0**31, atol=1e-9)
        np.testing.assert_allclose(audio.as_block(samples[:4000], 24_000), samples[:4000] / 2.0**31, atol=1e-9)
    quiet = from_32_bits // 1000  # either unshifted 24-bit values or a very quiet recording
    with pytest.raises(AudioError, match="full scale"):
        audio.as_wave(quiet, 24_000)
    audio.as_block(quiet, 24_000)  # valid, because it can be a pause in a stream


def test_channels_are_averaged_on_either_axis() -> None:
    rng = np.random.default_rng(0)
    channels = rng.uniform(-1, 1, (2, 1000)).astype(np.float32)
    wave = audio.as_wave(channels, 24_000)
    assert wave.shape == (1000,)
    np.testing.assert_allclose(wave, channels.mean(axis=0), atol=1e-6)
    for same in (channels.T, np.ascontiguousarray(channels.T), np.asfortranarray(channels)):
        np.testing.assert_array_equal(audio.as_wave(same, 24_000), wave)
    surround = rng.uniform(-1, 1, (1000, 6)).astype(np.float32)
    np.testing.assert_allclose(audio.as_wave(surround, 24_000), surround.mean(axis=1), atol=1e-6)


def test_canceling_channels_give_a_warning() -> None:
    left, right = (np.random.default_rng(seed).normal(0, 0.1, 4800).astype(np.float32) for seed in (0, 1))
    for pair in ([left, -left], [left, -0.8 * left]):
        with pytest.warns(UserWarning, match="cancel each other out"):
            audio.as_wave(np.stack(pair), 24_000)
    for pair in (
        [left, left],
        [left, right],
        [left, 0 * left],
        [0 * left, 0 * left],
    ):  # pytest raises warnings as errors
        audio.as_wave(np.stack(pair), 24_000)
        audio.as_wave(np.stack(pair, axis=1), 24_000)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(0, np.float32), "at least 1 sample"),
        (np.zeros((0, 2), np.float32), "at least 1 sample"),
        (np.array([0.0, np.nan]), "finite; got nan at sample 1"),
        (np.array([0.0, 0.1, -np.inf]), "finite; got -inf at sample 2"),
        (np.array([0.0, 1e300]), "finite; got inf at sample 1"),
        (np.array([0.0, 12345.0]), "integer scale, divide"),
        (np.zeros((2, 3, 4), np.float32), "one clip at a time"),
        (np.zeros((100, 200), np.float32), "one clip at a time"),
        (np.zeros((8, 24_000), np.float32), "encode_batch for several clips"),
        (np.zeros((1, 1, 24_000), np.float32), "one clip at a time, or use encode_batch"),
        (np.float32(1), "a single number. The order of the arguments"),
        (24_000, "a single number. The order of the arguments"),
        ("a.wav", "got 'a.wav'. To read a file"),
        (Path("a.wav"), "got 'a.wav'. To read a file"),
        (None, "got None"),
        (b"RIFF", "np.frombuffer"),
        (bytearray(8), "np.frombuffer"),
        (memoryview(b"RIFF"), "np.frombuffer"),
        ({"array": [0.0], "sampling_rate": 24_000}, "a mapping with the keys 'array', 'sampling_rate'"),
        ((np.zeros(9), 24_000), "Unpack it"),
        ((sample for sample in (0.0, 0.1)), "elements of type generator"),
        ([0.0, None], "elements of type"),
        (np.array(["a"]), "floats, signed integers or uint8"),
        (np.zeros(3, complex), "floats, signed integers or uint8"),
        (np.zeros(3, bool), "floats, signed integers or uint8"),
        ([[1.0], [1.0, 2.0]], "Cannot convert the waveform to a NumPy array"),
    ],
)
def test_invalid_arrays_are_rejected(array: object, words: str) -> None:
    with pytest.raises(AudioError, match=words.replace("(", r"\(").replace(")", r"\)")):
        audio.as_wave(array, 24_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, -24_000, 24, 44_100.5, float("nan"), float("inf"), 2_000_000])
def test_invalid_sample_rates_are_rejected(rate: float) -> None:
    with pytest.raises(AudioError, match="whole number in Hz"):
        audio.as_wave(np.zeros(10, np.float32), rate)


@pytest.mark.parametrize("rate", [None, "24000", True, np.zeros(9600, np.float32), [24_000], {}])
def test_sample_rates_that_are_not_numbers_are_rejected(rate: Any) -> None:
    with pytest.raises(AudioError, match="sample_rate must be a number in Hz"):
        audio.as_wave(np.zeros(10, np.float32), rate)


@pytest.mark.parametrize("rate", [24_000, 24_000.0, np.int32(24_000), np.float64(24_000), np.array(24_000)])
def test_any_number_type_is_a_valid_sample_rate(rate: Any) -> None:
    assert len(audio.as_wave(np.zeros(10, np.float32), rate)) == 10


# --- resampling


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_resampling_preserves_pitch_level_and_length(rate: int) -> None:
    wave = audio.as_wave(sine(rate, rate), rate)
    assert wave.shape == (24_000,)
    inner = slice(2400, -2400)  # without the edges, where the filter input includes silence
    np.testing.assert_allclose(wave[inner], sine(24_000)[inner], atol=1e-3)


@settings(max_examples=40)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000]),
    cuts=st.lists(st.integers(0, 3000), max_size=20),
    n_samples=st.integers(1, 20_000),
)
def test_resampling_does_not_depend_on_block_boundaries(rate: int, cuts: list[int], n_samples: int) -> None:
    source = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    stream = audio.Resampler(rate, 24_000)
    parts = [stream.feed(part) for part in np.split(source, np.minimum(np.cumsum(cuts), n_samples).astype(int))]
    joined = np.concatenate([*parts, stream.flush()])
    np.testing.assert_array_equal(joined, audio.as_wave(source, rate))
    assert len(joined) == audio.resampled_length(n_samples, rate, 24_000) >= 1


# --- reading files


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [(".wav", "PCM_16", 1e-4), (".wav", "FLOAT", 0), (".wav", "PCM_U8", 1e-2), (".flac", "PCM_24", 1e-6)],
)
def test_a_file_and_its_array_give_the_same_samples(
    tmp_path: Path, suffix: str, subtype: str, tolerance: float
) -> None:
    stereo = np.stack([sine(50_001, 44_100), sine(50_001, 44_100, 880)], axis=1)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, stereo, 44_100, subtype=subtype)
    np.testing.assert_allclose(audio.read(path), audio.as_wave(stereo, 44_100), atol=tolerance)


@pytest.mark.parametrize(("suffix", "kind"), [(".ogg", "VORBIS"), (".opus", "OPUS"), (".mp3", "MPEG_LAYER_III")])
def test_lossy_formats_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, sine(48_000), 24_000, format="MP3" if suffix == ".mp3" else "OGG", subtype=kind)
    wave = audio.read(path)
    assert len(wave) == 48_000
    np.testing.assert_allclose(wave[5000:40_000], sine(48_000)[5000:40_000], atol=0.1)


def test_concatenated_blocks_equal_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(700_001, 48_000), 48_000)
    whole = audio.read(path)
    for block_s in (0.01, 0.4, 7.0, 1e6):
        np.testing.assert_array_equal(np.concatenate(list(audio.blocks(path, block_s))), whole)
    with audio.Reader(path) as reader:
        assert [len(reader.read(n)) for n in (0, 1, 9600, 10**9, 5)] == [0, 1, 9600, len(whole) - 9601, 0]


def test_pipes_and_binary_files_can_be_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000), 24_000, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    np.testing.assert_array_equal(audio.read(io.BytesIO(content)), sine(1000))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(fifo)!r}, 'wb').write({content!r})"])
    np.testing.assert_array_equal(audio.read(fifo), sine(1000))
    assert writer.wait() == 0


def test_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000), 24_000, subtype="PCM_16")
    endless = bytearray((tmp_path / "a.wav").read_bytes())  # header as ffmpeg writes it to a pipe
    endless[4:8] = endless[40:44] = b"\xff\xff\xff\xff"
    assert len(audio.read(io.BytesIO(bytes(endless)))) == 1000


def test_errors_name_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is not a sound")
    (tmp_path / "a.raw").write_bytes(b"\0" * 100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 24_000)
    for name, words in {
        "missing.wav": "No such file",
        "empty.wav": "empty",
        "text.wav": "Cannot read .*text.wav' as audio",
        "a.raw": "headerless audio",
        "silent.wav": "has none",
        ".": "folder",
    }.items():
        with pytest.raises(AudioError, match=words) as caught:
            audio.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(AudioError):
        audio.read("null\0byte.wav")


def test_errors_give_the_position_of_nan(tmp_path: Path) -> None:
    wave = sine(400_000)
    wave[300_000] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"got nan at sample 300000 \(12.500 s\)"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_damaged_files_are_rejected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    audio.write(path, noise)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])
    with pytest.raises(AudioError):
        audio.read(path)


# --- writing files


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".flac", 1e-4), (".w64", 1e-4), (".ogg", 0.1)])
def test_written_files_can_be_read(tmp_path: Path, suffix: str, tolerance: float) -> None:
    path = tmp_path / "new" / "folder" / f"a{suffix}"
    with audio.Writer(path) as writer:
        for block in np.split(sine(30_000), [1, 10_000, 10_000]):
            writer.write(block)
        assert not path.exists(), "the file must appear only when it is complete"
    np.testing.assert_allclose(audio.read(path), sine(30_000), atol=tolerance)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_loud_samples_are_clipped(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", np.array([1.5, -1.5], np.float32))
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), [1, -1], atol=1e-4)


@pytest.mark.parametrize(("subtype", "width"), [("PCM_16", 2), ("PCM_24", 3)])
def test_samples_are_rounded_to_the_nearest_integer(
    tmp_path: Path, speech: np.ndarray, subtype: str, width: int
) -> None:
    """libsndfile rounds floats down, which would turn near-silence into a constant -1."""
    step = 2.0 ** -(8 * width - 1)
    wave = np.concatenate([speech, np.full(9, -0.4 * step), [1.0, -1.0]]).astype(np.float32)
    audio.write(tmp_path / "a.wav", wave, subtype=subtype)
    written = audio.read(tmp_path / "a.wav")
    np.testing.assert_allclose(written, np.clip(wave, -1, 1 - step), atol=0.5001 * step)
    assert not written[len(speech) : -2].any()


def test_existing_files_are_kept_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        audio.write(path, sine(10))
    assert path.read_bytes() == b"precious"
    audio.write(path, sine(10), overwrite=True)
    assert len(audio.read(path)) == 10


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    old = tmp_path / "old.wav"
    old.write_bytes(b"precious")
    for path in (old, tmp_path / "new.wav"):
        with pytest.raises(ZeroDivisionError), audio.Writer(path, overwrite=True) as writer:
            writer.write(sine(100_000))
            raise ZeroDivisionError
    assert old.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["old.wav"]


def test_errors_name_unwritable_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        audio.write(tmp_path / "file" / "a.wav", sine(10))
    with pytest.raises(OutputError, match="folder"):
        audio.write(tmp_path / "folder.wav", sine(10), overwrite=True)
    with pytest.raises(ArgumentError, match="suffix of the audio file"):
        audio.write(tmp_path / "a.txt", sine(10))
    with pytest.raises(ArgumentError, match="Cannot write OGG OPUS at 44100 Hz"):
        audio.write(tmp_path / "a.opus", sine(10), 44_100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_full_disk_raises_output_error(tmp_path: Path, suffix: str, full_disk: int) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).uniform(-1, 1, 48_000).astype(np.float32)
    with pytest.raises(OutputError, match="No space left"):
        audio.write(path, np.tile(noise, 1 + 20 * full_disk // len(noise)))
    assert list(tmp_path.iterdir()) == []


def test_wav_in_a_pipe_starts_with_its_length() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    known, unknown = Pipe(), Pipe()
    with audio.Writer(known, n_samples=1000) as writer:
        writer.write(sine(1000))
    with audio.Writer(unknown) as writer:
        writer.write(sine(1000))
    assert struct.unpack("<I", known.getvalue()[40:44]) == (2000,)
    for pipe in (known, unknown):
        np.testing.assert_allclose(audio.read(io.BytesIO(pipe.getvalue())), sine(1000), atol=1e-4)
