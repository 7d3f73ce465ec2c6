"""Generate read speech for training, in the voices of Kokoro-82M.

    python pytorch/synthesis/fetch.py .venv/models/kokoro                  # once: downloads the model and the voices
    python pytorch/synthesis/synthesize.py speech/kokoro --model .venv/models/kokoro --hours 15

The program writes FLAC files at 24 kHz and their manifest, INDEX.tsv, until the folder contains the given number of
hours of speech. Every run with the same options makes the same clips in the same order. To resume an interrupted run,
run the same command again. To extend the folder, increase --hours. One process uses one core, so run one process per
core, each with its own folder and seed.

The text lists in text/ contain 480 English, 300 Spanish and 300 French sentences and 300 Chinese couplets. Each voice
reads each sentence once before repeating any at a different speed. For more variety, pass your own text with --text.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kokoro import MAX_TOKENS, SAMPLE_RATE, Kokoro
from phonemes import Phonemizer, phonemizer
from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.output import replacing

TEXTS = Path(__file__).with_name("text")
INCLUDED = ("en", "es", "fr", "zh")  # languages with a list in text/
VOICES = {"en": "ab", "es": "e", "fr": "f", "hi": "h", "it": "i", "pt_BR": "p", "zh": "z"}  # -> first letters of voices
ACCENTS = {"b": "en_GB"}  # first letter of a voice name -> language in the manifest, if different from that of the text
COLUMNS = (
    *("path", "source", "origin", "licence", "language", "speaker", "bandwidth_hz_est", "duration_s", "split"),
    *("synthetic", "speed", "text"),
)
SETTINGS = "settings.json"
CLIPS_PER_SAVE = 50  # new clips per update of the manifest; a resumed run adds the rows that a killed run did not save

FRAME = 240  # 10 ms
SILENCE_DB, MARGIN = -50.0, 10  # relative to the loudest frame; number of frames to keep around the speech
PEAK = 0.99
WINDOW, BAND_HZ, BANDWIDTH_DB = 1024, 500, -60.0


@dataclass(frozen=True)
class Sentence:
    """Hold a sentence and its tokens, keyed by the first letter of the voice name."""

    language: str
    text: str
    tokens: dict[str, list[int]]


@dataclass(frozen=True)
class Clip:
    """Hold the path, the sentence, the voice and the speed of one audio file."""

    path: str
    sentence: Sentence
    voice: str
    speed: float


def read_text(option: str) -> tuple[str, Path]:
    """Return the language and the file for a value of --text, such as "zh" or "en=my/sentences.txt".

    Raises:
        ArgumentError: the language is unknown or has no list in text/, or the file does not exist.
    """
    language, _, name = option.partition("=")
    if language not in VOICES:
        raise ArgumentError(f"The language must be one of {', '.join(VOICES)}; got '{language}' in --text {option}.")
    if not name and language not in INCLUDED:
        raise ArgumentError(f"No text list is included for '{language}'. Pass --text {language}=FILE.")
    file = Path(name) if name else TEXTS / f"{language}.txt"
    if not file.is_file():
        raise ArgumentError(f"Text file not found: '{file}'.")
    return language, file


def read_sentences(language: str, file: Path, letters: str, convert: Phonemizer, kokoro: Kokoro) -> list[Sentence]:
    """Return the sentences of a text file, one per line. Empty lines and lines that start with # are ignored.

    Raises:
        ArgumentError: the file is not UTF-8 text or has no sentences, or a sentence has no phonemes or too many.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"Cannot read '{file}' as UTF-8 text: {error}.") from error
    sentences = []
    for number, line in enumerate(lines, 1):
        text = " ".join(line.split())
        if not text or text.startswith("#"):
            continue
        tokens = {letter: kokoro.tokens(convert(text, letter)) for letter in letters}
        n_tokens = [len(found) for found in tokens.values()]
        if not 1 <= min(n_tokens) <= max(n_tokens) <= MAX_TOKENS:
            wrong = next(n for n in n_tokens if not 1 <= n <= MAX_TOKENS)
            raise ArgumentError(
                f"A sentence must have 1 to {MAX_TOKENS} phonemes; line {number} of '{file}' has {wrong}."
                " Split or remove the line."
            )
        sentences.append(Sentence(language, text, tokens))
    if not sentences:
        raise ArgumentError(f"A text file must contain at least one sentence; '{file}' has none.")
    return sentences


