"""Record the activations of Silk's layers on a recording, for the figures on the web page.

The graphs return only tokens, audio and states. To return inner values as well, a few bytes that declare additional
outputs are appended to the file of a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from silkcodec.silk import Silk
from silkcodec.silk.graph_file import fields
from silkcodec.silk.weights_config import GraphConfig
from silkcodec.spec import FRAME_SAMPLES

CHANNELS = 64  # number of channels shown per layer: those that vary most
DEVIATIONS = 3.0  # shown range of a channel around its mean
STEP_HZ, COLUMN_HZ = 25, 100
SPECTRUM_ROWS, LOWEST_DB = 120, -100.0  # size of the picture of the predicted spectrum
FULL_SCALE = 180  # magnitude of a full-scale sine in the decoder's window, a Hann window of 720 samples
HANN_BINS = 1.5  # the sum of the squared magnitudes of a sine in all bins, as a multiple of the highest


@dataclass(frozen=True)
class Layer:
    """Describe a layer of the network. `value` is the name of its output in the graph."""

    part: str  # "encoder" or "decoder"
    kind: str  # "convolution", "transformer" or "spectrum"
    number: int  # from 1
    rate_hz: int
    value: str

    @property
    def rows(self) -> int:
        return SPECTRUM_ROWS if self.kind == "spectrum" else CHANNELS


class Recorder:
    """Run a codec frame by frame, and record the activations of every layer."""

    def __init__(self, codec: Silk) -> None:
        config = codec.config
        self._config = config
        contents = [graph.verified_bytes(codec.folder) for graph in (config.encoder, config.decoder)]
        self.layers = encoder_layers(contents[0]) + decoder_layers(contents[1])
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(with_outputs(content, [one.value for one in self.layers if one.part == part]))
            for content, part in zip(contents, ("encoder", "decoder"), strict=True)
        )

    def index(self) -> list[dict[str, Any]]:
        """Return a description of each layer, in the order of `record`."""
        return [
            {"part": one.part, "kind": one.kind, "number": one.number, "rate_hz": one.rate_hz, "rows": one.rows}
            for one in self.layers
        ]

    def record(self, wave: NDArray[np.float32], levels: NDArray[np.uint8]) -> bytes:
        """Return the activations of all layers as bytes, uint8 [T, rows] per layer.

        Args:
            wave: samples at 24 kHz, float32 [T].
            levels: quantization levels of the recording's tokens, uint8 [F, 128].
        """
        ahead = self._config.lookahead_samples
        padded = np.zeros((1, len(levels) * FRAME_SAMPLES + ahead), np.float32)
        padded[0, : len(wave)] = wave[: padded.shape[1]]
        states = dict(zip(self._config.encoder.state_names, self._config.encoder.fresh_states(), strict=True))
        states["state_wave"][0, -ahead:] = padded[0, :ahead]
        frames = [padded[:, at : at + FRAME_SAMPLES] for at in range(ahead, padded.shape[1], FRAME_SAMPLES)]
        found = self._run(self._encoder, "wave", frames, states, "encoder")
        states = dict(zip(self._config.decoder.state_names, self._config.decoder.fresh_states(), strict=True))
        found |= self._run(self._decoder, "levels", [one[None, None] for one in levels], states, "decoder")
        pictures = (spectrum(found[one]) if one.kind == "spectrum" else channels(found[one]) for one in self.layers)
        return b"".join(picture.tobytes() for picture in pictures)

    def _run(
        self, session: Any, name: str, frames: list[Any], states: dict[str, Any], part: str
    ) -> dict[Layer, NDArray[np.float32]]:
        layers = [one for one in self.layers if one.part == part]
        wanted = [one.value for one in layers] + [f"next_{state}" for state in states]
        parts: list[list[Any]] = [[] for _ in layers]
        for frame in frames:
            outputs = session.run(wanted, {name: frame, **states})
            for kept, output in zip(parts, outputs, strict=False):
                kept.append(output)
            states = dict(zip(states, outputs[len(layers) :], strict=True))
        columns = [int(one.rate_hz * len(frames) * FRAME_SAMPLES / 24_000) for one in layers]
        return {
            one: np.concatenate([np.ravel(part) for part in kept]).reshape(n, -1)
            for one, kept, n in zip(layers, parts, columns, strict=True)
        }


def encoder_layers(content: bytes) -> list[Layer]:
    """Find the outputs of the encoder's layers."""
    nodes = list(read_nodes(content))
    convolutions = [*later_blocks(nodes, "state_conv"), input_with(nodes, "encoder.down.weight.T")]
    steps = [*later_layers(nodes, "encoder"), input_with(nodes, "encoder.transformer.norm.weight")]
    return layers("encoder", "convolution", COLUMN_HZ, convolutions) + layers("encoder", "transformer", STEP_HZ, steps)


