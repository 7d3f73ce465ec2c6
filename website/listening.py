"""Decode the samples with each installed codec, and generate the audio players for listen.md.

    python website/listening.py     # write samples/decoded, which README.md links to

The samples are decoded again whenever the site is built.
"""

from __future__ import annotations

import html
import shutil
import sys
from pathlib import Path
from typing import Any

SAMPLES = {
    "english": "English: coffee orders, recorded at 16 kHz.",
    "mandarin": "Mandarin: syllables, recorded at 24 kHz.",
    "arabic": "Arabic: command words, recorded at 16 kHz.",
}
CODECS = {"silk": "Silk", "codec2:1200": "Codec2", "opus:6k": "Opus"}
COMMITTED = ("silk", "codec2:1200")  # codecs in samples/decoded
ROOT = Path(__file__).resolve().parent.parent
DECODED = ROOT / "samples" / "decoded"
NOTE = """# Decoded samples

`python website/listening.py` decoded the [samples](../README.md) with Silk ({weights}) and with Codec2 at 1,200 bit/s.
The licenses of the recordings apply to these files.
"""

AUDIO = "AUDIO/"  # placeholder for the path of the audio folder relative to the page


def build(root: Path, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Decode every sample with every codec.

    Args:
        root: folder of the repository.
        folder: output folder for the audio and the spectrograms. Existing files are overwritten.

    Returns:
        The files, keyed by their path on the site, and the HTML of the players, keyed by sample. The "note" key has a
            remark on the codecs.
    """
    sys.path.insert(0, str(root / "src"))
    import silkcodec
    from silkcodec import audio, mel, picture

    folder.mkdir(parents=True, exist_ok=True)
    codecs: dict[str, Any] = {}
    missing: list[str] = []
    for name, title in CODECS.items():
        try:
            codecs[name] = silkcodec.load(name)
            codecs[name].encode(audio.read(root / "samples" / "english.flac")[:24_000], 24_000)
        except silkcodec.SilkError:
            if name == "silk":
                raise
            missing.append(title)
    files: dict[str, Path] = {}
    players = {}
    for sample, text in SAMPLES.items():
        original = audio.read(root / "samples" / f"{sample}.flac")
        versions = [("original", "Original", "the recording", original)]
        for name, codec in codecs.items():
            wave, rate = decode(codec, original)
            versions.append((name.replace(":", "-"), CODECS[name], rate, wave))
        pictures = picture.bare_spectrograms([mel.log_mel(wave) for *_, wave in versions])
        rows = []
        for (key, title, rate, wave), image in zip(versions, pictures, strict=True):
            sound, drawn = f"{sample}-{key}.flac", f"{sample}-{key}.png"
            if key == "original":
                shutil.copyfile(root / "samples" / f"{sample}.flac", folder / sound)
            else:
                audio.write(folder / sound, wave, overwrite=True)
            (folder / drawn).write_bytes(image)
            files |= {sound: folder / sound, drawn: folder / drawn}
            rows.append(_row(sample, title, rate, sound, drawn, len(wave) / 24_000))
        caption = f"<figcaption>{html.escape(text)}</figcaption>"
        players[sample] = f'<figure class="silk-listen">{caption}{"".join(rows)}</figure>'
    made = f"Silk {silkcodec.__version__}, weights {codecs['silk'].codec_id}"
    note = f"<p><small>These samples were decoded with {html.escape(made)}, when this page was built."
    if missing:
        note += f" The libraries of these codecs were not installed: {', '.join(missing)}."
    return files, players | {"note": f"{note}</small></p>"}


def decode(codec: Any, original: Any) -> tuple[Any, str]:
    """Encode and decode 24 kHz audio. Return the decoded audio at 24 kHz, and the rates as text."""
    from silkcodec import audio

    tokens = codec.encode(original, 24_000)
    rate = f"{tokens.bits_per_second:,.0f} bit/s, {tokens.tokens_per_second:g} tokens/s"
    return audio.as_wave(codec.decode(tokens), codec.sample_rate)[: len(original)], rate


def write_decoded(folder: Path = DECODED) -> None:
    """Decode every sample, and write FLAC files and a README to a folder."""
    import silkcodec
    from silkcodec import audio

    folder.mkdir(exist_ok=True)
    codecs: dict[str, Any] = {name: silkcodec.load(name) for name in COMMITTED}
    for sample in SAMPLES:
        original = audio.read(ROOT / "samples" / f"{sample}.flac")
        for name, codec in codecs.items():
            path = folder / f"{sample}-{name.replace(':', '-')}.flac"
            if (
                getattr(codec, "deterministic", True) or not path.exists()
            ):  # Codec2 never decodes the same samples twice.
                audio.write(path, decode(codec, original)[0], overwrite=True)
    (folder / "README.md").write_text(NOTE.format(weights=codecs["silk"].codec_id), encoding="utf-8")


def _row(sample: str, title: str, rate: str, sound: str, drawn: str, duration_s: float) -> str:
    label = html.escape(f"{title}, {sample}")
    return (
        f'<div class="silk-version"><p><strong>{html.escape(title)}</strong> <span>{html.escape(rate)}</span></p>'
        f'<img src="{AUDIO}{drawn}" alt="Spectrogram of {label}, {duration_s:.1f} s, 0 to 12 kHz" loading="lazy">'
        f'<audio controls preload="metadata" src="{AUDIO}{sound}" aria-label="{label}"></audio></div>'
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    write_decoded()
