"""Convert an ONNX model with dynamically quantized layers to floating point.

Kokoro's published graph has 8-bit weights, and rounds the activations of each sentence to 8 bits. The rounded
activations add noise between the harmonics of the voice. This module keeps the values of the weights, but computes with
float32 activations. The resulting speech contains less noise, and is also generated faster.

ONNX Runtime's `quantize_dynamic` replaces a convolution or a matrix product with these nodes:

    x -> DynamicQuantizeLinear -> ConvInteger (weights) -> Add (rounded bias) -> Cast -> Mul (scales) -> y

This module replaces them with a single node:

    x -> Conv (weights, bias) -> y
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def dequantize(model: onnx.ModelProto) -> None:
    """Replace the quantized convolutions, matrix products and LSTMs of a model with floating-point nodes, in place."""
    graph = _Graph(model.graph)
    replaced = {}  # name of the first output of a node -> the node that replaces it
    for node in model.graph.node:
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            last, new = graph.product(node)
            replaced[last] = new
        elif node.op_type == "DynamicQuantizeLSTM":
            replaced[node.output[0]] = graph.lstm(node)
    nodes = [replaced.get(node.output[0], node) for node in model.graph.node]
    _keep_needed(model.graph, nodes, graph.weights)


class _Graph:
    """Create the floating-point nodes for a quantized graph, and collect their weights."""

    def __init__(self, graph: onnx.GraphProto):
        self._initializers = {item.name: item for item in graph.initializer}
        self._producer = {name: node for node in graph.node for name in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._users[name].append(node)
        self.weights: dict[str, onnx.TensorProto] = {}

    def product(self, node: onnx.NodeProto) -> tuple[str, onnx.NodeProto]:
        """Return the output name and the replacement node for a quantized convolution or matrix product."""
        inputs = [self._producer[node.input[0]].input[0]]
        (following,) = self._users[node.output[0]]
        bias = []
        if following.op_type == "Add":
            bias = [self._origin(_other(following, node.output[0]))]
            (following,) = self._users[following.output[0]]
        (scaled,) = self._users[following.output[0]]  # `following` is the Cast to float32.
        scales = self._producer[_other(scaled, following.output[0])]
        (scale,) = (name for name in scales.input if name in self._initializers)
        values = self._array(node.input[1]) - self._array(node.input[3])
        inputs += [self._add(node.input[1], values * self._array(scale)), *bias]
        new = helper.make_node(node.op_type.removesuffix("Integer"), inputs, [scaled.output[0]], node.name)
        new.attribute.extend(node.attribute)
        return scaled.output[0], new

    def lstm(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return the LSTM that replaces a quantized one. Quantized LSTMs store their weights transposed."""
        inputs = list(node.input)
        for at, scale, zero in ((1, 8, 9), (2, 10, 11)):
            scales, zeros = (self._array(inputs[i]).reshape(-1, 1, 1) for i in (scale, zero))
            values = (self._array(inputs[at]) - zeros) * scales
            inputs[at] = self._add(inputs[at], values.transpose(0, 2, 1))
        new = helper.make_node("LSTM", inputs[:8], list(node.output), node.name)
        new.attribute.extend(node.attribute)
        return new

    def _origin(self, name: str) -> str:
        """Return the name of the original bias, given the name of the rounded bias that the graph computes from it."""
        while name not in self._initializers:
            name = self._producer[name].input[0]
        return name

    def _array(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self._initializers[name]).astype(np.float32)

    def _add(self, name: str, values: NDArray[np.float32]) -> str:
        new = f"{name}_float"
        self.weights[new] = numpy_helper.from_array(np.ascontiguousarray(values), new)
        return new


def _other(node: onnx.NodeProto, name: str) -> str:
    """Return whichever of a node's two inputs is not `name`."""
    return str(node.input[1] if node.input[0] == name else node.input[0])


def _keep_needed(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]) -> None:
    """Replace a graph's nodes with `nodes`, and keep only the nodes and weights that its outputs depend on."""
    needed = {item.name for item in graph.output}
    kept = []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            needed |= set(node.input)
    tensors = [item for item in (*graph.initializer, *weights.values()) if item.name in needed]
    copies = [onnx.TensorProto.FromString(item.SerializeToString()) for item in tensors]
    for field, values in (("node", kept[::-1]), ("initializer", copies), ("value_info", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
