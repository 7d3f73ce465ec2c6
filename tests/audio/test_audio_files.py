"""Test audio files that are long, truncated, streamed, joined, or in a format that only ffmpeg reads."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from repository import DOCS
from silkcodec import audio
from silkcodec.audio import ffmpeg
from silkcodec.errors import ArgumentError, AudioError, OutputError
from silkcodec.evaluate.clips import find_clips
from silkcodec.evaluate.run import problem
from silkcodec.evaluate.score import matched
from silkcodec.serve import filejobs

N = 24_000  # number of samples in a short recording


def noise(n_samples: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, n_samples).astype(np.float32)


def written(file_format: str, subtype: str | None = None, *, rate: int = 24_000, n_samples: int = N) -> bytes:
    """Return the bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, noise(n_samples), rate, format=file_format, subtype=subtype)
    return file.getvalue()


def n_read(content: bytes) -> int:
    return len(audio.read(io.BytesIO(content)))


# --- long


# At 2.04 million samples per block, libsndfile's Vorbis encoder overflowed the stack. Each format uses its lowest rate.
@pytest.mark.parametrize(
    ("suffix", "rate"),
    [(".wav", 1000), (".flac", 1000), (".ogg", 1000), (".opus", 48_000), (".w64", 1000), (".aiff", 1000)],
)
def test_a_block_of_an_hour_can_be_written(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"a{suffix}"
    audio.write(path, noise(3_600_000), rate)
    with audio.Reader(path, rate) as reader:
        assert sum(map(len, reader.blocks(600))) == 3_600_000


# --- truncated

SIZED = [  # formats whose header or structure declares the length
    *(("WAV", s) for s in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("RF64", "FLOAT"), ("W64", "PCM_16"), ("W64", "FLOAT")),
    *(("AIFF", s) for s in ("PCM_16", "PCM_24", "FLOAT", "ALAW", "DWVW_16", "IMA_ADPCM")),
    *(("AU", "PCM_16"), ("AU", "G721_32"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("NIST", "PCM_16"), ("NIST", "ULAW")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
    *(("VOC", "PCM_16"), ("SVX", "PCM_16"), ("AVR", "PCM_16"), ("MAT4", "PCM_16"), ("MAT5", "PCM_16")),
    *(("MPC2K", "PCM_16"), ("SDS", "PCM_16"), ("HTK", "PCM_16")),
]
UNSIZED = [("PAF", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "PCM_16")]  # formats that do not declare a length


@pytest.mark.parametrize(("file_format", "subtype"), SIZED)
def test_truncated_files_are_rejected(file_format: str, subtype: str) -> None:
    content = written(file_format, subtype)
    assert n_read(content) >= N - 100  # HTK stores the sample period in units of 100 ns, so its rate differs
    for kept in (len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(AudioError):
            n_read(content[:kept])


@pytest.mark.parametrize("file_format", ["WAV", "W64", "RF64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3"])
def test_a_file_without_its_last_byte_is_rejected(file_format: str) -> None:
    content = written(file_format, "PCM_16" if file_format not in ("OGG", "MP3") else None)
    with pytest.raises(AudioError, match="truncated"):
        n_read(content[:-1])


@pytest.mark.parametrize(("file_format", "subtype"), UNSIZED)
def test_formats_without_a_length_are_read_completely(file_format: str, subtype: str) -> None:
    assert n_read(written(file_format, subtype)) == N


@pytest.mark.parametrize("file_format", ["OGG", "MP3", "FLAC"])
def test_truncated_paths_are_rejected(tmp_path: Path, file_format: str) -> None:
    content = written(file_format)
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="truncated"):
        audio.read(tmp_path / "a")


# --- streamed


def resized(content: bytes, *fields: tuple[int, str, int]) -> bytes:
    """Replace sizes in a header. Each field is (offset, struct format, size)."""
    changed = bytearray(content)
    for at, form, value in fields:
        struct.pack_into(form, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "AU"])
def test_files_with_placeholder_sizes_are_read_completely(file_format: str, size: int) -> None:
    content = written(file_format, "PCM_16")
    if file_format == "WAV":
        content = resized(content, (4, "<I", size), (content.find(b"data") + 4, "<I", size))
    elif file_format == "AIFF":
        content = resized(content, (4, ">I", size), (content.find(b"SSND") + 4, ">I", size))
    else:
        content = resized(content, (8, ">I", size))
    assert n_read(content) == N
    assert audio.duration_s(io.BytesIO(content)) == 1.0


@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**63 - 1])
def test_files_with_64_bit_placeholder_sizes_are_read_completely(size: int) -> None:
    rf64, w64, caf = (written(file_format, "PCM_16") for file_format in ("RF64", "W64", "CAF"))
    assert n_read(resized(rf64, (rf64.find(b"ds64") + 16, "<Q", size))) == N
    assert n_read(resized(w64, (w64.find(b"data") + 16, "<Q", size))) == N
    assert n_read(resized(caf, (caf.find(b"data") + 4, ">Q", size))) == N


