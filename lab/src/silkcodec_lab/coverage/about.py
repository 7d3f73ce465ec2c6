"""Define titles, names and descriptions for the page and the figure of the coverage experiment."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.intervals import UNSEEN
from silkcodec_lab.pages import Result

NO_QUANTIZER = "again"  # key in a result for Griffin-Lim of the same spectrogram with other random phases
KINDS = {"vq": "VQ", "rvq": "RVQ", "fsq": "FSQ"}
VIEWS = {
    "level": "Level removed",
    "channel": "Level and each speaker's mean spectrum removed",
}

TITLE = "Codebook coverage of unseen languages"

QUESTION = (
    "The entries of a codebook are learned from its training speech. Does a codebook that is trained on one language "
    "cover another language less well than unseen speakers of its own language? Is the difference smaller for a scalar "
    "grid (FSQ), which has no learned entries?"
)

LIMITATIONS = (
    "**Language and recordings differ together.** The groups come from different recording projects with different "
    "microphones, rooms, codecs and texts. The difference between sources of the same language is in the table by "
    "source. A difference from the control that is not larger is no evidence of an effect of language. A recording "
    "project with many speakers of each language would separate the two.",
    "**Few speakers.** Intervals are over speakers, and they are too narrow for few speakers. They do not include the "
    "difference between sources of the same language.",
    "**Encoders.** An encoder that is trained on one language may discard information that another language needs. "
    "Log-mel patches have no encoder, and Silk's encoder was trained on many languages.",
    "**Texts.** Single words, syllables and commands contain other sounds than sentences, in any language.",
    "**Grids.** The error of a scalar grid without an encoder depends on its rotation and its bits per component. In a "
    "codec, the encoder adapts the latent to FSQ.",
    "**Labels.** Labels are per word or syllable, and few speakers of Mandarin have them. With phone labels, an "
    "emphatic consonant or a tone might have a larger error in its few vectors.",
)

SOURCE_TITLE = "Codebook coverage of other recordings"

SOURCE_QUESTION = (
    "A codebook is fitted to speech of one recording project. Does it cover speech of other projects less well than "
    "unseen speakers of the same project? Is the difference larger than for a scalar grid (FSQ)? Recordings, words and "
    "in some groups the language differ at the same time. This experiment does not separate them."
)

LATENT_TITLE = "Codebook coverage of unseen languages on Silk's latents"


def title(result: Result) -> str:
    """Return the title of a result."""
    return {"source": SOURCE_TITLE, "latents": LATENT_TITLE}.get(kind_of(result), TITLE)


def question(result: Result) -> str:
    """Return the question of a result."""
    if kind_of(result) == "latents":
        return (
            f"{QUESTION} The vectors are the output of Silk's encoder. **The training set of the encoder contains many "
            "languages, including Mandarin and Arabic**, and some of these speakers. Only the quantizers were not "
            "fitted to them."
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
            "**Vectors.** They are latents of Silk's encoder before rounding, in FSQ levels. The latent of each frame "
            f"of 400 ms is split into vectors of {settings['width']} consecutive numbers, as in the small RVQ model. "
            f"All recordings are low-passed at {patches['limit_hz']:,.0f} Hz, and clips with less bandwidth are "
            "skipped. They are scaled to the same loud level, which is the 95th percentile of the levels of their "
            f"10 ms columns. Frames more than {patches['silence_db']:g} dB below that level count as silence and are "
            f"skipped. Each speaker has at most {patches['per_speaker']:,} vectors from {patches['seconds']:g} s. "
            "Coverage is measured twice, without and with subtraction of the speaker's mean frame."
        )
    return (
        f"**Vectors.** They are log-mel patches of {10 * patches['columns']} ms with {settings['width']} numbers. Only "
        f"bands up to {patches['limit_hz']:,.0f} Hz are used, and clips with less bandwidth are skipped. Levels are in "
        "dB relative to the loud level of the clip, which is the 95th percentile of the levels of its columns. They "
        f"are clamped at {patches['floor_db']:g} dB below the loud level and averaged over {patches['pool']} columns "
        f"and {patches['pool']} bands. Patches more than {patches['silence_db']:g} dB below the loud level count as "
        f"silence and are skipped. Each speaker has at most {patches['per_speaker']:,} vectors from "
        f"{patches['seconds']:g} s. Coverage is measured twice, without and with subtraction of the speaker's mean "
        "patch. The subtraction removes the frequency response of the microphone and part of the voice."
    )


def headline(found: dict[str, Any]) -> str:
    """Return the name of the largest single codebook, which the summary and the table by source use."""
    sizes = {name: one["bits"] for name, one in found["quantizers"].items() if one["kind"] == "vq"}
    return max(sizes, key=lambda name: sizes[name])


def label(quantizer: str) -> str:
    """Return the name of a quantizer as it is printed.

    >>> label("rvq 4x256")
    'RVQ 4 x 256'
    """
    kind, size = quantizer.split()
    return f"{KINDS[kind]} {size.replace('x', ' x ')}" + (" bit" if kind == "fsq" else "")
