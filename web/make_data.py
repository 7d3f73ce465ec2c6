"""Write the data for the web page.

    python web/make_data.py              # -> web/public/data/, before `npm run build`
    python web/make_data.py --fixtures   # -> web/test/fixtures.json, for the TypeScript tests

NAME.bin contains the int16 waveform, the int16 decoded waveform, the float16 latents and the uint8 levels of a
recording, in this order. recordings.json contains the sizes. NAME.inside.bin contains the activations of the network.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
from pathlib import Path
from typing import Any

import activations
import numpy as np
import soundfile
from numpy.typing import NDArray

from silkcodec import Tokens, audio, container, mel
from silkcodec.silk import Silk
from silkcodec.spec import N_LEVELS
from silkcodec.tokens import levels_to_codes

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "web" / "public" / "data"
FIXTURES = ROOT / "web" / "test" / "fixtures.json"
SAMPLES = ("english", "mandarin", "arabic")
FULL_SCALE = 32_767
BANDWIDTH = ROOT / "lab/src/silkcodec_lab/bandwidth"
# Versions in the "Listening comparison" section: the codec and the number of its codebooks. The experimental RVQ model
# has 8 vectors per frame with 4 codebooks each.
LISTEN = (
    (None, None), ("silk", 19), ("opus:6k", 15), ("codec2:1200", 6), ("run:rvq", 32), ("run:rvq", 16), ("run:rvq", 8),
)  # fmt: skip
SHOWN = (
    "silk", "codec2:1200", "mimi:8", "snac:24k", "snac:44k", "encodec:1.5k", "encodec:6k", "dac:16k", "dac:44k",
    "opus:6k", "opus:24k", "gsm",
)  # fmt: skip
QUANTIZERS = ("vq 64", "vq 1024", "rvq 1x256", "rvq 8x256", "fsq 6", "fsq 8", "fsq 10", "fsq 64")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--fixtures", action="store_true", help="write the fixtures of the tests instead")
    if arguments.parse_args().fixtures:
        FIXTURES.write_text(json.dumps(fixtures(), indent=1) + "\n", encoding="utf-8")
        return
    OUT.mkdir(parents=True, exist_ok=True)
    codec = Silk()
    recorder = activations.Recorder(codec)
    recordings = {name: record(codec, recorder, name) for name in SAMPLES}
    about = {
        "codec": codec.codec_id,
        "recordings": recordings,
        "layers": recorder.index(),
        "network": network(codec),
    }
    contents = {"recordings": about, "landscape": landscape(), "coverage": coverage(), "listen": listen(codec)}
    for name, content in contents.items():
        (OUT / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def record(codec: Silk, recorder: activations.Recorder, name: str) -> dict[str, Any]:
    """Encode and decode a sample, write its data, and return the sizes of the arrays."""
    whole = audio.read(ROOT / "samples" / f"{name}.flac")
    wave = pcm(whole)
    heard = wave.astype(np.float32) / FULL_SCALE
    tokens = codec.encode(heard)
    levels = tokens.to_levels()
    parts = (wave, pcm(codec.decode(tokens)), half(codec.latents(heard), levels), levels)
    (OUT / f"{name}.bin").write_bytes(b"".join(part.tobytes() for part in parts))
    (OUT / f"{name}.inside.bin").write_bytes(recorder.record(heard, levels))
    return {"n_samples": len(wave), "n_frames": tokens.n_frames, "full_scale": FULL_SCALE}


def pcm(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(np.clip(wave, -1, 1) * FULL_SCALE).astype("<i2")


def half(latents: NDArray[np.float32], levels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Convert latents to float16, and move those that would no longer round to their level by one step."""
    rounded = levels.astype(np.float16) - N_LEVELS // 2
    found = latents.astype("<f2")
    return np.where(np.rint(found).clip(-4, 3) == rounded, found, np.nextafter(found, rounded))


def network(codec: Silk) -> dict[str, int]:
    """Return the sizes of the network for the text of the page."""
    sizes = json.loads((codec.folder / "config.json").read_text(encoding="utf-8"))["network"]
    kept = ("conv_width", "encoder_convs", "decoder_convs", "width", "encoder_layers", "decoder_layers", "past_frames")
    found = {key: sizes[key] for key in kept}
    return found | {"past_columns": activations.past_columns(codec.config.encoder), "noise": sizes.get("noise", False)}


