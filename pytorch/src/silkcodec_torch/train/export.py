"""Export a run's averaged weights to a folder that `silkcodec.load` can read.

    encoder.onnx  wave, states   -> mel, latent, levels, next states
    decoder.onnx  levels, states -> wave, next states
    config.json   sizes, states and checksums
    golden.npz    test data: a synthetic waveform, its levels and the decoded waveform
    README.md     the model card

Large weights are stored in float16 and converted to float32 when the graph is loaded. The Fourier bases and the mel
filters are not stored, but computed when the graph is loaded.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from silkcodec.errors import ArgumentError, OutputError, WeightsError
from silkcodec.mel import FRAME, HISTORY, HOP, LOOKAHEAD, N_FFT, N_MELS, SAMPLE_RATE, filterbank, hann
from silkcodec.silk.weights_config import FORMAT, GraphConfig, WeightsConfig
from silkcodec.spec import LATENT_WIDTH
from silkcodec_torch.nn.decoder import WINDOW
from silkcodec_torch.nn.mel import cosine_table, log_mel, windowed_dft
from silkcodec_torch.nn.model import SilkNetwork, fresh_states, with_noise
from silkcodec_torch.nn.sizes import ModelConfig
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.card import model_card
from silkcodec_torch.train.config import TrainConfig, load_config

OPSET = 18
SMALL = 1024  # Tensors with at most N values stay float32: norms and biases are small and sensitive to rounding.
FILES = (
    "encoder.onnx",
    "decoder.onnx",
    "golden.npz",
    "README.md",
    "config.json",
)  # config.json has the checksums, so it is last
WITHOUT_PARAMETERS = ("past_frames", "mel_floor", "mel_mean", "mel_std")  # settings that change no parameter's shape
TIE = 1e-3  # in levels; values closer to a rounding boundary can round differently on other machines
TRIES = 30  # number of golden waveforms to try, to find one without ties


def export(
    run: str | Path, out: str | Path, results: dict | None = None, same_encoder: str | Path | None = None
) -> dict:
    """Export a training run, and return the contents of config.json.

    Args:
        run: run folder, with config.toml and checkpoint.safetensors.
        out: output folder, created if necessary.
        results: results of `silk compare` for the model card, if available.
        same_encoder: folder of exported weights with the same encoder as the run. The new weights can decode all tokens
            that the weights in this folder can decode.

    Raises:
        ArgumentError: the model does not use FSQ, the encoder in `same_encoder` differs, or `results` were measured
            with different weights.
        WeightsError: the run does not exist, or the exported graph does not match the network. `out` is not changed.
        OutputError: `out` cannot be written to, or contains files with the same names from another source.
    """
    run, out = Path(run), Path(out)
    config, model, progress = load_run(run)
    decodes = [] if same_encoder is None else decoded_ids(model, Path(same_encoder))
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_replaceable(out, FILES, "weights_hash")
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as made:
            written = write_folder(Path(made), config, model, progress, results, decodes)
            for name in FILES:
                os.replace(Path(made) / name, out / name)
    except OSError as error:
        raise OutputError(f"Cannot write to the export folder '{out}': {error.strerror}.") from error
    return written


def check_replaceable(folder: Path, names: Sequence[str], key: str) -> None:
    """Check that an export replaces only files of an earlier export.

    Args:
        folder: output folder.
        names: names of the files that the export will write.
        key: key that only the config.json of such an export has.

    Raises:
        OutputError: the folder contains files with these names, but is not an earlier export.
    """
    present = [name for name in names if (folder / name).exists()]
    try:
        is_export = key in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        is_export = False
    if present and not is_export:
        raise OutputError(
            f"'{folder}' contains {present[0]}, but not weights in this format. Export to another folder."
        )


def write_folder(
    out: Path, config: TrainConfig, model: SilkNetwork, progress: dict, results: dict | None, decodes: list[str]
) -> dict:
    """Write the exported files, check them against the network, and return the contents of config.json."""
    described: dict[str, dict[str, Any]] = {}
    for name, graph in (("encoder", EncoderGraph(model)), ("decoder", DecoderGraph(model))):
        data = to_onnx(graph)
        (out / f"{name}.onnx").write_bytes(data)
        states = [{"name": key, "shape": list(shape)} for key, shape in graph.shapes.items()]
        described[name] = {"file": f"{name}.onnx", "sha256": hashlib.sha256(data).hexdigest(), "states": states}
    digest = hashlib.sha256((described["encoder"]["sha256"] + described["decoder"]["sha256"]).encode()).hexdigest()
    written = {
        "format": FORMAT, "name": "silk", "weights_hash": digest[:12], "sample_rate": SAMPLE_RATE,
        "frame_samples": FRAME, "lookahead_samples": LOOKAHEAD, "history_samples": HISTORY, "hop_samples": HOP,
        "n_mels": N_MELS, "latent_width": LATENT_WIDTH, "n_levels": model.quantizer.n_levels, "dims_per_token": 7,
        "decodes": decodes, "network": sizes(model.config), **described,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    write_golden(model, out)
    check_parity(model, out)
    (out / "README.md").write_text(model_card(config, progress, written, results, out), encoding="utf-8")
    return written


def decoded_ids(model: SilkNetwork, folder: Path) -> list[str]:
    """Return the codec ids of all tokens that the weights in `folder` can decode.

    Raises:
        ArgumentError: the encoder of `model` differs from the encoder in `folder` in a parameter or a setting.
        WeightsError: config.json or the encoder's graph in `folder` is missing or damaged.
    """
    config = WeightsConfig.read(folder)
    found = graph_weights(folder, config.encoder)
    parameters = model.encoder.named_parameters(prefix="encoder")
    wrong = [name for name, value in parameters if name not in found or not torch.equal(found[name], value)]
    differences = [*different_settings(model.config, folder), *(f"'{name}' differs" for name in wrong)]
    if differences:
        raise ArgumentError(f"The encoder in '{folder}' must be identical to that of the run: {differences[0]}.")
    return [f"{config.name}@{config.weights_hash}", *config.decodes]


def different_settings(config: ModelConfig, folder: Path) -> list[str]:
    """Return a description of each setting that differs between a network and exported weights.

    Only settings that do not change the shape of a parameter are compared, because `load_weights` checks the shapes.
    Settings that config.json in `folder` does not list are ignored.

    Raises:
        WeightsError: config.json in `folder` is missing or invalid.
    """
    ours, theirs = asdict(config), WeightsConfig.read(folder).network
    names = [name for name in WITHOUT_PARAMETERS if theirs.get(name, ours[name]) != ours[name]]
    return [f"{name} is {theirs[name]} instead of {ours[name]}" for name in names]


def sizes(config: ModelConfig) -> dict[str, int | float]:
    """Return the dimensions of the network for the exported config.json."""
    return {name: value for name, value in asdict(config).items() if name != "quantizer"}


def load_run(run: Path) -> tuple[TrainConfig, SilkNetwork, dict]:
    """Load a run for export.

    Returns:
        The config of the run, its averaged model (large tensors rounded to float16) and its progress.

    Raises:
        WeightsError: the checkpoint does not exist or is damaged.
        ArgumentError: the config is invalid, or the model does not use FSQ.
    """
    if not (run / "checkpoint.safetensors").exists():
        raise WeightsError(f"The run '{run}' has no checkpoint.safetensors. Train it first: silk train CONFIG -o {run}")
    config = load_config(run / "config.toml")
    if config.model.quantizer != "fsq":
        raise ArgumentError(
            f"Only models with the 'fsq' quantizer can be exported; the run '{run}' uses '{config.model.quantizer}'."
        )
    groups, progress = checkpoint.load(run / "checkpoint.safetensors")
    model = SilkNetwork(config.model).eval()
    checkpoint.fill(model, groups, "ema", run / "checkpoint.safetensors")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() > SMALL:
                parameter.copy_(parameter.half().float())
    return config, model, progress


class EncoderGraph(nn.Module):
    """Combine the log-mel spectrogram, the encoder and the quantizer for export."""

    def __init__(self, model: SilkNetwork):
        super().__init__()
        self.encoder, self.quantizer = model.encoder, model.quantizer
        self.shapes = model.encoder.state_shapes()
        self.inputs, self.outputs = ["wave"], ["mel", "latent", "levels"]
        self.register_buffer("mel_basis", windowed_dft())

    def forward(self, wave: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return the mel spectrogram, the latent, the levels, and the next states.

        The mel spectrogram has the shape [B, F * 40, 128]. The latent and the levels have the shape [B, F, 128].

        Args:
            wave: samples, [B, F * 9600].
            states: states of the encoder.
        """
        seen = torch.cat([states[0], wave], dim=1)
        mel = log_mel(seen, self.mel_basis, self.encoder.mel.filters)
        latent, next_states = self.encoder(mel, states[1:])
        bounded = self.quantizer.bound(latent)
        levels = (torch.round(bounded) + self.quantizer.half_width).to(torch.uint8)
        return [mel, bounded, levels, seen[:, -(HISTORY + LOOKAHEAD) :], *next_states]