def test_an_empty_recording_is_not_treated_as_streamed() -> None:
    notes = b"LIST\x10\0\0\0INFOICMT\x04\0\0\0abcd"
    content = written("WAV", n_samples=0) + notes
    content = resized(content, (4, "<I", len(content) - 8))
    with pytest.raises(AudioError, match="at least 1 sample"):
        n_read(content)


def test_a_flac_of_unknown_length_is_decoded_completely(tmp_path: Path) -> None:
    known = written("FLAC", n_samples=72_000)
    unknown = bytearray(known)
    unknown[21] &= 0xF0
    unknown[22:42] = bytes(20)  # number of samples and MD5
    (tmp_path / "a.flac").write_bytes(unknown)
    np.testing.assert_array_equal(audio.read(tmp_path / "a.flac"), audio.read(io.BytesIO(known)))
    assert audio.duration_s(tmp_path / "a.flac") == 0.0
    with audio.Reader(tmp_path / "a.flac", start_s=1.0, duration_s=0.5) as part:
        np.testing.assert_array_equal(part.read(N), audio.read(io.BytesIO(known))[24_000:36_000])
    with pytest.raises(AudioError, match="truncated"):
        n_read(bytes(unknown[:-3]))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_damaged_ogg_page_is_rejected(subtype: str) -> None:
    content = written("OGG", subtype)
    for at in range(len(content) // 10, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[at] ^= 1
        with pytest.raises(AudioError, match=r"damaged|truncated"):
            n_read(bytes(damaged))


# --- joined, and followed by something else


@pytest.mark.parametrize(("file_format", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_joined_files_are_read_completely(file_format: str, subtype: str) -> None:
    one = written(file_format, subtype)
    first, both = (audio.read(io.BytesIO(content)) for content in (one, one + one))
    np.testing.assert_array_equal(both, np.concatenate([first, first]))
    assert audio.duration_s(io.BytesIO(one + one)) == 2.0
    with audio.Reader(io.BytesIO(one + one), start_s=1.5) as part:
        np.testing.assert_allclose(part.read(N), first[12_000:], atol=0.02)
    with pytest.raises(AudioError, match="truncated"):
        n_read(one + one[: len(one) // 2])
    with pytest.raises(AudioError, match="same sample rate"):
        n_read(one + written(file_format, subtype, rate=48_000))


def test_joined_mp3_files_with_tags_are_read_completely() -> None:
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    one = tag + written("MP3") + b"TAG" + bytes(125)
    assert n_read(one) == N
    assert n_read(one + one) == 2 * N


def test_mp3_in_a_wav_file_is_read_completely() -> None:
    mp3 = written("MP3")
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 24_000, 12_000, 1, 0, 12, 1, 2, 288, 1, 0)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"fact" + struct.pack("<II", 4, N + 2000)
    chunks += b"data" + struct.pack("<I", len(mp3)) + mp3
    content = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    assert abs(n_read(content) - N) < 2000  # The length in this header is an estimate.
    with pytest.raises(AudioError, match="truncated"):
        n_read(content[:-100])


def test_joined_flac_files_are_rejected() -> None:
    one = written("FLAC")
    with pytest.raises(AudioError, match="contains several joined"):
        n_read(one + one)


@pytest.mark.parametrize("file_format", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "NIST"])
@pytest.mark.parametrize("n_samples", [N, N + 1])
def test_other_joined_files_are_rejected(file_format: str, n_samples: int) -> None:
    one = written(file_format, "PCM_U8" if file_format == "WAV" else None, n_samples=n_samples)
    assert n_read(one) == n_samples
    with pytest.raises(AudioError, match="contains several joined"):
        n_read(one + one)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 2 * N])
def test_a_wav_file_larger_than_4_gb_is_rejected(tmp_path: Path, size: int) -> None:
    content = written("WAV")
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(resized(content, (content.find(b"data") + 4, "<I", size)))
        file.truncate(5 << 30)  # a sparse file, which takes no disk space
    with pytest.raises(AudioError, match="4 GB"):
        audio.duration_s(tmp_path / "a.wav")


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "MP3", "OGG", "AIFF"])
def test_bytes_after_the_audio_are_ignored(file_format: str) -> None:
    after = bytes(512) if file_format == "OGG" else b"TAG" + bytes(125)
    assert n_read(written(file_format) + after) == N


