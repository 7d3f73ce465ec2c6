"""Test the loss that uses a frozen recognizer, here with random weights: features, gradients and training runs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from silkcodec import audio
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn.slaney_mel import mel_filters
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.card import recognizer_lines
from silkcodec_torch.train.config import RecognizerConfig, load_config
from silkcodec_torch.train.loop import Trainer, train
from silkcodec_torch.train.recognizer import RecognizerLoss, load_recognizer
from silkcodec_torch.train.whisper import load_encoder, log_mel
from speechlike import speechlike

WIDTH, HEADS, LAYERS, MELS, POSITIONS = 24, 2, 3, 80, 100


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Return random weights with the tensor names of transformers."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / (np.prod(shape[1:]) ** 0.5 if len(shape) > 1 else 5)

    found = {
        "conv1.weight": random(WIDTH, MELS, 3), "conv1.bias": random(WIDTH), "conv2.weight": random(WIDTH, WIDTH, 3),
        "conv2.bias": random(WIDTH), "embed_positions.weight": random(POSITIONS, WIDTH),
        "layer_norm.weight": 1 + random(WIDTH), "layer_norm.bias": random(WIDTH),
    }  # fmt: skip
    for i in range(LAYERS):
        for name, shape in {
            "self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH), "self_attn.v_proj": (WIDTH, WIDTH),
            "self_attn.out_proj": (WIDTH, WIDTH), "fc1": (4 * WIDTH, WIDTH), "fc2": (WIDTH, 4 * WIDTH),
        }.items():  # fmt: skip
            found[f"layers.{i}.{name}.weight"] = random(*shape)
            if "k_proj" not in name:
                found[f"layers.{i}.{name}.bias"] = random(shape[0])
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            found |= {f"layers.{i}.{name}.weight": 1 + random(WIDTH), f"layers.{i}.{name}.bias": random(WIDTH)}
    return found


@pytest.fixture(scope="module")
def folder(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a Whisper model in transformers format, with a decoder tensor, which is ignored."""
    folder = tmp_path_factory.mktemp("whisper-small-random")
    decoder = {"model.decoder.layers.0.encoder_attn.k_proj.weight": torch.zeros(1)}
    save_file({f"model.encoder.{k}": v for k, v in tensors.items()} | decoder, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", "encoder_attention_heads": HEADS}))
    return folder


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> RecognizerLoss:
    return load_recognizer(RecognizerConfig(weights=str(folder)), torch.float32)


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    """Return speech, float32 [2, 1.2 s]."""
    return torch.stack([torch.from_numpy(speechlike(1.2, seed)) for seed in (1, 2)])


def noisy(wave: torch.Tensor, level: float) -> torch.Tensor:
    return wave + level * torch.randn(wave.shape, generator=torch.Generator().manual_seed(3))


# --- equality with Whisper


def test_the_spectrogram_equals_that_of_whisper() -> None:
    transformers = pytest.importorskip("transformers")
    wave = speechlike(1.5, sample_rate=16_000)
    extract = transformers.WhisperFeatureExtractor()
    theirs = extract(wave, sampling_rate=16_000, padding="longest", truncation=False, return_tensors="np")
    ours = log_mel(torch.from_numpy(wave)[None], mel_filters(80, 16_000), 16_000)
    np.testing.assert_allclose(ours.numpy(), theirs["input_features"], atol=1e-4)


@pytest.mark.parametrize("hz", [100.0, 440.0, 1000.0, 3000.0, 6500.0])
def test_spectrograms_at_24_and_16_khz_are_equal(hz: float) -> None:
    """Compare the same tone at both rates, except the last column, whose window is reflected at another sample."""

    def spectrogram(sample_rate: int) -> torch.Tensor:
        time_s = torch.arange(sample_rate, dtype=torch.float64) / sample_rate
        tone = (0.3 * torch.sin(2 * torch.pi * hz * time_s)).float()[None]
        return log_mel(tone, mel_filters(80, sample_rate), sample_rate)[:, :, 2:-2]

    assert spectrogram(24_000).shape == spectrogram(16_000).shape
    torch.testing.assert_close(spectrogram(24_000), spectrogram(16_000), atol=0.02, rtol=0)


def test_the_features_equal_those_of_transformers(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    whisper = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    settings = {"d_model": WIDTH, "encoder_attention_heads": HEADS, "encoder_layers": LAYERS,
                "encoder_ffn_dim": 4 * WIDTH, "max_source_positions": POSITIONS}  # fmt: skip
    theirs = whisper.WhisperEncoder(whisper.WhisperConfig(**settings)).eval()
    theirs.load_state_dict(tensors)
    left: list[torch.Tensor] = []
    for layer in theirs.layers:
        layer.register_forward_hook(lambda _, __, out: left.append(out[0] if isinstance(out, tuple) else out))
    mel = torch.randn(2, MELS, 2 * POSITIONS, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        last = theirs(mel).last_hidden_state
        ours = load_encoder(folder)(mel)
    assert len(ours) == LAYERS
    for our, their in zip(ours, [*left[:-1], last], strict=True):
        torch.testing.assert_close(our, their, atol=1e-5, rtol=1e-4)


def test_shorter_input_gets_the_first_positions(folder: Path) -> None:
    encoder = load_encoder(folder)
    mel = torch.randn(1, MELS, 41, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        before = encoder(mel)
        encoder.position[21:] = 9.0
        after = encoder(mel)
    assert before[0].shape == (1, 21, WIDTH) and torch.equal(before[-1], after[-1])


# --- the file format of CTranslate2


def ctranslate2_file(path: Path, tensors: dict[str, torch.Tensor], storage: str, version: int = 6) -> None:
    """Write tensors like `ct2-transformers-converter`, after one variable of a decoder."""
    variables: dict[str, tuple[int, np.ndarray]] = {"decoder/embeddings/weight": (0, np.ones((2, 2), np.float32))}

    def put(name: str, tensor: torch.Tensor, quantize: bool = False) -> None:
        if quantize and storage == "int8":
            value = tensor.numpy()
            scale = 127 / np.abs(value.reshape(len(value), -1)).max(axis=1)
            rows = scale.reshape(-1, *[1] * (value.ndim - 1))
            variables[f"encoder/{name}"] = 1, np.rint(value * rows).astype(np.int8)
            variables[f"encoder/{name}_scale"] = 0, scale.astype(np.float32)
        elif storage == "bfloat16":
            variables[f"encoder/{name}"] = 5, tensor.bfloat16().view(torch.int16).numpy()
        elif storage == "float16":
            variables[f"encoder/{name}"] = 4, tensor.half().numpy()
        else:
            variables[f"encoder/{name}"] = 0, tensor.numpy()

    def both(theirs: str, ours: str, norm: bool = False) -> None:
        put(f"{theirs}/{'gamma' if norm else 'weight'}", tensors[f"{ours}.weight"], quantize=not norm)
        put(f"{theirs}/{'beta' if norm else 'bias'}", tensors[f"{ours}.bias"])

    variables["encoder/num_heads"] = 2, np.array(HEADS, np.int16)
    variables["encoder/pre_norm"] = 1, np.array(1, np.int8)
    put("position_encodings/encodings", tensors["embed_positions.weight"])
    both("conv1", "conv1")
    both("conv2", "conv2")
    both("layer_norm", "layer_norm", norm=True)
    for i in range(LAYERS):
        layer, ours = f"layer_{i}", f"layers.{i}"
        both(f"{layer}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", norm=True)
        both(f"{layer}/ffn/layer_norm", f"{ours}.final_layer_norm", norm=True)
        q, k, v = (tensors[f"{ours}.self_attn.{part}_proj.weight"] for part in "qkv")
        put(f"{layer}/self_attention/linear_0/weight", torch.cat([q, k, v]), quantize=True)
        q, v = (tensors[f"{ours}.self_attn.{part}_proj.bias"] for part in "qv")
        put(f"{layer}/self_attention/linear_0/bias", torch.cat([q, torch.zeros_like(q), v]))
        for theirs, name in (("self_attention/linear_1", "self_attn.out_proj"), ("ffn/linear_0", "fc1"),
                             ("ffn/linear_1", "fc2")):  # fmt: skip
            both(f"{layer}/{theirs}", f"{ours}.{name}")

    def text(words: str) -> bytes:
        return struct.pack("<H", len(words) + 1) + words.encode() + b"\0"

    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, (kind, value) in sorted(variables.items()):
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data += text(name) + shape + struct.pack("<BI", kind, value.nbytes) + value.tobytes()
    path.write_bytes(data + struct.pack("<I", 0))


@pytest.mark.parametrize(("storage", "error"), [("float32", 0), ("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 0)])
def test_ctranslate2_files_give_the_same_tensors(
    tensors: dict[str, torch.Tensor], folder: Path, tmp_path: Path, storage: str, error: float
) -> None:
    ctranslate2_file(tmp_path / "model.bin", tensors, storage)
    ours, theirs = load_encoder(tmp_path), load_encoder(folder)
    assert ours.layers[0].heads == theirs.layers[0].heads == HEADS
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        step = 0.0
        if storage == "int8" and b.ndim > 1 and name != "position":  # half a quantization step of the row
            step = float(b.abs().max()) / 127 / 2
        torch.testing.assert_close(a, b, rtol=error, atol=step + 1e-7, msg=name)


BAD_FOLDERS = {
    "no folder": "contains neither",
    "nothing in it": "contains neither",
    "safetensors alone": "Transformers format",
    "not safetensors": "Transformers format",
    "other tensors": "Cannot read a Whisper encoder",
    "a tensor missing": "Cannot read a Whisper encoder",
    "truncated": "CTranslate2 format",
    "another version": "got 'WhisperSpec' and 99",
    "not CTranslate2": "CTranslate2 format",
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_weights_give_one_sentence(tensors: dict[str, torch.Tensor], tmp_path: Path, case: str) -> None:
    file, folder = tmp_path / "model.safetensors", tmp_path
    if case != "safetensors alone":
        (folder / "config.json").write_text('{"encoder_attention_heads": 2}')
    if case in ("no folder", "nothing in it"):
        folder = tmp_path / "nowhere" if case == "no folder" else tmp_path
    elif case == "not safetensors":
        file.write_bytes(b"neither tensors nor safe")
    elif case in ("safetensors alone", "other tensors"):
        save_file({"x": torch.zeros(1)}, file)
    elif case == "a tensor missing":
        save_file({f"encoder.{k}": v for k, v in tensors.items() if k != "layers.1.fc2.bias"}, file)
    else:
        ctranslate2_file(tmp_path / "model.bin", tensors, "float16", version=99 if case == "another version" else 6)
        data = (tmp_path / "model.bin").read_bytes()
        if case != "another version":
            (tmp_path / "model.bin").write_bytes(data[: len(data) // 2] if case == "truncated" else b"no model at all")
    with pytest.raises(WeightsError, match=BAD_FOLDERS[case]) as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)


# --- the loss


def test_equal_waves_have_zero_loss(recognizer: RecognizerLoss, speech: torch.Tensor) -> None:
    assert float(recognizer(speech, speech)) == 0.0


def test_more_noise_has_a_higher_loss(recognizer: RecognizerLoss, speech: torch.Tensor) -> None:
    values = [float(recognizer(noisy(speech, level), speech)) for level in (0.0, 1e-4, 1e-3, 1e-2, 1e-1)]
    assert values == sorted(values) and values[0] < values[-1]


def test_the_distance_of_other_speech_is_about_1(recognizer: RecognizerLoss, speech: torch.Tensor) -> None:
    assert 0.5 < float(recognizer(speech.flip(0), speech)) < 1.5


def test_the_gradient_reduces_the_distance(recognizer: RecognizerLoss, speech: torch.Tensor) -> None:
    wave, target = noisy(speech, 0.02).requires_grad_(True), speech.clone().requires_grad_(True)
    losses = []
    for _ in range(8):
        loss = recognizer(wave, target)
        (gradient,) = torch.autograd.grad(loss, wave)
        assert torch.isfinite(gradient).all()
        wave = (wave - 0.2 * gradient / gradient.norm()).detach().requires_grad_(True)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    recognizer(wave, target).backward()
    assert target.grad is None and all(parameter.grad is None for parameter in recognizer.parameters())


@pytest.mark.parametrize("case", ["both silent", "decoded silent", "target silent"])
def test_silence_has_a_finite_gradient(recognizer: RecognizerLoss, speech: torch.Tensor, case: str) -> None:
    silence = torch.zeros_like(speech)
    decoded = (silence if case != "target silent" else noisy(silence, 1e-4)).clone().requires_grad_(True)
    target = speech if case == "decoded silent" else silence
    loss = recognizer(decoded, target)
    loss.backward()
    assert decoded.grad is not None and torch.isfinite(decoded.grad).all()
    assert case == "decoded silent" or float(loss.detach()) == 0  # silent originals are ignored


def test_layers_are_selected(folder: Path, speech: torch.Tensor) -> None:
    assert load_recognizer(RecognizerConfig(weights=str(folder)), torch.float32).layers == (1, 3)
    decoded = noisy(speech, 0.01)
    first, last, both = (
        float(load_recognizer(RecognizerConfig(str(folder), layers), torch.float32)(decoded, speech))
        for layers in ((1,), (3,), (3, 1))
    )
    assert both == pytest.approx((first + last) / 2) and first != last
    for wrong in ((0,), (4,), (-1,)):
        with pytest.raises(ArgumentError, match=r"recognizer.layers must be between 1 and 3 for these weights"):
            load_recognizer(RecognizerConfig(str(folder), wrong), torch.float32)


def test_layers_after_the_last_compared_one_are_not_computed(folder: Path, speech: torch.Tensor) -> None:
    loss = load_recognizer(RecognizerConfig(str(folder), (2, 1)), torch.float32)
    computed: list[int] = []
    for i, layer in enumerate(loss.encoder.layers):
        layer.register_forward_hook(lambda *_, number=i + 1: computed.append(number))
    assert float(loss(noisy(speech, 0.02), speech)) > 0
    assert computed == [1, 2, 1, 2]  # for the original and for the decoded audio


def test_bf16_weights_give_the_same_distance(folder: Path, recognizer: RecognizerLoss, speech: torch.Tensor) -> None:
    half = load_recognizer(RecognizerConfig(str(folder)), torch.bfloat16)
    decoded = noisy(speech, 0.02)
    assert float(half(speech, speech)) == 0.0
    assert float(half(decoded, speech)) == pytest.approx(float(recognizer(decoded, speech)), rel=0.1)


# --- a run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides of the `tiny` config for four files and crops of 0.4 s."""
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    for i in range(4):
        audio.write(folder / f"{i}.wav", speechlike(2.0, seed=i), SAMPLE_RATE)
    return [f"data.folder={folder}", f"data.cache={folder.parent / 'cache'}", "data.crop_frames=1", "optim.threads=1",
            "log.validate_clip_s=1.2"]  # fmt: skip


def stages(steps: int, *losses: str) -> str:
    return "stage=[" + ", ".join(f'{{name="all", steps={steps}, losses={{{terms}}}}}' for terms in losses) + "]"


def weights(run: Path) -> dict[str, torch.Tensor]:
    groups, _ = checkpoint.load(run / "checkpoint.safetensors")
    return groups["model"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_is_off_without_a_weight(data: list[str], folder: Path, tmp_path: Path) -> None:
    train("tiny", tmp_path / "without", [*data, stages(3, "mel=1")])
    train("tiny", tmp_path / "zero", [*data, stages(3, "mel=1, recognizer=0"), "recognizer.weights=/nowhere"])
    train("tiny", tmp_path / "with", [*data, stages(3, "mel=1, recognizer=0.5"), f"recognizer.weights={folder}"])
    assert same(weights(tmp_path / "without"), weights(tmp_path / "zero"))
    assert not same(weights(tmp_path / "without"), weights(tmp_path / "with"))


def test_a_run_with_the_loss_logs_it_and_resumes(data: list[str], folder: Path, tmp_path: Path) -> None:
    overrides = [*data, f"recognizer.weights={folder}", "recognizer.layers=[3]", "recognizer.crops=1"]
    later = [*overrides, stages(2, "mel=1, recognizer=0.5", "mel=1, recognizer=0.5")]
    train("tiny", tmp_path / "whole", later)
    train("tiny", tmp_path / "parts", [*overrides, stages(2, "mel=1, recognizer=0.5")])
    train("tiny", tmp_path / "parts", later)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    line = json.loads((tmp_path / "whole" / "history.jsonl").read_text().splitlines()[-1])
    assert 0 < line["train"]["recognizer"] < 5
    groups, _ = checkpoint.load(tmp_path / "whole" / "checkpoint.safetensors")
    names = [f"{group}/{name}" for group, found in groups.items() for name in found]
    assert names and not [name for name in names if "conv1" in name or "recogn" in name]
    config = load_config(tmp_path / "whole" / "config.toml")
    assert config.recognizer == RecognizerConfig(str(folder), (3,), 1)
    said = " ".join(recognizer_lines(config))
    assert f"encoder of {folder.name}, layers: 3" in said and str(folder) not in said


@pytest.mark.parametrize(("n_crops", "expected"), [(2, 2), (4, 3)])
def test_it_gets_its_share_of_the_batch(
    data: list[str], folder: Path, tmp_path: Path, n_crops: int, expected: int
) -> None:
    overrides = [
        *data,
        f"recognizer.weights={folder}",
        stages(1, "recognizer=1"),
        "optim.batch_crops=3",
        "model.noise=true",
    ]
    trainer = Trainer(load_config("tiny", [*overrides, f"recognizer.crops={n_crops}"]), tmp_path / "run")
    sizes = []
    trainer.recognizer.register_forward_hook(lambda _, given, __: sizes.append([len(wave) for wave in given]))
    trainer.run()
    assert sizes == [[expected, expected]]


def test_a_config_without_weights_gives_one_sentence(data: list[str], tmp_path: Path) -> None:
    on = stages(1, "mel=1, recognizer=1")
    for more, error, message in (
        ([], ArgumentError, "recognizer.weights must be a folder of Whisper weights"),
        (["recognizer.weights=x", "recognizer.crops=0"], ArgumentError, "recognizer.crops must be at least 1; got 0"),
        (["recognizer.weights=x", "data.crop_frames=76"], ArgumentError, "data.crop_frames must be at most 75"),
        ([f"recognizer.weights={tmp_path / 'nowhere'}"], WeightsError, "contains neither"),
    ):
        with pytest.raises(error, match=message):
            train("tiny", tmp_path / "run", [*data, on, *more])
    assert not (tmp_path / "run").exists()
    assert recognizer_lines(load_config("tiny")) == []
