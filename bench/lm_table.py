"""Build the table for the example language model in docs/results.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings

from silkcodec.evaluate.markdown import number, table

MISSING = "Not measured yet. Run `python examples/speech_lm/train.py SPEECH -o RUN --results bench/speech_lm.json`."


def speech_lm(bench: Path) -> str:
    """Return a table of the bits per frame of held-out speech, and a note on the model and its speed."""
    result = findings.read_result(bench / "speech_lm.json", "silk speech lm")
    if result is None:
        return MISSING
    bits, speech = result["bits_per_frame"], result["speech"]
    rows = [
        ["none", number(bits["raw"], 0), ""],
        ["frequencies of the levels (unigram)", number(bits["unigram"], 1), _share(bits["unigram"], bits["raw"])],
        ["example language model", number(bits["model"], 1), _share(bits["model"], bits["raw"])],
    ]
    found, settings = result["conditions"], result["settings"]
    trained_h, held_out_h = (number(speech[part]["duration_s"] / 3600, 2) for part in ("train", "held_out"))
    tokenization_min, train_min = (number(result[name] / 60, 1) for name in ("tokenize_s", "train_s"))
    sentences = [
        f"The model has {number(result['parameters'] / 1e6, 1)} M parameters. It was trained on {trained_h} h of speech"
        f" for {settings['steps']} steps. Each step used {settings['batch']} windows of"
        f" {number(settings['window'], 0)} s. The evaluation used {held_out_h} h of held-out speech.",
        f"Tokenization took {tokenization_min} min, and training took {train_min} min.",
    ]
    if "sampling" in result:
        sampling = result["sampling"]
        sentences.append(
            f"With one thread, the first audio is available after {number(1000 * sampling['first_audio_s'], 0)} ms, and"
            f" sampling runs at {number(sampling['times_real_time'], 1)} x real time."
        )
    codec = f"Conditions: {result['codec']}{findings.not_embedded(bench, result['codec'])}"
    sentences.append(f"{codec}; {found['cores']} cores, {found['cpu']}, {found['system']}; {result['created'][:10]}.")
    body = table(["model", "bits per frame of held-out speech", "share of the bits needed without a model"], rows)
    return "\n\n".join([body, " ".join([*sentences, *findings.warnings(result)])])


def summary(bench: Path) -> str:
    """Return a summary for docs/language-models.md."""
    result = findings.read_result(bench / "speech_lm.json", "silk speech lm")
    if result is None:
        return MISSING
    bits = result["bits_per_frame"]
    text = (
        f"The model has {number(result['parameters'] / 1e6, 1)} M parameters and trains in"
        f" {number(result['train_s'] / 60, 0)} min. It needs {number(bits['model'], 0)} bits per frame of held-out"
        f" speech, compared with {number(bits['raw'], 0)} bits without a model."
    )
    if "sampling" in result:
        first_ms = number(1000 * result["sampling"]["first_audio_s"], 0)
        text += f" When it generates speech, the first audio is available after {first_ms} ms."
    return text


def _share(bits: float, raw: float) -> str:
    return f"{number(100 * bits / raw, 1)} %"


TABLES: dict[str, Callable[[Path], str]] = {"speech-lm": speech_lm, "speech-lm-summary": summary}
