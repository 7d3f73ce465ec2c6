"""Build the tables of codecs, and the rates that `silk codecs` shows, from codecs.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from findings import Figures

from silkcodec.baselines import codec2, opus, speex
from silkcodec.baselines.catalogue import codebooks, frame_rates
from silkcodec.evaluate.markdown import number, table
from silkcodec.evaluate.results import to_json
from silkcodec_torch.baselines import dac, encodec, mimi, snac

KIND = "silk codecs"
NOT_YET = "Not measured yet. Run `make bench-codecs`."
MODULES = {"codec2": codec2, "dac": dac, "encodec": encodec, "mimi": mimi, "opus": opus, "snac": snac, "speex": speex}
SHOWN = {"mimi": ("1", "8", "32")}  # Mimi's 32 presets differ only in the number of codebooks.
RATES = Path("src", "silkcodec", "baselines", "rates.json")


def rates(bench: Path) -> str:
    """Return a table with the token rate and the bit rate of each codec."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None:
        return NOT_YET
    shown = {name: codec for name, codec in result["codecs"].items() if codec.get("speed") or "failed" in codec}
    return "\n\n".join([_rate_table(shown, findings.targets(bench)["codecs"]["codec"]), _rate_notes(result)])


def presets(bench: Path) -> str:
    """Return a table with the weights, the rates and the latency of each preset."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None:
        return NOT_YET
    header = ["codec", "weights", "sample rate", "quantizer", "codebooks", "frames/s", "tokens/s", "kbit/s", "latency"]
    rows = []
    for name, codec in result["codecs"].items():
        base, _, preset = name.partition(":")
        if preset not in SHOWN.get(base, preset):
            continue
        default = getattr(MODULES.get(base), "DEFAULT_PRESET", None) == preset
        shown = f"`{name}`{' *' if default else ''}"
        if "failed" in codec:
            rows.append([shown, f"failed: {codec['failed']}", *[""] * (len(header) - 2)])
            continue
        cells = [
            shown,
            weights(base, preset),
            f"{codec['sample_rate'] / 1000:g} kHz",
            codec["quantizer"] or "-",
            codebooks(codec["codebook_sizes"]),
            frame_rates(codec["frame_rates_hz"]),
            number(codec["tokens_per_second"], 1),
            f"{codec['bits_per_second'] / 1000:.2f}",
            "-" if codec["latency_ms"] is None else f"{codec['latency_ms']:.0f} ms",
        ]
        rows.append(cells)
    return table(header, rows, numeric=False)


def weights(base: str, preset: str) -> str:
    """Return a link to the Hugging Face repository of a preset's weights, or "" if it needs no weights."""
    if base == "silk":
        return "in the package"
    if base == "encodec":
        repository = encodec.MODELS[preset.startswith("stereo")]
    else:
        repository = mimi.MODEL if base == "mimi" else getattr(MODULES.get(base), "MODELS", {}).get(preset, "")
    return f"[{repository}](https://huggingface.co/{repository})" if repository else ""


def speed(bench: Path) -> str:
    """Return a table with the speed and memory of all codecs, and a table that compares them with Silk."""
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
    measured = table(["codec", "encode", "decode", "peak memory", "load time"], rows)
    parts = [measured, _ratio_table(result, targets), _speed_notes(bench, result, ours)]
    return "\n\n".join(part for part in parts if part)


def ratios(result: Figures, name: str, ours: str) -> dict[str, float]:
    """Return the ratios of speed and memory between Silk and another codec."""
    of, other = result["codecs"][ours]["speed"], result["codecs"][name]["speed"]
    both_s = [sum(speed[way]["median_s"] for way in ("encode", "decode")) for speed in (of, other)]
    return {
        "encode": of["encode"]["times_real_time"] / other["encode"]["times_real_time"],
        "decode": of["decode"]["times_real_time"] / other["decode"]["times_real_time"],
        "both": both_s[1] / both_s[0],
        "memory": other["peak_memory_mb"] / of["peak_memory_mb"],
    }


def packaged(result: Figures) -> Figures:
    """Return the rates that `silk codecs` shows."""
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
    """Return the correct contents of the packaged rates, keyed by path, if they do not match codecs.json."""
    result = findings.read_result(bench / "codecs.json", KIND)
    if result is None:
        return {}
    text = to_json(packaged(result))
    path = root / RATES
    return {} if path.exists() and path.read_text(encoding="utf-8") == text else {path: text}


