"""Test that Silk implements the codec protocol, and that loading codecs by name works."""

from __future__ import annotations

import copy
import hashlib
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silkcodec
from silkcodec.codec import codecs, load
from silkcodec.errors import ArgumentError, ProviderError, TokensError, WeightsError
from silkcodec.silk import Silk
from silkcodec.tokens import Tokens


def test_the_attributes_of_silk(codec: Silk) -> None:
    assert (codec.name, codec.sample_rate) == ("silk", 24_000)
    assert codec.codebook_sizes == (8**7,) * 18 + (8**2,)
    assert codec.frame_rates == (2.5,) * 19


@pytest.mark.parametrize("n_samples", [480, 9599, 9600, 9601, 10_080, 10_081])
def test_lengths_near_frame_boundaries_are_preserved(codec: Silk, speech: np.ndarray, n_samples: int) -> None:
    tokens = codec.encode(speech[:n_samples], 24_000)
    assert (tokens.n_samples, tokens.n_frames) == (n_samples, -(-n_samples // 9600))
    assert (tokens.tokens_per_second, tokens.bits_per_second) == (47.5, 960.0)
    assert codec.decode(tokens).shape == (n_samples,)


def test_tokens_do_not_depend_on_the_number_of_threads(codec: Silk, speech: np.ndarray, weights_folder: Path) -> None:
    tokens = codec.encode(speech, 24_000)
    wave = codec.decode(tokens)
    for threads in (1, 3):
        other = Silk(weights_folder, threads=threads)
        assert other.encode(speech, 24_000) == tokens
        np.testing.assert_allclose(other.decode(tokens), wave, atol=1e-4)


def test_regrouped_tokens_decode_to_the_same_samples(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech, 24_000)
    for dims in (1, 4, 20):
        np.testing.assert_array_equal(codec.decode(tokens.regroup(dims)), codec.decode(tokens))


def test_missing_codebooks_are_decoded_as_level_4(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech, 24_000)
    for k in (1, 18):
        levels = tokens.to_levels()
        levels[:, 7 * k :] = 4
        filled = Tokens.from_levels(levels, n_samples=len(speech), codec=codec.codec_id)
        few = codec.encode(speech, 24_000, n_codebooks=k)
        np.testing.assert_array_equal(codec.decode(few), codec.decode(filled))


def test_tokens_of_listed_earlier_weights_are_decoded(codec: Silk, speech: np.ndarray, weights_folder: Path) -> None:
    tokens = codec.encode(speech[:30_000], 24_000)
    for earlier in json.loads((weights_folder / "config.json").read_text()).get("decodes", []):
        np.testing.assert_array_equal(codec.decode(replace(tokens, codec=earlier)), codec.decode(tokens))


def test_tokens_from_other_codecs_are_rejected(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech, 24_000)
    for other in ("mimi", "silk@000000000000"):
        with pytest.raises(TokensError, match=f"Tokens must be from '{codec.codec_id}'; got tokens from '{other}'"):
            codec.decode(replace(tokens, codec=other))
    with pytest.raises(TokensError, match="or only the first ones"):
        codec.decode(Tokens((np.zeros(3, int),), (1024,), (75.0,), 24_000, 900, codec.codec_id))
    with pytest.raises(TokensError, match="frames"):
        codec.decode(Tokens((np.zeros(3, int),), (8**7,), (2.5,), 24_000, 9600, codec.codec_id))


def test_bare_codes_have_shape_codebooks_by_frames(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech, 24_000)
    wave, codes = codec.decode(tokens), np.stack(tokens.codes)  # [19, 11]
    for same in (codes, codes.astype(np.int32), codes.tolist(), tokens.codes):
        np.testing.assert_array_equal(codec.decode(same, n_samples=len(speech)), wave)
    whole = codec.decode(codes)
    assert len(whole) == 11 * 9600
    np.testing.assert_array_equal(whole[: len(wave)], wave)
    few = codec.encode(speech, 24_000, n_codebooks=5)
    np.testing.assert_array_equal(codec.decode(few.codes, n_samples=len(speech), n_codebooks=5), codec.decode(few))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: np.stack(t.codes, axis=1), r"must have shape \[19, frames\]; got \[11, 19\], .* pass codes\.T"),
        (lambda t: np.stack(t.codes)[:5], r"got \[5, 11\]; if there are only 5 codebooks, pass n_codebooks=5"),
        (lambda t: np.stack(t.codes)[None], r"got shape \(1, 19, 11\)\. Pass codes\[0\]"),
        (lambda t: t.codes[0], r"shape \(11,\)"),
        (lambda t: np.stack(t.codes) + 0.5, "must be an array of integers"),
        (lambda t: np.stack(t.codes) - 8**7, "must be between 0 and 2097151"),
        (lambda t: None, "got None"),
        (lambda t: "a.silk", "got str"),
        (lambda t: {"codes": t.codes}, "got dict"),
        (lambda t: [t], "not one-dimensional"),
        (lambda t: t.to_levels().T, r"got \[128, 11\]"),
    ],
)
def test_invalid_tokens_are_rejected(codec: Silk, speech: np.ndarray, make: Any, words: str) -> None:
    with pytest.raises(TokensError, match=words):
        codec.decode(make(codec.encode(speech, 24_000)))


