"""Test that every weights folder gives a working codec or a clear error, in bounded time and memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silkcodec.errors import WeightsError
from silkcodec.silk import Silk
from silkcodec.silk.graph_file import check_graph_file


def config_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def save(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json with correct hashes."""
    for part in ("encoder", "decoder"):
        content = (folder / config[part]["file"]).read_bytes()
        config[part]["sha256"] = hashlib.sha256(content).hexdigest()
    both = config["encoder"]["sha256"] + config["decoder"]["sha256"]
    config["weights_hash"] = hashlib.sha256(both.encode()).hexdigest()[:12]
    (folder / "config.json").write_text(json.dumps(config))


def refusal(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        codec = Silk(folder, threads=1)
        codec.decode(codec.encode(np.zeros(9600, np.float32)))
    text = str(caught.value)
    assert len(text) < 700 and text.isprintable()
    return text


# --- config.json


def set_state(shape: object) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["encoder"]["states"][1]["shape"] = shape

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_state([2**40]), "each value in the shape of a state must be an integer between 1 and 16777216"),
        (set_state([2**62, 8]), "value in the shape of a state"),
        (set_state([4096] * 3), "at most 16,777,216 values"),
        (set_state([-1]), "value in the shape of a state"),
        (set_state([1.5]), "value in the shape of a state"),
        (set_state([1] * 100), "1 to 8 integers"),
        (set_state([7, 256]), "states listed in config.json"),
        (lambda c: c["decoder"].update(states=[]), "states listed in config.json"),
        (lambda c: c["decoder"]["states"].extend({"name": f"s{i}", "shape": [1]} for i in range(300)), "at most 256"),
        (lambda c: c["encoder"].update(file="a\0b"), "file must be a printable string"),
        (lambda c: c["encoder"].update(file=".."), "Cannot read"),
        (lambda c: c.update(name="x\n\x1b[31m@evil" * 100), "name must be a printable string"),
        (lambda c: c.update(lookahead_samples=True), "lookahead_samples must be an integer"),
        (lambda c: c.update(lookahead_samples=float("nan")), "lookahead_samples must be an integer"),
        (lambda c: c.update(history_samples=-(2**80)), "history_samples must be an integer"),
        (lambda c: c.update(format=True), "must be 1; got True"),
        (lambda c: c.update(format="x" * 100_000), "must be 1; got xxx"),
        (lambda c: c.update(encoder=c["decoder"]), "state_wave"),
    ],
)
def test_invalid_values_are_rejected(
    linked_weights: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    config = config_of(linked_weights)
    change(config)
    both = config["encoder"]["sha256"] + config["decoder"]["sha256"]
    config["weights_hash"] = hashlib.sha256(both.encode()).hexdigest()[:12]
    (linked_weights / "config.json").write_text(json.dumps(config))
    assert words in refusal(linked_weights)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 200_000, "as JSON: maximum recursion"),
        (b"\xff\xfe\0", "as JSON"),
        (b"9" * 10_000, "as JSON"),
        (b'{"format": 1, "x": "' + b"a" * (1 << 20) + b'"}', "at most 1,048,576 bytes"),
        (b"[]", "is not a valid weights config"),
        (b'{"format": 1e400}', "must be 1; got inf"),
    ],
    ids=["deep", "binary", "digits", "large", "list", "infinite"],
)
def test_invalid_config_files_are_rejected(linked_weights: Path, text: bytes, words: str) -> None:
    (linked_weights / "config.json").write_bytes(text)
    assert words in refusal(linked_weights)


def test_an_infinite_number_is_rejected(linked_weights: Path) -> None:
    text = (linked_weights / "config.json").read_text()
    (linked_weights / "config.json").write_text(text.replace('"lookahead_samples": 480', '"lookahead_samples": 1e400'))
    assert "lookahead_samples must be an integer between 1 and 9600; got inf" in refusal(linked_weights)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["config.json", "encoder.onnx", "decoder.onnx"])
