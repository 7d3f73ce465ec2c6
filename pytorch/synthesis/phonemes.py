"""Convert text to the phonemes that Kokoro was trained on.

espeak-ng converts all languages except Mandarin. The tables below then replace espeak-ng's symbols with Kokoro's,
for example the two letters of a diphthong with one capital letter. The tables are adapted from misaki 0.9.4
(Apache-2.0), the library used to prepare Kokoro's training data. misaki itself converts Mandarin. For other languages
it needs phonemizer, which has many dependencies, so this module calls the espeak-ng library directly.
"""

# ruff: noqa: RUF001 (phonetic symbols look like other letters)

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from silkcodec.errors import ArgumentError

ESPEAK_VOICES = {  # first letter of a Kokoro voice -> espeak-ng voice
    "a": "gmw/en-US",
    "b": "gmw/en",
    "e": "roa/es",
    "f": "roa/fr",
    "h": "inc/hi",
    "i": "roa/it",
    "p": "roa/pt-BR",
}
MANDARIN = "z"
# A comma, colon or period between digits belongs to a number.
PUNCTUATION = re.compile(r"\s*(?:[;!?¡¿—…\"«»“”()]|[,.:](?!\d))(?:[;:,.!?¡¿—…\"«»“”()]|\s)*")

UTF8, IPA, TIE = 1, 0x02, 0x80 | ord("^") << 8  # flags of espeak_TextToPhonemes; "^" joins the letters of a phoneme

DIPHTHONGS = {"a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "ɔ^ɪ": "Y", "d^ʒ": "ʤ", "t^ʃ": "ʧ"}
ENGLISH = {
    "ʔˌn\u0329": "ʔn",
    "ʔn\u0329": "ʔn",
    **DIPHTHONGS,
    "e^ə": "ɛː",
    "ə^l": "ᵊl",
    "ʲo": "jo",
    "ʲə": "jə",
    "e": "A",
    "ʲ": "",
    "ɚɹ": "əɹ",
    "ɚ": "əɹ",
    "r": "ɹ",
    "x": "k",
    "ç": "k",
    "ɐ": "ə",
    "ɬ": "l",
    "\u0303": "",
}
BRITISH = {"i^ə": "ɪə", "iə": "ɪə", "ə^ʊ": "Q"}
AMERICAN = {"o^ʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""}
ENGLISH_LAST = {"o": "ɔ", "ɾ": "T", "ʔ": "t"}
OTHERS = {**DIPHTHONGS, "d^z": "ʣ", "o^ʊ": "O", "ə^ʊ": "Q", "s^s": "S", "t^s": "ʦ"}

Phonemizer = Callable[[str, str], str]  # (text, first letter of the voice name) -> phonemes


def from_espeak(phonemes: str, letter: str) -> str:
    """Convert espeak-ng's phonemes to Kokoro's symbols.

    Args:
        phonemes: IPA from espeak-ng, with "^" between the letters of a phoneme, such as "t^ʃ".
        letter: first letter of the voice name, a key of ESPEAK_VOICES.
    """
    if letter not in "ab":
        return _replaced(phonemes, OTHERS).replace("^", "").replace("-", "")
    phonemes = _replaced(phonemes, ENGLISH)
    phonemes = re.sub("(\\S)\u0329", r"ᵊ\1", phonemes).replace("\u0329", "")
    phonemes = _replaced(phonemes, BRITISH if letter == "b" else AMERICAN)
    phonemes = _replaced(phonemes, ENGLISH_LAST).replace("^", "")
    return re.sub(r"(?<!\S)I(?!\S)", "ˌI", phonemes)  # Kokoro often omits the pronoun "I" without this stress.


def _replaced(text: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        text = text.replace(old, new)
    return text


def split_punctuation(text: str) -> list[tuple[str, str]]:
    """Return the parts of the text, each with the punctuation after it.

    espeak-ng omits punctuation, but Kokoro uses it for pauses and intonation.

    Examples:
        >>> split_punctuation("Well, no. It costs 3.50!")
        [('Well', ', '), ('no', '. '), ('It costs 3.50', '!')]
    """
    text = re.sub(r"\b(Mr|Mrs|Ms|Dr|St)\.", r"\1", text.replace("--", "—"))
    text = text.translate(str.maketrans("‘’«»", "''“”"))
    parts, start = [], 0
    for found in PUNCTUATION.finditer(text):
        parts.append((text[start : found.start()], re.sub(r"\s+", " ", found[0])))
        start = found.end()
    return [*parts, (text[start:], "")] if text[start:] else parts


class Espeak:
    """Call the espeak-ng library. A process can use only one instance, because the library has global state.

    Args:
        library: path of libespeak-ng.
        data: path of the espeak-ng-data folder.

    Raises:
        ArgumentError: the library cannot be loaded.
    """

    def __init__(self, library: str, data: str):
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise ArgumentError(f"Cannot load espeak-ng from '{library}': {error}.") from error
        self._convert = self._library.espeak_TextToPhonemes
        self._convert.restype = ctypes.c_char_p
        self._convert.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        if self._library.espeak_Initialize(2, 0, data.encode(), 0) < 0:
            raise ArgumentError(f"Cannot load the espeak-ng data from '{data}'.")

    def __call__(self, text: str, voice: str) -> str:
        """Return the phonemes of text without punctuation, as IPA with "^" between the letters of a phoneme."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ArgumentError(f"espeak-ng has no voice '{voice}'. Use the version pinned in requirements/kokoro.txt.")
        rest, found = ctypes.c_char_p(text.encode()), []
        while (
            rest.value is not None
        ):  # espeak-ng converts one clause at a time, and sets the pointer to null at the end
            found.append((self._convert(ctypes.byref(rest), UTF8, IPA | TIE) or b"").decode())
        return " ".join(part for part in found if part)


def phonemizer(packages: Path) -> Phonemizer:
    """Return a function that takes text and the first letter of a voice name, and returns Kokoro's phonemes.

    Args:
        packages: folder with the Python packages in requirements/kokoro.txt.

    Raises:
        ArgumentError: a package is missing or cannot be loaded.
    """
    sys.path.append(str(packages))
    try:
        loader = importlib.import_module("espeakng_loader")
        mandarin = importlib.import_module("misaki.zh").ZHG2P()
        importlib.import_module("jieba").setLogLevel("ERROR")
    except ImportError as error:
        raise ArgumentError(
            f"Cannot import '{error.name}' from '{packages}'. Run pytorch/synthesis/fetch.py."
        ) from error
    espeak = Espeak(str(loader.get_library_path()), str(loader.get_data_path()))

    def convert(text: str, letter: str) -> str:
        if letter == MANDARIN:
            return str(mandarin(text)[0])
        voice = ESPEAK_VOICES[letter]
        parts = [from_espeak(espeak(part, voice), letter) + mark for part, mark in split_punctuation(text)]
        return "".join(parts).strip()

    return convert
