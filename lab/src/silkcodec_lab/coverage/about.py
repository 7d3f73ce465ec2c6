"""Define text and labels for the page and the figure of the coverage experiment."""

from __future__ import annotations

from typing import Any

from silkcodec_lab.coverage.intervals import SEEN, UNSEEN
from silkcodec_lab.pages import Result

NO_QUANTIZER = "again"  # key in a result for Griffin-Lim with the unquantized spectrogram and different random phases
KINDS = {"vq": "VQ", "rvq": "RVQ", "fsq": "FSQ"}
VIEWS = {"level": "original", "channel": "speaker's mean subtracted"}  # vectors for which coverage is measured

TITLE = "Codebook coverage of unseen languages"
LATENT_TITLE = "Codebook coverage of unseen languages on Silk's latents"
SOURCE_TITLE = "Codebook coverage of other recordings"


def title(result: Result) -> str:
    """Return the title of the page."""
    return {"source": SOURCE_TITLE, "latents": LATENT_TITLE}.get(kind_of(result), TITLE)


def question(result: Result) -> str:
    """Return the question that a result answers."""
    if kind_of(result) == "source":
        (project,) = result["groups"][UNSEEN]["sources"]
        vectors, others = f"feature vectors of speech from one recording project (`{project}`)", "from other projects"
        same = "from its training project"
    else:
        of = "vectors that Silk's encoder computes from" if kind_of(result) == "latents" else "feature vectors of"
        vectors, others, same = f"{of} speech in one language", "in other languages", "of its training language"
    return (
        f"A codebook is fitted to {vectors}. It *covers* a vector if the quantization error is small. Does it cover "
        f"speech {others} less well than speech by unseen speakers {same}? Does it lose more coverage than a scalar "
        "grid, which has no learned entries?"
    )


def limitations(result: Result) -> list[str]:
    """Return the limitations of a result."""
    kind = kind_of(result)
    encoder = (
        "Silk's encoder was trained on many languages, including Mandarin and Arabic, and on some of these speakers. "
        "An encoder that was trained on one language might discard information that other languages need."
        if kind == "latents"
        else "The experiment has no encoder. An encoder that was trained on one language might discard information "
        "that other languages need."
    )
    texts = [
        "The groups come from different recording projects. They differ in microphones, rooms and texts as well as in "
        "language. The experiment cannot separate these effects.",
        "The intervals are too narrow for groups with few speakers. They do not include the variation between "
        "recording projects.",
        encoder,
        "In a codec, the encoder adapts to the quantizer. The codebooks and grids in this experiment are fitted to "
        "fixed vectors.",
    ]
    if result.get("sounds"):
        texts.append("The labels for tones and Arabic sounds apply to whole words or syllables, not to single sounds.")
    return texts


def kind_of(result: Result) -> str:
    """Return the kind of experiment that produced a result: "latents", "source" or "language".

    "source" means that speakers, not sources, are held out, and that the training speech comes from only one source.
    """
    if result["settings"]["patches"]["of"] == "latents":
        return "latents"
    one = len(result["groups"][UNSEEN]["sources"]) == 1 and result["settings"]["hold_out"] == "speaker"
    return "source" if one else "language"


def vectors(result: Result) -> str:
    """Return the paragraph on how vectors are computed from speech."""
    settings = result["settings"]
    patches = settings["patches"]
    limit, least = f"{patches['limit_hz']:,.0f} Hz", f"at most {patches['per_speaker']:,} vectors"
    if kind_of(result) == "latents":
        return (
            "**Vectors.** Silk's encoder computes 128 numbers for each 400 ms frame. These numbers, before "
            f"rounding, are split into vectors of {settings['width']}. Before encoding, recordings are low-pass "
            f"filtered at {limit} and scaled to the same level. Silence is skipped. Each speaker contributes {least}. "
            "All measurements are repeated after subtracting each speaker's mean frame."
        )
    return (
        f"**Vectors.** A vector is a patch of a log-mel spectrogram. It spans {10 * patches['columns']} ms and "
        f"frequencies up to {limit}. It consists of {settings['width']} numbers in dB, relative to the level of the "
        f"clip. Silence is skipped. Each speaker contributes {least}. All measurements are repeated after "
        "subtracting each speaker's mean patch. This removes the frequency response of the microphone."
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


def group_label(group: str) -> str:
    """Return the display name of a group.

    >>> group_label("english by Mandarin speakers"), group_label("unseen")
    ('English by Mandarin speakers', 'unseen speakers')
    """
    return f"{group} speakers" if group in (SEEN, UNSEEN) else group[:1].upper() + group[1:]
