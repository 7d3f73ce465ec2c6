"""Test the codec protocol with Silk, the neural baselines, the classical codecs and a third-party codec.

The neural baselines are small models with random weights, which are written to disk and loaded like published ones. The
third-party codec is the example of docs/extending.md, installed like another package.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import pickle
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distributions
import silkcodec
from repository import ROOT
from silkcodec import audio
from silkcodec import codec as registry
from silkcodec.audio import Wave
from silkcodec.codec import Codec
from silkcodec.errors import ArgumentError, AudioError, TokensError
from silkcodec.silk import graphs
from silkcodec.tokens import Tokens
from speechlike import speechlike

DOCUMENT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")

WEIGHTS = {  # codec -> random baseline that replaces its weights
    "encodec:6k": "encodec_24khz",
    "encodec:stereo-6k": "encodec_48khz",
    "dac:16k": "dac_16khz",
    "dac:24k": "dac_24khz",
    "dac:44k": "dac_44khz",
    "mimi:8": "mimi",
    "snac:24k": "snac_24khz",
    "snac:32k": "snac_32khz",
    "snac:44k": "snac_44khz",
}
PACKAGES = {  # codec -> required package and shared library
    "opus:6k": ("opuslib", "opus"),
    "codec2:700C": ("pycodec2", None),
    "codec2:1300": ("pycodec2", None),
    "speex:5.95k": (None, "speex"),
}
THIRD_PARTY = "mulaw"
NAMES = ["silk", *WEIGHTS, *PACKAGES, "gsm", THIRD_PARTY]
QUANTIZERS = {"FSQ", "RVQ", "split RVQ", "multi-scale RVQ", "bit stream", "scalar"}
WINDOW_S = 1.0  # maximum padding in seconds at the end of a clip
OVERLAP_S = 0.0101  # maximum overlap of two chunks in seconds, for EnCodec at 48 kHz


def block(language: str) -> str:
    """Return the first code block in a language on the page, which is the example of a third-party codec."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, flags=re.M | re.S)[0]


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the package from docs/extending.md on the import path, like pip."""
    project = tomllib.loads(block("toml"))["project"]
    site = tmp_path_factory.mktemp("site-packages")
    (site / "acme_mulaw.py").write_text(block("python"))
    with pytest.MonkeyPatch.context() as patch:
        distributions.install(site, project["name"].replace("-", "_"), project["entry-points"], patch)
        yield
    sys.modules.pop("acme_mulaw", None)


@pytest.fixture(scope="module")
def loader(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return a function that loads a codec from `NAMES`, or skips the test if a package is missing."""

    def load(name: str) -> Any:
        if name == THIRD_PARTY:
            request.getfixturevalue("third_party")
        if name in PACKAGES:
            package, library = PACKAGES[name]
            if (package and importlib.util.find_spec(package) is None) or (library and find_library(library) is None):
                pytest.skip(f"needs {package or library}")
        if name not in WEIGHTS:
            return silkcodec.load(request.getfixturevalue("weights_folder") if name == "silk" else name)
        if name.startswith("snac"):
            pytest.importorskip("snac", reason="needs [baselines]")
        return silkcodec.load(f"{name}@{request.getfixturevalue('random_baseline')(WEIGHTS[name])}")

    return load


# The neural baselines need PyTorch, which `make test-fast` does not install. If it is there, their tests take long.
PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name in WEIGHTS else name for name in NAMES]


@pytest.fixture(scope="module", params=PARAMS)
def codec(request: pytest.FixtureRequest, loader: Callable[[str], Any]) -> Any:
    """Return each codec in turn, loaded once."""
    return loader(request.param)


def clip(codec: Codec, duration_s: float, seed: int = 0) -> Wave:
    """Return speech-like audio at the codec's sample rate, so that nothing is resampled."""
    return synthesized(duration_s, seed, codec.sample_rate)


@functools.cache
def synthesized(duration_s: float, seed: int, sample_rate: int) -> Wave:
    """Return speech-like audio, which many tests share and none may change."""
    wave = speechlike(duration_s, seed, sample_rate)
    wave.flags.writeable = False
    return wave


