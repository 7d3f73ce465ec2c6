"""Run the model on frames of a stream.

    samples [1, F * 9600], states -> encoder.onnx -> levels [1, F, 128], next states
    levels [1, F, 128], states    -> decoder.onnx -> samples [1, F * 9600], next states

A loaded model is stateless, so any number of threads can use it at the same time.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.bare_codes import check_n_codebooks
from silkcodec.errors import ArgumentError, TokensError
from silkcodec.parallel.cores import available_cores
from silkcodec.silk.graphs import Graph, States, find_provider
from silkcodec.silk.weights_config import WeightsConfig
from silkcodec.spec import (
    COLUMNS,
    FRAME_SAMPLES,
    LATENT_WIDTH,
    N_LEVELS,
    NOISE_LENGTH,
    SILK_FRAME_RATE,
    SILK_SAMPLE_RATE,
)
from silkcodec.tokens import codebook_sizes, codes_to_levels, levels_to_codes

Wave = NDArray[np.float32]

EMBEDDED = Path(__file__).parent / "weights"
SILENT_PEAK = 2.0**-14  # two 16-bit steps (-84 dBFS); the decoder's output for digital silence stays below it
MIDDLE_LEVEL = N_LEVELS // 2  # level that represents 0 in the latent; it replaces missing dimensions


class FrameModel:
    """Load a weights folder and run the model on frames. See `Silk` for the arguments and attributes."""

    FRAMES_PER_CALL = 5  # Encoding is three times as fast as with one frame per call, and a call uses 2 s of audio.
    MAX_THREADS = 4  # More threads do not make the computation for a frame faster.

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        provider: str = "cpu",
    ) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise ArgumentError(f"threads must be an integer of at least 1, or None; got {threads!r}.")
        if folder is not None and not isinstance(folder, (str, os.PathLike)):
            raise ArgumentError(f"folder must be a path or None; got {folder!r}.")
        self.folder = EMBEDDED if folder is None else Path(folder)
        self.threads = threads or min(self.MAX_THREADS, available_cores())
        self.provider = find_provider(provider)
        self.config = WeightsConfig.read(self.folder)
        self.name = "silk"
        self.codec_id = f"{self.config.name}@{self.config.weights_hash}"
        self.sample_rate = SILK_SAMPLE_RATE
        self.codebook_sizes = codebook_sizes()
        self.frame_rates = (SILK_FRAME_RATE,) * len(self.codebook_sizes)
        self.lookahead_samples = self.config.lookahead_samples
        self.latency_s = (FRAME_SAMPLES + self.lookahead_samples) / SILK_SAMPLE_RATE
        self._graphs: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def prepare(self, *, encode: bool = False, decode: bool = False) -> None:
        """Load the encoder, the decoder or both now instead of on first use.

        Raises:
            WeightsError, ProviderError: see `Silk`.
        """
        if encode:
            self._graph("levels")
        if decode:
            self._graph("wave")

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """Check n_codebooks and return it, or return 19 if it is None.

        Raises:
            ArgumentError: n_codebooks is not between 1 and 19.
        """
        return check_n_codebooks(self, n_codebooks)

    def encoder_states(self, prime: Wave | None = None) -> States:
        """Return the encoder's states at the start of a stream.

        Args:
            prime: first samples of the stream, float32 [lookahead_samples]. None means silence.
        """
        states = self.config.encoder.fresh_states()
        if prime is not None:
            wave_state = states[self.config.encoder.state_names.index("state_wave")]
            wave_state[0, self.config.history_samples :] = prime
        return states

    def encode_frames(self, wave: Wave, states: States) -> tuple[NDArray[np.uint8], States]:
        """Encode F consecutive frames of a stream.

        Args:
            wave: samples, float32 [F * 9600], which start and end 480 samples later than the frames.
            states: states after the previous frame.

        Returns:
            Two values: the levels (uint8 [F, 128]) and the states after these frames.
        """
        levels, states = self.call("levels", wave[None], states)
        return levels[0], states

    def decoder_states(self, first_frame: int = 0) -> States:
        """Return the decoder's states at the start of a stream.

        Args:
            first_frame: index of the stream's first frame in the recording.
        """
        states = self.config.decoder.fresh_states()
        if "state_position" in self.config.decoder.state_names:
            position = states[self.config.decoder.state_names.index("state_position")]
            position[:] = int(first_frame) * COLUMNS % NOISE_LENGTH
        return states

    def decode_frames(self, levels: NDArray[np.uint8], states: States) -> tuple[Wave, States]:
        """Decode levels (uint8 [F, 128]), and return the samples (float32 [F * 9600]) and the next states."""
        wave, states = self.call("wave", levels[None], states)
        return wave[0], states

    def call(self, output: str, value: NDArray[Any], states: States) -> tuple[NDArray[Any], States]:
        """Run the model for F frames of each of B streams.

        Args:
            output: name of the output to compute: "levels", "latent" or "wave".
            value: levels (uint8 [B, F, 128]) if `output` is "wave"; otherwise samples (float32 [B, F * 9600]).
            states: states of the streams, [B, ...] each.

        Returns:
            Two values: the output and the next states. Levels are uint8 [B, F, 128], latents are float32 [B, F, 128],
            and samples are float32 [B, F * 9600].
        """
        result, states = self._graph(output).run(value, states)
        if output == "wave":
            _silence(result)
        return result, states

    def check_codec_id(self, codec_id: str) -> None:
        """Raise TokensError if the loaded weights cannot decode tokens with this codec id."""
        if codec_id != self.codec_id and codec_id not in self.config.decodes:
            raise TokensError(
                f"Tokens must be from '{self.codec_id}'; got tokens from '{codec_id}'."
                " Load the codec and weights that they were encoded with."
            )

    def codes_to_levels(self, codes: ArrayLike) -> NDArray[np.uint8]:
        """Convert integer codes ([F, K]) to levels (uint8 [F, 128]). All levels of missing codebooks are set to 4.

        Raises:
            TokensError: the codes are out of range or have an unsupported shape.
        """
        array = np.asarray(codes)
        k = array.shape[1] if array.ndim == 2 else 0
        if 0 < k < len(self.codebook_sizes) and array.dtype.kind in "iu":
            middle = levels_to_codes(np.full((1, LATENT_WIDTH), MIDDLE_LEVEL))[:, k:]
            array = np.concatenate([array, np.repeat(middle, len(array), axis=0)], axis=1)
        return codes_to_levels(array)

    def _graph(self, output: str) -> Graph:
        with self._lock:  # Without the lock, two threads could load the same graph.
            if output not in self._graphs:
                config = self.config.decoder if output == "wave" else self.config.encoder
                self._graphs[output] = Graph(self.folder, config, output, self.threads, self.provider)
            return self._graphs[output]


def _silence(wave: NDArray[np.float32]) -> None:
    """Silence all frames whose peak is below two 16-bit steps, so that digital silence is preserved."""
    frames = wave.reshape(wave.shape[0], -1, FRAME_SAMPLES)
    frames[np.abs(frames).max(axis=2) < SILENT_PEAK] = 0