TABLES: dict[str, Callable[[Path], str]] = {"codecs": rates, "codecs-speed": speed, "codecs-all": presets}


def _rate_table(codecs: Figures, ours: str) -> str:
    header = ["codec", "frames/s", "codebooks", "tokens/s", "bit/s", "counted tokens/s", "length of speech"]
    header += ["quantizer", "parameters"]
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
    """Return notes on token rates as a Markdown list."""
    measured = {name: codec for name, codec in result["codecs"].items() if "failed" not in codec}
    notes = [
        "**tokens/s** and **bit/s** are nominal rates: the tokens or bits in a frame, divided by the duration of the "
        "frame.",
        "**counted tokens/s** is the number of tokens counted for real speech, divided by the duration in the "
        "*length of speech* column. The count includes tokens for the padding at the end of the speech.",
    ]
    if "dac:44k" in measured:
        dac = measured["dac:44k"]
        notes.append(
            "Some sources quote 774 tokens/s for `dac:44k`, because they round its frame rate to 86 Hz. The exact "
            f"frame rate is 44,100 / 512 = {dac['frame_rates_hz'][0]:.2f} Hz, which gives "
            f"{dac['tokens_per_second']:.1f} tokens/s."
        )
    if "snac:24k" in measured:
        snac = measured["snac:24k"]
        clocks = " + ".join(f"{rate:.5g}" for rate in snac["frame_rates_hz"])
        notes.append(
            "Some sources quote 82.5 tokens/s and 4 codebooks for SNAC, but no published model has these properties. "
            f"`snac:24k` has {len(snac['codebook_sizes'])} codebooks and {clocks} = {snac['tokens_per_second']:.1f} "
            "tokens/s."
        )
    notes.append("**parameters** excludes codebooks that are learned as running means, without gradients.")
    return "\n".join(f"- {note}" for note in notes)


def _speed_cells(codec: Figures) -> list[str]:
    if "failed" in codec:
        return [f"failed: {codec['failed']}", "", "", ""]
    speed = codec["speed"]
    times = [factor(speed[way]["times_real_time"]) for way in ("encode", "decode")]
    return [*times, f"{speed['peak_memory_mb']:.0f} MB", f"{speed['load_s']:.1f} s"]


def _ratio_table(result: Figures, targets: Figures) -> str:
    """Return a table that compares each codec with Silk."""
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
        targeted = ["", ""]
        if codec["parameters"] is not None:
            bound, met = findings.target_cells(min(found["encode"], found["decode"]), targets["times_faster"], "")
            targeted = [f"{bound}x faster", met]
        rows.append([name, *times, _times(found["memory"], "less", "more"), *targeted])
    return table([f"{ours} compared with", "encode", "decode", "both", "peak memory", "target", "target met"], rows)


def _times(ratio: float, above: str, below: str) -> str:
    """Return a ratio as text, such as `12x faster` or `3.4x slower`."""
    times, word = (ratio, above) if ratio >= 1 else (1 / ratio, below)
    return f"{factor(times)} {word}"


def factor(value: float) -> str:
    """Return a factor with at least two significant digits, such as `0.42x`, `5.1x` or `1,250x`."""
    n_digits = 2 if value < 1 else 1 if value < 9.95 else 0
    return f"{value:,.{n_digits}f}x"


def _speed_notes(bench: Path, result: Figures, ours: str) -> str:
    found, sizes = result["conditions"], result["sizes"]
    sentences = [
        f"Speeds are multiples of real time, and are medians of at least {sizes['runs']} runs on "
        f"{sizes['speed_s']:g} s of speech at the codec's own sample rate. Peak memory is the peak resident memory of "
        "a new process that encodes and decodes this speech. The load time includes imports. The neural baselines run "
        "in PyTorch with float32 and with **random weights in their published architectures**. The values of the "
        f"weights affect neither speed nor memory. {ours.capitalize()} runs on ONNX Runtime.",
        f"Conditions: {found['codec']}{findings.not_embedded(bench, found['codec'], times=True)}; {found['threads']} "
        f"threads, {found['cores']} cores, {found['cpu']}, {found['system']}; {result['created'][:10]}.",
        *findings.warnings(result),
    ]
    return " ".join(sentences)
