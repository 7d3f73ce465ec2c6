"""Test level.py and `--normalize`, which correct quiet recordings and offsets before encoding."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from silkcodec import audio, container, files
from silkcodec.audio import level
from silkcodec.container import structure
from silkcodec.errors import ArgumentError, ContainerError
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder
from silkcodec.tokens import Tokens


def measured(wave: np.ndarray, pieces: int = 1) -> level.Level:
    meter = level.Meter()
    for piece in np.array_split(wave.astype(np.float32), pieces):
        meter.feed(piece)
    return meter.level()


def test_pauses_do_not_change_the_level_of_a_tone() -> None:
    tone = np.sin(2 * np.pi * 400 * np.arange(24_000) / 24_000)
    for wave in (tone, np.concatenate([np.zeros(240_000), tone, np.zeros(240_000)])):  # Pauses are ignored.
        found = measured(0.01 * wave)
        assert found.dbfs == pytest.approx(-43.0, abs=0.05)
        assert found.peak == pytest.approx(0.01, rel=1e-3)
        assert found.offset == pytest.approx(0, abs=1e-6)
    found = measured(0.01 * tone + 0.2)
    assert (found.offset, found.dbfs) == (pytest.approx(0.2, rel=1e-4), pytest.approx(-43.0, abs=0.05))
    assert found.is_offset and not measured(tone + 0.01).is_offset
    assert measured(0.005 * tone).is_quiet and not measured(0.05 * tone).is_quiet


def test_the_level_does_not_depend_on_block_boundaries(speech: np.ndarray) -> None:
    whole, cut = measured(speech), measured(speech, 7)
    assert (cut.offset, cut.peak) == (pytest.approx(whole.offset, abs=1e-9), pytest.approx(whole.peak, abs=1e-6))
    assert cut.dbfs == pytest.approx(whole.dbfs, abs=1e-9)


@pytest.mark.parametrize("wave", [np.zeros(9600), np.full(9600, 0.25), np.zeros(1), np.zeros(0)])
def test_silence_is_not_normalized(wave: np.ndarray) -> None:
    found = measured(wave)
    assert found.scale == 1 and not found.is_quiet
    assert not found.apply(wave.astype(np.float32)).any()


def test_normalized_samples_do_not_exceed_full_scale() -> None:
    click = np.zeros(240_000, np.float32)
    click[::2400] = 0.01
    wave, gain = level.normalize(click, 24_000)
    assert np.abs(wave).max() <= 0.99 + 1e-6
    np.testing.assert_allclose(wave * gain, click - click.mean(), atol=1e-6)


def test_a_quiet_file_is_encoded_like_a_loud_one(codec: Silk, speech: np.ndarray, tmp_path: Path) -> None:
    quiet_by = 2.0**-8  # 48 dB; scaling by a power of two is exact
    for name, wave in {"loud": speech, "quiet": speech * np.float32(quiet_by)}.items():
        audio.write(tmp_path / f"{name}.wav", wave, subtype="FLOAT")
        done = files.encode_file(codec, tmp_path / f"{name}.wav", tmp_path / f"{name}.silk", normalize=True)
        assert done.gain == pytest.approx(1 / measured(wave).scale)
        files.decode_file(codec, tmp_path / f"{name}.silk", tmp_path / f"{name}.out.wav", subtype="FLOAT")
    assert container.read(tmp_path / "quiet.silk") == container.read(tmp_path / "loud.silk")
    quiet, loud = (audio.read(tmp_path / f"{name}.out.wav") for name in ("quiet", "loud"))
    np.testing.assert_allclose(quiet / quiet_by, loud, rtol=1e-5, atol=1e-6)
    power = float(np.mean(speech**2))
    assert 0.3 * power < float(np.mean(loud**2)) < 3 * power  # decoding restores the level
    part = tmp_path / "part.wav"
    files.decode_file(codec, tmp_path / "loud.silk", part, start_s=1.0, duration_s=1.0, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(part), loud[24_000:48_000], atol=1e-3)


def test_an_offset_is_removed_permanently(codec: Silk, speech: np.ndarray, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", speech + 0.3, subtype="FLOAT")
    files.encode_file(codec, tmp_path / "a.wav", tmp_path / "a.silk", normalize=True)
    files.decode_file(codec, tmp_path / "a.silk", tmp_path / "b.wav", subtype="FLOAT")
    clean, gain = level.normalize(speech, 24_000)
    expected = codec.decode(codec.encode(clean)) * gain
    power = float(np.mean(audio.read(tmp_path / "b.wav") ** 2))
    assert power == pytest.approx(float(np.mean(expected**2)), rel=0.2)


def test_files_at_a_normal_level_keep_their_tokens_and_format(codec: Silk, speech: np.ndarray, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", speech, subtype="FLOAT")
    files.encode_file(codec, tmp_path / "a.wav", tmp_path / "a.silk")
    assert container.info(tmp_path / "a.silk").header.version == 1
    assert container.read(tmp_path / "a.silk") == codec.encode(speech)


# --- the gain in the file


def with_gain(gain: float) -> bytes:
    file = io.BytesIO()
    with container.Writer(file, codec="silk", n_samples=9600, gain=gain) as writer:
        writer.write(np.zeros((1, 19), int))
    return file.getvalue()


def test_a_gain_requires_format_version_2() -> None:
    assert structure.parse_header("it", with_gain(1.0)[:38]).version == 1
    data = with_gain(0.125)
    header = container.info(io.BytesIO(data)).header
    assert (header.version, header.gain) == (2, 0.125)
    assert data[8:10] == b"\x02\x00" and data[34:38] == np.float32(0.125).tobytes()  # as specified in docs/format.md
    assert container.read(io.BytesIO(data)) == Tokens.from_levels(np.zeros((1, 128), int), n_samples=9600, codec="silk")
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 4
        with pytest.raises(ContainerError):
            container.read(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_invalid_gains_are_rejected(gain: float) -> None:
    with pytest.raises(ArgumentError, match="gain must be"):
        with_gain(gain)


# --- silence


def test_digital_silence_decodes_to_digital_silence(codec: Silk, speech: np.ndarray) -> None:
    assert not codec.decode(codec.encode(np.zeros(50_000, np.float32))).any()
    tokens = codec.encode(np.concatenate([speech[:48_000], np.zeros(48_000, np.float32)]))
    wave = codec.decode(tokens)
    assert wave[:48_000].any()
    assert not wave[57_600:].any()  # starting with the frame after the end of the speech
    stream = StreamDecoder(codec)
    codes = np.stack(tokens.codes, axis=1)
    pieces = [stream.feed(codes[i : i + 1]) for i in range(len(codes))]
    assert np.array_equal(np.concatenate(pieces)[: len(wave)] == 0, wave == 0)


def test_samples_above_one_16_bit_step_are_not_silenced(codec: Silk, speech: np.ndarray) -> None:
    wave = codec.decode(codec.encode(speech * np.float32(0.003)))
    assert (np.abs(wave.reshape(-1, 400)).max(axis=1) > 0).mean() > 0.9
