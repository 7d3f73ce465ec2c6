"""Test that an export gives the tokens and the audio of its network, is complete and checked, and is reproducible."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from repository import SAMPLES
from silkcodec import audio
from silkcodec.errors import ArgumentError, OutputError, TokensError, WeightsError
from silkcodec.mel import FRAME, HISTORY, LOOKAHEAD, SAMPLE_RATE, log_mel
from silkcodec.silk import EMBEDDED, Silk
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.nn.sizes import ModelConfig
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train import export as module
from silkcodec_torch.train.card import (
    data_lines,
    license_lines,
    optimistic_metric_lines,
    start_lines,
    starting_data_lines,
    training_lines,
)
from silkcodec_torch.train.config import dump_config, load_config
from silkcodec_torch.train.export import (
    SMALL,
    TIE,
    EncoderGraph,
    clearance,
    export,
    golden_wave,
    inverse_dft,
    load_run,
    load_weights,
    windowed_dft,
)
from silkcodec_torch.train.loop import Trainer
from speechlike import speechlike

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder of speech with an index."""
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    lines = ["path\tsplit\tsource\tlicence\tlanguage\tduration_s"]
    for i, split in enumerate(("train", "train", "valid")):
        audio.write(folder / f"{i}.wav", speechlike(2.0, seed=i), SAMPLE_RATE)
        lines.append(f"{i}.wav\t{split}\tCorpus {'AB'[i % 2]}\tCC0-1.0\ten\t{3600 * (i + 1)}")
    (folder / "INDEX.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for three steps, and scale the weights up so that tokens vary and every weight has an effect."""
    folder = tmp_path_factory.mktemp("run") / "run"
    stage = 'stage=[{name="all", steps=3, losses={mel=1.0}}]'
    overrides = [f"data.folder={speech}", "data.index=INDEX.tsv", "data.crop_frames=1", "optim.threads=1", stage]
    overrides += ["model.past_frames=2", "model.noise=true", "log.validate_clip_s=1.0"]
    trainer = Trainer(load_config("tiny", overrides), folder)
    trainer.run()
    with torch.no_grad():
        for parameter in trainer.ema.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(2.0)
    trainer.save()
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> SilkNetwork:
    return load_run(run)[1]


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "deep" / "weights"
    export(run, out)
    return out


@pytest.fixture(scope="module")
def sessions(folder: Path) -> dict[str, onnxruntime.InferenceSession]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    }


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """Return audio float32 [2, 5 frames + look-ahead]."""
    return np.stack([speechlike(5 * 0.4 + 0.02, seed) for seed in (11, 12)])


