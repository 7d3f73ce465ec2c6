"""Test that the Auto classes load an exported folder, and that its tokens equal those of `silkcodec.load()`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repository import SAMPLES

pytest.importorskip("torch", reason="needs ./pytorch[baselines]")
pytest.importorskip("transformers", reason="needs ./pytorch[baselines]")
pytest.importorskip("onnx", reason="needs ./pytorch")

import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoTokenizer
from transformers.utils import logging
from typer.testing import CliRunner

from silkcodec import audio, lm
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, AudioError, OutputError, TokensError, WeightsError
from silkcodec.silk import Silk
from silkcodec.tokens import Tokens
from silkcodec_torch.hf import SilkConfig, SilkFeatureExtractor, SilkModel, SilkTokenizer, conversion

pytestmark = pytest.mark.slow

TOLERANCE = 2e-4  # -74 dBFS: PyTorch and ONNX Runtime add float32 values in different orders
RECORDINGS = sorted(SAMPLES.glob("*.flac"))
logging.disable_progress_bar()


@pytest.fixture(scope="module")
def folder(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a folder with `silk export`."""
    out = tmp_path_factory.mktemp("hub") / "silk"
    words = ["export", str(weights_folder), "-o", str(out), "--format", "transformers"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return AutoModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def extractor(folder: Path) -> Any:
    return AutoFeatureExtractor.from_pretrained(folder)


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    return [audio.read(path, 24_000)[:n] for path, n in zip(RECORDINGS, (61_000, 48_000, 9_601), strict=True)]


@pytest.fixture(scope="module")
def expected(codec: Silk, waves: list[np.ndarray]) -> list[Tokens]:
    return [codec.encode(wave) for wave in waves]


def test_the_folder_can_be_pushed(folder: Path, codec: Silk) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "README.md", "LICENSE",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"], config["codec"]) == (
        "silkcodec",
        ["SilkModel"],
        codec.codec_id,
    )
    assert "Apache License" in (folder / "LICENSE").read_text()
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers") and codec.config.weights_hash in card
    described = card.split("---\n")[1]  # Not apache-2.0 alone, because some of the training speech is copyleft.
    assert "\nlicense: other\nlicense_name: apache-2.0-see-model-card\nlicense_link: LICENSE\n" in described
    assert "\n## License\n" in card and "ONNX" not in card
    assert all(str(Path.home()) not in path.read_text() for path in folder.glob("*.json"))
    assert (folder / "model.safetensors").stat().st_size < 40e6


def test_auto_classes_find_silk(folder: Path, model: Any, extractor: Any) -> None:
    assert type(model) is SilkModel and type(extractor) is SilkFeatureExtractor
    assert type(AutoConfig.from_pretrained(folder)) is SilkConfig
    assert type(AutoTokenizer.from_pretrained(folder)) is SilkTokenizer
    assert model.dtype == torch.float32 and not model.training


def test_tokens_and_wave_equal_those_of_the_package(
    model: Any, extractor: Any, codec: Silk, waves: list[np.ndarray], expected: list[Tokens]
) -> None:
    inputs = extractor(waves, sampling_rate=24_000, return_tensors="pt")
    assert inputs["input_values"].shape == (3, 1, 61_000) and inputs["padding_mask"].sum(1).tolist() == [
        61_000,
        48_000,
        9_601,
    ]
    found = model.encode(**inputs)
    assert found.audio_codes.shape == (3, 19, 7) and found.audio_codes_mask.sum(1).tolist() == [7, 5, 2]
    assert model.to_tokens(found) == expected
    with torch.no_grad():
        decoded = model.decode(found.audio_codes, found.n_samples).audio_values
    assert decoded.shape == (3, 1, 61_000)
    for row, tokens in zip(decoded[:, 0].numpy(), expected, strict=True):
        n = tokens.n_samples
        assert np.abs(row[:n] - codec.decode(tokens)).max() < TOLERANCE and not row[n:].any()


def test_a_padded_batch_has_the_codes_of_single_clips(
    model: Any, extractor: Any, waves: list[np.ndarray], expected: list[Tokens]
) -> None:
    for wave, tokens in zip(waves, expected, strict=True):
        single = model.encode(**extractor(wave, sampling_rate=24_000, return_tensors="pt"))
        assert model.to_tokens(single) == [tokens]
    louder = torch.rand(1, 1, 20_000) - 0.5  # masked values have no effect
    mask = torch.arange(20_000)[None] < 9_601
    louder[0, 0, :9_601] = torch.from_numpy(waves[2])
    assert model.to_tokens(model.encode(louder, mask)) == [expected[2]]


def test_a_long_recording_is_processed_in_pieces(model: Any, codec: Silk, waves: list[np.ndarray]) -> None:
    long = np.tile(waves[1], 6)  # 12 s: two pieces
    found = model.encode(torch.from_numpy(long)[None])
    tokens = codec.encode(long)
    assert model.to_tokens(found) == [tokens]
    with torch.no_grad():
        decoded = model.decode(found.audio_codes).audio_values[0, 0].numpy()
    assert np.abs(decoded[: len(long)] - codec.decode(tokens)).max() < TOLERANCE