def test_pipes_devices_and_huge_files_are_rejected(linked_weights: Path, name: str) -> None:
    path = linked_weights / name
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        path.unlink()
        make(path)
        assert f"{name}' must be a regular file" in refusal(linked_weights)
    path.unlink()
    with open(path, "wb") as file:
        file.truncate(200 << 30)  # a sparse file, which takes no disk space
    assert "bytes; got 214,748,364,800" in refusal(linked_weights)


# --- graphs


def test_a_graph_with_another_interface_is_rejected(copied_weights: Path) -> None:
    shutil.copy(copied_weights / "decoder.onnx", copied_weights / "encoder.onnx")
    save(copied_weights, config_of(copied_weights))
    assert "must have the input 'wave'" in refusal(copied_weights)


@pytest.mark.parametrize("where", ["secret.bin", "../secret.bin", "/etc/passwd"])
def test_external_weights_are_rejected(copied_weights: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would read these weights from the working directory, and no SHA-256 covers them."""
    onnx = pytest.importorskip("onnx", reason="needs ./pytorch")
    model = onnx.load(copied_weights / "encoder.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    for place in (copied_weights, copied_weights.parent):
        (place / "secret.bin").write_bytes(bytes(len(largest.raw_data)))
    length = str(len(largest.raw_data))
    largest.ClearField("raw_data")
    largest.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", where), ("offset", "0"), ("length", length)):
        entry = largest.external_data.add()
        entry.key, entry.value = key, value
    (copied_weights / "encoder.onnx").write_bytes(model.SerializeToString())
    save(copied_weights, config_of(copied_weights))
    monkeypatch.chdir(copied_weights)
    assert "it stores weights in another file" in refusal(copied_weights)


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """Return a protobuf message."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += bytes([number << 3, value])
        else:
            data += bytes([number << 3 & 127 | 128 | 2, number >> 4]) + struct.pack("B", len(value)) + value
    return data


EXTERNAL = message((14, 1))
LISTED = message((13, message((1, b"location"), (2, b"x.bin"))))


@pytest.mark.parametrize("tensor", [EXTERNAL, LISTED], ids=["location", "entries"])
@pytest.mark.parametrize(
    "path",
    [(7, 5), (7, 15, 1), (7, 15, 2), (7, 1, 5, 5), (7, 1, 5, 10), (7, 1, 5, 22, 1), (7, 1, 5, 23, 2)],
    ids=str,
)
def test_external_weights_are_detected_in_every_kind_of_tensor(path: tuple[int, ...], tensor: bytes) -> None:
    for data, external in ((tensor, True), (message((14, 0), (9, b"1234")), False)):
        for number in reversed(path):
            data = message((number, b""), (number, data))
        if external:
            with pytest.raises(WeightsError, match="stores weights in another file"):
                check_graph_file(data, "a.onnx")
        else:
            check_graph_file(data, "a.onnx")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (message((7, message((1, message((5, message((6, b"")))))))), "a subgraph, e.g. a loop"),
        (message((7, message((1, message((5, message((11, b"")))))))), "a subgraph"),
        (message((25, b"")), "functions"),
        (b"ORTM" * 10, "as an ONNX file"),
        (b"\x3a\x7f", "truncated"),
        (b"\xff" * 20, "more than 64 bits"),
        (b"\x3a", "as an ONNX file"),
        (message((7, 1)), "is not a message"),
    ],
)
def test_files_that_are_not_flat_graphs_are_rejected(data: bytes, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        check_graph_file(data, "a.onnx")


def test_the_server_checks_its_weights_before_it_starts(copied_weights: Path) -> None:
    server = pytest.importorskip("silkcodec.serve.server", reason="needs [serve]")
    from silkcodec.serve.settings import Limits, Settings

    (copied_weights / "decoder.onnx").write_bytes(b"not a model")
    save(copied_weights, config_of(copied_weights))
    with pytest.raises(WeightsError, match=r"decoder\.onnx' as an ONNX file"):
        server.serve(Settings("127.0.0.1", 0, None, 1, 1, 8, copied_weights, Limits()))
