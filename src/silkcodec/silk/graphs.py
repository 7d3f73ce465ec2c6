"""Run the ONNX graphs in a weights folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import ProviderError, WeightsError
from silkcodec.silk.graph_file import check_graph_file
from silkcodec.silk.weights_config import GraphConfig

States = list[NDArray[np.float32]]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Graph:
    """Run an ONNX graph with streaming states.

    Args:
        folder: weights folder.
        config: description of the graph, from config.json.
        output: name of the output to return: "levels", "latent" or "wave".
        threads: number of threads per call.
        provider: ONNX Runtime's name for the provider; see `find_provider`.

    Raises:
        WeightsError: the file is missing, damaged or not the graph that config.json describes.
        ProviderError: the provider cannot be started.
    """

    def __init__(self, folder: Path, config: GraphConfig, output: str, threads: int, provider: str) -> None:
        self._path = folder / config.file
        content = config.verified_bytes(folder)
        check_graph_file(content, str(self._path))
        try:
            self._session = start_session(content, threads, provider)
        except onnxruntime_errors() as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"Cannot load '{self._path}' with ONNX Runtime: {reason.rstrip('.')}.") from error
        if self._session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU and only logs this.
            raise ProviderError(
                f"Cannot start the provider '{provider}'. Check the GPU drivers, or use --provider cpu."
            )
        self._input = "levels" if output == "wave" else "wave"
        self._states = config.state_names
        self._outputs = [output, *(f"next_{name}" for name in config.state_names)]
        self._check_interface(config)

    def _check_interface(self, config: GraphConfig) -> None:
        """Raise WeightsError unless the graph's inputs and outputs match config.json."""
        states = {name: list(shape) for name, shape in config.states.items()}
        taken = {i.name: i.shape[1:] for i in self._session.get_inputs()}
        returned = {o.name: o.shape[1:] for o in self._session.get_outputs()}
        taken.pop(self._input, None)
        missing = [name for name in self._outputs if name not in returned]
        if taken != states or any(returned.get(f"next_{name}") != shape for name, shape in states.items()) or missing:
            raise WeightsError(
                f"'{self._path}' must have the input {self._input!r}, the output {self._outputs[0]!r} and the states"
                " listed in config.json. Export the weights again."
            )

    def run(self, value: NDArray[Any], states: States) -> tuple[NDArray[Any], States]:
        """Run the graph, and return its output and the next states.

        Raises:
            WeightsError: the graph fails on these inputs.
        """
        feeds = {self._input: value, **dict(zip(self._states, states, strict=True))}
        try:
            outputs = self._session.run(self._outputs, feeds)
        except onnxruntime_errors() as error:  # for example, if a tensor in the graph does not fit in memory
            reason = str(error).splitlines()[0]
            raise WeightsError(f"Cannot run '{self._path}' with ONNX Runtime: {reason.rstrip('.')}.") from error
        return outputs[0], outputs[1:]


def start_session(content: bytes, threads: int, provider: str) -> Any:
    """Return an ONNX Runtime session for a graph. ONNX Runtime raises its own errors; see `onnxruntime_errors`."""
    import onnxruntime  # Imported here because the import takes 0.2 s, which reading a config does not require.

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads save little time per frame, but occupy a core between the frames of a live stream. On a busy
    # machine, they make two threads slower than one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # Log only errors, because the warnings are about skipped optimizations.
    return onnxruntime.InferenceSession(content, options, providers=[provider])


def find_provider(provider: str) -> str:
    """Return ONNX Runtime's name for the "cpu" or "cuda" provider.

    Raises:
        ProviderError: the provider is unknown or not available on this machine.
    """
    if provider not in PROVIDERS:
        raise ProviderError(f"provider must be {' or '.join(PROVIDERS)}; got '{provider}'.")
    if provider == "cpu":
        return PROVIDERS[provider]  # Every build has the CPU provider, so the slow import below is unnecessary.
    import onnxruntime

    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"The provider '{provider}' requires a GPU build of ONNX Runtime; run: pip install onnxruntime-gpu"
        )
    return PROVIDERS[provider]


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the exception classes that ONNX Runtime raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)]
    return (RuntimeError, ValueError, *own)