def choose_voices(languages: Sequence[str], available: list[str], chosen: str) -> dict[str, list[str]]:
    """Return the voices for each language.

    Args:
        languages: languages of the text files.
        available: names of all voices.
        chosen: names separated by commas, or "" for all voices of the languages.

    Raises:
        ArgumentError: a voice does not exist or speaks none of the languages, or a language has no voice.
    """
    names = [name.strip() for name in chosen.split(",")] if chosen else available
    letters = "".join(VOICES[language] for language in languages)
    for name in names if chosen else ():
        if name not in available:
            raise ArgumentError(f"Unknown voice '{name}'. Available voices: {', '.join(available)}.")
        if name[0] not in letters:
            raise ArgumentError(f"The voice '{name}' does not speak {' or '.join(languages)}. Remove it from --voices.")
    voices = {language: [name for name in names if name[0] in VOICES[language]] for language in languages}
    for language, found in voices.items():
        if not found:
            raise ArgumentError(
                f"--voices must contain a voice for '{language}'. Add one, or remove --text {language}."
            )
    return voices


def plan(
    sentences: list[Sentence], voices: dict[str, list[str]], seed: int, speeds: tuple[float, float]
) -> Iterator[Clip]:
    """Yield an endless sequence of clips, which depends only on the arguments.

    Each round contains every sentence once, in random order. A different voice reads a sentence in each round until all
    voices have read it.
    """
    first = np.random.default_rng(seed).integers(0, 1000, len(sentences))
    for turn in itertools.count():
        rng = np.random.default_rng((seed, turn))
        for at in rng.permutation(len(sentences)):
            sentence = sentences[at]
            names = voices[sentence.language]
            voice = names[(int(first[at]) + turn) % len(names)]
            path = f"{voice}/{turn:03d}_{at:06d}.flac"
            yield Clip(path, sentence, voice, round(float(rng.uniform(*speeds)), 2))


