"""Build the tables of codecs from codecs.json, and the rates that the package contains for `silk codecs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.baselines.catalogue import codebooks, frame_rates
from silkcodec.evaluate.markdown import number, table
from silkcodec.evaluate.results import to_json

KIND = "silk codecs"
NOT_YET = "Not measured yet: `make bench-codecs`."
RATES = Path("src", "silkcodec", "baselines", "rates.json")


def rates(bench: Path) -> str:
    """Return the table of the token and bit rates of the codecs whose speed was measured."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None:
        return NOT_YET
    shown = {name: codec for name, codec in result["codecs"].items() if codec.get("speed") or "failed" in codec}
    return "\n\n".join([_rate_table(shown, findings.targets(bench)["codecs"]["codec"]), _rate_notes(result)])


def all_rates(bench: Path) -> str:
    """Return the same table for every preset."""
    result = findings.read_result(bench / "codecs.json", KIND)
    return NOT_YET if result is None else _rate_table(result["codecs"], findings.targets(bench)["codecs"]["codec"])


def speed(bench: Path) -> str:
    """Return the table of speed and memory, and the table of ratios to Silk with their targets."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None or result["quick"]:  # The rates of a trial run are correct, but its times are meaningless.
        return NOT_YET
    targets = findings.targets(bench)["codecs"]
    ours = targets["codec"]
    rows = [
        [f"**{name}**" if name == ours else name, *_speed_cells(codec)]
        for name, codec in result["codecs"].items()
        if "failed" in codec or codec["speed"]
    ]
    measured = table(["codec", "encode", "decode", "peak memory", "load"], rows)
    parts = [measured, _ratio_table(result, targets), _speed_notes(bench, result, ours)]
    return "\n\n".join(part for part in parts if part)


def ratios(result: Figures, name: str, ours: str) -> dict[str, float]:
    """Return how many times faster Silk is than another codec, and how many times its memory the other one needs."""
    of, other = result["codecs"][ours]["speed"], result["codecs"][name]["speed"]
    both_s = [sum(speed[way]["median_s"] for way in ("encode", "decode")) for speed in (of, other)]
    return {
        "encode": of["encode"]["times_real_time"] / other["encode"]["times_real_time"],
        "decode": of["decode"]["times_real_time"] / other["decode"]["times_real_time"],
        "both": both_s[1] / both_s[0],
        "memory": other["peak_memory_mb"] / of["peak_memory_mb"],
    }


def packaged(result: Figures) -> Figures:
    """Return the figures that `silk codecs` shows, which are the same on every machine."""
    kept = ("quantizer", "sample_rate", "frame_rates_hz", "codebook_sizes", "tokens_per_second", "bits_per_second")
    codecs: Figures = {}
    for name, codec in result["codecs"].items():
        if "failed" in codec:
            codecs[name] = None
            continue
        last = codec["counted"][-1]
        codecs[name] = {
            **{key: codec[key] for key in (*kept, "latency_ms", "parameters")},
            "counted_s": last["duration_s"],
            "counted_tokens_per_second": last["tokens_per_second"],
            "listed": bool(codec["speed"]),
        }
    return {"kind": "silk rates", "format": 1, "measured": result["created"][:10], "codecs": codecs}


def stale(root: Path, bench: Path) -> dict[Path, str]:
    """Return {path: content} of the package's rates if they differ from the JSON, else {}."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None:
        return {}
    text = to_json(packaged(result))
    path = root / RATES
    return {} if path.exists() and path.read_text(encoding="utf-8") == text else {path: text}


TABLES: dict[str, Callable[[Path], str]] = {"codecs": rates, "codecs-speed": speed, "codecs-all": all_rates}


def _rate_table(codecs: Figures, ours: str) -> str:
    header = ["codec", "frames/s", "codebooks", "tokens/s", "bit/s", "counted", "over", "quantizer", "parameters"]
    rows = []
    for name, codec in codecs.items():
        if "failed" in codec:
            rows.append([name, f"failed: {codec['failed']}", *[""] * (len(header) - 2)])
            continue
        last = codec["counted"][-1]
        cells = [
            frame_rates(codec["frame_rates_hz"]),
            codebooks(codec["codebook_sizes"]),
            number(codec["tokens_per_second"], 1),
            number(codec["bits_per_second"], 0),
            number(last["tokens_per_second"], 1),
            findings.duration(last["duration_s"]),
            codec["quantizer"] or "-",
            "" if codec["parameters"] is None else f"{codec['parameters'] / 1e6:.1f} M",
        ]
        rows.append([f"**{name}**" if name == ours else name, *cells])
    return table(header, rows)


