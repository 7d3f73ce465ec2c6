"""The default codec: encoder.onnx and decoder.onnx on ONNX Runtime, of which this is the only importer.

    wave [T] -> frames [1, 9600] -> encoder.onnx -> levels [1, 1, 128] -> 19 codes a frame -> Tokens
    Tokens -> levels [1, F, 128] -> decoder.onnx -> wave [F * 9600] -> cut to n_samples

State is data: both graphs take the state of the stream as inputs and return the next one, so a loaded
model holds nothing of any recording, and any number of threads may use it at once. `stream.py` holds the
loop over frames; here is what loads, checks and calls the graphs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.bare_codes import as_tokens, check_batch
from silkcodec.errors import ArgumentError, ProviderError, TokensError, WeightsError
from silkcodec.parallel.cores import available_cores
from silkcodec.parallel.rebuilt import absolute, recipe
from silkcodec.silk.graph_file import check_graph_file
from silkcodec.silk.stream import StreamDecoder, StreamEncoder
from silkcodec.silk.weights_config import GraphConfig, WeightsConfig
from silkcodec.tokens import (
    FRAME_SAMPLES,
    LATENT_WIDTH,
    N_LEVELS,
    SILK_FRAME_RATE,
    SILK_SAMPLE_RATE,
    Tokens,
    codebook_sizes,
    codes_to_levels,
    levels_to_codes,
    n_frames,
)

Wave = NDArray[np.float32]
States = list[NDArray[np.float32]]

EMBEDDED = Path(__file__).parent / "weights"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SILENT_PEAK = 2.0**-15  # one step of 16 bits, -90 dBFS; what Silk makes of zeros is below it
MIDDLE_LEVEL = N_LEVELS // 2  # the level nearest to 0 in the latent: what a dropped dimension is set to


class Silk:
    """Silk: 19 tokens every 400 ms.

    Args:
        folder: of the weights: config.json, encoder.onnx, decoder.onnx; None: the embedded ones.
        threads: CPU threads of one call; None takes up to `MAX_THREADS` of the machine's.
        provider: "cpu" or "cuda". Never is another one taken in its place.

    Attributes:
        name, sample_rate, codebook_sizes, frame_rates: see `Codec`.
        codec_id: name and hash of the weights, as its tokens carry it: "silk@0a1b2c3d4e5f".
        quantizer, latency_s, batch_exact: as the baselines have them; the latency is a frame and the look-ahead.

    Raises:
        WeightsError: files that are missing, damaged or of a newer format. The graphs themselves are read
            when they are first needed: encoding does not wait for the decoder.
        ProviderError: no such provider on this machine. ArgumentError: threads below 1.
    """

    DECODE_FRAMES = 5  # in one call of the decoder: a third faster than 1, and 2 s at most of a stream's memory
    MAX_THREADS = 4  # one frame is too little work for more
    quantizer = "FSQ"
    batch_exact = True

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        provider: str = "cpu",
    ) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise ArgumentError(f"threads must be a whole number of at least 1, or None; got {threads!r}.")
        if folder is not None and not isinstance(folder, (str, os.PathLike)):
            raise ArgumentError(f"A folder of weights must be a str or a path; got {folder!r}.")
        self.folder = EMBEDDED if folder is None else Path(folder)
        self.threads = threads or min(self.MAX_THREADS, available_cores())
        self.provider = _find_provider(provider)
        self.config = WeightsConfig.read(self.folder)
        self.name = "silk"
        self.codec_id = f"{self.config.name}@{self.config.weights_hash}"
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = codebook_sizes()
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)
        self.lookahead_samples = self.config.lookahead_samples
        self.latency_s = (FRAME_SAMPLES + self.lookahead_samples) / SILK_SAMPLE_RATE
        self._graphs: dict[str, _Graph] = {}
        self._lock = threading.Lock()

        self._made_from = {"folder": absolute(folder), "threads": threads, "provider": provider}

    def __reduce__(self) -> Any:
        """Send this codec to another process as its arguments; there it loads its own model. See `rebuilt.py`."""
        return recipe(self, **self._made_from)

    def __repr__(self) -> str:
        return f"Silk({self.codec_id!r}, threads={self.threads}, provider={self.provider!r})"

    def prepare(self, *, encode: bool = False, decode: bool = False) -> None:
        """Read the graphs now rather than when they are first needed. Raises WeightsError, ProviderError."""
        if encode:
            self._graph("levels")
        if decode:
            self._graph("wave")

    # --- recordings

    def encode(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave; see `Codec.encode`.

        The length that the tokens keep is that of the wave at 24 kHz: exact for a 24 kHz wave.

        Args:
            wave: [T], [T, C] or [C, T].
            sample_rate: of `wave`, Hz.
            n_codebooks: keep only the first of 19 groups. They are groups of dimensions, not refinements:
                the model was not trained to do without some, and quality falls quickly.

        Raises:
            AudioError: no samples, NaN or Inf, not a wave. ArgumentError: n_codebooks outside 1..19.
        """
        stream = StreamEncoder(self, n_codebooks=n_codebooks)
        codes = np.concatenate([stream.feed(audio.as_wave(wave, sample_rate)), stream.flush()])
        return self.tokens(codes, stream.n_samples)

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Return the wave of these tokens, regrouped or partial ones too: float32 [n_samples] at 24 kHz.

        Args:
            tokens: what `encode` returned; or bare codes, int [K, F], one row per codebook, as `Tokens.codes`.
            n_samples: of the wave, of bare codes only; None: all that the frames hold, 9,600 each.
            n_codebooks: K, of bare codes only; None: 19.

        Raises:
            TokensError: the tokens of another codec, or of other weights; codes of another shape or out of range.
        """
        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        levels = self._levels(tokens)
        return StreamDecoder(self).feed_levels(levels)[: tokens.n_samples]

    def latents(self, wave: ArrayLike, sample_rate: int = SILK_SAMPLE_RATE) -> NDArray[np.float32]:
        """What FSQ rounds, float32 [F, 128]: bounded to a little beyond -4..3; `rint(latents) + 4` are the levels.

        For looking into the model; nothing of a recording is decoded from it. Raises AudioError, as `encode`.
        """
        mono = audio.as_wave(wave, sample_rate)
        lookahead = self.lookahead_samples
        padded = np.zeros(lookahead + n_frames(len(mono)) * FRAME_SAMPLES, dtype=np.float32)
        padded[: len(mono)] = mono
        states, rows = self.encoder_states(prime=padded[:lookahead]), []
        for frame in padded[lookahead:].reshape(-1, FRAME_SAMPLES):
            latent, states = self.call("latent", frame[None], states)
            rows.append(latent[0])
        return np.concatenate(rows)

    def encode_batch(
        self,
        waves: Sequence[ArrayLike],
        sample_rate: int = SILK_SAMPLE_RATE,
        *,
        n_codebooks: int | None = None,
    ) -> list[Tokens]:
        """Tokens of many clips, of any lengths: what `encode` makes of each, to the bit.

        The clips are encoded side by side, each in a thread of its own, not padded into one array: so a
        clip's tokens cannot depend on its neighbours.
        """
        self.prepare(encode=True)
        return self._map(lambda wave: self.encode(wave, sample_rate, n_codebooks=n_codebooks), waves)

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """The waves of many clips: what `decode` makes of each, to the bit."""
        self.prepare(decode=True)
        return self._map(self.decode, many)

    def _map(self, call: Any, items: Sequence[Any]) -> list[Any]:
        check_batch(items)
        with ThreadPoolExecutor(min(self.threads, max(1, len(items)))) as pool:
            return list(pool.map(call, items))

    def tokens(self, codes: ArrayLike, n_samples: int) -> Tokens:
        """Return the codes of a stream, int [F, K], as Tokens of this model. Raises TokensError."""
        columns = np.asarray(codes).T
        k = len(columns)
        sizes, rates = self.codebook_sizes[:k], self.frame_rates[:k]
        tokens = Tokens(tuple(columns), sizes, rates, SILK_SAMPLE_RATE, n_samples, self.codec_id)
        self._check_lengths(tokens)
        return tokens

    # --- frames: what stream.py calls

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """n_codebooks as a number, all for None. Raises ArgumentError outside 1..19."""
        k = len(self.codebook_sizes)
        if n_codebooks is not None and (n_codebooks not in range(1, k + 1)):
            raise ArgumentError(f"n_codebooks must be 1..{k} for '{self.name}'; got {n_codebooks}.")
        return k if n_codebooks is None else int(n_codebooks)

    def encoder_states(self, prime: Wave | None = None) -> States:
        """The encoder's state at the start of a stream; `prime`: its first 480 samples."""
        states = self.config.encoder.fresh_states()
        if prime is not None:
            wave_state = states[self.config.encoder.state_names.index("state_wave")]
            wave_state[0, self.config.history_samples :] = prime
        return states

    def encode_frame(self, wave: Wave, states: States) -> tuple[NDArray[np.uint8], States]:
        """A frame's wave, float32 [9600] (480 samples ahead), states -> levels uint8 [1, 128], states."""
        levels, states = self.call("levels", wave[None], states)
        return levels[0], states

    def decoder_states(self) -> States:
        """The decoder's state at the start of a stream."""
        return self.config.decoder.fresh_states()

    def decode_frames(self, levels: NDArray[np.uint8], states: States) -> tuple[Wave, States]:
        """Frames of levels, uint8 [F, 128], and states -> float32 [F * 9600], states."""
        wave, states = self.call("wave", levels[None], states)
        return wave[0], states

    def call(self, output: str, value: NDArray[Any], states: States) -> tuple[NDArray[Any], States]:
        """One call of the model, for B streams at once.

        Args:
            output: "levels" or "latent" of a frame, "wave" of frames.
            value: float32 [B, 9600], or for "wave" uint8 [B, F, 128].
            states: of the streams, each stacked to [B, ...].

        Returns:
            uint8 or float32 [B, 1, 128], or float32 [B, F * 9600] in which silent frames are 0; the next states.
        """
        result, states = self._graph(output).run(value, states)
        if output == "wave":
            _silence(result)
        return result, states

    def check_codec_id(self, codec_id: str) -> None:
        """Refuse what other weights made: it would decode to noise. Raises TokensError."""
        if codec_id != self.codec_id:
            raise TokensError(
                f"Tokens must be of '{self.codec_id}'; got '{codec_id}';"
                " load the codec, and the weights, that made them."
            )

    def codes_to_levels(self, codes: ArrayLike) -> NDArray[np.uint8]:
        """Codes, int [F, K] -> levels, uint8 [F, 128]; groups beyond K get the middle level.

        Raises:
            TokensError: codes out of range or of another shape.
        """
        array = np.asarray(codes)
        k = array.shape[1] if array.ndim == 2 else 0
        if 0 < k < len(self.codebook_sizes) and array.dtype.kind in "iu":
            middle = levels_to_codes(np.full((1, LATENT_WIDTH), MIDDLE_LEVEL))[:, k:]
            array = np.concatenate([array, np.repeat(middle, len(array), axis=0)], axis=1)
        return codes_to_levels(array).astype(np.uint8)

    def _levels(self, tokens: Tokens) -> NDArray[np.uint8]:
        self.check_codec_id(tokens.codec)
        if tokens.dims_per_token is not None:
            return tokens.to_levels().astype(np.uint8)
        k = len(tokens.codes)
        if tokens.codebook_sizes != self.codebook_sizes[:k] or tokens.frame_rates != self.frame_rates[:k]:
            raise TokensError(f"Tokens of Silk must be the first of its 19 codebooks; got {tokens!r}.")
        self._check_lengths(tokens)
        return self.codes_to_levels(np.stack(tokens.codes, axis=1))

    def _check_lengths(self, tokens: Tokens) -> None:
        """Hold the number of frames to the length of the wave: Tokens do so only where all 19 groups are there."""
        lengths = {len(codes) for codes in tokens.codes}
        if lengths != {n_frames(tokens.n_samples)}:
            wanted, got = n_frames(tokens.n_samples), ", ".join(map(str, sorted(lengths)))
            raise TokensError(f"{tokens.n_samples} samples make {wanted} Silk frames in every codebook; got {got}.")

    def _graph(self, output: str) -> _Graph:
        with self._lock:  # two threads that need it first must not both build it
            if output not in self._graphs:
                config = self.config.decoder if output == "wave" else self.config.encoder
                self._graphs[output] = _Graph(self.folder, config, output, self.threads, self.provider)
            return self._graphs[output]


