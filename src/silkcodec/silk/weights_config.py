"""Read config.json, which describes the ONNX graphs in a weights folder.

Weights can come from an untrusted source, so the sizes of files and values are limited.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import WeightsError
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, SILK_SAMPLE_RATE

FORMAT = 1  # supported format of config.json
CONFIG_BYTES = 1 << 20
GRAPH_BYTES = 1 << 28
MAX_STATES, MAX_STATE_AXES, MAX_STATE_NUMBERS = 256, 8, 1 << 24  # per graph; 64 MB for each stream
MAX_SIZE = 1 << 16  # largest number in the network's config, e.g. of channels or layers
MAX_NAME = 100  # characters
_FIXED = {  # The token format requires these values.
    "sample_rate": SILK_SAMPLE_RATE,
    "frame_samples": FRAME_SAMPLES,
    "latent_width": LATENT_WIDTH,
    "n_levels": N_LEVELS,
    "dims_per_token": DIMS_PER_TOKEN,
}


@dataclass(frozen=True)
class GraphConfig:
    """The description of an ONNX graph in config.json.

    Attributes:
        file: name of the file in the weights folder.
        sha256: SHA-256 of the file.
        states: shapes of the streaming states without the batch axis, keyed by state name.
    """

    file: str
    sha256: str
    states: dict[str, tuple[int, ...]]

    @property
    def state_names(self) -> list[str]:
        """Return the names of the states in the order of the graph's inputs."""
        return list(self.states)

    def fresh_states(self) -> list[NDArray[np.float32]]:
        """Return the states at the start of a stream: arrays of zeros, float32 [1, *shape]."""
        return [np.zeros((1, *shape), dtype=np.float32) for shape in self.states.values()]

    def verified_bytes(self, folder: Path) -> bytes:
        """Read the graph file and check its SHA-256.

        Raises:
            WeightsError: the file is missing, or its SHA-256 does not match.
        """
        path = folder / self.file
        content = read_bytes(path, GRAPH_BYTES)
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise WeightsError(
                f"The SHA-256 of '{path}' does not match config.json: {found[:12]}... instead of {self.sha256[:12]}..."
                " The file is damaged or was replaced. Install or export the weights again."
            )
        return content