def test_calling_the_model_encodes_and_decodes(model: Any, extractor: Any, waves: list[np.ndarray]) -> None:
    inputs = extractor(waves[1:], sampling_rate=24_000, return_tensors="pt")
    with torch.no_grad():
        both = model(**inputs)
        again = model(**inputs, audio_codes=both.audio_codes)
        masked = model.decode(both.audio_codes, padding_mask=inputs["padding_mask"])
    assert both.audio_values.shape == inputs["input_values"].shape
    assert torch.equal(again.audio_values, both.audio_values) and torch.equal(masked.audio_values, both.audio_values)


def test_tokens_of_any_grouping_become_a_batch(model: Any, expected: list[Tokens]) -> None:
    batch = model.from_tokens([expected[0], expected[1].regroup(4), expected[2]])
    assert model.to_tokens(batch) == expected
    with pytest.raises(TokensError, match="got tokens from 'silk@000000000000'"):
        model.from_tokens([Tokens.from_levels(np.zeros((1, 128), int), n_samples=9_600, codec="silk@000000000000")])


def test_saving_and_loading_keeps_the_model(
    model: Any, extractor: Any, folder: Path, tmp_path: Path, waves: list[np.ndarray], expected: list[Tokens]
) -> None:
    for part in (model, extractor, AutoTokenizer.from_pretrained(folder)):
        part.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}]
    again = AutoModel.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    inputs = AutoFeatureExtractor.from_pretrained(tmp_path)(waves[2], sampling_rate=24_000, return_tensors="pt")
    assert again.to_tokens(again.encode(**inputs)) == expected[2:]
    assert AutoTokenizer.from_pretrained(tmp_path).layout == AutoTokenizer.from_pretrained(folder).layout


def test_the_example_of_the_card_runs(folder: Path, waves: list[np.ndarray], expected: list[Tokens]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    names: dict[str, Any] = {"waves": waves, "sampling_rate": 24_000}
    exec(code.replace('"silk"', repr(str(folder))), names)
    assert names["tokens"] == expected and names["decoded"].audio_values.shape == (3, 1, 61_000)


def test_a_model_of_random_weights_has_its_constants() -> None:
    config = SilkConfig(conv_width=16, width=20, heads=2, encoder_layers=1, decoder_layers=1, decoder_convs=1)
    model = SilkModel(config).eval()
    assert model.encoder.mel.filters.sum() > 0 and model.decoder.head.window.sum() > 0
    with torch.no_grad():
        assert model(torch.rand(2, 20_000) - 0.5).audio_values.shape == (2, 1, 20_000)


# --- the feature extractor


def test_other_rates_and_channels_match_the_codec(extractor: Any, codec: Silk, model: Any) -> None:
    wave, rate = audio.read(RECORDINGS[0], 16_000)[:32_000], 16_000
    inputs = extractor(np.stack([wave, wave]), sampling_rate=rate, return_tensors="pt")
    assert model.to_tokens(model.encode(**inputs)) == [codec.encode(wave, rate)]


def test_padding_and_truncation(extractor: Any) -> None:
    waves = [[0.1] * 100, np.zeros(300)]
    assert extractor(waves, sampling_rate=24_000, return_tensors="np")["input_values"].shape == (2, 1, 300)
    loose = extractor(waves, padding=False, sampling_rate=24_000)
    assert [row.shape for row in loose["input_values"]] == [(1, 100), (1, 300)]
    fixed = extractor(
        waves, padding="max_length", max_length=200, truncation=True, sampling_rate=24_000, return_tensors="pt"
    )
    assert fixed["input_values"].shape == (2, 1, 200) and fixed["padding_mask"].sum(1).tolist() == [100, 200]
    whole = extractor(waves, pad_to_multiple_of=9_600, sampling_rate=24_000, return_tensors="np")
    assert whole["padding_mask"].shape == (2, 9_600)
    with pytest.raises(AudioError):
        extractor([np.array([np.nan, 0.0])], sampling_rate=24_000)


# --- the tokenizer


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_ids_of_text_and_back(dims: int, expected: list[Tokens], tmp_path: Path) -> None:
    tokenizer = SilkTokenizer(dims_per_token=dims, codec=expected[0].codec)
    texts = [tokenizer.to_text(tokens) for tokens in expected]
    batch = tokenizer(texts, padding=True)
    flat = lm.Flat(lm.Layout.of(expected[0].regroup(dims)))
    for tokens, text, ids in zip(expected, texts, batch["input_ids"], strict=True):
        own = flat.encode(tokens.regroup(dims)).tolist()
        assert ids[: len(own)] == own == tokenizer.encode_tokens(tokens) and set(ids[len(own) :]) <= {flat.pad}
        assert tokenizer.decode(own, skip_special_tokens=True) == text
        assert tokenizer.to_tokens(ids, tokens.n_samples) == tokens
        assert tokenizer.to_tokens(lm.to_text(tokens.regroup(dims))) == tokens
    assert tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True) == texts
    assert len(tokenizer) == tokenizer.vocab_size == flat.size
    tokenizer.save_pretrained(tmp_path)
    assert (
        SilkTokenizer.from_pretrained(tmp_path)(texts[2])["input_ids"]
        == batch["input_ids"][2][: 2 + 2 * flat.layout.n_tokens]
    )


