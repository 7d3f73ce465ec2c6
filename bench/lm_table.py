"""Build the table of docs/language-models.md from speech_lm.json, which examples/speech_lm writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings

from silkcodec.evaluate.markdown import number, table

MISSING = "Not measured yet: `python examples/speech_lm/train.py SPEECH -o RUN --results bench/speech_lm.json`."


def speech_lm(bench: Path) -> str:
    """Return the table of the bits per frame of held-out speech, and the time to the first audio."""
    result = findings.read_result(bench / "speech_lm.json", "silk speech lm")
    if result is None:
        return MISSING
    bits, speech = result["bits_per_frame"], result["speech"]
    rows = [
        ["tokens without a model", number(bits["raw"], 0), ""],
        ["unigram: frequency of each level", number(bits["unigram"], 1), _share(bits["unigram"], bits["raw"])],
        ["the model", number(bits["model"], 1), _share(bits["model"], bits["raw"])],
    ]
    found, settings = result["conditions"], result["settings"]
    trained_h, held_out_h = (number(speech[part]["duration_s"] / 3600, 2) for part in ("train", "held_out"))
    tokenise_min, train_min = (number(result[name] / 60, 1) for name in ("tokenise_s", "train_s"))
    sentences = [
        f"{number(result['parameters'] / 1e6, 1)} M parameters, {settings['steps']} steps of {settings['batch']}"
        f" windows of {number(settings['window'], 0)} s; trained on {trained_h} h, held out {held_out_h} h.",
        f"Tokenization took {tokenise_min} min, training {train_min} min.",
    ]
    if "sampling" in result:
        said = result["sampling"]
        sentences.append(
            f"With one thread, the first audio is available after {number(1000 * said['first_audio_s'], 0)} ms, and"
            f" sampling runs at {number(said['times_real_time'], 1)} x real time."
        )
    codec = f"{result['codec']}{findings.not_embedded(bench, result['codec'])}"
    sentences.append(f"{codec}; {found['cores']} cores, {found['cpu']}, {found['system']}; {result['created'][:10]}.")
    body = table(["held-out speech, bits per frame of 400 ms", "bits", "of the raw"], rows)
    return "\n\n".join([body, " ".join([*sentences, *findings.warnings(result)])])


def summary(bench: Path) -> str:
    """Return the same in one sentence, for README."""
    result = findings.read_result(bench / "speech_lm.json", "silk speech lm")
    if result is None:
        return MISSING
    bits = result["bits_per_frame"]
    text = (
        f"{number(result['parameters'] / 1e6, 1)} M parameters, {number(result['train_s'] / 60, 0)} min of training:"
        f" held-out speech costs {number(bits['model'], 0)} of {number(bits['raw'], 0)} bits per frame"
    )
    if "sampling" in result:
        text += f", and the first audio is available after {number(1000 * result['sampling']['first_audio_s'], 0)} ms"
    return f"{text}."


def _share(bits: float, raw: float) -> str:
    return f"{number(100 * bits / raw, 1)} %"


TABLES: dict[str, Callable[[Path], str]] = {"speech-lm": speech_lm, "speech-lm-summary": summary}
