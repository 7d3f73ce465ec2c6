"""Test EnCodec, DAC, Mimi and SNAC: equality with the models, long clips in pieces, weights from folders and the Hub.

test_contract.py tests the properties that all codecs share.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silkcodec
from silkcodec import codec as registry
from silkcodec.errors import MissingExtraError, TokensError, WeightsError
from speechlike import speechlike

torch = pytest.importorskip("torch", reason="needs ./pytorch[baselines]")
pytest.importorskip("transformers", reason="needs ./pytorch[baselines]")
pytest.importorskip("snac", reason="needs ./pytorch[baselines]")

from silkcodec_torch.baselines import mimi, neural, receptive_field, snac, weights  # noqa: E402 - after the check that they can be used

RandomBaseline = Callable[[str], Path]

FOLDERS = {
    "encodec:6k": "encodec_24khz",
    "encodec:stereo-6k": "encodec_48khz",
    "dac:24k": "dac_24khz",
    "dac:44k": "dac_44khz",
    "mimi:8": "mimi",
    "snac:24k": "snac_24khz",
    "snac:32k": "snac_32khz",
}


@pytest.fixture
def load(random_baseline: RandomBaseline) -> Callable[[str], Any]:
    return lambda name: silkcodec.load(f"{name}@{random_baseline(FOLDERS[name])}")


def weights_copy(random_baseline: RandomBaseline, name: str, folder: Path) -> Path:
    """Return a copy of a random baseline that a test can damage."""
    return Path(shutil.copytree(random_baseline(name), folder / name))


# --- equality with the published code of the models


def test_encodec_matches_the_model(load: Callable[[str], Any]) -> None:
    codec = load("encodec:6k")
    wave = speechlike(1.3)
    tokens = codec.encode(wave, 24_000)
    with torch.inference_mode():
        own = codec._model.encode(torch.from_numpy(wave)[None, None], bandwidth=6.0)
        decoded = codec._model.decode(own.audio_codes, own.audio_scales).audio_values[0, 0, : len(wave)]
    assert np.array_equal(np.stack(tokens.codes), own.audio_codes[0, 0])
    np.testing.assert_allclose(codec.decode(tokens), decoded, atol=1e-5)


def test_encodec_stereo_matches_the_model(load: Callable[[str], Any]) -> None:
    codec = load("encodec:stereo-6k")
    wave = speechlike(1.99, sample_rate=48_000)  # two whole chunks of 1 s, 0.99 s apart
    tokens = codec.encode(wave, 48_000)
    stereo = torch.from_numpy(wave).expand(1, 2, -1)
    frames = [codec._model._encode_frame(stereo[..., at : at + 48_000], 6.0) for at in (0, 47_520)]
    with torch.inference_mode():
        parts = [codec._model._decode_frame(codes, scale) for codes, scale in frames]
        decoded = codec._model._linear_overlap_add(parts, 47_520).mean(dim=1)[0]
    codes = torch.cat([codes[0] for codes, _ in frames], dim=-1)
    assert np.array_equal(np.stack(tokens.codes[1:]), codes)
    assert tokens.codes[0].astype(np.uint16).view(np.float16) == pytest.approx([float(s) for _, s in frames], rel=1e-3)
    np.testing.assert_allclose(codec.decode(tokens), decoded, atol=2e-3 * float(decoded.abs().max()))


def test_dac_matches_the_model(load: Callable[[str], Any]) -> None:
    codec = load("dac:44k")
    wave = speechlike(1.0, sample_rate=44_100)[: 80 * 512]
    tokens = codec.encode(wave, 44_100)
    with torch.inference_mode():
        own = codec._model(torch.from_numpy(wave)[None, None])
    assert np.array_equal(np.stack(tokens.codes), own.audio_codes[0])
    np.testing.assert_allclose(codec.decode(tokens), own.audio_values[0], atol=1e-5)


def test_dac_encodes_an_extra_frame_if_the_end_would_be_lost(load: Callable[[str], Any]) -> None:
    codec = load("dac:24k")  # A frame has 320 samples; the decoder returns 320 F - 8 samples for F frames.
    assert [len(codec.encode(np.zeros(n), 24_000).codes[0]) for n in (312, 313, 320)] == [1, 2, 2]
    assert len(load("dac:44k").encode(np.zeros(512), 44_100).codes[0]) == 1  # no odd stride, so no samples are lost


def test_mimi_matches_the_model(load: Callable[[str], Any]) -> None:
    codec = load("mimi:8")
    wave = speechlike(2.0)[: 24 * 1_920]
    tokens = codec.encode(wave, 24_000)
    with torch.inference_mode():
        own = codec._model.encode(torch.from_numpy(wave)[None, None], num_quantizers=8).audio_codes
        decoded = codec._model.decode(own).audio_values[0, 0]
    assert np.array_equal(np.stack(tokens.codes), own[0])
    np.testing.assert_allclose(codec.decode(tokens), decoded, atol=1e-5 * float(decoded.abs().max()))


@pytest.mark.parametrize("name", ["snac:24k", "snac:32k"])
def test_snac_matches_the_model_except_for_noise(
    load: Callable[[str], Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load(name)
    wave = speechlike(1.1, sample_rate=codec.sample_rate)
    tokens = codec.encode(wave, codec.sample_rate)
    with torch.inference_mode():
        codes = codec._model.encode(torch.from_numpy(wave)[None, None])
        monkeypatch.setattr(torch, "randn", torch.zeros)
        silent = codec._model.decode(codes)[0, 0, : len(wave)]
    assert all(np.array_equal(ours, own[0]) for ours, own in zip(tokens.codes, codes, strict=True))
    monkeypatch.setattr(snac, "_noise", lambda layer, start, n: torch.zeros(n))
    np.testing.assert_allclose(codec.decode(tokens), silent, atol=1e-5)


def test_noise_at_a_position_is_reproducible() -> None:
    whole = snac._noise(2, 0, 3 * snac.NOISE_BLOCK)
    for start, n in ((0, 5), (17, 100), (snac.NOISE_BLOCK - 1, 2), (snac.NOISE_BLOCK, snac.NOISE_BLOCK + 1)):
        assert torch.equal(snac._noise(2, start, n), whole[start : start + n])
    assert not torch.equal(snac._noise(1, 0, 100), whole[:100])
    assert abs(float(whole.mean())) < 0.01 and float(whole.std()) == pytest.approx(1, abs=0.01)


# --- long audio


@pytest.mark.parametrize("name", FOLDERS)
def test_pieces_equal_the_whole(load: Callable[[str], Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = load(name)
    wave = speechlike(4.2, sample_rate=codec.sample_rate)
    monkeypatch.setattr(neural, "PIECE_S", 100)
    whole = codec.encode(wave, codec.sample_rate)
    decoded = codec.decode(whole)
    monkeypatch.setattr(neural, "PIECE_S", 0.9)
    pieced = codec.encode(wave, codec.sample_rate)
    same = [np.mean(a == b) for a, b in zip(pieced.codes, whole.codes, strict=True)]
    assert min(same) > 0.99  # not 1, because float32 rounding decides if two entries are equally near
    difference = np.abs(codec.decode(whole) - decoded).max()
    assert difference <= 1e-5 * np.abs(decoded).max()


def test_transformers_of_mimi_continue_from_their_cache(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load("mimi:8")
    wave = speechlike(12.6)  # 315 steps; their window is 250
    monkeypatch.setattr(mimi, "TRANSFORMER_STEPS", 10_000)
    whole = codec.encode(wave, 24_000)
    decoded = codec.decode(whole)
    monkeypatch.setattr(mimi, "TRANSFORMER_STEPS", 70)
    stepped = codec.encode(wave, 24_000)
    assert min(np.mean(a == b) for a, b in zip(stepped.codes, whole.codes, strict=True)) > 0.99
    assert np.abs(codec.decode(whole) - decoded).max() <= 1e-5 * np.abs(decoded).max()


def test_pieces_cover_every_frame_once() -> None:
    parts = list(receptive_field.pieces(25, 10, 3, 2))
    assert [(p.left, p.start, p.stop, p.right) for p in parts] == [(0, 0, 10, 12), (7, 10, 20, 22), (17, 20, 25, 25)]
    frames = np.arange(25)
    assert np.array_equal(np.concatenate([frames[p.left : p.right][p.keep()] for p in parts]), frames)


def test_receptive_field_of_known_convolutions() -> None:
    stack = receptive_field.ReceptiveField()
    stack.conv(7, 3)
    assert (stack.left, stack.right, stack.step) == (3, 3, 1)
    stack.conv(8, 4, stride=4)  # causal: the four samples before the frame, and the four in it
    assert (stack.left, stack.right, stack.step) == (7, 6, 4)
    stack.conv(3, 2)
    assert (stack.left, stack.right) == (15, 6)
    stack.attention(32)
    assert (stack.left, stack.right) == (15 + 31 * 4, 6 + 31 * 4)
    up = receptive_field.ReceptiveField(step=4)
    up.transposed(8, 0, 4)
    assert (up.left, up.right, up.step) == (7, 0, 1)


# --- presets of the same weights


def test_presets_of_the_same_weights_decode_each_others_tokens(
    load: Callable[[str], Any], random_baseline: RandomBaseline
) -> None:
    wave = speechlike(0.9)
    eight, three = load("mimi:8"), silkcodec.load(f"mimi:3@{random_baseline('mimi')}")
    tokens = eight.encode(wave, 24_000, n_codebooks=3)
    assert tokens == three.encode(wave, 24_000)
    assert np.array_equal(three.decode(tokens), eight.decode(tokens))
    assert len(three.decode(eight.encode(wave, 24_000))) == len(wave)


def test_tokens_of_other_weights_are_refused(
    load: Callable[[str], Any], random_baseline: RandomBaseline, tmp_path: Path
) -> None:
    folder = weights_copy(random_baseline, "mimi", tmp_path)
    file = folder / weights.SAFETENSORS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # the last bit of a weight
    file.write_bytes(content)
    other = silkcodec.load(f"mimi:8@{folder}")
    assert other.codec_id == f"mimi@{hashlib.sha256(content).hexdigest()[:12]}"
    tokens = load("mimi:8").encode(speechlike(0.3), 24_000)
    with pytest.raises(TokensError, match=f"must be from '{other.codec_id}'; got tokens from '{tokens.codec}'"):
        other.decode(tokens)


# --- weights


def test_the_pickle_of_snac_is_read_without_running_code(random_baseline: RandomBaseline, tmp_path: Path) -> None:
    folder = weights_copy(random_baseline, "snac_24khz", tmp_path)
    tensors = silkcodec.load(f"snac:24k@{folder}")
    state = tensors._model.state_dict()
    (folder / weights.SAFETENSORS).unlink()
    published = folder / weights.TORCH_FILE
    torch.save(state, published)
    codec = silkcodec.load(f"snac@{folder}")
    wave = speechlike(0.5)
    assert codec.codec_id != tensors.codec_id
    assert all(map(np.array_equal, codec.encode(wave, 24_000).codes, tensors.encode(wave, 24_000).codes))

    class Attack:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, ("open('attacked', 'w')",)

    torch.save({"x": Attack()}, published)
    with pytest.raises(WeightsError, match="Cannot load tensors"):
        silkcodec.load(f"snac:24k@{folder}")
    published.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="Cannot load tensors"):
        silkcodec.load(f"snac:24k@{folder}")
    assert not Path("attacked").exists()


def test_unusable_weights_are_refused_with_a_reason(random_baseline: RandomBaseline, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    dac = random_baseline("dac_16khz")
    for name, reason in (
        (f"mimi@{empty}", "must contain config.json and model.safetensors"),
        (f"mimi@{tmp_path}/nowhere", "must be a folder or a repository in the form owner/name"),
        ("mimi@nowhere", "must be a folder or a repository in the form owner/name"),
        (f"mimi@{dac}", "must be for a model of type 'mimi'; got 'dac'"),
        (f"dac:24k@{dac}", "must have sampling_rate = 24000; got 16000"),
        (f"encodec:stereo-6k@{random_baseline('encodec_24khz')}", "must have audio_channels = 2"),
        (f"snac:24k@{random_baseline('snac_32khz')}", "must have sampling_rate = 24000"),
    ):
        with pytest.raises(WeightsError, match=reason) as caught:
            silkcodec.load(name)
        assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(random_baseline: RandomBaseline, tmp_path: Path) -> None:
    from safetensors.torch import load, save

    for name, repository in (("dac:16k", "dac_16khz"), ("snac:24k", "snac_24khz")):
        folder = weights_copy(random_baseline, repository, tmp_path)
        file = folder / weights.SAFETENSORS
        whole = file.read_bytes()
        state = load(whole)
        file.write_bytes(whole[:1000])
        with pytest.raises(WeightsError, match="Cannot load"):
            silkcodec.load(f"{name}@{folder}")
        lost = next(key for key in state if "decoder" in key and ("alpha" in key or "weight" in key))
        file.write_bytes(save({key: value for key, value in state.items() if key != lost}, {"format": "pt"}))
        with pytest.raises(WeightsError, match=lost):
            silkcodec.load(f"{name}@{folder}")
        file.write_bytes(save({**state, lost: torch.zeros(3)}, {"format": "pt"}))
        with pytest.raises(WeightsError, match="Cannot load"):
            silkcodec.load(f"{name}@{folder}")
        file.write_bytes(whole)
        for text in ("{", "[]"):
            (folder / "config.json").write_text(text)
            with pytest.raises(WeightsError, match=r"config\.json' (must contain a JSON object|as JSON)"):
                silkcodec.load(f"{name}@{folder}")


def test_a_config_of_another_model_is_refused(random_baseline: RandomBaseline, tmp_path: Path) -> None:
    folder = weights_copy(random_baseline, "snac_24khz", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"unknown": 1}))
    with pytest.raises(WeightsError, match="does not describe a SNAC model"):
        silkcodec.load(f"snac:24k@{folder}")


def test_cached_weights_are_used_without_network(
    random_baseline: RandomBaseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = random_baseline("mimi"), []

    def cached(repository: str, file: str, *, local_files_only: bool = False) -> str:
        calls.append((repository, file, local_files_only))
        return str(folder / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    assert silkcodec.load("mimi:8").codec_id == silkcodec.load(f"mimi:8@{folder}").codec_id
    assert silkcodec.load("mimi@somebody/mimi-finetuned").name == "mimi:8"
    assert {(repository, local) for repository, _, local in calls} == {
        ("kyutai/mimi", True),
        ("somebody/mimi-finetuned", True),
    }


def test_without_cache_and_network_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors as hub

    attempts = []

    def unreachable(repository: str, file: str, *, local_files_only: bool = False) -> str:
        attempts.append((file, local_files_only))
        raise hub.LocalEntryNotFoundError("no connection\nand many more lines")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(WeightsError) as caught:
        silkcodec.load("snac:24k")
    assert str(caught.value) == (
        "Cannot load the weights of 'snac:24k' from the repository 'hubertsiuzdak/snac_24khz': the Hub cannot be"
        " reached. Run `hf download hubertsiuzdak/snac_24khz`, or pass a folder: snac:24k@FOLDER."
    )
    assert [local for _, local in attempts] == [True, True, False]  # only one network request is tried

    def absent(repository: str, file: str, *, local_files_only: bool = False) -> str:
        raise (hub.LocalEntryNotFoundError if local_files_only else hub.EntryNotFoundError)("404")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(WeightsError, match=r"it has no model\.safetensors or pytorch_model\.bin"):
        silkcodec.load("snac:24k")


@pytest.mark.parametrize(
    ("name", "package"), [("mimi:8", "transformers"), ("dac", "torch"), ("snac", "snac"), ("encodec", "transformers")]
)
def test_a_missing_package_names_the_pip_command(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"needs '{package}'.*pip install 'silkcodec-torch\[baselines\]'"):
        silkcodec.load(name)


def test_a_codec_without_silkcodec_torch_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(registry.importlib, "import_module", not_found)
    for use in (silkcodec.load, registry.presets):
        with pytest.raises(MissingExtraError, match=r"'mimi' needs 'silkcodec_torch'.*pip install './pytorch\[base"):
            use("mimi")


@pytest.mark.parametrize("text", [b"[" * 200_000, b"\xff\xfe\0", b"9" * 10_000], ids=["deep", "binary", "digits"])
def test_invalid_config_files_are_rejected(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="as JSON"):
        weights.find_weights("mimi", str(tmp_path))


def test_the_registry_reports_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.missing("mimi:8") is None and registry.missing("silk") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert registry.missing("mimi:8") == registry.missing("snac") == "pip install './pytorch[baselines]'"
    assert registry.missing("opus:6k") == "pip install 'silkcodec[classical]'"
    assert registry.missing("gsm") is registry.missing("silk") is None


def test_loading_prints_nothing_and_restores_library_settings(
    load: Callable[[str], Any], random_baseline: RandomBaseline, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    for name in FOLDERS:
        random_baseline(FOLDERS[name])
    capfd.readouterr()
    verbosity, bars = logging.get_verbosity(), (logging.is_progress_bar_enabled(), are_progress_bars_disabled())
    for name in FOLDERS:
        codec = load(name)
        codec.decode(codec.encode(speechlike(0.2, sample_rate=codec.sample_rate), codec.sample_rate))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), (logging.is_progress_bar_enabled(), are_progress_bars_disabled())) == (
        verbosity,
        bars,
    )
