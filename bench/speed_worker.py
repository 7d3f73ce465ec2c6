"""Run one speed measurement, and print the result as JSON on the last line. `speed.py` runs this program.

python bench/speed_worker.py library FILE [--threads N] [--limit-s S]
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

WARM_UP_S = 2.0  # duration of the speech that is processed before a measurement starts


def import_package(_: argparse.Namespace) -> Figures:
    """Measure the time of `import silkcodec`."""
    started = time.perf_counter()
    import silkcodec

    return {"wall_s": time.perf_counter() - started, "version": silkcodec.__version__}


def load(_: argparse.Namespace) -> Figures:
    """Measure the time to import the package and to load the model."""
    started = time.perf_counter()
    import silkcodec

    silkcodec.load().prepare(encode=True, decode=True)
    return {"wall_s": time.perf_counter() - started}


def versions(_: argparse.Namespace) -> Figures:
    """Return the versions of all relevant libraries, and the ID of the weights."""
    import silkcodec
    from silkcodec.evaluate import machine

    codec = silkcodec.load()
    return {
        "threads": codec.threads,
        "provider": codec.provider,
        "codec": codec.codec_id,
        "versions": machine.versions("numpy", "onnxruntime", "soundfile", "soxr"),
    }


def tile(options: argparse.Namespace) -> Figures:
    """Write a 24 kHz WAV file of the given duration, which repeats the samples."""
    from silkcodec import audio
    from silkcodec.spec import SILK_SAMPLE_RATE

    waves = [audio.read(path) for path in speech_files(options.samples)]
    missing = round(options.duration_s * SILK_SAMPLE_RATE)
    with audio.Writer(options.file) as writer:
        while missing > 0:
            for wave in waves:
                writer.write(wave[:missing])
                missing -= min(missing, len(wave))
                if missing == 0:
                    break
    return {}


def library(options: argparse.Namespace) -> Figures:
    """Measure the speed of `encode` and `decode` for one long recording."""
    codec, wave = _ready(options)
    tokens, encode_s = timed(lambda: codec.encode(wave))
    _, decode_s = timed(lambda: codec.decode(tokens))
    return {
        "threads": codec.threads,
        "duration_s": tokens.duration_s,
        "encode_times_real_time": tokens.duration_s / encode_s,
        "decode_times_real_time": tokens.duration_s / decode_s,
        "tokens_per_second": tokens.tokens_per_second,
        "bits_per_second": tokens.bits_per_second,
    }


def batch(options: argparse.Namespace) -> Figures:
    """Measure the speed of `encode_batch` and `decode_batch` for clips of 3 to 20 s."""
    codec, wave = _ready(options)
    rate = codec.sample_rate
    clips, start = [], 0
    for i in range(options.clips):
        n_samples = int((3.0 + 17.0 * (i * 7 % 11) / 10) * rate)  # The durations differ, but are the same in every run.
        start = 0 if start + n_samples > len(wave) else start
        clips.append(wave[start : start + n_samples])
        start += n_samples
    duration_s = sum(map(len, clips)) / rate
    tokens, encode_s = timed(lambda: codec.encode_batch(clips))
    _, decode_s = timed(lambda: codec.decode_batch(tokens))
    return {
        "n_clips": len(clips),
        "duration_s": duration_s,
        "encode_times_real_time": duration_s / encode_s,
        "decode_times_real_time": duration_s / decode_s,
    }


def stream(options: argparse.Namespace) -> Figures:
    """Measure how long `StreamEncoder.feed` and `StreamDecoder.feed` take for a frame."""
    from silkcodec.silk.stream import StreamDecoder, StreamEncoder
    from silkcodec.spec import FRAME_SAMPLES

    codec, wave = _ready(options)
    encoder, decoder = StreamEncoder(codec), StreamDecoder(codec)
    encode_ms: list[float] = []
    decode_ms: list[float] = []
    for start in range(0, len(wave) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        chunk = wave[start : start + FRAME_SAMPLES]
        codes, encode_s = timed(partial(encoder.feed, chunk))
        if len(codes) == 0:
            continue  # The first frame is complete only when the next chunk provides its look-ahead.
        _, decode_s = timed(partial(decoder.feed, codes))
        encode_ms.append(1000 * encode_s)
        decode_ms.append(1000 * decode_s)
    return {"chunk_ms": 400, "encode": _spread(encode_ms), "decode": _spread(decode_ms)}


def size(options: argparse.Namespace) -> Figures:
    """Return the sizes of the samples' .silk files, raw and entropy-coded."""
    import silkcodec
    from silkcodec import audio, container
    from silkcodec.errors import MissingExtraError

    codec = silkcodec.load()

    def n_bytes(tokens: silkcodec.Tokens, *, entropy: bool) -> int | None:
        file = io.BytesIO()
        try:
            container.write(tokens, file, entropy=entropy)
        except MissingExtraError:
            return None
        return len(file.getvalue())

    files: list[Figures] = []
    for path in speech_files(options.samples):
        tokens = codec.encode(audio.read(path))
        files.append(
            {
                "file": path.name,
                "duration_s": tokens.duration_s,
                "tokens_per_second": tokens.tokens_per_second,
                "bits_per_second": tokens.bits_per_second,
                "raw_bytes": n_bytes(tokens, entropy=False),
                "entropy_bytes": n_bytes(tokens, entropy=True),
            }
        )
    raw = sum(file["raw_bytes"] for file in files)
    coded = None if any(file["entropy_bytes"] is None for file in files) else sum(f["entropy_bytes"] for f in files)
    gain = None if coded is None else 100 * (1 - coded / raw)
    return {"files": files, "raw_bytes": raw, "entropy_bytes": coded, "entropy_gain_percent": gain}


def speech_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder, sorted by name."""
    from silkcodec import audio

    return sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Call a function, and return its result and its wall time in seconds."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def _ready(options: argparse.Namespace) -> tuple[Any, Any]:
    """Load and warm up a codec, and read a file. Return both."""
    import silkcodec
    from silkcodec import audio

    codec = silkcodec.load(threads=options.threads)
    wave = audio.read(options.file)
    codec.decode(codec.encode(wave[: int(WARM_UP_S * codec.sample_rate)]))
    if options.limit_s is not None:
        wave = wave[: int(options.limit_s * codec.sample_rate)]
    return codec, wave


def _spread(values_ms: list[float]) -> Figures:
    import numpy as np

    p50, p99 = np.percentile(values_ms, [50, 99])
    return {"n_frames": len(values_ms), "p50_ms": float(p50), "p99_ms": float(p99), "highest_ms": max(values_ms)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)

    def verb(name: str, measure: Callable[[argparse.Namespace], Figures]) -> argparse.ArgumentParser:
        added = verbs.add_parser(name)
        added.set_defaults(measure=measure)
        return added

    verb("import", import_package)
    verb("load", load)
    verb("versions", versions)
    tiling = verb("tile", tile)
    tiling.add_argument("samples", type=Path)
    tiling.add_argument("file", type=Path)
    tiling.add_argument("duration_s", type=float)
    verb("size", size).add_argument("samples", type=Path)
    for name, measure in (("library", library), ("batch", batch), ("stream", stream)):
        added = verb(name, measure)
        added.add_argument("file", type=Path)
        added.add_argument("--threads", type=int, default=None)
        added.add_argument("--limit-s", type=float, default=None)
        added.add_argument("--clips", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(options.measure(options)))


if __name__ == "__main__":
    main()