def test_lengths_and_layouts_are_not_inferred(codec: Silk, speech: np.ndarray) -> None:
    tokens = codec.encode(speech, 24_000)
    with pytest.raises(TokensError, match="require 11 Silk frames in every codebook; got 10"):
        codec.decode(np.stack(tokens.codes)[:, :10], n_samples=len(speech))
    for options in ({"n_samples": 9600}, {"n_codebooks": 19}):
        with pytest.raises(ArgumentError, match="only to bare codes"):
            codec.decode(tokens, **options)
    with pytest.raises(TokensError, match="frames in every codebook"):
        codec.tokens(np.stack(tokens.codes), len(speech))  # [K, F] instead of [F, K]
    for one in (tokens, None, tokens.codes[0]):
        with pytest.raises(ArgumentError, match="must be a list of recordings"):
            codec.decode_batch(one)  # type: ignore[arg-type]
    for wave in (speech, speech[:3].tolist(), "a.wav"):
        with pytest.raises(ArgumentError, match="must be a list of recordings"):
            codec.encode_batch(wave)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_processes_load_their_own_codec(
    weights_folder: Path, speech: np.ndarray, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pool and DataLoader pickle the codec. forkserver is the default on Linux since Python 3.14."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    monkeypatch.chdir(weights_folder.parent)
    codec = Silk(weights_folder.name, threads=1)  # a relative path
    clips = [speech[:9600], speech[:30_000]]
    tokens = [codec.encode(clip) for clip in clips]  # This loads the model, whose sessions cannot be pickled.
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(codec.encode, clips) == tokens
        wave = pool.apply(codec.decode, (tokens[1],))
    np.testing.assert_array_equal(wave, codec.decode(tokens[1]))


def test_a_copy_keeps_its_arguments_and_its_weights(linked_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Silk(linked_weights, threads=3)
    monkeypatch.chdir("/")
    copied = copy.deepcopy(codec)
    assert (copied.codec_id, copied.threads, copied.folder) == (codec.codec_id, 3, linked_weights)
    assert copy.deepcopy(Silk()).codec_id == Silk().codec_id
    change_config(linked_weights, name="other")
    with pytest.raises(WeightsError, match="changed after it was pickled"):
        copy.deepcopy(codec)


def test_the_golden_fixture_is_reproduced(codec: Silk, weights_folder: Path) -> None:
    path = weights_folder / "golden.npz"
    if not path.exists():
        pytest.skip("these weights have no golden.npz")
    with np.load(path, allow_pickle=False) as golden:
        wave, levels, decoded = (golden[key] for key in ("wave", "levels", "decoded"))
    tokens = codec.encode(wave, 24_000)
    np.testing.assert_array_equal(tokens.to_levels(), levels)
    np.testing.assert_allclose(codec.decode(tokens), decoded[: len(wave)], atol=1e-4)


# --- loading


def test_load_finds_codecs_by_name_and_by_folder(weights_folder: Path, tmp_path: Path) -> None:
    assert list(codecs()) == sorted(codecs())
    assert {"silk", "opus", "codec2"} <= set(codecs())
    by_folder = load(str(weights_folder), threads=1)
    assert isinstance(by_folder, Silk)
    assert by_folder.threads == 1
    assert isinstance(load(weights_folder), Silk)
    for name, words in {
        "nonesuch": "or a weights folder; got 'nonesuch'",
        "silk:fast": "no presets; got 'fast'",
        "opus:1k": "preset",
        "Mimi": "Did you mean 'mimi'",
        "encodec_24khz": "Did you mean 'encodec'",
        None: "must be a name",
        b"silk": "must be a name",
        8: "must be a name",
    }.items():
        with pytest.raises(ArgumentError, match=words):
            silkcodec.load(name)  # type: ignore[call-overload]
    for name, words in {
        "kyutai/mimi": "pass 'mimi@kyutai/mimi'",
        "facebook/encodec_24khz": "pass 'encodec@facebook/encodec_24khz'",
        "./nowhere": r"Weights folder not found: '\./nowhere'\.$",
    }.items():
        with pytest.raises(WeightsError, match=words):
            silkcodec.load(name)
    with pytest.raises(ArgumentError, match=r"accepts only the options threads, provider; got 'device'"):
        load("silk", device="gpu")
    for threads in (0, "4", 1.5, True):
        with pytest.raises(ArgumentError, match="threads must be an integer of at least 1"):
            load(weights_folder, threads=threads)
    with pytest.raises(ArgumentError, match="folder must be a path or None; got 8"):
        Silk(8)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"must contain config\.json"):
        load(tmp_path)


def test_unavailable_providers_raise_an_error(weights_folder: Path) -> None:
    import onnxruntime

    with pytest.raises(ProviderError, match="provider must be cpu or cuda; got 'tpu'"):
        Silk(weights_folder, provider="tpu")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ProviderError, match="pip install onnxruntime-gpu"):
            Silk(weights_folder, provider="cuda")


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_damaged_weights_are_rejected(copied_weights: Path, speech: np.ndarray) -> None:
    content = bytearray((copied_weights / "encoder.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copied_weights / "encoder.onnx").write_bytes(content)
    (copied_weights / "decoder.onnx").unlink()
    damaged = Silk(copied_weights)
    with pytest.raises(WeightsError, match=r"SHA-256 of '.*encoder\.onnx' does not match"):
        damaged.encode(speech, 24_000)
    with pytest.raises(WeightsError, match=r"Cannot read '.*decoder\.onnx'"):
        damaged.prepare(decode=True)


def test_an_invalid_model_with_a_correct_hash_is_rejected(copied_weights: Path) -> None:
    (copied_weights / "decoder.onnx").write_bytes(b"not a model")
    config = json.loads((copied_weights / "config.json").read_text())
    config["decoder"]["sha256"] = hashlib.sha256(b"not a model").hexdigest()
    digests = config["encoder"]["sha256"] + config["decoder"]["sha256"]
    config["weights_hash"] = hashlib.sha256(digests.encode()).hexdigest()[:12]
    change_config(copied_weights, **config)
    with pytest.raises(WeightsError, match="as an ONNX file"):
        Silk(copied_weights).prepare(decode=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, r"must be 1; got 2\. Upgrade silkcodec"),
        ({"sample_rate": 16_000}, "sample_rate = 24000; got 16000"),
        ({"encoder": None}, "is not a valid weights config"),
        ({"encoder": {"file": "../x", "sha256": "", "states": []}}, "file name without a folder"),
        ({"lookahead_samples": 0}, "lookahead_samples"),
        ({"history_samples": 1}, "state_wave"),
        ({"weights_hash": "000000000000"}, "does not match the two graphs"),
    ],
)
def test_invalid_configs_are_rejected(linked_weights: Path, changes: dict[str, object], words: str) -> None:
    change_config(linked_weights, **changes)
    with pytest.raises(WeightsError, match=words):
        Silk(linked_weights)
