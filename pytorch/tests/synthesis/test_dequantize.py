"""Test that a dequantized model computes with floating-point activations and the rounded weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dequantize import dequantize

QUANTIZED = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"}


def round_bias(graph: onnx.GraphProto) -> None:
    """Add the bias before scaling, as 32-bit integers. Kokoro's graph does this; newer versions do not."""
    scale, shape = "x_scale_conv_scale_mul:0", "c_bias_reshape_shape"
    nodes = list(graph.node)[1:]  # without the Reshape of the bias, which is the first node
    at = next(i for i, node in enumerate(nodes) if node.op_type == "ConvInteger")
    nodes[at + 1 : at + 4] = [  # replaces Cast, Mul and Add
        helper.make_node("Div", ["bias", scale], ["divided"]),
        helper.make_node("Floor", ["divided"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["integers"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["integers", shape], ["reshaped"]),
        helper.make_node("Add", ["c_output_quantized", "reshaped"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", scale], ["c"]),
    ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    """Return a random model, the same model after dynamic quantization, and the dequantized model."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    shapes = {
        "conv": (8, 6, 3), "bias": (8,), "plain": (8, 8, 1), "matrix": (8, 8),
        "w": (2, 16, 8), "r": (2, 16, 4), "b": (2, 32),
    }  # fmt: skip
    weights = [numpy_helper.from_array(rng.normal(0, 0.5, s).astype(np.float32), name) for name, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "conv", "bias"], ["c"], pads=[1, 1]),
        helper.make_node("Conv", ["c", "plain"], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"], perm=[2, 0, 1]),
        helper.make_node("MatMul", ["t", "matrix"], ["m"]),
        helper.make_node("LSTM", ["m", "w", "r", "b"], ["y"], hidden_size=4, direction="bidirectional"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, "n"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 1, 4])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    original = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(original, folder / "original.onnx")
    quantize_dynamic(
        folder / "original.onnx", folder / "quantized.onnx", weight_type=QuantType.QUInt8,
        op_types_to_quantize=["Conv", "MatMul", "LSTM"],
    )  # fmt: skip
    quantized = onnx.load(folder / "quantized.onnx")
    round_bias(quantized.graph)
    floating = onnx.ModelProto.FromString(quantized.SerializeToString())
    dequantize(floating)
    return {"original": original, "quantized": quantized, "floating": floating}


def output(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_no_quantized_node_remains(models: dict[str, onnx.ModelProto]) -> None:
    assert QUANTIZED & {node.op_type for node in models["quantized"].graph.node} == QUANTIZED
    graph = models["floating"].graph
    assert [node.op_type for node in graph.node] == ["Conv", "Conv", "Transpose", "MatMul", "LSTM"]
    assert len(graph.initializer) == 7
    onnx.checker.check_model(models["floating"])


def test_only_the_rounding_of_the_weights_remains(models: dict[str, onnx.ModelProto]) -> None:
    stored = {item.name: numpy_helper.to_array(item) for item in models["quantized"].graph.initializer}
    rounded = onnx.ModelProto.FromString(models["original"].SerializeToString())
    for item in rounded.graph.initializer:
        if (name := f"{item.name}_quantized") in stored:
            scale, zero = (stored[f"{item.name}_{part}"].reshape(-1, 1, 1) for part in ("scale", "zero_point"))
            values = (stored[name].astype(np.float32) - zero) * scale
            values = values.transpose(0, 2, 1) if item.name in "wr" else values.reshape(item.dims)
            item.CopyFrom(numpy_helper.from_array(values.astype(np.float32), item.name))
    x = np.random.default_rng(2).normal(0, 1, (1, 6, 50)).astype(np.float32)
    expected = output(rounded, x)
    assert np.allclose(output(models["floating"], x), expected, atol=1e-6)
    assert not np.allclose(output(models["quantized"], x), expected, atol=1e-4)