def listen(codec: Silk) -> dict[str, Any]:
    """Copy the decoded excerpts for the page, and return their measured quality and gains."""
    result = json.loads((BANDWIDTH / "results/bandwidth.json").read_text(encoding="utf-8"))
    sounds = ROOT / "docs/lab" / result["audio"]["folder"]
    files = {(one["codec"], one.get("kept"), one.get("how", "first")): one["file"] for one in result["audio"]["files"]}
    points = {(one["codec"], one["kept"]): one for one in result["points"] if one["how"] == "first"}
    original = audio.read(sounds / files[None, None, "first"])
    (OUT / "listen").mkdir(exist_ok=True)
    versions = []
    for name, kept in LISTEN:
        file = files[name, kept, "first"]
        wave = codec.decode(codec.encode(original)) if name == "silk" else audio.read(sounds / file)
        soundfile.write(OUT / "listen" / file, pcm(wave), 24_000, subtype="PCM_16")
        point = points.get((name, kept))
        versions.append(
            {
                "codec": name,
                "kept": kept,
                "file": file,
                "gain_db": round(20 * float(np.log10(rms(original) / rms(wave))), 2),
                "measured": None if point is None else {
                    "codec_id": result["codecs"][name]["codec_id"],
                    **{key: point[key] for key in ("tokens_per_second", "bits_per_second")},
                    **{key: point["metrics"][key] for key in ("pesq_wb", "stoi")},
                },
            }
        )  # fmt: skip
    return {
        "created": result["created"],
        "n_clips": result["speech"]["n_clips"],
        "current": codec.codec_id,
        "versions": versions,
    }


def rms(wave: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(wave.astype(np.float64) ** 2)))


def landscape() -> dict[str, Any]:
    """Return the rates of all codecs for the page."""
    result = json.loads((ROOT / "bench" / "codecs.json").read_text(encoding="utf-8"))
    rows = []
    for name in SHOWN:
        codec = result["codecs"][name]
        keys = ("quantizer", "sample_rate", "frame_rates_hz", "codebook_sizes", "tokens_per_second", "bits_per_second")
        rows.append({"name": name, **{key: codec[key] for key in keys}})
    return {"created": result["created"], "codecs": rows}


def coverage() -> dict[str, Any]:
    """Return the results of `silk lab coverage` for the page."""
    result = json.loads((ROOT / "lab/src/silkcodec_lab/coverage/results/coverage.json").read_text(encoding="utf-8"))
    views: dict[str, Any] = {}
    for view, found in result["views"].items():
        views[view] = {
            quantizer: {
                "groups": {group: values["inside"] for group, values in one["groups"].items()},
                "against_unseen": {group: values["inside"] for group, values in one["against_unseen"].items()},
                "beyond_grid": None
                if quantizer.startswith("fsq")
                else {group: values["inside_beyond_fsq"] for group, values in one["against_unseen"].items()},
                "sources": {group: values["by_source"] for group, values in one["groups"].items()},
            }
            for quantizer, one in found["quantizers"].items()
            if quantizer in QUANTIZERS
        }
    groups = {
        name: {"speakers": group["n_speakers"], "sources": len(group["sources"])}
        for name, group in result["groups"].items()
    }
    settings = {key: result["settings"][key] for key in ("covered", "folds", "width")}
    return {"created": result["created"], **settings, "groups": groups, "views": views}


def fixtures() -> dict[str, Any]:
    """Return levels and their codes, .silk files, and a log-mel spectrogram."""
    levels = np.random.default_rng(7).integers(0, 8, (27, 128), dtype=np.uint8)
    file, n_samples = io.BytesIO(), 27 * 9600 - 1234
    container.write(Tokens.from_levels(levels, n_samples=n_samples, codec="silk@0a1b2c3d4e5f"), file)
    peaked = np.random.default_rng(8).normal(3.5, 0.8, (80, 128)).round().clip(0, 7).astype(np.uint8)
    step = np.arange(10_000, dtype=np.float64)
    chirp = (0.5 * np.sin(2 * np.pi * (100 * step + 0.2 * step**2) / 24_000)).astype(np.float32)
    return {
        "levels": base64.b64encode(levels.tobytes()).decode(),
        "codes": {str(dims): levels_to_codes(levels[:2], dims).tolist() for dims in (1, 2, 4, 7, 10)},
        "n_samples": n_samples,
        "codec": "silk@0a1b2c3d4e5f",
        "silk": base64.b64encode(file.getvalue()).decode(),
        "silk_of_gain_0.3": silk_file(levels[:2], gain=0.3),
        "peaked": silk_file(peaked, entropy=False),  # levels that a range coder compresses
        "peaked_coded": silk_file(peaked, entropy=True),
        # In a chunk with this number of frames, the products of the range coder's model exceed 2^53.
        "constant_coded": silk_file(np.full((1500, 128), 4, np.uint8), entropy=True, chunk_frames=1500),
        "mel": np.round(mel.log_mel(chirp)[::9].astype(np.float64), 4).tolist(),
    }


def silk_file(levels: NDArray[np.uint8], **options: Any) -> str:
    """Return a .silk file with the given levels, in Base64."""
    file = io.BytesIO()
    with container.Writer(file, codec="silk@0a1b2c3d4e5f", n_samples=len(levels) * 9600, **options) as writer:
        writer.write_levels(levels)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    main()
