"""Measure one codec, and print the result as JSON on the last line. `codec_bench.py` runs this program.

python bench/codec_worker.py measure CLIP NAME [--runs N] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from speed_worker import WARM_UP_S, timed
from subprocesses import Figures

from silkcodec.evaluate import machine
from silkcodec.parallel.worker_process import peak_memory_mb

NOT_LEARNED = {"encoder.mel.filters", "decoder.head.window"}  # constants in Silk's graphs that are named like weights


def presets(_: argparse.Namespace) -> list[str]:
    """Return the names of all built-in codecs with their presets."""
    from silkcodec import codec

    named = ([f"{base}:{preset}" for preset in codec.presets(base)] or [base] for base in sorted(codec.BUILT_IN))
    return list(chain.from_iterable(named))


def versions(_: argparse.Namespace) -> Figures:
    """Return the versions of all relevant libraries, and the ID of Silk's weights."""
    import silkcodec

    packages = ("numpy", "onnxruntime", "torch", "transformers", "snac", "opuslib", "pycodec2")
    return {"codec": silkcodec.load().codec_id, "versions": machine.versions(*packages)}


def measure(options: argparse.Namespace) -> Figures:
    """Measure the rates, speed, load time and peak memory of a codec."""
    codec, load_s = timed(lambda: _load(options.name, options.threads))
    wave = _wave(codec, options.clip)
    codec.decode(codec.encode(wave[: int(WARM_UP_S * codec.sample_rate)], codec.sample_rate))
    times: dict[str, list[float]] = {"encode": [], "decode": []}
    peak_mb = math.nan
    while len(times["encode"]) < options.runs or sum(map(sum, times.values())) < options.least_s:
        tokens, encode_s = timed(lambda: codec.encode(wave, codec.sample_rate))
        decoded, decode_s = timed(lambda tokens=tokens: codec.decode(tokens))
        times["encode"].append(encode_s)
        times["decode"].append(decode_s)
        if len(times["encode"]) == 1:
            peak_mb = peak_memory_mb() or math.nan
            _check(options.name, wave, decoded)
    speed = {way: _spread(values, tokens.duration_s) for way, values in times.items()}
    return {
        **_rates(codec, tokens),
        "parameters": _n_parameters(codec),
        "speed": {"load_s": load_s, **speed, "peak_memory_mb": peak_mb},
    }


def count(options: argparse.Namespace) -> Figures:
    """Return the token rates of several codecs."""
    found = {}
    for name in options.names:
        codec = _load(name, options.threads)
        tokens = codec.encode(_wave(codec, options.clip), codec.sample_rate)
        found[name] = {**_rates(codec, tokens), "parameters": _n_parameters(codec)}
    return found


def _load(name: str, threads: int) -> Any:
    """Load a codec with the given number of threads."""
    import silkcodec

    if name == "silk":
        codec = silkcodec.load(threads=threads)
        codec.prepare(encode=True, decode=True)
        return codec
    return silkcodec.load(name)  # PyTorch takes its number of threads from OMP_NUM_THREADS.


def _wave(codec: Any, clip: Path) -> Any:
    """Return the samples of a clip at the codec's sample rate, float32 [T]."""
    from silkcodec import audio

    return audio.read(clip, codec.sample_rate)


def _rates(codec: Any, tokens: Any) -> Figures:
    """Return the attributes of a codec, and its rates for the given tokens."""
    duration_s = tokens.duration_s
    n_codes = [len(codes) for codes in tokens.codes]
    bits = sum(n * math.log2(size) for n, size in zip(n_codes, tokens.codebook_sizes, strict=True))
    latency_s = getattr(codec, "latency_s", None)
    return {
        "quantizer": getattr(codec, "quantizer", None),
        "sample_rate": codec.sample_rate,
        "frame_rates_hz": list(tokens.frame_rates),
        "codebook_sizes": list(tokens.codebook_sizes),
        "latency_ms": None if latency_s is None else 1000 * latency_s,
        "tokens_per_second": tokens.tokens_per_second,
        "bits_per_second": tokens.bits_per_second,
        "counted": [
            {
                "duration_s": duration_s,
                "n_codes": n_codes,
                "n_tokens": tokens.n_tokens,
                "tokens_per_second": tokens.n_tokens / duration_s,
                "bits_per_second": bits / duration_s,
            }
        ],
    }


def _n_parameters(codec: Any) -> int | None:
    """Return the number of learned parameters, or None for codecs without a network."""
    if codec.name == "silk":
        import onnx

        graphs = [onnx.load(codec.folder / graph.file).graph for graph in (codec.config.encoder, codec.config.decoder)]
        learned = [
            math.prod(tensor.dims)
            for graph in graphs
            for tensor in graph.initializer
            if tensor.name.startswith(("encoder.", "decoder.")) and tensor.name not in NOT_LEARNED
        ]
        return sum(learned)
    if "torch" not in sys.modules:
        return None
    module = sys.modules["torch"].nn.Module
    models = [value for value in vars(codec).values() if isinstance(value, module)]
    return sum(parameter.numel() for model in models for parameter in model.parameters())


def _check(name: str, wave: Any, decoded: Any) -> None:
    """Exit with an error if the decoded audio is silent, not finite or of the wrong length."""
    import numpy as np

    if decoded.shape != wave.shape or not np.isfinite(decoded).all() or not np.abs(decoded).max() > 1e-6:
        sys.exit(f"The decoded audio of '{name}' is silent, contains non-finite samples, or has the wrong length.")


def _spread(times_s: list[float], duration_s: float) -> Figures:
    median_s = statistics.median(times_s)
    return {
        "times_real_time": duration_s / median_s,
        "n_runs": len(times_s),
        "median_s": median_s,
        "lowest_s": min(times_s),
        "highest_s": max(times_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)

    def verb(measure_it: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
        added = verbs.add_parser(measure_it.__name__)
        added.set_defaults(measure=measure_it)
        added.add_argument("--threads", type=int, default=2)
        return added

    verb(presets)
    verb(versions)
    measuring = verb(measure)
    measuring.add_argument("clip", type=Path)
    measuring.add_argument("name", help="codec name with its @source, as for silkcodec.load")
    measuring.add_argument(
        "--runs", type=int, default=3, help="minimum number of runs; runs continue for at least --least-s seconds"
    )
    measuring.add_argument("--least-s", type=float, default=0.0)
    counting = verb(count)
    counting.add_argument("clip", type=Path)
    counting.add_argument("names", nargs="+", metavar="NAME")
    options = parser.parse_args()
    print(json.dumps(options.measure(options)))


if __name__ == "__main__":
    main()
