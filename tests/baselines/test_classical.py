"""Test Opus, Speex, Codec2 and GSM: bit rates, delays and errors. test_contract.py tests what all codecs share."""

from __future__ import annotations

import ctypes.util
import importlib
import sys
from ctypes.util import find_library

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silkcodec import audio
from silkcodec.baselines import classical, codec2, opus, speex
from silkcodec.codec import Codec, load
from silkcodec.errors import ArgumentError, MissingExtraError, TokensError
from silkcodec.evaluate import align
from silkcodec.tokens import Tokens
from speechlike import speechlike

RATE = 24_000
SPEECH = speechlike(3.0)

has_opus = importlib.util.find_spec("opuslib") is not None and find_library("opus") is not None
has_codec2 = importlib.util.find_spec("pycodec2") is not None
has_speex = find_library("speex") is not None
needs_opus = pytest.mark.skipif(not has_opus, reason="needs opuslib ([classical]) and libopus")
needs_codec2 = pytest.mark.skipif(not has_codec2, reason="needs pycodec2 ([classical])")
needs_speex = pytest.mark.skipif(not has_speex, reason="needs libspeex")

OPUS = [pytest.param(f"opus:{preset}", marks=needs_opus) for preset in opus.PRESETS]
CODEC2 = [pytest.param(f"codec2:{preset}", marks=needs_codec2) for preset in codec2.PRESETS]
SPEEX = [pytest.param(f"speex:{preset}", marks=needs_speex) for preset in speex.PRESETS]
SOME = [pytest.param("opus:6k", marks=needs_opus), pytest.param("codec2:700C", marks=needs_codec2)]
SOME += [pytest.param("codec2:3200", marks=needs_codec2), "gsm"]
SOME += [pytest.param(name, marks=needs_speex) for name in ("speex:2.15k", "speex:9.8k-wb")]


def bit_rate(name: str) -> float:
    """Return the bit rate in a name: opus:6k -> 6000, codec2:700C -> 700. GSM has 13,000 by its standard."""
    if name == "gsm":
        return 13_000
    rate = name.split(":")[1].removesuffix("C").removesuffix("-wb")
    return 1000 * float(rate.removesuffix("k")) if rate.endswith("k") else float(rate)


@pytest.mark.parametrize("name", [*OPUS, *SPEEX, *CODEC2, "gsm"])
def test_the_bit_rate_matches_the_name(name: str) -> None:
    codec = load(name)
    assert isinstance(codec, Codec)
    assert codec.name == name
    tokens = codec.encode(SPEECH, RATE)
    assert tokens.bits_per_second == pytest.approx(bit_rate(name), rel=1e-12)
    assert tokens.codebook_sizes == codec.codebook_sizes
    assert tokens.frame_rates == codec.frame_rates
    # The number of packets agrees with this rate, up to one packet and the delay at the end.
    bits = tokens.n_tokens * np.log2(tokens.codebook_sizes[0])
    assert bits == pytest.approx(bit_rate(name) * tokens.duration_s, abs=bit_rate(name) * 0.08)


@pytest.mark.parametrize("name", OPUS)
def test_opus_delay_is_removed(name: str) -> None:
    time_s = np.arange(3 * RATE) / RATE
    sweep = (0.3 * np.sin(2 * np.pi * (100 * time_s + 100 * time_s**2))).astype(np.float32)  # 100 to 700 Hz
    codec = load(name)
    decoded = codec.decode(codec.encode(sweep, RATE))
    found = align.find_delay(sweep, decoded, RATE)
    assert found.method == "waveform"
    assert abs(found.n_samples) <= 6  # a quarter of a millisecond, because SILK's low bands are not linear in phase


@pytest.mark.parametrize("name", SPEEX)
def test_speex_delay_is_removed(name: str) -> None:
    codec = load(name)
    decoded = audio.as_wave(codec.decode(codec.encode(SPEECH, RATE)), codec.sample_rate, RATE)
    found = align.find_delay(
        SPEECH, decoded, RATE
    )  # speech, because a linear prediction coder is not suited to a single sine
    assert abs(found.n_samples) <= 6  # a quarter of a millisecond


@pytest.mark.parametrize("name", CODEC2)
def test_codec2_delay_is_removed(name: str) -> None:
    # A vocoder preserves the envelope, so bursts of a hum must keep their positions.
    time_s = np.arange(4 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 120 * k * time_s) / k for k in range(1, 25))
    onsets_s = [0.5, 1.1, 1.83, 2.47, 3.29]
    gate = sum(((time_s >= onset) & (time_s < onset + 0.3)).astype(float) for onset in onsets_s)
    wave = (0.1 * hum * gate).astype(np.float32)
    codec = load(name)
    output = audio.as_wave(codec.decode(codec.encode(wave, RATE)), codec.sample_rate, RATE)
    energy_in, energy_out = (np.convolve(w**2, np.ones(240), "same") for w in (wave, output))
    lags = np.arange(-960, 961, 24)
    match = [float(energy_in[1000:-1000] @ np.roll(energy_out, -lag)[1000:-1000]) for lag in lags]
    assert abs(lags[int(np.argmax(match))]) <= 240  # 10 ms: one step of libcodec2