def decoder_layers(content: bytes) -> list[Layer]:
    """Find the outputs of the decoder's layers, and the predicted spectrum."""
    nodes = list(read_nodes(content))
    steps = [*later_layers(nodes, "decoder"), input_with(nodes, "decoder.transformer.norm.weight")]
    convolutions = [*later_blocks(nodes, "state_conv"), input_with(nodes, "decoder.norm.weight")]
    head = [next(node.outputs[0] for node in nodes if "decoder.head.project.bias" in node.inputs)]
    return (
        layers("decoder", "transformer", STEP_HZ, steps)
        + layers("decoder", "convolution", COLUMN_HZ, convolutions)
        + layers("decoder", "spectrum", COLUMN_HZ, head)
    )


def layers(part: str, kind: str, rate_hz: int, values: list[str]) -> list[Layer]:
    return [Layer(part, kind, number, rate_hz, value) for number, value in enumerate(values, 1)]


@dataclass(frozen=True)
class Node:
    inputs: list[str]
    outputs: list[str]


def read_nodes(content: bytes) -> Iterator[Node]:
    """Yield the nodes of an ONNX file."""
    for number, graph in fields(memoryview(content)):
        if number == 7:
            for kind, node in fields(graph):
                if kind == 1:
                    names = [(field, bytes(value).decode()) for field, value in fields(node) if field in (1, 2)]
                    yield Node(
                        [name for field, name in names if field == 1], [name for field, name in names if field == 2]
                    )


def input_with(nodes: list[Node], weight: str) -> str:
    """Return the other input of the node that uses a weight.

    Raises:
        ValueError: no node uses the weight.
    """
    for node in nodes:
        if weight in node.inputs:
            return node.inputs[0]
    raise ValueError(f"The graph must have a node with the input {weight!r}; export the weights again.")


def later_blocks(nodes: list[Node], state: str) -> list[str]:
    """Return the outputs of all convolution blocks but the last."""
    appended = {
        node.inputs[0]: node.inputs[1] for node in nodes if len(node.inputs) == 2 and node.inputs[0].startswith(state)
    }
    return [appended[f"{state}{i}"] for i in range(1, len(appended))]


def later_layers(nodes: list[Node], part: str) -> list[str]:
    """Return the outputs of all transformer layers but the last."""
    names = [f"{part}.transformer.layers.{i}.norm_attention.weight" for i in range(1, 64)]
    present = {name for node in nodes for name in node.inputs}
    return [input_with(nodes, name) for name in names if name in present]


def with_outputs(content: bytes, names: list[str]) -> bytes:
    """Return an ONNX file with additional float32 outputs."""
    float_tensor = field(2, field(1, b"\x08\x01"))  # TypeProto.tensor_type.elem_type = FLOAT
    return content + field(7, b"".join(field(12, field(1, name.encode()) + float_tensor) for name in names))


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def channels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the channels that vary most, uint8 [T, 64], where 128 is the mean of a channel.

    Similar channels are next to each other.
    """
    spread = values.std(axis=0)
    kept = values[:, np.argsort(-spread, kind="stable")[:CHANNELS]]
    scaled = (kept - kept.mean(axis=0)) / np.maximum(kept.std(axis=0), 1e-6)
    common = np.linalg.svd(scaled, full_matrices=False)[0][:, 0]  # the variation that the channels share
    ordered = scaled[:, np.argsort(-(scaled.T @ common), kind="stable")]
    return np.rint(np.clip(128 + 127 * ordered / DEVIATIONS, 0, 255)).astype(np.uint8)


def spectrum(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the predicted spectrum, uint8 [T, 120], where 0 is -100 dBFS and 255 is 0 dBFS."""
    log_magnitude = values[:, : values.shape[1] // 2][:, : 3 * SPECTRUM_ROWS].reshape(len(values), SPECTRUM_ROWS, 3)
    power = np.exp(2 * np.minimum(log_magnitude, 6.0)).sum(axis=2) / HANN_BINS
    db = 10 * np.log10(power / FULL_SCALE**2)
    return np.rint(np.clip(255 * (1 - db / LOWEST_DB), 0, 255)).astype(np.uint8)


def past_columns(graph: GraphConfig) -> int:
    """Return the number of past columns that a convolution block reads."""
    return graph.states["state_conv0"][0]