@dataclass(frozen=True)
class WeightsConfig:
    """The contents of config.json in a weights folder.

    Attributes:
        name: name of the codec.
        weights_hash: hash of the two graphs, 12 hex digits. Tokens store this hash.
        lookahead_samples: look-ahead of the encoder in samples.
        history_samples: number of past samples that the encoder's state contains.
        encoder, decoder: descriptions of the two graphs.
        decodes: codec ids, such as "silk@0a1b2c3d4e5f", of other weights with an identical encoder. Tokens with these
            codec ids can be decoded as well.
        network: dimensions of the network, keyed by the field names of `silkcodec_torch.nn.sizes.ModelConfig`. The
            dictionary can be empty.
    """

    name: str
    weights_hash: str
    lookahead_samples: int
    history_samples: int
    encoder: GraphConfig
    decoder: GraphConfig
    decodes: tuple[str, ...]
    network: dict[str, int | float | str]

    @classmethod
    def read(cls, folder: Path) -> WeightsConfig:
        """Read and check config.json in a weights folder.

        Raises:
            WeightsError: the file is missing or invalid, has an unsupported format, or does not describe Silk weights.
        """
        path = folder / "config.json"
        values = read_json(path, "A weights folder must contain config.json. ")
        try:
            return cls._parse(values, path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {_short(str(error))}"
            raise WeightsError(
                f"'{path}' is not a valid weights config: {reason}. Export the weights again."
            ) from error

    @classmethod
    def _parse(cls, values: dict[str, Any], path: Path) -> WeightsConfig:
        if values["format"] is True or values["format"] != FORMAT:
            found = _short(values["format"])
            raise WeightsError(f"The format of '{path}' must be {FORMAT}; got {found}. Upgrade silkcodec.")
        for key, fixed in _FIXED.items():
            if values[key] != fixed:
                raise WeightsError(f"'{path}' must have {key} = {fixed}; got {_short(values[key])}.")
        config = cls(
            name=_text(values, "name"),
            weights_hash=_text(values, "weights_hash"),
            lookahead_samples=_integer("lookahead_samples", values["lookahead_samples"], 1, FRAME_SAMPLES),
            history_samples=_integer("history_samples", values["history_samples"], 0, MAX_STATE_NUMBERS),
            encoder=_graph(values["encoder"]),
            decoder=_graph(values["decoder"]),
            decodes=_ids(values.get("decodes", [])),
            network=_sizes(values.get("network", {})),
        )
        digests = config.encoder.sha256 + config.decoder.sha256
        if hashlib.sha256(digests.encode()).hexdigest()[:12] != config.weights_hash:
            raise WeightsError(f"weights_hash in '{path}' does not match the two graphs. Export the weights again.")
        if config.encoder.states.get("state_wave") != (config.history_samples + config.lookahead_samples,):
            raise WeightsError(
                f"The encoder state 'state_wave' in '{path}' must have history_samples + lookahead_samples values."
                " Export the weights again."
            )
        return config


def read_bytes(path: Path, limit: int, needed: str = "") -> bytes:
    """Read a regular file.

    Args:
        path: path of the file.
        limit: maximum size in bytes.
        needed: prefix of the error message if the file cannot be read.

    Raises:
        WeightsError: the file is missing, too large or not a regular file.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would block until its other end is opened.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise WeightsError(f"'{path}' must be a regular file.")
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise WeightsError(f"'{path}' must be at most {limit:,} bytes; got {size:,}.")
            return file.read(limit)
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{needed}Cannot read '{path}': {reason}.") from error


def read_json(path: Path, needed: str = "") -> Any:
    """Read a JSON file of at most 1 MB.

    Args:
        path, needed: see `read_bytes`.

    Raises:
        WeightsError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(read_bytes(path, CONFIG_BYTES, needed).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"Cannot read '{path}' as JSON: {_short(str(error))}.") from error


def _graph(values: dict[str, Any]) -> GraphConfig:
    file = _text(values, "file")
    if Path(file).name != file:
        raise ValueError(f"file must be a file name without a folder; got {file!r}")
    given = values["states"]
    if not isinstance(given, list) or len(given) > MAX_STATES:
        raise ValueError(f"states must be a list of at most {MAX_STATES} states")
    states = {_text(state, "name"): _shape(state["shape"]) for state in given}
    if sum(math.prod(shape) for shape in states.values()) > MAX_STATE_NUMBERS:
        raise ValueError(f"the states must contain at most {MAX_STATE_NUMBERS:,} values in total")
    return GraphConfig(file=file, sha256=_text(values, "sha256"), states=states)


def _ids(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > MAX_STATES:
        raise ValueError(f"decodes must be a list of at most {MAX_STATES} codec ids")
    return tuple(_text({"decodes": value}, "decodes") for value in values)


def _sizes(values: Any) -> dict[str, int | float | str]:
    """Check that each value is a short string or a number between -`MAX_SIZE` and `MAX_SIZE`, and return the values."""
    if not isinstance(values, dict) or len(values) > MAX_STATES:
        raise ValueError(f"network must be an object with at most {MAX_STATES} entries")
    for name, value in values.items():
        if isinstance(value, str):
            _text(values, name)
        elif not isinstance(value, int | float) or not abs(value) <= MAX_SIZE:
            raise ValueError(
                f"network.{name} must be a string or a number between -{MAX_SIZE:,} and {MAX_SIZE:,};"
                f" got {_short(value)}"
            )
    return values


def _shape(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_STATE_AXES:
        raise ValueError(f"the shape of a state must be a list of 1 to {MAX_STATE_AXES} integers; got {_short(values)}")
    return tuple(_integer("each value in the shape of a state", value, 1, MAX_STATE_NUMBERS) for value in values)


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be an integer between {low} and {high}; got {_short(value)}")
    return value


def _text(values: dict[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise ValueError(f"{name} must be a printable string of 1 to {MAX_NAME} characters; got {_short(value)}")
    return value


def _short(value: Any) -> str:
    """Format a value as a single line of limited length for an error message."""
    text = value if isinstance(value, str) and value.isprintable() else reprlib.repr(value)
    return text if len(text) <= 2 * MAX_NAME else f"{text[: 2 * MAX_NAME]}..."
