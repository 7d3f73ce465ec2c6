"""Define the texts of the page and the figure of the coverage experiment."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.intervals import UNSEEN
from silkcodec_lab.pages import Result

NO_QUANTIZER = "again"  # key in a result for Griffin-Lim with the unquantized spectrogram and other random phases
KINDS = {"vq": "VQ", "rvq": "RVQ", "fsq": "FSQ"}
VIEWS = {
    "level": "Level removed",
    "channel": "Level and each speaker's mean spectrum removed",
}

TITLE = "Codebook coverage of unseen languages"

QUESTION = (
    "The entries of a codebook are learned from training speech. Does a codebook that was trained on one language "
    "cover speech in another language less well than speech from unseen speakers of its training language? Is the "
    "difference smaller for a scalar grid (FSQ), which has no learned entries?"
)

LIMITATIONS = (
    "**Language and recordings.** The groups come from different recording projects, so they differ in microphones, "
    "rooms, codecs and texts as well as in language. The table by source shows how much coverage varies between "
    "sources of the same language. If a group differs from the control group by less than this, the difference is not "
    "evidence for an effect of language. A recording project with many speakers of each language would be needed to "
    "separate the two effects.",
    "**Few speakers.** The intervals are computed over speakers and are too narrow if there are few speakers. They do "
    "not include the variation between sources of the same language.",
    "**Encoders.** An encoder that was trained on one language might discard information that is important in another "
    "language. This experiment does not measure that effect. Log-mel patches are computed without an encoder. Silk's "
    "encoder would not show the effect either, because it was trained on many languages.",
    "**Texts.** In any language, the sounds in single words, syllables and commands differ from those in sentences.",
    "**Grids.** The error of a scalar grid without an encoder depends on its rotation and on the bits of each "
    "component. In a codec, the encoder adapts the latent to FSQ.",
)

SOUND_LIMITATION = (
    "**Labels of sounds.** Labels apply to whole words or syllables, and they exist for only a few speakers of "
    "Mandarin. Labels for single phones might show larger errors for emphatic consonants or tones."
)

SOURCE_TITLE = "Codebook coverage of other recordings"

SOURCE_QUESTION = (
    "A codebook is fitted to speech from one recording project. Does it cover speech from other projects less well "
    "than speech from unseen speakers of the same project? Is the difference larger than for a scalar grid (FSQ)? "
    "Projects differ in their recording conditions and vocabulary, and some also differ in language. This experiment "
    "does not separate these effects."
)

LATENT_TITLE = "Codebook coverage of unseen languages on Silk's latents"


def title(result: Result) -> str:
    """Return the title of the page."""
    return {"source": SOURCE_TITLE, "latents": LATENT_TITLE}.get(kind_of(result), TITLE)


def question(result: Result) -> str:
    """Return the question that a result answers."""
    if kind_of(result) == "latents":
        return (
            f"{QUESTION} The vectors are the output of Silk's encoder. **The encoder's training set includes many "
            "languages, including Mandarin and Arabic**, and some of the speakers in this experiment. Only the "
            "quantizers are fitted to a single language."
        )
    return SOURCE_QUESTION if kind_of(result) == "source" else QUESTION


def limitations(result: Result) -> list[str]:
    """Return the limitations of a result."""
    return [*LIMITATIONS, *([SOUND_LIMITATION] if result.get("sounds") else [])]


def kind_of(result: Result) -> str:
    """Return the kind of experiment that produced a result: "latents", "source" or "language"."""
    if result["settings"]["patches"].get("of", "mel") == "latents":
        return "latents"
    one = len(result["groups"][UNSEEN]["sources"]) == 1 and result["settings"]["hold_out"] == "speaker"
    return "source" if one else "language"


def unit(result: Result) -> str:
    """Return the unit of the quantized vectors, "levels" or "dB"."""
    return "levels" if kind_of(result) == "latents" else "dB"


def vectors(result: Result) -> str:
    """Return the paragraph on how vectors are computed from speech."""
    settings = result["settings"]
    patches = settings["patches"]
    if kind_of(result) == "latents":
        return (
            "**Vectors.** The vectors are parts of the latents that Silk's encoder computes, before rounding. Their "
            f"unit is the FSQ level. The latent of each frame of 400 ms is split into vectors of {settings['width']} "
            "consecutive numbers, as in the small RVQ model. All recordings are low-pass filtered at "
            f"{patches['limit_hz']:,.0f} Hz, and clips with less bandwidth are skipped. The recordings are scaled to "
            "the same loud level. The loud level is the 95th percentile of the levels of 10 ms columns. Frames more "
            f"than {patches['silence_db']:g} dB below it count as silence and are skipped. Each speaker contributes "
            f"at most {patches['per_speaker']:,} vectors from {patches['seconds']:g} s of speech. Coverage is measured "
            "twice: with the original vectors, and after the speaker's mean frame is subtracted."
        )
    return (
        f"**Vectors.** The vectors are log-mel patches of {10 * patches['columns']} ms with {settings['width']} "
        f"numbers. Only bands up to {patches['limit_hz']:,.0f} Hz are used, and clips with less bandwidth are skipped. "
        "Levels are in dB relative to the loud level of the clip, which is the 95th percentile of the levels of its "
        f"spectrogram columns. Levels below -{patches['floor_db']:g} dB are set to -{patches['floor_db']:g} dB. The "
        f"levels are then averaged over blocks of {patches['pool']} columns by {patches['pool']} bands. Patches more "
        f"than {patches['silence_db']:g} dB below the loud level count as silence and are skipped. Each speaker "
        f"contributes at most {patches['per_speaker']:,} vectors from {patches['seconds']:g} s of speech. Coverage is "
        "measured twice: with the original vectors, and after the speaker's mean patch is subtracted. The subtraction "
        "removes the frequency response of the microphone and part of the voice."
    )


def headline(found: dict[str, Any]) -> str:
    """Return the name of the largest VQ codebook."""
    sizes = {name: one["bits"] for name, one in found["quantizers"].items() if one["kind"] == "vq"}
    return max(sizes, key=lambda name: sizes[name])


def label(quantizer: str) -> str:
    """Return the display name of a quantizer.

    >>> label("rvq 4x256")
    'RVQ 4 x 256'
    """
    kind, size = quantizer.split()
    return f"{KINDS[kind]} {size.replace('x', ' x ')}" + (" bit" if kind == "fsq" else "")