def _silence(wave: NDArray[np.float32]) -> None:
    """Set frames of [B, F * 9600] that stay below one step of 16 bits to 0: digital silence stays digital silence.

    Frame by frame, so that it is the same in a stream.
    """
    frames = wave.reshape(wave.shape[0], -1, FRAME_SAMPLES)
    frames[np.abs(frames).max(axis=2) < SILENT_PEAK] = 0


class _Graph:
    """One ONNX graph with streaming state: (input, states) -> (output, next states)."""

    def __init__(self, folder: Path, config: GraphConfig, output: str, threads: int, provider: str) -> None:
        import onnxruntime  # 0.2 s, which reading a config or listing the codecs need not pay

        self._path = folder / config.file
        content = config.verified_bytes(folder)
        check_graph_file(content, str(self._path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Waiting threads sleep: spinning gains little on a frame's work, costs a core between the frames of a
        # live stream, and on a busy machine makes two threads slower than one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; its warnings are about optimisations it did not make
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=[provider])
        except _onnxruntime_errors() as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"'{self._path}' must be a model; ONNX Runtime: {reason}") from error
        if self._session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU with a log line
            raise ProviderError(
                f"{provider} could not start here; ONNX Runtime would use {self._session.get_providers()[0]};"
                " check its drivers, or choose --provider cpu."
            )
        self._input = "levels" if output == "wave" else "wave"
        self._states = config.state_names
        self._outputs = [output, *(f"next_{name}" for name in config.state_names)]
        self._check_interface(config)

    def _check_interface(self, config: GraphConfig) -> None:
        """Raise WeightsError unless the graph takes and returns what config.json says."""
        states = {name: list(shape) for name, shape in config.states.items()}
        taken = {i.name: i.shape[1:] for i in self._session.get_inputs()}
        returned = {o.name: o.shape[1:] for o in self._session.get_outputs()}
        taken.pop(self._input, None)
        missing = [name for name in self._outputs if name not in returned]
        if taken != states or any(returned.get(f"next_{name}") != shape for name, shape in states.items()) or missing:
            raise WeightsError(
                f"'{self._path}' must be a graph from {self._input!r} and the states of config.json to"
                f" {self._outputs[0]!r} and the next states; export it again."
            )

    def run(self, value: NDArray[Any], states: States) -> tuple[NDArray[Any], States]:
        feeds = {self._input: value, **dict(zip(self._states, states, strict=True))}
        try:
            outputs = self._session.run(self._outputs, feeds)
        except _onnxruntime_errors() as error:  # what the graph does inside, such as tensors that fit in no memory
            reason = str(error).splitlines()[0]
            raise WeightsError(f"'{self._path}' must run on its inputs; ONNX Runtime: {reason}") from error
        return outputs[0], outputs[1:]


def load(preset: str | None = None, *, threads: int | None = None, provider: str = "cpu") -> Silk:
    """The embedded model: the factory that the registry names. Raises ArgumentError for a preset."""
    if preset is not None:
        raise ArgumentError(f"The codec 'silk' has no presets; got '{preset}'; for other weights name a folder.")
    return Silk(threads=threads, provider=provider)


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions: they have no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)]
    return (RuntimeError, ValueError, *own)


def _find_provider(provider: str) -> str:
    if provider not in PROVIDERS:
        raise ProviderError(f"provider must be {' or '.join(PROVIDERS)}; got '{provider}'.")
    if provider == "cpu":
        return PROVIDERS[provider]  # every build has it; do not import onnxruntime to ask
    import onnxruntime

    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"provider '{provider}' needs ONNX Runtime built for it, which is not installed;"
            " run: pip install onnxruntime-gpu"
        )
    return PROVIDERS[provider]
