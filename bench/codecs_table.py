"""Write the table of all codecs and presets into docs/codecs.md.

    python bench/codecs_table.py

The table is built from the attributes of the loaded codecs. Neural baselines are loaded with random weights.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from silkcodec import codec as registry
from silkcodec.baselines import codec2, opus, speex
from silkcodec.evaluate import markdown
from silkcodec_torch.baselines import dac, encodec, mimi, snac

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "codecs.md"
BEGIN, END = "<!-- codecs -->\n", "<!-- /codecs -->\n"
HEADER = ("codec", "weights", "sample rate", "quantizer", "codebooks", "frames/s", "tokens/s", "kbit/s", "latency")
MODULES = {"codec2": codec2, "dac": dac, "encodec": encodec, "mimi": mimi, "opus": opus, "snac": snac, "speex": speex}
SHOWN = {"mimi": ("1", "8", "32")}  # Mimi's 32 presets differ only in the number of codebooks.


def repository(base: str, preset: str) -> str | None:
    """Return the Hugging Face repository of a preset's weights, or None if it needs no weights."""
    if base == "encodec":
        return encodec.MODELS[preset.startswith("stereo")]
    if base == "mimi":
        return mimi.MODEL
    models: dict[str, str] = getattr(MODULES.get(base), "MODELS", {})
    return models.get(preset)


def load_all(folder: Path) -> dict[str, Any]:
    """Load one codec per table row, and return the codecs, keyed by name.

    Args:
        folder: folder for random weights of the neural codecs.
    """
    baselines = _random_baselines()
    loaded = {}
    for base in sorted(registry.BUILT_IN, key=lambda name: (name != "silk", name)):
        for preset in SHOWN.get(base, registry.presets(base)) or ("",):
            name, source = f"{base}:{preset}" if preset else base, repository(base, preset)
            if source is None:
                loaded[name] = registry.load(name)
                continue
            target = folder / source.split("/")[1]
            if not target.exists():
                baselines.write_model(target.name, folder, small=True)
            loaded[name] = registry.load(f"{name}@{target}")
    return loaded


def row(name: str, codec: Any) -> list[str]:
    """Return the table cells of one codec."""
    base, _, preset = name.partition(":")
    default = getattr(MODULES.get(base), "DEFAULT_PRESET", None) == preset
    source = repository(base, preset)
    sizes = " + ".join(f"{n} x {size:,}" for size, n in Counter(codec.codebook_sizes).items())
    rates = list(dict.fromkeys(codec.frame_rates))
    bits = sum(rate * math.log2(size) for size, rate in zip(codec.codebook_sizes, codec.frame_rates, strict=True))
    return [
        f"`{name}`{' *' if default else ''}",
        f"[{source}](https://huggingface.co/{source})" if source else "in the package" if base == "silk" else "",
        f"{codec.sample_rate / 1000:g} kHz",
        codec.quantizer,
        sizes,
        ", ".join(_number(rate) for rate in rates),
        _number(sum(codec.frame_rates)),
        f"{bits / 1000:.2f}",
        f"{1000 * codec.latency_s:.0f} ms",
    ]


def table(loaded: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    return markdown.table(HEADER, [row(name, codec) for name, codec in loaded.items()], numeric=False) + "\n"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _random_baselines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("random_baselines", ROOT / "bench" / "random_baselines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = table(load_all(Path(folder)))
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + text + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