def call(
    session: onnxruntime.InferenceSession, value: np.ndarray, states: dict[str, np.ndarray] | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run a graph once. Return the outputs by name, and the next states by input name. By default, states are zeros."""
    first, *rest = session.get_inputs()
    if states is None:
        states = {s.name: np.zeros((len(value), *s.shape[1:]), np.float32) for s in rest}
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(names, {first.name: value, **states}), strict=True))
    return found, {s.name: found[f"next_{s.name}"] for s in rest}


def primed(session: onnxruntime.InferenceSession, batch: np.ndarray) -> dict[str, np.ndarray]:
    states = {s.name: np.zeros((len(batch), *s.shape[1:]), np.float32) for s in session.get_inputs()[1:]}
    states["state_wave"][:, HISTORY:] = batch[:, :LOOKAHEAD]
    return states


# --- the graphs equal the network


def test_the_runtime_matches_the_network(model: SilkNetwork, folder: Path) -> None:
    codec = Silk(folder, threads=1)
    for seed, n_samples in ((21, 33_333), (22, 9600), (23, 1)):
        wave = speechlike(1.5, seed)[:n_samples]
        levels = model.encode(torch.from_numpy(wave)[None])
        tokens = codec.encode(wave)
        assert np.array_equal(tokens.to_levels(), levels[0].numpy()) or near_a_tie(model, wave)
        decoded = model.decode(torch.from_numpy(tokens.to_levels()).long()[None], n_samples)[0].numpy()
        assert np.abs(codec.decode(tokens) - decoded).max() < 1e-4


def near_a_tie(model: SilkNetwork, wave: np.ndarray) -> bool:
    return clearance(EncoderGraph(model), wave) < TIE


def test_any_number_of_frames_per_call(
    sessions: dict[str, onnxruntime.InferenceSession], model: SilkNetwork, batch: np.ndarray
) -> None:
    encoder, decoder = sessions["encoder"], sessions["decoder"]
    whole, last = call(encoder, batch[:, LOOKAHEAD:], primed(encoder, batch))
    wave, last_decoder = call(decoder, whole["levels"], None)
    for cut in ([1, 1, 1, 1, 1], [2, 3], [4, 1]):
        states, decoder_states, start = primed(encoder, batch), None, 0
        parts: dict[str, list[np.ndarray]] = {"mel": [], "latent": [], "levels": [], "wave": []}
        for frames in cut:
            begin = LOOKAHEAD + start * FRAME
            found, states = call(encoder, batch[:, begin : begin + frames * FRAME], states)
            decoded, decoder_states = call(decoder, whole["levels"][:, start : start + frames], decoder_states)
            for name in parts:
                parts[name].append((found | decoded)[name])
            start += frames
        for name in parts:
            assert np.array_equal(np.concatenate(parts[name], 1), (whole | wave)[name]), (cut, name)
        for name, state in (states | decoder_states).items():
            assert np.array_equal(state, (last | last_decoder)[name]), (cut, name)
    levels = model.encode(torch.from_numpy(batch))[:, :5]  # torch counts the look-ahead as a sixth frame
    assert np.array_equal(levels.numpy(), whole["levels"])
    assert np.abs(model.decode(levels, 5 * FRAME).numpy() - wave["wave"]).max() < 1e-4


def test_a_batch_is_its_clips(sessions: dict[str, onnxruntime.InferenceSession], batch: np.ndarray) -> None:
    encoder, decoder = sessions["encoder"], sessions["decoder"]
    both, _ = call(encoder, batch[:, LOOKAHEAD:], primed(encoder, batch))
    waves, _ = call(decoder, both["levels"], None)
    for i in range(2):
        one = batch[i : i + 1]
        alone, _ = call(encoder, one[:, LOOKAHEAD:], primed(encoder, one))
        assert np.array_equal(alone["levels"][0], both["levels"][i])
        assert np.abs(call(decoder, alone["levels"], None)[0]["wave"][0] - waves["wave"][i]).max() < 1e-5


def test_the_mel_of_the_graph_equals_the_reference(
    sessions: dict[str, onnxruntime.InferenceSession], model: SilkNetwork, batch: np.ndarray
) -> None:
    """Compare the graph's matrix product with two FFTs. Above e^-6, they agree to within 1e-3."""
    found, _ = call(sessions["encoder"], batch[:, LOOKAHEAD:], primed(sessions["encoder"], batch))
    seen = torch.nn.functional.pad(torch.from_numpy(batch), (HISTORY, 0))
    with torch.no_grad():
        by_torch = model.encoder.mel(seen).numpy()
    for i in range(2):
        reference = log_mel(batch[i])[:200]
        loud = reference > -6
        assert loud.mean() > 0.3
        for other in (reference, by_torch[i]):
            assert np.abs(found["mel"][i] - other)[loud].max() < 1e-3
            assert np.abs(found["mel"][i] - other).max() < 0.1


def test_the_latent_is_what_was_rounded(sessions: dict[str, onnxruntime.InferenceSession], batch: np.ndarray) -> None:
    found, _ = call(sessions["encoder"], batch[:, LOOKAHEAD:], primed(sessions["encoder"], batch))
    assert found["levels"].dtype == np.uint8 and len(np.unique(found["levels"])) >= 4
    assert np.array_equal(np.round(found["latent"]) + 4, found["levels"])


def test_the_bases_are_fourier_transforms() -> None:
    wave = torch.randn(3, 1024, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    window = torch.from_numpy(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024))
    expected = torch.fft.rfft(wave * window)
    real, sine = (wave @ windowed_dft().double()).chunk(2, dim=-1)
    assert torch.allclose(torch.complex(real, -sine), expected, atol=1e-4)
    spectrum = torch.fft.rfft(torch.randn(3, 720, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    product = torch.cat([spectrum.real, spectrum.imag], dim=-1) @ inverse_dft().double()
    assert torch.allclose(product, torch.fft.irfft(spectrum, 720), atol=1e-5)


def test_computed_tables_equal_those_of_torch_exactly(folder: Path, model: SilkNetwork) -> None:
    filters = "encoder.mel.filters"
    for name, expected in (
        ("mel_basis", windowed_dft()), ("inverse_basis", inverse_dft()), (filters, model.encoder.mel.filters)
    ):  # fmt: skip
        graph = onnx.load(folder / ("decoder.onnx" if name == "inverse_basis" else "encoder.onnx")).graph
        nodes = [node for node in graph.node if any(output.startswith(name) for output in node.output)]
        constants = [tensor for tensor in graph.initializer if tensor.name.startswith(name)]
        output = onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, expected.shape)
        alone = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "table", [], [output], constants),
            opset_imports=[onnx.helper.make_opsetid("", module.OPSET)], ir_version=8,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run([name], {})[0], expected.numpy())