def test_the_vocabulary_has_the_stated_size() -> None:
    tokenizer = SilkTokenizer(dims_per_token=1)
    every = tokenizer.get_vocab()
    assert len(every) == tokenizer.vocab_size == 1_027
    assert tokenizer.convert_ids_to_tokens(list(every.values())) == list(every)


@pytest.mark.parametrize("text", ["hello", "<|silk:0:1|>", "<|silk/2:64:0|>", "<|silk/2:0:64|>", "<|silk/2:end:9|>"])
def test_text_without_ids_is_refused(text: str) -> None:
    with pytest.raises(TokensError, match="must"):
        SilkTokenizer()(text)


# --- user errors


@pytest.mark.parametrize("dims", [0, 5, 7])
def test_a_vocabulary_that_is_too_large_is_refused(dims: int) -> None:
    with pytest.raises(ArgumentError, match="dims_per_token must be"):
        SilkTokenizer(dims_per_token=dims)


def test_wrong_tensors_are_refused(model: Any) -> None:
    one = torch.zeros(1, 1, 100)
    for values, mask in (
        (torch.zeros(1, 2, 100), None),
        (torch.zeros(1, 1, 0), None),
        (one, torch.zeros(1, 100)),
        (one, torch.arange(100)[None] > 50),
        (one, torch.ones(1, 99)),
        (one, torch.ones(2, 50)),
    ):
        with pytest.raises(ArgumentError, match="must have"):
            model.encode(values, mask)
    for codes in (torch.zeros(1, 18, 2, dtype=torch.int64), torch.zeros(1, 19, 2), torch.full((1, 19, 2), 64)):
        with pytest.raises(TokensError, match="audio_codes must be"):
            model.decode(codes)
    with pytest.raises(ArgumentError, match="between 1 and 9600"):
        model.decode(torch.zeros(1, 19, 1, dtype=torch.int64), n_samples=9_601)
    two = torch.zeros(2, 19, 1, dtype=torch.int64)
    with pytest.raises(ArgumentError, match=r"one number per row, \[2\]; got the shape \[3\]"):
        model.decode(two, n_samples=torch.tensor([1, 2, 3]))
    with pytest.raises(ArgumentError, match="padding_mask must have the shape"):
        model.decode(two, padding_mask=torch.ones(4, 100))
    with pytest.raises(ArgumentError, match="at least one Tokens object"):
        model.from_tokens([])
    with pytest.raises(ArgumentError, match="float32"):
        SilkModel(SilkConfig(conv_width=16, width=20, heads=2)).half().encode(one)


def test_an_export_with_different_tokens_is_not_written(weights_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(weights_folder, wrong := tmp_path / "wrong")
    described = json.loads((wrong / "config.json").read_text())
    described["network"] |= {"mel_floor": 0.1, "mel_mean": 0.0, "mel_std": 1.0}
    (wrong / "config.json").write_text(json.dumps(described))
    with pytest.raises(WeightsError, match="levels differ"):
        conversion.export(wrong, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_of_another_source_are_not_replaced(weights_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match=r"contains .*, but not weights in this format"):
        conversion.export(weights_folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    shutil.copytree(weights_folder, tmp_path / "weights")  # in the other format
    with pytest.raises(OutputError, match=r"contains .*, but not weights in this format"):
        conversion.export(weights_folder, tmp_path / "weights")
    conversion.export(weights_folder, tmp_path / "out")
    conversion.export(weights_folder, tmp_path / "out")  # replaces an earlier export


def test_a_run_is_exported_to_weights_first(
    weights_folder: Path, codec: Silk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test only the call of the export. train/test_export.py compares exported weights with the network."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").touch()
    made = conversion.weights_export
    monkeypatch.setattr(made, "load_run", lambda run: (run.name, "model", {}))
    monkeypatch.setattr(
        made, "write_folder", lambda out, *rest: shutil.copytree(weights_folder, out, dirs_exist_ok=True)
    )
    assert conversion.export(tmp_path / "run", tmp_path / "out").codec == codec.codec_id
    assert len(list((tmp_path / "out").iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export", "-o", "out"], "RUN is missing"),
        (["export", "nowhere", "-o", "out", "--format", "transformers"], "Run not found: 'nowhere'"),
        (["export", "empty", "-o", "out", "--format", "transformers"], "must contain config.json"),
        (["export", "empty", "-o", "out", "--format", "tflite"], "onnx or transformers"),
    ],
)
def test_errors_of_the_command_are_one_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert says in done.stderr