def test_every_format_of_libsndfile_is_read_completely() -> None:
    for file_format in sorted(set(soundfile.available_formats()) - {"RAW", "SD2", "WVE", "XI", "HTK"}):
        assert n_read(written(file_format)) == N, file_format


FUZZED = ("WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3", "VOC", "SDS", "MAT5")


@pytest.mark.parametrize("file_format", FUZZED)
def test_a_damaged_header_raises_audio_error_or_is_ignored(file_format: str) -> None:
    content = written(file_format, n_samples=2400)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, 120, rng.integers(1, 4)):
            damaged[at] = rng.choice([0, 255, rng.integers(256)])
        with contextlib.suppress(AudioError):
            n_read(bytes(damaged))


# --- formats that only ffmpeg reads

M4A = b"\0\0\0\x20ftypM4A " + bytes(200)
LOG = """Input #0, mov, from 'x':
  Duration: 00:00:{seconds:05.2f}, start: 0.000000, bitrate: 70 kb/s
  Stream #0:0: Audio: aac, 24000 Hz, mono
Stream mapping:
  Stream #0:0 -> #0:0
"""


def fake_ffmpeg(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 1.0, code: int = 0, log: str = ""
) -> None:
    """Put an "ffmpeg" on PATH that records its arguments, writes one second of audio and reports a duration."""
    if os.name == "nt":
        pytest.skip("the command is a shell script")
    folder.mkdir()
    (folder / "out.wav").write_bytes(resized(written("WAV", "FLOAT"), (4, "<I", 0xFFFF_FFFF)))
    (folder / "log").write_text(LOG.format(seconds=seconds) + log)
    lines = ["#!/bin/sh", f"cd {folder}", "printf '%s\\n' \"$@\" >words", "/bin/cat log >&2; /bin/cat out.wav"]
    (folder / "ffmpeg").write_text("\n".join([*lines, f"exit {code}\n"]))
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_ffmpeg_decodes_formats_that_libsndfile_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path / "bin", monkeypatch)
    (tmp_path / "a.m4a").write_bytes(M4A)
    np.testing.assert_allclose(audio.read(tmp_path / "a.m4a"), noise(), atol=1e-6)
    np.testing.assert_allclose(audio.read(io.BytesIO(M4A)), noise(), atol=1e-6)
    assert audio.duration_s(tmp_path / "a.m4a") == 1.0
    with audio.Reader(tmp_path / "a.m4a", start_s=0.5, duration_s=0.25) as part:
        np.testing.assert_allclose(part.read(N), noise()[12_000:18_000], atol=1e-6)