def is_bit_stream(codec: Any) -> bool:
    return getattr(codec, "quantizer", None) == "bit stream"


def repeats(codec: Any) -> bool:
    """Return whether `decode` is deterministic, which is true for all codecs except Codec2."""
    return getattr(codec, "deterministic", True)


def test_its_attributes(codec: Any, request: pytest.FixtureRequest) -> None:
    assert isinstance(codec, Codec)
    assert codec.name == request.node.callspec.params["codec"]  # without the source
    assert isinstance(codec.sample_rate, int)
    assert len(codec.codebook_sizes) == len(codec.frame_rates) >= 1
    assert all(isinstance(size, int) and size >= 2 for size in codec.codebook_sizes)
    assert all(isinstance(rate, float) and rate > 0 for rate in codec.frame_rates)
    assert codec.quantizer in QUANTIZERS
    assert codec.latency_s is None or 0 < codec.latency_s < 2
    assert codec.deterministic is False if codec.name.startswith("codec2") else repeats(codec)


def test_the_rates_match_the_codes(codec: Any) -> None:
    for duration_s in (1.0, 3.7):
        wave = clip(codec, duration_s)
        tokens = codec.encode(wave, codec.sample_rate)
        assert tokens.codebook_sizes == codec.codebook_sizes  # Tokens checks every code against its codebook's size
        assert tokens.frame_rates == codec.frame_rates
        assert tokens.sample_rate == codec.sample_rate
        assert tokens.n_samples == len(wave)
        for codes, rate in zip(tokens.codes, codec.frame_rates, strict=True):
            covered_s = len(codes) / rate  # overlapping chunks are slightly longer than their step
            assert duration_s - OVERLAP_S <= covered_s < duration_s + WINDOW_S  # The last chunk is padded.
        assert tokens.tokens_per_second == pytest.approx(sum(codec.frame_rates), rel=1e-12)
        bits = [rate * math.log2(n) for rate, n in zip(codec.frame_rates, codec.codebook_sizes, strict=True)]
        assert tokens.bits_per_second == pytest.approx(sum(bits), rel=1e-12)


@pytest.mark.parametrize("n_samples", [1, 2, 319, 320, 321, 12_288, 52_345])
def test_decoding_keeps_the_length(codec: Any, n_samples: int) -> None:
    wave = clip(codec, 2.0)[:1] if n_samples == 1 else np.resize(clip(codec, 2.0), n_samples)
    decoded = codec.decode(codec.encode(wave, codec.sample_rate))
    assert decoded.dtype == np.float32
    assert decoded.shape == (n_samples,)
    assert np.isfinite(decoded).all()


