"""Measure the token rates, speed, memory and load time of all codecs on this machine.

    python bench/codec_bench.py --out bench/codecs.json        # about 12 minutes on two idle cores
    python bench/codec_bench.py --out /tmp/quick.json --quick  # trial run with short clips

The neural baselines have random weights, because rates, speed and memory do not depend on the values of the weights.
Each codec is measured in its own process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import program
import subprocesses
from subprocesses import Figures

from silkcodec.evaluate import machine

BENCH = Path(__file__).resolve().parent
SAMPLES = BENCH.parent / "samples"
SPEED_OF = (  # For all other presets, only rates are counted, because presets of a model have about the same speed.
    "silk",
    "dac:16k",
    "dac:24k",
    "dac:44k",
    "encodec:6k",
    "encodec:24k",
    "encodec:stereo-6k",
    "mimi:8",
    "mimi:32",
    "snac:24k",
    "snac:32k",
    "snac:44k",
    "opus:6k",
    "speex:5.95k",
    "codec2:1200",
    "gsm",
)


@dataclass(frozen=True)
class CodecSizes:
    """Set the durations of the clips and the number of runs."""

    speed_s: float = 15.0  # clip for speed and memory
    count_s: float = 60.0  # clip whose tokens are counted
    long_s: float = 600.0  # second clip whose tokens are counted, for codecs that encode it within patience_s
    patience_s: float = 20.0
    runs: int = 3  # minimum number of runs
    least_s: float = 3.0  # minimum total time of all runs
    threads: int = 2


QUICK = CodecSizes(speed_s=2.0, count_s=3.0, long_s=4.0, patience_s=5.0, runs=1, least_s=0.0)


class CodecBench:
    """Measure codecs on clips of the given durations.

    Args:
        folder: folder for the clips. It must contain a folder with weights for each baseline model.
    """

    def __init__(self, sizes: CodecSizes, folder: Path) -> None:
        self.sizes, self.folder = sizes, folder
        self.clips = {duration_s: self._tile(duration_s) for duration_s in (sizes.speed_s, sizes.count_s, sizes.long_s)}

    def measure(self, name: str) -> Figures:
        """Measure a codec. Return the figures, or an error if the codec cannot be used."""
        sizes, named = self.sizes, self._named(name)
        try:
            runs = ("--runs", sizes.runs, "--least-s", sizes.least_s)
            found = worker("measure", self.clips[sizes.speed_s], named, *runs, threads=sizes.threads)
            clips = [self.clips[sizes.count_s]]
            if found["speed"]["encode"]["times_real_time"] * sizes.patience_s >= sizes.long_s:
                clips.append(self.clips[sizes.long_s])
            for clip in clips:
                found["counted"] += worker("count", clip, named, threads=sizes.threads)[named]["counted"]
        except subprocesses.CommandError as error:
            return self._failed(error)
        return found

    def count(self, names: list[str]) -> dict[str, Figures]:
        """Return the token rates of several presets of a codec."""
        named = [self._named(name) for name in names]
        try:
            found = worker("count", self.clips[self.sizes.speed_s], *named, threads=self.sizes.threads)
        except subprocesses.CommandError as error:
            return dict.fromkeys(names, self._failed(error))
        return {name: {**found[key], "speed": None} for name, key in zip(names, named, strict=True)}

    def _named(self, name: str) -> str:
        model = model_of(name)
        return f"{name}@{self.folder / model}" if model else name

    def _failed(self, error: subprocesses.CommandError) -> Figures:
        last = (error.output or "no output").splitlines()[-1]
        return {"failed": last.replace(f"{self.folder}/", "")}

    def _tile(self, duration_s: float) -> Path:
        """Write an audio file of the given duration, which repeats the samples, and return its path."""
        clip = self.folder / f"{duration_s:g}.wav"
        subprocesses.run_command([sys.executable, BENCH / "speed_worker.py", "tile", SAMPLES, clip, str(duration_s)])
        return clip


def worker(verb: str, *arguments: str | Path | float, threads: int = 2) -> Any:
    """Run one measurement of `codec_worker.py` in a new process and return its result."""
    command = [sys.executable, BENCH / "codec_worker.py", verb, *map(str, arguments), "--threads", str(threads)]
    return json.loads(subprocesses.run_command(command, {"OMP_NUM_THREADS": str(threads)}).stdout)


def measure_all(names: list[str], bench: CodecBench) -> dict[str, Figures]:
    """Measure all codecs, and return their figures, keyed by name."""
    found: dict[str, Figures] = {}
    for name in names:
        if name in SPEED_OF:
            say(name)
            found[name] = bench.measure(name)
    for model, group in groupby(names, key=lambda name: model_of(name) or name.partition(":")[0]):
        others = [name for name in group if name not in SPEED_OF]
        if others:
            say(f"{model}: {len(others)} more presets")
            found |= bench.count(others)
    for name in names:
        if "failed" in found[name]:
            say(f"{name} failed: {found[name]['failed']}")
    return {name: found[name] for name in names}


def say(what: str) -> None:
    print(f"codecs: {what}", file=sys.stderr, flush=True)


def model_of(name: str) -> str | None:
    """Return the name of the model that a preset needs, or None if it needs none.

    >>> model_of("dac:44k"), model_of("encodec:stereo-6k"), model_of("mimi:8"), model_of("opus:6k")
    ('dac_44khz', 'encodec_48khz', 'mimi', None)
    """
    base, _, preset = name.partition(":")
    if base == "encodec":
        return "encodec_48khz" if preset.startswith("stereo") else "encodec_24khz"
    return {"dac": f"dac_{preset}hz", "snac": f"snac_{preset}hz", "mimi": "mimi"}.get(base)


def _place(name: str) -> int:
    """Return a sort key for a codec: first the codecs in `SPEED_OF`, in that order, then all others."""
    order = [other.partition(":")[0] for other in SPEED_OF]
    base = name.partition(":")[0]
    return order.index(base) if base in order else len(order)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure all codecs.")
    parser.add_argument(
        "--out", type=program.output_file, required=True, help="JSON file for the results; it is overwritten"
    )
    parser.add_argument("--codecs", help="measure only these codecs, separated by commas")
    parser.add_argument("--quick", action="store_true", help="trial run with short clips; the times are meaningless")
    options = parser.parse_args()
    found, before = machine.conditions(), machine.clocks()
    sizes = QUICK if options.quick else CodecSizes()
    names = options.codecs.split(",") if options.codecs else sorted(worker("presets"), key=_place)
    found |= {"threads": sizes.threads, **worker("versions")}
    with tempfile.TemporaryDirectory(prefix="silk-bench-") as folder:
        models = sorted({model for name in names if (model := model_of(name))})
        if models:
            say(f"building {', '.join(models)} with random weights")
            subprocesses.run_command([sys.executable, BENCH / "random_baselines.py", folder, *models])
        found_of = measure_all(names, CodecBench(sizes, Path(folder)))
    figures = {"sizes": asdict(sizes), "codecs": found_of}
    took_s = subprocesses.write_result(options.out, "silk codecs", options.quick, found, before, figures)
    say(f"wrote {options.out} in {took_s:.0f} s")


if __name__ == "__main__":
    program.run(main)