def test_ffmpeg_may_open_only_the_given_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("http:a.m4a").write_bytes(M4A)
    assert audio.duration_s("http:a.m4a") == 1.0
    words = (tmp_path / "bin" / "words").read_text()
    assert re.search(rf"-protocol_whitelist\nfile,pipe\n.*-f\nmov\n-i\nfile:{tmp_path}/http:a\.m4a\n", words, re.S)


@pytest.mark.parametrize(
    "problem",
    [{"code": 1}, {"seconds": 2.0}, {"log": "[mov] stream 0, offset 0x1bb: partial file\n"}],
)
def test_files_that_ffmpeg_reports_as_damaged_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: dict
) -> None:
    fake_ffmpeg(tmp_path / "bin", monkeypatch, **problem)
    with pytest.raises(AudioError, match="truncated"):
        audio.read(io.BytesIO(M4A))


def test_the_error_without_ffmpeg_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(M4A)
    with pytest.raises(AudioError, match=r"a\.m4a' without ffmpeg, .* Install"):
        audio.duration_s(tmp_path / "a.m4a")
    (tmp_path / "b.m4a").write_bytes(b"no recording at all")
    with pytest.raises(AudioError, match=r"Cannot read .* as audio"):
        audio.duration_s(tmp_path / "b.m4a")
    assert audio.is_sound("a/B.M4A")
    assert audio.is_sound("a.wav") and not audio.is_sound("a.txt")


def test_every_command_reports_recordings_that_need_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        audio.write(folder / name, noise())
    (folder / "c.m4a").write_bytes(M4A)
    clips = find_clips([folder])
    assert [clip.name for clip in clips] == ["a.wav", "b.wav", "c.m4a"]
    assert "without ffmpeg" in str(problem(clips[2])) and problem(clips[0]) is None
    assert set(matched(clips, folder, folder, chosen=False)) == {"a.wav", "b.wav", "c.m4a"}
    with pytest.raises(AudioError, match="Cannot read 'the upload' without ffmpeg"):
        filejobs.work(None, filejobs.FileJob(folder / "c.m4a", tmp_path / "out", "audio", "silk", 60), lambda: False)  # type: ignore[arg-type]


def test_training_reports_recordings_that_need_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("silkcodec_torch.train.data")
    monkeypatch.setenv("PATH", str(tmp_path))
    folder, said = tmp_path / "in", []
    folder.mkdir()
    for name in ("a.wav", "d.wav"):
        audio.write(folder / name, noise())
    (folder / "c.m4a").write_bytes(M4A)
    config = data.DataConfig(folder=str(folder), valid_percent=0)
    names = [row["path"] for row in data.split_rows(config)["train"]]
    assert [clip.path for clip in data.pack(config, "train", tmp_path / "cache", said.append).clips] != names
    assert len(said) == 1 and "c.m4a' without ffmpeg" in said[0]