class DecoderGraph(nn.Module):
    """Combine dequantization and the decoder for export."""

    def __init__(self, model: SilkNetwork):
        super().__init__()
        self.decoder, self.quantizer = copy.deepcopy(model.decoder), model.quantizer  # The network is not changed.
        self.shapes = model.decoder.state_shapes()
        self.inputs, self.outputs = ["levels"], ["wave"]
        self.register_buffer("inverse_basis", inverse_dft())
        self.decoder.head.inverse = self.inverse  # type: ignore[method-assign]  # as a matrix product

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the inverse real FFT ([B, T, 720]) of the spectra `real` + i `imaginary` ([B, T, 361])."""
        return torch.cat([real, imaginary], dim=-1) @ self.inverse_basis

    def forward(self, levels: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Decode levels (uint8 [B, F, 128]). Return the samples ([B, F * 9600]) and the next states."""
        wave, next_states = self.decoder(self.quantizer.decode(levels), states)
        return [wave, *next_states]


def inverse_dft() -> Tensor:
    """Return the matrix of the inverse real DFT, float32 [722, 720]: 361 rows of cosines, then 361 rows of sines."""
    steps = np.arange(WINDOW // 2 + 1)[:, None] * np.arange(WINDOW)[None, :]
    both = np.concatenate([steps, steps + 3 * WINDOW // 4], axis=0) % WINDOW
    return torch.from_numpy(cosine_table(WINDOW)[both] * inverse_weights())


def inverse_weights() -> np.ndarray:
    """Return the scale of each row of `inverse_dft`, float32 [722, 1]."""
    weights = np.full(WINDOW // 2 + 1, 2 / WINDOW, dtype=np.float32)
    weights[[0, -1]] = 1 / WINDOW
    return np.concatenate([weights, -weights])[:, None]


def to_onnx(graph: EncoderGraph | DecoderGraph) -> bytes:
    """Convert a graph to an ONNX file with large weights in float16, and return its bytes.

    The batch size and the number of frames are dynamic.
    """
    batch, frames = 2, 3
    states = fresh_states(graph.shapes, batch, torch.device("cpu"))
    batch_dim, frame_dim = torch.export.Dim("batch"), torch.export.Dim("frames", max=4096)
    if isinstance(graph, EncoderGraph):
        first, shape = torch.zeros(batch, frames * FRAME), {0: batch_dim, 1: FRAME * frame_dim}
    else:
        first, shape = torch.zeros(batch, frames, LATENT_WIDTH, dtype=torch.uint8), {0: batch_dim, 1: frame_dim}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # The exporter warns about deprecations in its own code.
        program = torch.onnx.export(
            graph.eval(), (first, states), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=[*graph.inputs, *graph.shapes],
            output_names=[*graph.outputs, *(f"next_{name}" for name in graph.shapes)],
            dynamic_shapes=(shape, [{0: batch_dim} for _ in states]),
        )  # fmt: skip
    model = program.model_proto
    compute_tables(model)
    name_weights(model, dict(graph.named_parameters()))
    store_half(model)
    # The exporter's metadata contains line numbers of source code. Without it, exports are reproducible.
    del model.metadata_props[:]
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_param = re.sub(r"\bs\d+\b", "frames", dim.dim_param)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def compute_tables(model: onnx.ModelProto) -> None:
    """Replace the Fourier bases and mel filters in a graph with nodes that compute the same values."""
    makers = {"mel_basis": basis_nodes, "inverse_basis": basis_nodes, "encoder.mel.filters": filter_nodes}
    for tensor in [t for t in model.graph.initializer if t.name in makers]:
        model.graph.initializer.remove(tensor)
        nodes = makers[tensor.name](tensor.name)
        for i, node in enumerate(nodes.list):
            model.graph.node.insert(i, node)
        model.graph.initializer.extend(nodes.constants)


def basis_nodes(name: str) -> Nodes:
    """Return nodes that look up the values of a Fourier basis in a stored cosine table.

    Cosines computed at load time would have different rounding errors on different machines.
    """
    is_mel = name == "mel_basis"
    rows, columns, n = (N_FFT, N_FFT // 2 + 1, N_FFT) if is_mel else (WINDOW // 2 + 1, WINDOW, WINDOW)
    nodes = Nodes(name)
    row = nodes.add("Unsqueeze", nodes.range(rows), nodes.constant(np.array([1])))
    column = nodes.add("Unsqueeze", nodes.range(columns), nodes.constant(np.array([0])))
    cosine = nodes.add("Mul", row, column)
    sine = nodes.add("Add", cosine, nodes.constant(np.array(3 * n // 4)))
    both = nodes.add("Concat", cosine, sine, axis=1 if is_mel else 0)
    steps = nodes.add("Mod", both, nodes.constant(np.array(n)))
    basis = nodes.add("Gather", nodes.constant(cosine_table(n)), steps)
    scale = nodes.constant(hann(N_FFT)[:, None] if is_mel else inverse_weights())
    nodes.list.append(helper.make_node("Mul", [basis, scale], [name]))
    return nodes


def filter_nodes(name: str) -> Nodes:
    """Return nodes that compute the mel filters, [513, 128], from a sparse representation.

    Each frequency bin is covered by at most two adjacent filters. For each bin, the graph stores the index of the first
    filter and the values of both.
    """
    filters = filterbank()
    first = np.minimum((filters != 0).argmax(axis=1), N_MELS - 2)
    nodes, parts, kept = Nodes(name), [], 0
    for band in (first, first + 1):
        heights = np.take_along_axis(filters, band[:, None], axis=1)  # [513, 1]
        kept += int(np.count_nonzero(heights))
        one_hot = (nodes.constant(band), nodes.constant(np.array(N_MELS)), nodes.constant(np.array([0, 1], np.float32)))
        parts.append(nodes.add("Mul", nodes.add("OneHot", *one_hot), nodes.constant(heights)))
    assert kept == np.count_nonzero(filters)
    nodes.list.append(helper.make_node("Add", parts, [name]))
    return nodes


class Nodes:
    """Collect ONNX nodes whose names share a prefix.

    Attributes:
        list: nodes, in order of execution.
        constants: constants that the nodes use.
    """

    def __init__(self, prefix: str):
        self.prefix = prefix
        self.list: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = f"{self.prefix}_{op.lower()}{len(self.list)}"
        self.list.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Add a constant, and return its name."""
        name = f"{self.prefix}_constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def range(self, n: int) -> str:
        """Add a node that returns 0 .. n - 1, and return the name of its output."""
        return self.add("Range", *(self.constant(np.array(v)) for v in (0, n, 1)))


def name_weights(model: onnx.ModelProto, parameters: dict[str, Tensor]) -> None:
    """Rename the weights in a graph to their parameter names, with a ``.T`` suffix for transposed weights."""
    parts: dict[str, np.ndarray] = {}
    for name, parameter in parameters.items():
        array = parameter.detach().numpy()
        parts[name] = array
        if array.ndim == 2:
            parts[f"{name}.T"] = array.T
    taken = {tensor.name for tensor in model.graph.initializer}
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if tensor.name in parameters or tensor.data_type != TensorProto.FLOAT or not tensor.dims:
            continue
        value = numpy_helper.to_array(tensor)
        for name, part in parts.items():
            if name not in taken and part.shape == value.shape and np.array_equal(part, value):
                renamed[tensor.name] = name
                taken.add(name)
                break
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def store_half(model: onnx.ModelProto) -> None:
    """Convert large float32 tensors of a graph to float16, and add nodes that cast them back to float32.

    Only tensors that do not change are converted: the parameters, which `load_run` rounds, and the noise table.
    """
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) <= SMALL:
            continue
        value = numpy_helper.to_array(tensor)
        if not np.array_equal(value.astype(np.float16), value):  # e.g. the rotary position embeddings
            continue
        half = numpy_helper.from_array(value.astype(np.float16), f"{tensor.name}.half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)


def write_golden(model: SilkNetwork, out: Path) -> None:
    """Write the test file golden.npz, which contains a synthetic waveform, its levels and the decoded waveform.

    The waveform is chosen so that its latent values are not close to rounding boundaries. The levels are therefore the
    same on all machines.
    """
    graph, clearances = EncoderGraph(model), {}
    for seed in range(TRIES):
        clearances[seed] = clearance(graph, golden_wave(seed))
        if clearances[seed] > TIE:
            break
    wave = golden_wave(max(clearances, key=lambda seed: clearances[seed]))
    levels = model.encode(torch.from_numpy(wave)[None])
    decoded = model.decode(levels, len(wave))[0].numpy()
    np.savez_compressed(out / "golden.npz", wave=wave, levels=levels[0].numpy().astype(np.uint8), decoded=decoded)


def golden_wave(seed: int) -> np.ndarray:
    """Return a synthetic 2.13 s waveform, float32 [51120]: voiced syllables, hiss and faint noise."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(int(2.13 * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 140 + 60 * np.sin(2 * np.pi * 0.7 * seconds)  # Hz
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(np.sin(h * phase) / h**1.2 for h in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 1.9 * seconds), 0, 1) ** 0.5
    pauses = np.clip(np.sin(2 * np.pi * 1.9 * seconds + 2.5), 0, 1)
    noise = rng.standard_normal(len(seconds))
    return (0.12 * voice * syllables + (0.03 * pauses + 0.001) * noise).astype(np.float32)


@torch.inference_mode()
def clearance(graph: EncoderGraph, wave: np.ndarray) -> float:
    """Return the smallest distance, in levels, between a latent value of `wave` and a rounding boundary."""
    padded = torch.from_numpy(np.pad(wave, (0, -len(wave) % FRAME + LOOKAHEAD)))[None]
    states = fresh_states(graph.shapes, 1, torch.device("cpu"))
    states[0][:, HISTORY:] = padded[:, :LOOKAHEAD]
    _, bounded, *_ = graph(padded[:, LOOKAHEAD:], states)
    return float(0.5 - (bounded - bounded.round()).abs().max())


def check_parity(model: SilkNetwork, out: Path) -> None:
    """Check that the exported graphs reproduce the levels and, to within 1e-3, the samples in golden.npz.

    Rounding differences between PyTorch and ONNX Runtime reached 1.2e-4 with a trained model.

    Raises:
        WeightsError: the levels or the samples differ.
    """
    from silkcodec.silk import Silk

    golden = np.load(out / "golden.npz")
    codec = Silk(out)
    tokens = codec.encode(golden["wave"], SAMPLE_RATE)
    different = int((tokens.to_levels() != golden["levels"]).sum())
    error = float(np.abs(codec.decode(tokens) - golden["decoded"]).max())
    if different or error > 1e-3:
        raise WeightsError(
            f"The exported graphs do not match the network of the run: {different} of {golden['levels'].size} levels"
            f" differ, and the samples differ by up to {error:.1e}. Keep the run and report this as a bug."
        )


def load_weights(model: SilkNetwork, folder: Path) -> None:
    """Load exported weights into a network, to continue training.

    Raises:
        WeightsError: the graphs in the folder are missing or damaged, or do not match the dimensions of the network.
    """
    parameters = dict(model.named_parameters())
    found = with_noise(model, exported_weights(folder))
    wrong = [name for name, p in parameters.items() if name not in found or found[name].shape != p.shape]
    wrong += [name for name in found if name.startswith("decoder.head.noise.") and name not in parameters]
    if wrong:
        raise WeightsError(
            f"The weights in '{folder}' do not match [model] in the config: {len(wrong)} tensors differ, for example"
            f" {wrong[0]}. Change the sizes in [model] to match the weights."
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(found[name])


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights in an exported folder, keyed by parameter name.

    Raises:
        WeightsError: a graph is missing or damaged.
    """
    config = WeightsConfig.read(folder)
    return graph_weights(folder, config.encoder) | graph_weights(folder, config.decoder)


def graph_weights(folder: Path, graph: GraphConfig) -> dict[str, Tensor]:
    """Return the float32 weights of an exported graph, keyed by parameter name.

    Raises:
        WeightsError: the graph is missing or damaged.
    """
    try:
        initializers = onnx.load_model_from_string(graph.verified_bytes(folder)).graph.initializer
    except DecodeError as error:
        raise WeightsError(
            f"Cannot read the weights in '{folder}': {error}. Pass a folder written by silk export."
        ) from None
    found: dict[str, Tensor] = {}
    for tensor in initializers:
        value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        name = tensor.name.removesuffix(".half")  # `store_half` adds .half, and `name_weights` adds .T
        value = value.float() if value.dtype == torch.float16 else value
        found[name.removesuffix(".T")] = value.T if name.endswith(".T") else value
    return found