@pytest.mark.parametrize("name", SOME)
def test_the_end_of_the_wave_is_decoded(name: str) -> None:
    codec = load(name)
    wave = SPEECH[: int(0.95 * RATE)]  # cut in the middle of the third syllable
    decoded = codec.decode(codec.encode(wave, RATE))
    last_20_ms = decoded[-codec.sample_rate // 50 :]
    assert np.sqrt(np.mean(last_20_ms**2)) > 0.01


@needs_codec2
def test_codec2_audio_differs_only_in_the_noise_of_unvoiced_speech() -> None:
    # Documented in codec2.py. If this fails, libcodec2 has become deterministic.
    codec = codec2.Codec2("1200")
    tokens = codec.encode(SPEECH, RATE)
    first, second = codec.decode(tokens), codec.decode(tokens)
    assert codec.deterministic is False
    assert not np.array_equal(first, second)
    assert np.sqrt(np.mean(first**2)) == pytest.approx(np.sqrt(np.mean(second**2)), rel=0.1)


@pytest.mark.parametrize("name", SOME)
def test_loud_input_is_clipped_not_wrapped(name: str) -> None:
    codec = load(name)
    decoded = codec.decode(codec.encode(4.0 * SPEECH, RATE))
    assert np.isfinite(decoded).all() and np.abs(decoded).max() < 2.0


@pytest.mark.parametrize(
    "name", [pytest.param("opus:6k", marks=needs_opus), pytest.param("speex:5.95k", marks=needs_speex)]
)
def test_tokens_that_are_cut_or_forged_are_refused(name: str) -> None:
    codec = load(name)
    tokens = codec.encode(SPEECH, RATE)
    fields = (tokens.codebook_sizes, tokens.frame_rates, tokens.sample_rate)
    cut = Tokens(tuple(codes[:-1] for codes in tokens.codes), *fields, tokens.n_samples, tokens.codec)
    with pytest.raises(TokensError, match=rf"require \d+ '{name}' packets"):
        codec.decode(cut)
    ones = tuple(np.full_like(codes, codec.codebook_sizes[0] - 1) for codes in tokens.codes)
    forged = Tokens(ones, *fields, tokens.n_samples, tokens.codec)
    with pytest.raises(TokensError, match="Packet 0"):
        codec.decode(forged)


@pytest.mark.parametrize(
    ("name", "known"), [("opus:7k", "6k"), ("codec2:9600", "700C"), ("speex:6k", "5.95k"), ("gsm:fr", "gsm")]
)
def test_an_unknown_preset_lists_the_presets(name: str, known: str) -> None:
    with pytest.raises(ArgumentError, match=known):
        load(name)


@pytest.mark.parametrize(("name", "module"), [("opus:6k", "opuslib"), ("codec2:1200", "pycodec2")])
def test_a_missing_binding_names_the_pip_command(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silkcodec\[classical\]'"):
        load(name)


@pytest.mark.skipif(importlib.util.find_spec("opuslib") is None, reason="needs opuslib ([classical])")
def test_a_missing_libopus_names_the_system_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opuslib"]:
        monkeypatch.delitem(sys.modules, name)  # opuslib searches for libopus on import
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    try:
        with pytest.raises(MissingExtraError, match="apt-get install libopus0"):
            load("opus:6k")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "opuslib"]:
            del sys.modules[name]


def test_a_missing_libspeex_names_the_system_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingExtraError, match="apt-get install libspeex1"):
        load("speex:8k")


def test_gsm_packets_equal_those_of_libsndfile() -> None:
    codec = load("gsm")
    wave = audio.as_wave(SPEECH, RATE, 8_000)
    reference = audio.decode_headerless(audio.encode_headerless(wave, 8_000, "GSM610"), 8_000, "GSM610")
    decoded = codec.decode(codec.encode(SPEECH, RATE))
    assert np.array_equal(decoded, reference[: len(wave)])
    match = [float(wave[100:-100] @ np.roll(decoded, -lag)[100:-100]) for lag in range(-40, 41)]
    assert int(np.argmax(match)) == 40  # no delay


@given(packet_bits=st.sampled_from([28, 48, 52, 56, 64, 120, 260]), seed=st.integers(0, 2**32 - 1))
def test_packing_is_lossless_and_in_range(packet_bits: int, seed: int) -> None:
    n_bytes = -(-packet_bits // 8)
    bits = np.random.default_rng(seed).integers(0, 2, (5, 8 * n_bytes), dtype=np.uint8)
    bits[:, packet_bits:] = 0  # padding
    packets = [row.tobytes() for row in np.packbits(bits, axis=1)]
    codes = classical.packets_to_codes(packets, packet_bits)
    width = classical.symbol_bits(packet_bits)
    assert codes.shape == (5, packet_bits // width)
    assert codes.min() >= 0 and codes.max() < 1 << width
    assert classical.codes_to_packets(codes, packet_bits) == packets
