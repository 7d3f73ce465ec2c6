"""Run the text-to-speech model Kokoro-82M with ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from silkcodec.errors import ArgumentError

SAMPLE_RATE = 24_000
MAX_TOKENS = 510  # the context of 512, minus the padding at both ends
STYLE = 256  # size of a style vector
PAD = 0  # token before and after each sentence
INPUTS = {"tokens", "style", "speed"}


class Kokoro:
    """Convert phonemes to speech.

    Args:
        folder: folder written by fetch.py, with model.onnx, vocabulary.json and voices/*.bin.
        threads: number of threads; 0 means one per core.

    Raises:
        ArgumentError: a file is missing or invalid.
    """

    def __init__(self, folder: Path, threads: int = 0):
        self._folder = folder
        model = folder / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves idle cores to other programs
        options.log_severity_level = 3
        try:
            self._vocabulary: dict[str, int] = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
            self.hash = hashlib.sha256(model.read_bytes()).hexdigest()[:12]
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except (OSError, ValueError) as error:
            reason = f"{error.strerror}: '{error.filename}'" if isinstance(error, OSError) else f"{error}"
            raise ArgumentError(
                f"Cannot load Kokoro from '{folder}': {reason}. Pass a folder written by pytorch/synthesis/fetch.py."
            ) from error
        except Exception as error:  # ONNX Runtime's errors have no common base class.
            raise ArgumentError(f"Cannot load '{model}' as an ONNX model: {str(error).splitlines()[0]}") from error
        if (names := {item.name for item in self._session.get_inputs()}) != INPUTS:
            raise ArgumentError(f"'{model}' must have the inputs {sorted(INPUTS)}; got {sorted(names)}.")
        self._styles: dict[str, NDArray[np.float32]] = {}

    def voices(self) -> list[str]:
        """Return the names of all voices, such as "af_heart". The first letter stands for the language."""
        return sorted(file.stem for file in (self._folder / "voices").glob("*.bin"))

    def tokens(self, phonemes: str) -> list[int]:
        """Return one token per character of a phoneme string. Characters outside the vocabulary are omitted."""
        return [self._vocabulary[phoneme] for phoneme in phonemes if phoneme in self._vocabulary]

    def speak(self, tokens: list[int], voice: str, speed: float) -> NDArray[np.float32]:
        """Return the speech for 1 to 510 tokens, float32 [T] at 24 kHz.

        Args:
            tokens: phoneme tokens, without padding.
            voice: name of a voice.
            speed: speaking rate relative to the voice's own rate.

        Raises:
            ArgumentError: the voice file is missing or has the wrong size.
        """
        feeds = {
            "tokens": np.array([[PAD, *tokens, PAD]], dtype=np.int64),
            "style": self._style(voice)[len(tokens) - 1][None],
            "speed": np.array([speed], dtype=np.float32),
        }
        return np.asarray(self._session.run(None, feeds)[0], dtype=np.float32).ravel()

    def _style(self, voice: str) -> NDArray[np.float32]:
        """Return a voice's style vectors, float32 [510, 256]. Row n - 1 is for n tokens."""
        if voice not in self._styles:
            file = self._folder / "voices" / f"{voice}.bin"
            try:
                values = np.fromfile(file, dtype="<f4")
            except OSError as error:
                raise ArgumentError(f"Cannot read the voice '{file}': {error.strerror}.") from error
            if values.size != MAX_TOKENS * STYLE:
                raise ArgumentError(f"'{file}' must be {MAX_TOKENS * STYLE * 4} bytes long; got {values.size * 4}.")
            self._styles[voice] = values.reshape(MAX_TOKENS, STYLE)
        return self._styles[voice]
