"""Check an ONNX file before ONNX Runtime loads it, without using the `onnx` package.

A graph must contain all its weights, because the SHA-256 in config.json does not cover external files. Subgraphs
and functions are not allowed. Without them, there are no loops, so the file size limits the amount of computation.
"""

from __future__ import annotations

from collections.abc import Iterator

from silkcodec.errors import WeightsError

# Messages in onnx.proto that can contain tensors, directly or indirectly: field number -> message.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "subgraph", 10: "tensor", 11: "subgraph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external data", 14: "external data"},
}
_REFUSED = {
    "external data": "stores weights in another file",
    "subgraph": "contains a subgraph, e.g. a loop",
    "function": "contains functions",
    "training": "contains training information",
}
_DATA_LOCATION, _EMBEDDED = 14, 0  # field number and default value of TensorProto.data_location


def check_graph_file(content: bytes, name: str) -> None:
    """Raise WeightsError unless a file is an ONNX model that contains all its weights and no subgraphs.

    Args:
        content: bytes of the file.
        name: name of the file for error messages.
    """
    todo = [("model", memoryview(content))]
    try:
        while todo:
            kind, message = todo.pop()
            for number, value in fields(message):
                found = _FIELDS[kind].get(number)
                if found is None or (number == _DATA_LOCATION and value == _EMBEDDED):
                    continue
                if found in _REFUSED:
                    fault = _REFUSED[found]
                    raise WeightsError(
                        f"'{name}' must be an ONNX graph with embedded weights and without subgraphs, functions or"
                        f" training information, but it {fault}."
                    )
                if not isinstance(value, memoryview):
                    raise ValueError(f"field {number} of a {kind} is not a message")
                todo.append((found, value))
    except (ValueError, IndexError) as error:
        raise WeightsError(f"Cannot read '{name}' as an ONNX file: {error}.") from error


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field in a protobuf message.

    Raises:
        ValueError, IndexError: the message is invalid.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        value: int | memoryview
        if wire_type == 0:
            value, at = _varint(message, at)
        elif wire_type in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire_type, 0)
            if wire_type == 2:
                length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
            if at > len(message):
                raise ValueError("it is truncated")
        else:
            raise ValueError(f"invalid field type {wire_type}")
        if not 1 <= number < 1 << 29:
            raise ValueError(f"invalid field number {number}")
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise ValueError("a number has more than 64 bits")