# --- the folder


def test_the_folder_has_exactly_the_stated_files(folder: Path) -> None:
    files = ["README.md", "config.json", "decoder.onnx", "encoder.onnx", "golden.npz"]
    assert sorted(p.name for p in folder.iterdir()) == files


def test_the_config_describes_the_graphs(folder: Path, sessions: dict[str, onnxruntime.InferenceSession]) -> None:
    config = json.loads((folder / "config.json").read_text())
    digests = ""
    for name, session in sessions.items():
        described = config[name]
        assert hashlib.sha256((folder / described["file"]).read_bytes()).hexdigest() == described["sha256"]
        digests += described["sha256"]
        first, *states = session.get_inputs()
        assert [{"name": s.name, "shape": s.shape[1:]} for s in states] == described["states"]
        assert [s.shape[0] for s in states] == [first.shape[0]] * len(states) == ["batch"] * len(states)
        names = [o.name for o in session.get_outputs()]
        assert names[-len(states) :] == [f"next_{s.name}" for s in states]
        kinds = {"encoder": ("wave", ["mel", "latent", "levels"]), "decoder": ("levels", ["wave"])}
        assert (first.name, names[: -len(states)]) == kinds[name]
    assert config["weights_hash"] == hashlib.sha256(digests.encode()).hexdigest()[:12]
    assert config["encoder"]["states"][0] == {"name": "state_wave", "shape": [HISTORY + LOOKAHEAD]}
    expected = {"format": 1, "name": "silk", "sample_rate": 24_000, "frame_samples": 9600, "lookahead_samples": 480,
                "history_samples": 304, "latent_width": 128, "n_levels": 8, "dims_per_token": 7}  # fmt: skip
    assert expected.items() <= config.items()


def test_the_golden_wave(folder: Path, model: SilkNetwork) -> None:
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    assert {name: golden[name].dtype for name in golden} == {"wave": "f4", "levels": "u1", "decoded": "f4"}
    wave = golden["wave"]
    assert golden["decoded"].shape == wave.shape and np.abs(wave).max() <= 1
    levels = model.encode(torch.from_numpy(wave)[None])
    assert np.array_equal(levels[0].numpy(), golden["levels"])
    assert np.abs(model.decode(levels, len(wave))[0].numpy() - golden["decoded"]).max() < 1e-5
    codec = Silk(folder, threads=1)
    tokens = codec.encode(wave)
    assert np.array_equal(tokens.to_levels(), golden["levels"])
    assert np.abs(codec.decode(tokens) - golden["decoded"]).max() < 1e-4
    assert not near_a_tie(model, wave)