class Failing(io.BytesIO):
    """Raise an error in the read that reaches a position."""

    def __init__(self, content: bytes, position: int, error: BaseException) -> None:
        super().__init__(content)
        self.position, self.error = position, error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() + (size or 0) > self.position:
            self.position = 1 << 60  # only once
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("file_format", ["WAV", "MP3", "OGG"])
def test_an_error_while_reading_is_raised(file_format: str) -> None:
    content = written(file_format, n_samples=10 * N)
    with pytest.raises(AudioError, match="Input/output error"):
        audio.read(Failing(content, len(content) // 2, OSError(5, "Input/output error")))
    with pytest.raises(KeyboardInterrupt):
        audio.read(Failing(content, len(content) // 2, KeyboardInterrupt()))


@pytest.mark.parametrize("source", [None, 5, b"a.wav", io.StringIO("text")])
def test_sources_must_be_paths_or_binary_files(source: object) -> None:
    with pytest.raises(AudioError, match="must be a path or a binary file; got"):
        audio.read(source)  # type: ignore[arg-type]


def test_a_part_that_starts_at_the_end_is_rejected(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", noise())
    with (
        pytest.raises(AudioError, match="start_s must be before the end"),
        audio.Reader(tmp_path / "a.wav", start_s=1.0) as reader,
    ):
        reader.read(1)


def test_playlists_are_not_passed_to_ffmpeg() -> None:
    for content in (
        b"#EXTM3U\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD>",
    ):
        assert ffmpeg.demuxer(content[: ffmpeg.HEAD_BYTES]) is None


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg on PATH")
@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".mka", ".wma", ".aac", ".ac3", ".tta", ".wv"])
def test_the_output_of_the_installed_ffmpeg_is_parsed(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / "a.wav", noise(96_000), 48_000)
    made = tmp_path / f"b{suffix}"
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", made], check=False)
    if done.returncode:
        pytest.skip("this ffmpeg has no encoder for it")
    assert abs(audio.duration_s(made) - 2) < 0.2
    assert abs(len(audio.read(made)) - 48_000) < 2400
    if suffix not in (".ac3", ".aac"):  # formats without a length
        content = made.read_bytes()
        with pytest.raises(AudioError):
            n_read(content[: len(content) // 2])


def test_the_documentation_lists_all_suffixes() -> None:
    page = (DOCS / "sound-files.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in page.splitlines() if line.startswith("|")]
    listed = [tuple(cell.strip(" `").split()) for cell in cells if cell.startswith(" `.")]
    assert listed == [audio.NATIVE_SUFFIXES, audio.FFMPEG_SUFFIXES]


def test_arrays_to_write_are_checked_like_arrays_to_encode(tmp_path: Path) -> None:
    integers = np.array([1000, -2000, 300], dtype=np.int16)
    audio.write(tmp_path / "a.wav", integers)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], integers)
    for wrong in (np.array([0.1, np.nan]), np.array([0.1, np.inf]), np.zeros((10, 2)), np.array([900, -20], np.int64)):
        with pytest.raises(AudioError):
            audio.write(tmp_path / "b.wav", wrong)
    assert not (tmp_path / "b.wav").exists()


class Interrupted(io.BytesIO):
    def write(self, _: object, /) -> int:
        raise KeyboardInterrupt


class Closed(io.BytesIO):
    def write(self, _: object, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Slow(io.BytesIO):
    """Write at most 1,000 bytes per call, like an unbuffered file."""

    def write(self, data: object, /) -> int:
        return super().write(memoryview(data)[:1000])  # type: ignore[call-overload]


def test_errors_while_writing_are_raised() -> None:
    with pytest.raises(KeyboardInterrupt):
        audio.write(Interrupted(), noise(10 * N))
    with pytest.raises(OutputError, match="Broken pipe"):
        audio.write(Closed(), noise())
    whole, slow = io.BytesIO(), Slow()
    audio.write(whole, noise())
    audio.write(slow, noise())
    assert slow.getvalue() == whole.getvalue()


def test_finding_audio_files(tmp_path: Path) -> None:
    for name in ("b/2.FLAC", "a.wav", "notes.txt", ".hidden/1.wav", "b/.2.wav", "a.silk", "a.silk.wav", "c.silk.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "lost.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    found = [path.relative_to(tmp_path).as_posix() for path in audio.find_files(tmp_path)]
    assert found == ["a.wav", "b/2.FLAC", "c.silk.wav", "lost.wav"]
    with pytest.raises(ArgumentError, match=r"Cannot read the folder '.*gone'"):
        audio.find_files(tmp_path / "gone")
