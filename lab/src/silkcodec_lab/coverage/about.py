"""Words that the page and the figures of the coverage experiment share: titles, names, and what a result is about."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.intervals import NEW
from silkcodec_lab.pages import Result

AGAIN = "again"  # Griffin-Lim of the same spectrogram from other random phases
KINDS = {"vq": "VQ", "rvq": "RVQ", "fsq": "FSQ"}
VIEWS = {
    "level": "Level taken out",
    "channel": "Level and each speaker's mean spectrum taken out",
}

TITLE = "Does a codebook cover a language that it never heard?"

QUESTION = (
    "A codebook holds what it heard in training. Does one that learned one language's speech cover another language "
    "worse than it covers new speakers of its own language? And does a scalar grid (FSQ), which has no entries to "
    "learn, lose less?"
)

WOULD_CHANGE = (
    "**One recording project with many speakers of each language.** Here language and recording place are nearly the "
    "same thing: the groups come from different projects, with different microphones, rooms, codecs and kinds of "
    "text. A gap to the control that is no larger than the gap between sources of one language (the table by source) "
    "is no evidence of language.",
    "**More speakers.** Intervals are over speakers, those of few speakers are too narrow, and none of them knows how "
    "much another *source* of the same language would differ.",
    "**Vectors of an encoder that was trained on one language.** It may throw away what another one needs before any "
    "quantizer sees it, or may arrange both alike. Log-mel patches have no encoder, and Silk's has heard both.",
    "**Another kind of text.** Single words, syllables and commands hold other sounds, in other shares, than "
    "sentences do, whatever the language.",
    "**Another grid.** A scalar grid without an encoder depends on its rotation and its bits per component; FSQ in a "
    "codec gets its latent shaped for it.",
    "**Marked speech.** Where sounds are told of, they are known by word and syllable, of few speakers of Mandarin. "
    "Phone by phone, an emphatic or a tone might fall far for the few vectors that are its own.",
)

SOURCE_TITLE = "Does a codebook of one source's recordings cover other recordings?"

SOURCE_QUESTION = (
    "A codebook that was fitted on one recording project's speech, with its microphones, rooms and text: does it cover "
    "speech from elsewhere worse than new speakers of the same project, and worse than a scalar grid (FSQ) does? Here "
    "nothing is held apart: elsewhere recordings differ, words do, and where it is another one, language does."
)

LATENT_TITLE = "Does a codebook on Silk's latents cover a language that it never heard?"


def title(result: Result) -> str:
    return {"source": SOURCE_TITLE, "latents": LATENT_TITLE}.get(kind_of(result), TITLE)


def question(result: Result) -> str:
    if kind_of(result) == "latents":
        return (
            f"{QUESTION} Asked of the vectors that Silk's own encoder makes. **The encoder heard many languages in "
            "its training, Mandarin and Arabic among them**, and some of these speakers: only the quantizers are new "
            "to them."
        )
    return SOURCE_QUESTION if kind_of(result) == "source" else QUESTION


def kind_of(result: Result) -> str:
    """What a result is about: a language; one source of recordings; or Silk's latents."""
    if result["settings"]["patches"].get("of", "mel") == "latents":
        return "latents"
    one = len(result["groups"][NEW]["sources"]) == 1 and result["settings"]["hold_out"] == "speaker"
    return "source" if one else "language"


def unit(result: Result) -> str:
    """Of the vectors."""
    return "levels" if kind_of(result) == "latents" else "dB"


def vectors(result: Result) -> str:
    """What the vectors are."""
    settings = result["settings"]
    patches = settings["patches"]
    if kind_of(result) == "latents":
        return (
            "**Vectors.** Frames of 400 ms as Silk's encoder makes them, before FSQ rounds them, in levels of its FSQ; "
            f"each in pieces of {settings['width']} numbers in a row, which one codebook reads, as our small RVQ model "
            "reads its own latent. Nothing above "
            f"{patches['limit_hz']:,.0f} Hz, for every recording alike (clips known to end below that are left out), "
            "and the 95th percentile of the levels of its columns of 10 ms brought to the same height; frames more "
            f"than {patches['silence_db']:g} dB below the loud level are no speech and left out. At most "
            f"{patches['per_speaker']:,} vectors of {patches['seconds']:g} s a speaker. Everything is done twice: so, "
            "and with the speaker's mean frame taken out."
        )
    return (
        f"**Vectors.** Log-mel patches of {10 * patches['columns']} ms, {settings['width']} numbers: bands up to "
        f"{patches['limit_hz']:,.0f} Hz only, for every recording alike (clips known to end below that are left out); "
        f"in dB below the clip's own loud level, the 95th percentile of its columns; clamped {patches['floor_db']:g} "
        f"dB below it; averaged over {patches['pool']} columns and {patches['pool']} bands. Patches more than "
        f"{patches['silence_db']:g} dB below the loud level are no speech and left out. At most "
        f"{patches['per_speaker']:,} vectors of {patches['seconds']:g} s a speaker. Everything is done twice: so, and "
        "with the speaker's mean patch taken out, which takes away the colour of the microphone and some of the voice."
    )


def headline(found: dict[str, Any]) -> str:
    """Return the quantizer that is drawn and listed by source: the largest single codebook."""
    sizes = {name: one["bits"] for name, one in found["quantizers"].items() if one["kind"] == "vq"}
    return max(sizes, key=lambda name: sizes[name])


def label(quantizer: str) -> str:
    """Return the name of a quantizer as it is printed.

    >>> label("rvq 4x256")
    'RVQ 4 x 256'
    """
    kind, size = quantizer.split()
    return f"{KINDS[kind]} {size.replace('x', ' x ')}" + (" bit" if kind == "fsq" else "")