def test_weights_are_float16_and_tables_are_not_stored(folder: Path, model: SilkNetwork) -> None:
    n_bytes = 0
    for name in ("encoder", "decoder"):
        for tensor in onnx.load(folder / f"{name}.onnx").graph.initializer:
            assert np.prod(tensor.dims) <= SMALL or tensor.data_type == TensorProto.FLOAT16, tensor.name
        n_bytes += (folder / f"{name}.onnx").stat().st_size
    weights = sum(p.numel() * (2 if p.numel() > SMALL else 4) for p in model.parameters())
    graphs = 150_000
    assert n_bytes < weights + graphs < weights + 4 * 513 * 128  # the smallest table, the mel filters, is larger


def test_tables_that_float16_would_round_stay_float32() -> None:
    rounded = np.random.default_rng(1).standard_normal(2 * SMALL).astype(np.float16).astype(np.float32)
    tables = {"weight": rounded, "cosines": np.cos(np.arange(2 * SMALL, dtype=np.float32))}
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in tables.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], constants))
    module.store_half(model)
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert stored == {"weight.half": TensorProto.FLOAT16, "cosines": TensorProto.FLOAT}


def test_the_graphs_contain_no_local_paths(folder: Path) -> None:
    for name in ("encoder", "decoder"):
        content = (folder / f"{name}.onnx").read_bytes()
        assert b"site-packages" not in content and b".py" not in content and b"/home" not in content


