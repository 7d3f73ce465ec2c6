"""Measure the word error rate of English speech with the Moonshine tiny recognizer (arXiv 2410.15608).

Error rates measured with Whisper may be optimistic, because Silk can be trained with a loss on Whisper's features.

The network runs on one thread and decodes greedily, so its results are reproducible.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import WeightsError
from silkcodec.evaluate.metrics.base import Metric, Pair, UndefinedMetric, Wave, Weighted, is_silent, rms_dbfs
from silkcodec.evaluate.metrics.foreign import onnx_session, package_file
from silkcodec.evaluate.metrics.words import error_rate

RATE = 16_000  # Hz
MAX_S = 30.0  # Longer audio is cut into equal parts.
LEVEL_DBFS = -23.0
MIN_SAMPLES = 1600  # 0.1 s; the convolutions need 895 samples
TOKENS_PER_S, TOKENS_MORE = 6.5, 8  # Moonshine's own limit, which stops endless repetitions
START, END = 1, 2  # token IDs
FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")


def dwer_moonshine(pair: Pair, model: str | None) -> Weighted:
    """Return the word error rate against the original's transcript, in percent, and that transcript's word count.

    Raises:
        UndefinedMetric: the language in the clip's manifest row is not English.
        WeightsError: `model` is not a folder with Moonshine's files.
    """
    if pair.language != "en":
        raise UndefinedMetric(
            "Moonshine tiny supports only English. The manifest's 'language' column must be 'en';"
            f" got '{pair.language}'."
        )
    folder = model or str(_packaged())
    key = f"transcript by moonshine {folder}"
    original, output = pair.both(key, lambda wave: transcribe(wave, folder), RATE)
    return error_rate(original, output, "words", "en")


def transcribe(wave: Wave, folder: str) -> str:
    """Transcribe a waveform, float32 [T] at 16 kHz, after scaling it to a fixed level. Return "" for silence."""
    if is_silent(wave):
        return ""
    network = _network(folder)
    wave = wave * np.float32(10 ** ((LEVEL_DBFS - rms_dbfs(wave)) / 20))
    parts = np.array_split(wave, max(1, -(-len(wave) // int(MAX_S * RATE))))
    return " ".join(network.transcribe(part) for part in parts if len(part) >= MIN_SAMPLES and not is_silent(part))


class Network:
    """Run Moonshine's encoder and decoder.

    Args:
        folder: folder that contains the files listed in `FILES`.

    Raises:
        WeightsError: a file is missing or cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._encoder, self._decoder = (onnx_session(folder / name) for name in FILES[:2])
            self._vocabulary = vocabulary((folder / FILES[2]).read_bytes())
        except Exception as error:  # The errors of ONNX Runtime have no common base class.
            reason = str(error).splitlines()[0].rstrip(".")
            raise WeightsError(
                f"The 'moonshine' model must be a folder with {', '.join(FILES)}; got '{folder.name}': {reason}."
            ) from error
        self._inputs = {entry.name: entry.shape for entry in self._decoder.get_inputs()}
        self._outputs = [entry.name for entry in self._decoder.get_outputs()]

    def transcribe(self, wave: Wave) -> str:
        """Transcribe at most 30 s of audio, float32 [T] at 16 kHz."""
        mask = np.ones((1, len(wave)), dtype=np.int64)
        (hidden,) = self._encoder.run(None, {"input_values": wave[None], "attention_mask": mask})
        state: dict[str, NDArray[Any]] = {
            name: np.zeros((1, shape[1], 0, shape[3]), dtype=np.float32)
            for name, shape in self._inputs.items()
            if name.startswith("past")
        }
        fixed = {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}
        tokens = [START]
        for step in range(int(TOKENS_PER_S * len(wave) / RATE) + TOKENS_MORE):
            last = {"input_ids": np.array([[tokens[-1]]]), "use_cache_branch": np.array([step > 0])}
            logits, *present = self._decoder.run(self._outputs, fixed | last | state)
            tokens.append(int(logits[0, -1].argmax()))
            if tokens[-1] == END:
                break
            for name, value in zip(self._outputs[1:], present, strict=True):
                if step == 0 or ".decoder." in name:  # The encoder's cache does not change after the first step.
                    state[name.replace("present", "past_key_values")] = value
        text = b"".join(self._vocabulary[token] for token in tokens[1:] if token > END)
        return text.decode(errors="replace").replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()


def vocabulary(table: bytes) -> list[bytes]:
    """Parse the tokens in a tokenizer.bin file. Each token is stored as its length (one or two bytes) and its bytes."""
    tokens, position = [], 0
    while position < len(table):
        length = table[position]
        position += 1
        if length >= 128:
            length += 128 * table[position] - 128
            position += 1
        tokens.append(table[position : position + length])
        position += length
    return tokens


@cache
def _network(folder: str) -> Network:
    return Network(Path(folder))


def _packaged() -> Path | None:
    file = package_file("moonshine_voice", f"assets/tiny-en/{FILES[0]}")
    return None if file is None else file.parent


def _lacks(model: str | None) -> str | None:
    if model is None and _packaged() is None:
        return (
            f"Moonshine needs its model. Pass --model moonshine=FOLDER (with {', '.join(FILES)}), or run: "
            "pip install --no-deps moonshine-voice==0.0.73"
        )
    if model is not None and not all((Path(model) / name).is_file() for name in FILES):
        return f"The 'moonshine' model must be a folder with {', '.join(FILES)}; got '{model}'."
    return None


MOONSHINE_METRICS = (
    Metric(
        "dwer_moonshine",
        "dWER Moonshine",
        "%",
        "lower",
        dwer_moonshine,
        weighted_by="words",
        what="dWER with Moonshine, a recognizer unrelated to Whisper; only for clips whose manifest `language` is `en`",
        source="Moonshine tiny, arXiv 2410.15608; `moonshine-voice`",
        packages=("rapidfuzz",),
        extra="asr",
        model_key="moonshine",
        lacks=_lacks,
    ),
)
