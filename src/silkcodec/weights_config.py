"""config.json of a weights folder: what the two graphs are called, hold and must hash to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import WeightsError
from silkcodec.tokens import DIMS_PER_TOKEN, FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, SILK_SAMPLE_RATE

FORMAT = 1  # of config.json; a newer one is refused, not guessed at
_FIXED = {  # what the token format fixes: weights of another shape are not Silk
    "sample_rate": SILK_SAMPLE_RATE,
    "frame_samples": FRAME_SAMPLES,
    "latent_width": LATENT_WIDTH,
    "n_levels": N_LEVELS,
    "dims_per_token": DIMS_PER_TOKEN,
}


@dataclass(frozen=True)
class GraphConfig:
    """One ONNX graph: its file, that file's SHA-256, and its streaming states (name -> shape without B)."""

    file: str
    sha256: str
    states: dict[str, tuple[int, ...]]

    @property
    def state_names(self) -> list[str]:
        """In the order of the graph's inputs."""
        return list(self.states)

    def fresh_states(self) -> list[NDArray[np.float32]]:
        """The states of a stream that has not begun: zeros, float32 [1, *shape]."""
        return [np.zeros((1, *shape), dtype=np.float32) for shape in self.states.values()]

    def verified_bytes(self, folder: Path) -> bytes:
        """The graph's file, read once: what is checked is what is loaded.

        Raises:
            WeightsError: it is missing or is not the file that config.json describes.
        """
        path = folder / self.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"'{path}' cannot be read: {error.strerror or error}.") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise WeightsError(
                f"'{path}' must have the SHA-256 {self.sha256[:12]}... that config.json names;"
                f" got {found[:12]}...; the file is damaged or was exchanged: install or export it again."
            )
        return content


@dataclass(frozen=True)
class WeightsConfig:
    """A weights folder's config.json.

    Attributes:
        weights_hash: 12 hex digits of the SHA-256 of the two graphs' SHA-256s: what tokens are marked with.
    """

    name: str
    weights_hash: str
    lookahead_samples: int
    history_samples: int
    encoder: GraphConfig
    decoder: GraphConfig

    @classmethod
    def read(cls, folder: Path) -> WeightsConfig:
        """Read and check `folder`/config.json.

        Raises:
            WeightsError: it is missing, not understood, of a newer format, or not of Silk's shape.
        """
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror or error
            raise WeightsError(f"A weights folder must hold config.json; '{path}': {reason}.") from error
        except ValueError as error:
            raise WeightsError(f"'{path}' must be JSON; {error}.") from error
        try:
            return cls._parse(values, path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise WeightsError(f"'{path}' must describe Silk weights; got {reason}; export it again.") from error

    @classmethod
    def _parse(cls, values: dict[str, Any], path: Path) -> WeightsConfig:
        if values["format"] != FORMAT:
            raise WeightsError(f"'{path}' must be of format {FORMAT}; got {values['format']!r}; upgrade silkcodec.")
        for key, fixed in _FIXED.items():
            if values[key] != fixed:
                raise WeightsError(f"'{path}' must have {key} = {fixed}; got {values[key]!r}.")
        config = cls(
            name=str(values["name"]),
            weights_hash=str(values["weights_hash"]),
            lookahead_samples=int(values["lookahead_samples"]),
            history_samples=int(values["history_samples"]),
            encoder=_graph(values["encoder"]),
            decoder=_graph(values["decoder"]),
        )
        digests = config.encoder.sha256 + config.decoder.sha256
        if hashlib.sha256(digests.encode()).hexdigest()[:12] != config.weights_hash:
            raise WeightsError(f"'{path}' must have the weights_hash of its two graphs; export it again.")
        if not 0 < config.lookahead_samples <= FRAME_SAMPLES:
            raise WeightsError(f"'{path}' must have lookahead_samples of 1..{FRAME_SAMPLES}.")
        if config.encoder.states.get("state_wave") != (config.history_samples + config.lookahead_samples,):
            raise WeightsError(f"'{path}' must have an encoder state 'state_wave' of history + look-ahead.")
        return config


def _graph(values: dict[str, Any]) -> GraphConfig:
    if Path(values["file"]).name != values["file"]:
        raise ValueError(f"a file name without a folder is needed, not {values['file']!r}")
    states = {str(state["name"]): tuple(int(n) for n in state["shape"]) for state in values["states"]}
    return GraphConfig(file=values["file"], sha256=str(values["sha256"]), states=states)