def test_files_of_another_source_are_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(OutputError, match=r"contains config\.json, but not weights in this format"):
        export(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_exporting_again_gives_the_same_bytes(run: Path, folder: Path) -> None:
    """Export again in another process with another hash seed."""
    code = """
import hashlib, sys
from pathlib import Path
from silkcodec_torch.train.export import DecoderGraph, load_run, to_onnx
print(hashlib.sha256(to_onnx(DecoderGraph(load_run(Path(sys.argv[1]))[1]))).hexdigest())
"""
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    again = subprocess.run(
        [sys.executable, "-c", code, str(run)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.split()[-1] == json.loads((folder / "config.json").read_text())["decoder"]["sha256"]


def test_the_card_describes_the_training(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["weights_hash"] in card
    assert "Steps: 3," in card and "all (3 steps)" in card
    assert "| Corpus A | 1.00 | 1 | CC0-1.0 |" in card and "| Corpus B | 2.00 |" in card
    assert "Total: 3.0 hours, 1 languages" in card  # without the held-out hours
    assert "Not measured yet" in card
    assert "\n## License\n" in card and "copyleft" not in card


def test_the_card_describes_what_a_run_reached(tmp_path: Path) -> None:
    stages = [
        '{name="first", steps=8, losses={mel=1.0, loudness=1.0}}',
        '{name="second", minutes=2, losses={mel=1.0, envelope=1.0}, train_encoder=false}',
        '{name="third", steps=4, losses={mel=2.0, speaker=1.0}}',
    ]
    overrides = [f"stage=[{', '.join(stages)}]", "speaker.weights=x.pt", "data.crop_frames=4"]
    config = load_config("tiny", [*overrides, "finish.equalize_clips=4"])
    progress = {"stage": 1, "steps_in_stage": 3, "step": 11, "seconds": 90.0, "seconds_in_stage": 45.0}
    card = "\n".join(training_lines(config, progress))
    assert "stages: first (8 steps), second (0.8 of 2 minutes, decoder only); losses of the last" in card
    assert "PESQ is optimistic" in card and "ESTOI are optimistic" in card and "speaker loss" not in card
    assert "raised by up to 6 dB" not in card
    progress |= {"stage": 3, "steps_in_stage": 0, "finished": True}
    card = "\n".join(training_lines(config, progress))
    assert "second (2 minutes, decoder only), third (4 steps); losses of the last stage: mel 2, speaker 1." in card
    assert "speaker loss uses x.pt" in card and "raised by up to 6 dB toward that of up to 4 training clips" in card


def test_the_card_lists_optimistic_metrics_of_earlier_training(tmp_path: Path) -> None:
    overrides = [f"init={EMBEDDED}", "speaker.weights=x.pt", "stage.0.losses.speaker=1.0", "data.crop_frames=4"]
    (tmp_path / "config.toml").write_text(dump_config(load_config("tiny", overrides)))
    groups = {"model": {"x": torch.zeros(1)}}
    checkpoint.save(tmp_path / "checkpoint.safetensors", groups, {"stage": 1, "steps_in_stage": 0, "step": 8})
    lines = optimistic_metric_lines(load_config("tiny", [f"init={tmp_path}"]))
    loudness, speaker, *embedded = lines
    assert "PESQ is optimistic" in loudness and "speaker loss uses x.pt" in speaker  # of the earlier run
    for words in ("ESTOI are optimistic", "whisper-tiny.en, layers: 1, 2, 3, 4. Word error rates"):
        assert sum(words in line for line in embedded) == 1, words  # in the card of the embedded weights
    assert len(set(lines)) == len(lines)


def test_a_duration_that_is_no_number_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "INDEX.tsv").write_text("path\tsplit\tsource\tlicence\tduration_s\na.wav\ttrain\tA\tCC0\tlong\n")
    with pytest.raises(ArgumentError, match=r"'duration_s' column must .* got 'long' for 'a\.wav'"):
        data_lines(load_config("tiny", [f"data.folder={tmp_path}", "data.index=INDEX.tsv"]))


def test_the_card_lists_synthetic_speech(tmp_path: Path) -> None:
    (tmp_path / "INDEX.tsv").write_text(
        "path\tsplit\tsource\tlicence\tlanguage\tduration_s\tsynthetic\n"
        "a.wav\ttrain\tCorpus A\tCC0-1.0\ten\t10800\t\nb.wav\ttrain\tkokoro-82m\tApache-2.0\ten\t3600\tyes\n"
    )
    overrides = [f"data.folder={tmp_path}", "data.index=INDEX.tsv", "data.synthetic_share=0.2"]
    lines = data_lines(load_config("tiny", overrides))
    assert "| kokoro-82m (synthetic) | 1.00 | 1 | Apache-2.0 |" in lines[0]
    assert lines[-1] == (
        "3.0 hours are recordings; 1.0 hours are synthetic, from which at most 20 % of the crops were drawn."
    )


def test_the_card_names_copyleft_licenses() -> None:
    lines = license_lines("| A | 1.00 | 1 | CC-BY-SA (version not stated); GPL 2 + |\n| B | 2.00 | 1 | CC0-1.0 |")
    assert any(line.endswith("copyleft licenses: CC-BY-SA, GPL.") for line in lines)
    assert not any("copyleft" in line for line in license_lines("| A | 1.00 | 1 | CC-BY-4.0; MIT |"))


def test_the_embedded_card_has_the_generated_license() -> None:
    card = (EMBEDDED / "README.md").read_text(encoding="utf-8")
    data, _, following = card.partition("\n## Training data\n")[2].partition("\n## License\n\n")
    assert following.startswith("\n".join(license_lines(data)) + "\n\n## Quality\n")


def test_the_card_lists_the_starting_weights(folder: Path, run: Path, tmp_path: Path) -> None:
    def chain(init: Path | str) -> str:
        return "".join(start_lines(load_config("tiny", [f"init={init}"])))

    written = json.loads((folder / "config.json").read_text())["weights_hash"]
    assert f"from the Silk weights {written}." in chain(folder)
    assert "from the run 'first'." in chain("/gone/first")
    second = tmp_path / "second"  # a run that started from these weights
    second.mkdir()
    shutil.copy(run / "checkpoint.safetensors", second)
    config = load_config(run / "config.toml", [f"init={folder}"])
    (second / "config.toml").write_text(dump_config(config))
    assert f"from the run '{run.name}' (3 steps, " in chain(run)
    assert "from the run 'second' (3 steps, " in chain(second)
    assert f"which started from the Silk weights {written}." in chain(second)
    (second / "config.toml").write_text(dump_config(load_config(run / "config.toml", [f"init={second}"])))
    assert chain(second).count("the run 'second'") == 1  # an edited config can be circular
    assert start_lines(load_config("tiny")) == []
    assert "Started from" not in (folder / "README.md").read_text()
    listed = "\n".join(starting_data_lines(load_config("tiny", [f"init={folder}"])))
    assert "| Corpus B | 2.00 |" in listed and starting_data_lines(load_config("tiny")) == []


@pytest.mark.parametrize("name", ["", "checkpoint.safetensors"])
def test_the_card_lists_the_data_of_an_earlier_run(folder: Path, run: Path, tmp_path: Path, name: str) -> None:
    """Check that the card names the data of a run, and of the weights that this run started from."""
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(run / "checkpoint.safetensors", first)
    overrides = [f"init={folder}", f"data.folder={tmp_path}", "data.index=INDEX.tsv"]
    (first / "config.toml").write_text(dump_config(load_config("tiny", overrides)))
    row = "a.wav\ttrain\tCorpus C\tGPL\t7200\ten"
    (tmp_path / "INDEX.tsv").write_text(f"path\tsplit\tsource\tlicence\tduration_s\tlanguage\n{row}\n")
    config = load_config("tiny", [f"init={first / name}"])
    assert "from the run 'first' (3 steps, " in "".join(start_lines(config))
    listed = "\n".join(starting_data_lines(config))
    assert "| Corpus C | 2.00 | 1 | GPL |" in listed and "| Corpus B | 2.00 |" in listed
    same = load_config("tiny", [f"init={first / name}", *overrides[1:]])
    assert "Corpus C" not in "\n".join(starting_data_lines(same))


# --- loading an export into a network


def test_weights_are_loaded_from_an_export(folder: Path, model: SilkNetwork, run: Path) -> None:
    torch.manual_seed(99)
    other = SilkNetwork(model.config)
    load_weights(other, folder)
    for (name, parameter), filled in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, filled), name


def test_a_run_starts_from_an_exported_folder(folder: Path, model: SilkNetwork, speech: Path, tmp_path: Path) -> None:
    stage = 'stage=[{name="all", steps=1, losses={mel=1.0}}]'
    sizes = ["model.past_frames=2", "model.noise=true"]
    overrides = [f"data.folder={speech}", f"init={folder}", stage, *sizes, "optim.threads=1"]
    trainer = Trainer(load_config("tiny", overrides), tmp_path / "run")
    for module_ in (trainer.model, trainer.ema):
        for parameter, filled in zip(model.parameters(), module_.parameters(), strict=True):
            assert torch.equal(parameter, filled)
    with pytest.raises(WeightsError, match=r"do not match \[model\]"):
        Trainer(load_config("tiny", [*overrides, "model.width=48"]), tmp_path / "other")
    with pytest.raises(WeightsError, match=r"decoder\.head\.noise"):  # its noise is not dropped silently
        Trainer(load_config("tiny", [*overrides, "model.noise=false"]), tmp_path / "another")


def test_tokens_of_weights_with_the_same_encoder_stay_decodable(run: Path, folder: Path, tmp_path: Path) -> None:
    """Check that a decoder with further training decodes the tokens of its earlier weights."""

    def changed(name: str) -> Path:
        later = tmp_path / name
        shutil.copytree(run, later)
        groups, progress = checkpoint.load(run / "checkpoint.safetensors")
        groups["ema"][name] = groups["ema"][name] + 0.25
        checkpoint.save(later / "checkpoint.safetensors", groups, progress)
        return later

    export(changed("decoder.unfold.weight"), tmp_path / "later", same_encoder=folder)
    old, new = Silk(folder), Silk(tmp_path / "later")
    tokens = old.encode(golden_wave(0))
    assert new.codec_id != old.codec_id and len(new.decode(tokens)) == tokens.n_samples
    with pytest.raises(TokensError):
        old.decode(new.encode(golden_wave(0)))
    with pytest.raises(ArgumentError, match="must be identical to that of the run"):
        export(changed("encoder.fold.weight"), tmp_path / "refused", same_encoder=folder)


def test_settings_without_parameters_are_compared(
    folder: Path, run: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "run"))
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace("mel_mean = -1.6", "mel_mean = -2.0"))
    with pytest.raises(ArgumentError, match=r"identical to that of the run: mel_mean is -1\.6 instead of -2\.0\."):
        export(other, tmp_path / "out", same_encoder=folder)
    overrides = [f"data.folder={speech}", f"init={folder}", "model.past_frames=1", "model.noise=true"]
    Trainer(load_config("tiny", overrides), tmp_path / "new")
    assert "differ from [model]: past_frames is 2 instead of 1" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "changed", "no config"])
