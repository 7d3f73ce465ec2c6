"""Words that the page and the figures of the coverage experiment share: titles, names, and what a result is about."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.intervals import UNSEEN
from silkcodec_lab.pages import Result

AGAIN = "again"  # Griffin-Lim of the same spectrogram from other random phases
KINDS = {"vq": "VQ", "rvq": "RVQ", "fsq": "FSQ"}
VIEWS = {
    "level": "Level removed",
    "channel": "Level and each speaker's mean spectrum removed",
}

TITLE = "Does a codebook cover a language that is not in its training set?"

QUESTION = (
    "The entries of a codebook are learned from its training speech. Does a codebook trained on one language cover "
    "another language worse than it covers unseen speakers of its own language? And does a scalar grid (FSQ), which "
    "has no entries to learn, lose less?"
)

WOULD_CHANGE = (
    "**One recording project with many speakers of each language.** Here language and recording place are nearly the "
    "same: the groups come from different projects, with different microphones, rooms, codecs and kinds of text. A "
    "gap to the control that is no larger than the gap between sources of one language (the table by source) is no "
    "evidence of an effect of language.",
    "**More speakers.** Intervals are over speakers. Those of few speakers are too narrow, and none includes the "
    "difference between *sources* of the same language.",
    "**Vectors of an encoder that was trained on one language.** Such an encoder may discard what another language "
    "needs. Log-mel patches have no encoder, and Silk's was trained on both.",
    "**Another kind of text.** Single words, syllables and commands hold other sounds, in other proportions, than "
    "sentences do, in any language.",
    "**Another grid.** A scalar grid without an encoder depends on its rotation and its bits per component. In a "
    "codec, the encoder shapes the latent for FSQ.",
    "**Phone labels.** The labels are per word or syllable, and few speakers of Mandarin have them. With phone labels, "
    "an emphatic consonant or a tone might show a larger error in the few vectors that hold it.",
)

SOURCE_TITLE = "Does a codebook of one source's recordings cover other recordings?"

SOURCE_QUESTION = (
    "Does a codebook that was fitted to the speech of one recording project cover speech from other projects worse "
    "than it covers unseen speakers of the same project, and worse than a scalar grid (FSQ) does? Recordings, words "
    "and in some groups the language differ at the same time; this experiment does not separate them."
)

LATENT_TITLE = "Does a codebook on Silk's latents cover a language that is not in its training set?"


def title(result: Result) -> str:
    return {"source": SOURCE_TITLE, "latents": LATENT_TITLE}.get(kind_of(result), TITLE)


def question(result: Result) -> str:
    if kind_of(result) == "latents":
        return (
            f"{QUESTION} Here the vectors are the output of Silk's encoder. **The encoder's training set contains many "
            "languages, Mandarin and Arabic among them**, and some of these speakers; only the quantizers have not "
            "seen them."
        )
    return SOURCE_QUESTION if kind_of(result) == "source" else QUESTION


def kind_of(result: Result) -> str:
    """Return the kind of a result: "language", "source" (one source of recordings) or "latents"."""
    if result["settings"]["patches"].get("of", "mel") == "latents":
        return "latents"
    one = len(result["groups"][UNSEEN]["sources"]) == 1 and result["settings"]["hold_out"] == "speaker"
    return "source" if one else "language"


def unit(result: Result) -> str:
    """Return the unit of the vectors."""
    return "levels" if kind_of(result) == "latents" else "dB"


def vectors(result: Result) -> str:
    """Return the paragraph on the vectors."""
    settings = result["settings"]
    patches = settings["patches"]
    if kind_of(result) == "latents":
        return (
            "**Vectors.** Latents of Silk's encoder, one per frame of 400 ms, before FSQ rounds them, in FSQ levels. "
            f"Each is cut into vectors of {settings['width']} consecutive numbers, as in our small RVQ model. All "
            f"recordings are low-passed at {patches['limit_hz']:,.0f} Hz (clips with less bandwidth are skipped) and "
            "scaled so that the 95th percentile of the level of their 10 ms columns is the same. Frames more than "
            f"{patches['silence_db']:g} dB below that level count as silence and are skipped. At most "
            f"{patches['per_speaker']:,} vectors from {patches['seconds']:g} s per speaker. Everything is measured "
            "twice: as is, and with the speaker's mean frame subtracted."
        )
    return (
        f"**Vectors.** Log-mel patches of {10 * patches['columns']} ms, {settings['width']} numbers. They use bands up "
        f"to {patches['limit_hz']:,.0f} Hz of every recording (clips with less bandwidth are skipped), in dB relative "
        f"to the clip's loud level, the 95th percentile of its columns; clamped at {patches['floor_db']:g} dB below "
        f"it; averaged over {patches['pool']} columns and {patches['pool']} bands. Patches more than "
        f"{patches['silence_db']:g} dB below the loud level count as silence and are skipped. At most "
        f"{patches['per_speaker']:,} vectors from {patches['seconds']:g} s per speaker. Everything is measured twice: "
        "as is, and with the speaker's mean patch subtracted, which removes the frequency response of the microphone "
        "and part of the voice."
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