def trimmed(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return speech with at most 0.1 s of silence at each end, and a peak of at most 0.99."""
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    power_db = 10 * np.log10((frames.astype(np.float64) ** 2).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(power_db > power_db.max(initial=-120) + SILENCE_DB)
    if len(loud):
        wave = wave[max(0, loud[0] - MARGIN) * FRAME : (loud[-1] + 1 + MARGIN) * FRAME]
    return wave * np.float32(min(1.0, PEAK / max(float(np.abs(wave).max(initial=0)), 1e-9)))


def bandwidth_hz(wave: NDArray[np.float32]) -> int:
    """Return the upper edge of the highest 500 Hz band whose level is at most 60 dB below that of the loudest band.

    The level of a band is the 99th percentile over 43 ms frames, so a few fricatives are enough to raise it.
    """
    padded = np.pad(wave, (0, max(0, WINDOW - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: WINDOW // 2] * np.hanning(WINDOW)
    power = np.percentile(np.abs(np.fft.rfft(frames)) ** 2, 99, axis=0)[1:]
    hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[1:]
    n_bands = SAMPLE_RATE // 2 // BAND_HZ
    band = np.minimum(hz // BAND_HZ, n_bands - 1).astype(int)
    level_db = 10 * np.log10(np.bincount(band, power) / np.bincount(band) + 1e-12)
    return int(np.flatnonzero(level_db >= level_db.max() + BANDWIDTH_DB)[-1] + 1) * BAND_HZ


def row_of(clip: Clip, wave: NDArray[np.float32], origin: str, text_license: str) -> dict[str, str]:
    """Return the manifest row for a clip."""
    values = (
        *(clip.path, "kokoro-82m", origin, f"Apache-2.0 (voice), {text_license} (text)"),
        *(ACCENTS.get(clip.voice[0], clip.sentence.language), clip.voice, str(bandwidth_hz(wave))),
        *(f"{len(wave) / SAMPLE_RATE:.2f}", "train", "yes", f"{clip.speed:g}", clip.sentence.text),
    )
    return dict(zip(COLUMNS, values, strict=True))


def check_settings(folder: Path, settings: dict) -> None:
    """Store the settings in a new folder, or check that they match those of an existing folder.

    Raises:
        ArgumentError: the folder contains other files, or clips that were made with other settings.
        OutputError: the folder cannot be written to.
    """
    file = folder / SETTINGS
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ArgumentError(
                f"The output must be a new or empty folder, or one written by this program; got '{folder}'."
            )
        with replacing(file) as out:
            out.write((json.dumps(settings, indent=1, ensure_ascii=False) + "\n").encode())
        return
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"Cannot read '{file}': {error}. Pass another folder.") from error
    for name, value in settings.items():
        if stored.get(name) != value:
            raise ArgumentError(
                f"'{folder}' contains clips that were made with a different value of '{name}'. Pass another folder, or"
                f" use the settings in '{file}'."
            )


def known_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the manifest rows of existing clips from an earlier run, keyed by path."""
    file = folder / manifest.INDEX_NAME
    rows = manifest.read(file) if file.is_file() else []
    return {row["path"]: row for row in rows if (folder / row["path"]).is_file()}


def write_rows(folder: Path, rows: Iterable[dict[str, str]]) -> None:
    """Replace the manifest of a folder."""
    lines = ["\t".join(COLUMNS), *("\t".join(row[name] for name in COLUMNS) for row in rows)]
    with replacing(folder / manifest.INDEX_NAME, overwrite=True) as out:
        out.write(("\n".join(lines) + "\n").encode())


def make(folder: Path, clips: Iterator[Clip], kokoro: Kokoro, hours: float, text_license: str) -> None:
    """Write clips and the manifest to a folder until it contains the given number of hours of speech.

    Existing files and their rows are kept, even if they exceed this number. Files are written atomically, so an
    existing file is complete.
    """
    rows: dict[str, dict[str, str]] = {}  # in the order of the plan, keyed by path
    known = known_rows(folder)
    total_s, made, began_s = 0.0, 0, time.monotonic()
    shown_s = began_s
    try:
        while total_s < hours * 3600:
            clip = next(clips)
            file = folder / clip.path
            if new := not file.exists():
                tokens = clip.sentence.tokens[clip.voice[0]]
                audio.write(file, trimmed(kokoro.speak(tokens, clip.voice, clip.speed)))
                made += 1
            if clip.path not in known:  # Measure the file, so that the row does not depend on when the file was made.
                known[clip.path] = row_of(clip, audio.read(file), f"Kokoro-82M {kokoro.hash}", text_license)
            rows[clip.path] = known[clip.path]
            total_s += float(known[clip.path]["duration_s"])
            if new and made % CLIPS_PER_SAVE == 0:
                write_rows(folder, (rows | known).values())
            if time.monotonic() - shown_s >= 60:
                shown_s = time.monotonic()
                print(
                    f"{total_s / 3600:.2f} of {hours:g} h, {made} clips made in {shown_s - began_s:.0f} s", flush=True
                )
    finally:
        rows |= known
        if rows:
            write_rows(folder, rows.values())
    total_s = sum(float(row["duration_s"]) for row in rows.values())
    print(f"'{folder}' contains {len(rows)} clips, {total_s / 3600:.2f} h; {made} clips are new.")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder, or a folder to resume or extend")
    parser.add_argument("--model", type=Path, required=True, help="folder written by fetch.py")
    parser.add_argument("--hours", type=float, required=True, help="minimum hours of speech in the folder at the end")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: 1)")
    parser.add_argument(
        "--text", action="append", metavar="LANGUAGE[=FILE]", help="included list or text file; repeatable"
    )
    parser.add_argument("--text-license", default="", help="license of the text files, for the manifest")
    parser.add_argument("--voices", default="", help="voices separated by commas (default: all of the languages)")
    parser.add_argument("--speeds", type=float, nargs=2, default=(0.85, 1.15), metavar=("MIN", "MAX"))
    parser.add_argument("--threads", type=int, default=1, help="threads of the model (default: 1)")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Check the options, and make the clips.

    Raises:
        SilkError: an option is invalid, or a file cannot be read or written.
    """
    if not 0 < options.hours < 10_000:
        raise ArgumentError(f"--hours must be above 0 and below 10,000; got {options.hours:g}.")
    if options.seed < 0:
        raise ArgumentError(f"--seed must be at least 0; got {options.seed}.")
    if options.threads < 0:
        raise ArgumentError(f"--threads must be at least 0; got {options.threads}.")
    slowest, fastest = options.speeds
    if not 0.5 <= slowest <= fastest <= 2:
        raise ArgumentError(f"--speeds must be two values from 0.5 to 2, the lower first; got {slowest:g} {fastest:g}.")
    texts = [read_text(option) for option in options.text or INCLUDED]
    own = any(file.parent != TEXTS for _, file in texts)
    if own and not options.text_license:
        raise ArgumentError("--text-license must state the license of your text files, e.g. 'public domain'.")
    kokoro = Kokoro(options.model, options.threads)
    voices = choose_voices(list(dict.fromkeys(language for language, _ in texts)), kokoro.voices(), options.voices)
    convert = phonemizer(options.model / "packages")
    sentences = []
    for language, file in texts:
        letters = "".join(dict.fromkeys(name[0] for name in voices[language]))
        sentences += read_sentences(language, file, letters, convert, kokoro)
    text_license = options.text_license or "public domain"
    content = "\n".join(f"{sentence.language} {sentence.text}" for sentence in sentences)
    settings = {
        "seed": options.seed,
        "text": hashlib.sha256(content.encode()).hexdigest()[:12],
        "text_license": text_license,
        "voices": voices,
        "speeds": [slowest, fastest],
        "model": kokoro.hash,
    }
    check_settings(options.folder, settings)
    make(options.folder, plan(sentences, voices, options.seed, (slowest, fastest)), kokoro, options.hours, text_license)


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        run(parse(arguments))
    except SilkError as error:
        print(f"synthesize: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("synthesize: interrupted. The same command resumes the run.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
