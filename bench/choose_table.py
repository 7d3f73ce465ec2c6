"""Build the tables that compare codecs, for README.md and docs/results.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import findings
from codec_tables import factor
from findings import Figures

from silkcodec.evaluate.markdown import number, table

USES = {  # codec -> use case
    "silk": "language models that need a low token rate; streaming on a CPU",
    "mimi:8": "natural voices with 80 ms latency",
    "snac:24k": "natural voices at a low token rate, without streaming",
    "encodec:6k": "intelligible speech, and music, at 600 tokens/s",
    "dac:44k": "music and full-band audio at 775 tokens/s",
}
QUALITY = (  # key, title, digits
    ("distillmos", "DistillMOS ↑", 2),
    ("pesq_wb", "PESQ-WB ↑", 2),
    ("stoi", "STOI ↑", 3),
    ("wer", "WER % ↓", 1),
    ("wer_moonshine", "WER %, Moonshine ↓", 1),
    ("speaker_similarity", "speaker similarity ↑", 3),
)


def choose(bench: Path) -> str:
    """Return a table with the token rate, bit rate, quality, speed and use case of each codec."""
    held_out, measured = _read(bench)
    rows = []
    for name, use in USES.items():
        codec, quality = measured["codecs"].get(name, {}), held_out["codecs"].get(name, {})
        speed = None if measured["quick"] else codec.get("speed")  # The times of a trial run are meaningless.
        rows.append(
            [
                _label(bench, name, held_out),
                _cell(codec, "tokens_per_second", 1),
                _cell(codec, "bits_per_second", 0),
                *(_cell(quality, key, digits) for key, _, digits in QUALITY[:2]),
                _cell(quality, "wer", 1),
                " / ".join(factor(speed[way]["times_real_time"]) for way in ("encode", "decode")) if speed else "-",
                use,
            ]
        )
    head = ["codec", "tokens/s", "bit/s", "DistillMOS ↑", "PESQ-WB ↑", "WER % ↓", "encode / decode speed", "good for"]
    return table(head, rows, numeric=[False, *[True] * (len(head) - 2), False])


def held_out(bench: Path) -> str:
    """Return a table with all scores of all codecs on the held-out recordings."""
    result, _ = _read(bench)
    rows = [
        [
            _label(bench, name, result),
            _cell(codec, "tokens_per_second", 1),
            _cell(codec, "kbps", 2),
            *(_cell(codec, key, digits) for key, _, digits in QUALITY),
        ]
        for name, codec in result["codecs"].items()
    ]
    head = ["codec", "tokens/s", "kbit/s", *(title for _, title, _ in QUALITY)]
    weights = f"The scores in the `silk` row are those of {result['codecs']['silk']['weights']}."
    return f"{table(head, rows)}\n\n{result['conditions']} {weights} Measured on {result['created']}."


def _label(bench: Path, name: str, held_out: Figures) -> str:
    """Return the name of a codec. Silk is in bold, with a remark if its scores are from earlier weights."""
    if name != "silk":
        return name
    config = findings.embedded(bench)
    is_current = config is None or held_out["codecs"]["silk"]["weights"] == f"silk@{config['weights_hash']}"
    return "**silk**" if is_current else "**silk** (scores from earlier weights)"


def _read(bench: Path) -> tuple[Figures, Figures]:
    held_out = findings.read_result(bench / "held_out.json", "silk held-out")
    measured = findings.read_result(bench / "codecs.json", "silk codecs")
    if held_out is None or measured is None:
        raise findings.TableError(
            "The 'choose' and 'held-out' tables need both held_out.json and codecs.json in bench/."
        )
    return held_out, measured


def _cell(figures: Figures, key: str, digits: int) -> str:
    return number(figures[key], digits) if key in figures else "-"


TABLES: dict[str, Callable[[Path], str]] = {"choose": choose, "held-out": held_out}