def _rate_notes(result: Figures) -> str:
    """Return the notes that explain differences from other published token rates, as a list."""
    measured = {name: codec for name, codec in result["codecs"].items() if "failed" not in codec}
    notes = [
        "All figures are counted from codes of real speech. **tokens/s** and **bit/s** are relative to the time that "
        "the frames span. **counted** is relative to the duration of the speech. It includes the padding of the last "
        "frame (a window for SNAC, a chunk of 1 s for stereo EnCodec) and the frames that flush the delay of a "
        "classical codec. The longer the speech, the smaller this overhead."
    ]
    if "dac:44k" in measured:
        dac = measured["dac:44k"]
        notes.append(
            "The usual figure of 774 for DAC is 9 x 86, from a rounded frame rate. The exact rate is 44,100 / 512 = "
            f"{dac['frame_rates_hz'][0]:.2f} Hz, which gives {dac['tokens_per_second']:.1f} tokens/s."
        )
    if "snac:24k" in measured:
        snac = measured["snac:24k"]
        clocks = " + ".join(f"{rate:.5g}" for rate in snac["frame_rates_hz"])
        others = [name for name in ("snac:32k", "snac:44k") if name in measured]
        rest = " and ".join(f"{measured[name]['tokens_per_second']:.1f} (`{name}`)" for name in others)
        notes.append(
            f"SNAC's model for speech has {len(snac['codebook_sizes'])} codebooks: {clocks} = "
            f"{snac['tokens_per_second']:.1f} tokens/s. No published model has the often quoted 82.5 tokens/s "
            f"with 4 codebooks.{f' Those with 4 codebooks have {rest}.' if rest else ''}"
        )
    notes.append("**parameters** are those learned by gradient. Codebooks learned as running means are not included.")
    return "\n".join(f"- {note}" for note in notes)


def _speed_cells(codec: Figures) -> list[str]:
    if "failed" in codec:
        return [f"failed: {codec['failed']}", "", "", ""]
    speed = codec["speed"]
    times = [factor(speed[way]["times_real_time"]) for way in ("encode", "decode")]
    return [*times, f"{speed['peak_memory_mb']:.0f} MB", f"{speed['load_s']:.1f} s"]


def _ratio_table(result: Figures, targets: Figures) -> str:
    """Return a table with a row per other codec. Classical codecs have no target."""
    ours = targets["codec"]
    codecs = {name: codec for name, codec in result["codecs"].items() if codec.get("speed")}
    if ours not in codecs:
        return ""
    rows = []
    for name, codec in codecs.items():
        if name == ours:
            continue
        found = ratios(result, name, ours)
        times = [_times(found[key], "faster", "slower") for key in ("encode", "decode", "both")]
        judged = ["", ""]
        if codec["parameters"] is not None:
            judged = findings.judged(min(found["encode"], found["decode"]), targets["times_faster"], "x faster")
        rows.append([name, *times, _times(found["memory"], "less", "more"), *judged])
    return table([f"{ours} against", "encode", "decode", "round trip", "peak memory", "target", "met"], rows)


def _times(ratio: float, above: str, below: str) -> str:
    """Return a ratio as text: `12x faster`, `3.4x slower`."""
    times, word = (ratio, above) if ratio >= 1 else (1 / ratio, below)
    return f"{factor(times)} {word}"


def factor(value: float) -> str:
    """Return a factor with two significant digits, or all digits before the point: `0.42x`, `5.1x`, `1,250x`."""
    n_digits = 2 if value < 1 else 1 if value < 9.95 else 0
    return f"{value:,.{n_digits}f}x"


def _speed_notes(bench: Path, result: Figures, ours: str) -> str:
    found, sizes = result["conditions"], result["sizes"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    sentences = [
        f"Encode and decode: times real time, the median of {sizes['runs']} runs or more on {sizes['speed_s']:g} s of "
        "speech at the codec's own sample rate. Peak memory: resident memory of a new process that encodes and decodes "
        "that speech. Load: time until ready, imports included. The neural baselines have **random weights in their "
        "published architecture**, because speed and memory do not depend on the weights. They run in PyTorch, "
        f"float32, with long clips in pieces of 10 s. {ours.capitalize()} runs on ONNX Runtime.",
        f"{found['codec']}{findings.not_embedded(bench, found['codec'], times=True)}; {found['threads']} threads, "
        f"{found['cores']} cores, {found['cpu']}, {found['system']}; {versions}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)