def test_it_is_deterministic_and_does_not_change_random_generators(
    codec: Any, loader: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = sys.modules.get("torch")
    before = np.random.get_state()[1].copy(), torch and torch.random.get_rng_state()
    wave = clip(codec, 1.3)
    tokens = codec.encode(wave, codec.sample_rate)
    decoded = codec.decode(tokens)
    codec.encode(clip(codec, 0.7, seed=1), codec.sample_rate)  # Another clip in between must not change the result.
    assert codec.encode(wave, codec.sample_rate) == tokens
    monkeypatch.setattr(graphs, "start_session", graphs.start_session.__wrapped__)  # sessions that are not shared
    again = loader(codec.name)
    assert again.encode(wave, codec.sample_rate) == tokens
    if repeats(codec):
        assert np.array_equal(codec.decode(tokens), decoded)
        assert np.array_equal(again.decode(tokens), decoded)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch is None or bool((torch.random.get_rng_state() == before[1]).all())


def test_n_codebooks_selects_the_first_codebooks(codec: Any) -> None:
    wave, rate, k = clip(codec, 1.1), codec.sample_rate, len(codec.codebook_sizes)
    whole = codec.encode(wave, rate)
    assert codec.encode(wave, rate, n_codebooks=k) == whole
    for wrong in (0, -1, k + 1):
        with pytest.raises(ArgumentError, match=rf"n_codebooks must be .*{k} for '{codec.name}'; got {wrong}"):
            codec.encode(wave, rate, n_codebooks=wrong)
    for fewer in sorted({1, max(1, k // 2), k - 1} - {0, k}):
        if is_bit_stream(codec):
            with pytest.raises(ArgumentError, match="Choose a preset"):
                codec.encode(wave, rate, n_codebooks=fewer)
            continue
        tokens = codec.encode(wave, rate, n_codebooks=fewer)
        assert len(tokens.codes) == fewer
        assert tokens.codebook_sizes == codec.codebook_sizes[:fewer]
        assert all(map(np.array_equal, tokens.codes, whole.codes))
        decoded = codec.decode(tokens)
        assert decoded.shape == wave.shape and np.isfinite(decoded).all()


def test_silence(codec: Any) -> None:
    silence = np.zeros(codec.sample_rate, dtype=np.float32)
    decoded = codec.decode(codec.encode(silence, codec.sample_rate))
    assert decoded.shape == silence.shape and np.isfinite(decoded).all()
    if codec.name not in WEIGHTS or "stereo" in codec.name:  # Random weights produce noise.
        assert np.abs(decoded).max() < 0.01


@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_it_accepts_any_rate_channels_and_type(codec: Any, sample_rate: int) -> None:
    wave = speechlike(0.8, sample_rate=sample_rate)
    tokens = codec.encode(wave, sample_rate)
    own = audio.as_wave(wave, sample_rate, codec.sample_rate)
    assert tokens.n_samples == len(own)
    assert tokens == codec.encode(own, codec.sample_rate)
    assert len(codec.decode(tokens)) == len(own)
    assert codec.encode(np.stack([wave, wave]), sample_rate) == tokens  # [C, T]
    assert codec.encode(np.stack([wave, wave], axis=1), sample_rate) == tokens  # [T, C]
    integers = np.rint(wave * 32_767).astype(np.int16)
    assert codec.encode(integers, sample_rate) == codec.encode(integers / np.float32(32_768), sample_rate)


def test_invalid_audio_is_refused(codec: Any) -> None:
    rate = codec.sample_rate
    for bad in (np.zeros(0), np.full(480, np.nan), np.full(480, np.inf), np.zeros((2, 480, 3)), np.full(480, 1e6)):
        with pytest.raises(AudioError):
            codec.encode(bad.astype(np.float32), rate)
    with pytest.raises(AudioError):
        codec.encode(np.zeros(480, dtype=np.float32), 0)


def test_tokens_of_another_codec_are_refused(codec: Any) -> None:
    tokens = codec.encode(clip(codec, 1.1), codec.sample_rate)
    fields = tokens.codebook_sizes, tokens.frame_rates, tokens.sample_rate
    with pytest.raises(TokensError, match="other@0123456789ab"):
        codec.decode(Tokens(tokens.codes, *fields, tokens.n_samples, "other@0123456789ab"))
    short = tuple(codes[: len(codes) // 2 or 1] for codes in tokens.codes)
    longer = tokens.n_samples + 2 * codec.sample_rate
    with pytest.raises(TokensError):  # The number of codes does not match the length.
        codec.decode(Tokens(short, *fields, longer, tokens.codec))


def test_codes_without_tokens(codec: Any) -> None:
    """Check decoding of codes [codebooks, frames], which only the codecs in this package accept."""
    if codec.name == THIRD_PARTY:
        pytest.skip("not in the protocol")
    tokens = codec.encode(clip(codec, 1.1), codec.sample_rate)
    wave = codec.decode(tokens.codes, n_samples=tokens.n_samples)
    if repeats(codec):
        assert np.array_equal(wave, codec.decode(tokens))
    padding = len(codec.decode(tokens.codes)) - tokens.n_samples  # By default, all frames are decoded.
    assert 0 <= padding < codec.sample_rate / codec.frame_rates[0]
    for wrong in (None, "a.silk", np.zeros(3, int), np.zeros((len(codec.codebook_sizes) + 1, 3), int)):
        with pytest.raises(TokensError):
            codec.decode(wrong)


def test_it_can_be_sent_to_another_process(codec: Any) -> None:
    if codec.name == THIRD_PARTY:
        pytest.skip("not in the protocol")
    wave = clip(codec, 0.7)
    tokens = codec.encode(wave, codec.sample_rate)
    copied = pickle.loads(pickle.dumps(codec))
    assert len(pickle.dumps(codec)) < 2000  # A pickle has the arguments of the codec, not its weights.
    assert repr(copied) == repr(codec)
    assert copied.encode(wave, codec.sample_rate) == tokens


def test_a_batch_gives_the_results_of_single_calls(codec: Any) -> None:
    if not hasattr(codec, "encode_batch"):
        pytest.skip("has no batches")
    waves = [clip(codec, duration_s, seed) for seed, duration_s in enumerate((0.6, 0.1, 1.4, 0.6))]
    many = codec.encode_batch(waves, codec.sample_rate)
    assert codec.batch_exact
    assert many == [codec.encode(wave, codec.sample_rate) for wave in waves]
    decoded = codec.decode_batch(many)
    assert all(map(np.array_equal, decoded, map(codec.decode, many)))
    assert codec.encode_batch([], codec.sample_rate) == codec.decode_batch([]) == []
    with pytest.raises(AudioError):
        codec.encode_batch([waves[0], np.array([np.nan])], codec.sample_rate)


def test_the_output_depends_on_nothing_after_the_latency(codec: Any) -> None:
    rate = codec.sample_rate
    wave = clip(codec, 3.4)
    other = np.random.default_rng(1).normal(0, 0.3, len(wave)).clip(-1, 1).astype(np.float32)
    tokens = codec.encode(wave, rate)
    decoded = codec.decode(tokens)
    heard = False
    for time_s in (0.61, 1.0, 1.777):
        sample = round(time_s * rate)
        from_here = sample + round(codec.latency_s * rate)
        changed = np.concatenate([wave[:from_here], other[from_here:]])
        again = codec.encode(changed, rate)
        for codes, rewritten, frame_rate in zip(tokens.codes, again.codes, codec.frame_rates, strict=True):
            n = math.floor(time_s * frame_rate)
            assert np.array_equal(codes[:n], rewritten[:n])
        heard = heard or again != tokens
        if repeats(codec):
            difference = np.abs(codec.decode(again) - decoded)[:sample].max()
            assert difference <= 1e-5 * max(1.0, np.abs(decoded).max())
    assert heard


# --- the registry


def test_a_package_adds_a_codec_but_cannot_replace_built_in_codecs(third_party: None) -> None:
    assert registry.codecs()[THIRD_PARTY] == "acme_mulaw:MuLaw"
    assert registry.presets(THIRD_PARTY) == ()
    assert registry.missing(THIRD_PARTY) is None
    with pytest.raises(ArgumentError, match="does not accept a weights source"):
        silkcodec.load("mulaw@folder")
    with pytest.raises(ArgumentError, match="does not accept options"):
        silkcodec.load("mulaw", threads=2)


def test_built_in_names_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributions.install(tmp_path, "evil", {"silkcodec.codecs": {"silk": "evil:Silk"}}, monkeypatch)
    assert registry.codecs()["silk"] == "silkcodec.silk:load"


def test_every_preset_is_valid() -> None:
    pytest.importorskip("silkcodec_torch", reason="needs ./pytorch")
    for name in registry.BUILT_IN:
        known = registry.presets(name)
        assert len(set(known)) == len(known)
        assert not any(set(":@") & set(preset) for preset in known)
    assert registry.presets("mimi") == tuple(str(k) for k in range(1, 33))
    assert registry.presets("silk") == registry.presets("gsm") == ()
    with pytest.raises(ArgumentError, match="nonesuch"):
        registry.presets("nonesuch")