def test_damaged_weights_give_one_sentence(folder: Path, model: SilkNetwork, tmp_path: Path, damage: str) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "weights")
    if damage == "missing":
        (tmp_path / "weights" / "decoder.onnx").unlink()
    elif damage == "no config":
        (tmp_path / "weights" / "config.json").unlink()
    else:
        content = bytearray((tmp_path / "weights" / "encoder.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "weights" / "encoder.onnx").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_weights(SilkNetwork(model.config), tmp_path / "weights")
    assert "\n" not in str(caught.value)


# --- errors


def test_a_missing_run_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no checkpoint\.safetensors"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_export_does_not_change_the_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"weights_hash": "of an earlier export"}')
    monkeypatch.setattr(module, "to_onnx", lambda graph: b"no graph")

    def disagrees(*_: Any) -> None:
        raise WeightsError("The exported graphs do not match the network of the run.")

    monkeypatch.setattr(module, "check_parity", disagrees)
    with pytest.raises(WeightsError, match="do not match the network of the run"):
        export(run, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == '{"weights_hash": "of an earlier export"}'


def test_parity_is_checked_against_the_network(folder: Path, model: SilkNetwork, tmp_path: Path) -> None:
    import copy
    import shutil

    shutil.copytree(folder, tmp_path / "weights")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.encoder.fold.bias.add_(0.2)
    module.write_golden(other, tmp_path / "weights")
    with pytest.raises(WeightsError, match="levels differ"):
        module.check_parity(other, tmp_path / "weights")


def test_a_folder_that_cannot_be_written_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        export(run, tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["english", "mandarin", "arabic"])
def test_the_embedded_graph_gives_the_tokens_of_its_network_on_speech(weights_folder: Path, name: str) -> None:
    """Compare the levels of real speech in PyTorch and ONNX. They are equal except at quantization boundaries."""
    codec = Silk(weights_folder)
    model = SilkNetwork(ModelConfig(**codec.config.network)).eval()
    load_weights(model, weights_folder)
    wave = audio.read(SAMPLES / f"{name}.flac", SAMPLE_RATE)
    tokens = codec.encode(wave, SAMPLE_RATE)
    levels = torch.from_numpy(tokens.to_levels())[None]
    different = (model.encode(torch.from_numpy(wave)[None]) != levels)[0].numpy()
    latents = codec.latents(wave, SAMPLE_RATE)
    assert (0.5 - np.abs(latents - np.rint(latents)))[different].max(initial=0) < 1e-4 and different.sum() <= 2
    assert np.abs(codec.decode(tokens) - model.decode(levels, len(wave))[0].numpy()).max() < 3e-4
