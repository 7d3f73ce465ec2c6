"""The laboratory's results -> the table of README: every experiment, its question, and its answer in a sentence.

The answers are made of the figures in the JSON and say which way they fall: a rerun that turns a finding turns its
sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.gradient.page import LABELS
from silkcodec_lab.pages import committed, load_result

Result = dict[str, Any]

QUESTIONS = {
    "quantization-error": "what is lost by snapping to a codebook of 2 to 4,096 entries, and by FSQ at equal bits?",
    "residual": "what does each stage of a residual chain take off, at one moment of a recording?",
    "coverage": "does a codebook cover a language that it never heard worse than new speakers of its own?",
    "gradient": "is the gradient that the straight-through estimator passes the true one?",
    "bandwidth": "how much quality do fewer tokens keep?",
    "robustness": "what do flipped bits and lost frames do to the speech?",
    "lm-cost": "what do a codec's tokens cost a language model?",
}


def laboratory(_: Path) -> str:
    rows = []
    for name, question in QUESTIONS.items():
        found = [load_result(path) for path in committed(name) if path.stem == name]
        answer = f"{ANSWERS[name](found[0])} [Page](docs/lab/{name}.md)" if found else "not measured yet"
        rows.append([f"`{name}`", question, answer])
    return table(["`silk lab`", "question", "answer"], rows, numeric=False)


def _quantization_error(result: Result) -> str:
    def lost(of: str, name: str) -> str:
        return _percent(result["latents"][of]["quantizers"][name][-1]["held_out"]["mean"])

    def bits(of: str) -> int:
        return result["latents"][of]["quantizers"]["vq"][-1]["bits"]

    return (
        f"Of mel patches, at {bits('mel')} bits, held-out speech loses {lost('mel', 'vq')} % of its variance to VQ, "
        f"{lost('mel', 'rvq2')} % to RVQ of two codebooks, {lost('mel', 'fsq_pca')} % to a rotated grid. Of Silk's own "
        f"latents: {lost('silk', 'vq')} % to VQ, {lost('silk', 'fsq')} % to FSQ."
    )


def _residual(result: Result) -> str:
    left = [stage["error_db"] for stage in result["stages"]]
    some = [1, *(n for n in (4, 8) if n < len(left)), len(left)]
    told = ", ".join(f"{number(left[n - 1], 1)} dB after {n}" for n in some)
    return f"Of {number(result['mean_error_db'], 1)} dB at the moment shown: {told} codebooks. The first does most."


def _coverage(result: Result) -> str:
    found = result["views"]["level"]["quantizers"]
    name = max((name for name in found if found[name]["kind"] == "vq"), key=lambda name: found[name]["bits"])
    told, beyond = [], []
    for group, apart in found[name]["against_new"].items():
        told.append(f"{group} {_points(apart['inside'])}")
        beyond.append(_sign(apart["inside_beyond_fsq"]))
    verdict = (
        "More than a grid without entries loses, in no group"
        if -1 not in beyond
        else f"More than a grid without entries loses, in {beyond.count(-1)} of {len(beyond)} groups"
    )
    return f"Points of coverage against new English speakers: {'; '.join(told)}. {verdict}."


def _gradient(result: Result) -> str:
    if not result["differences"]:
        return "No FSQ was measured."
    models = result["models"]
    at = next(i for i, entry in enumerate(models["fsq"]["steps_of"]["number"]) if entry["step"] == 1)
    told = ", ".join(
        f"{LABELS[name]} {number(found['steps_of']['number'][at]['correlation']['mean'], 2)}"
        for name, found in sorted(models.items(), key=lambda item: item[0] != "fsq")
    )
    frames = {
        name: max(_sign(entry) for entry in found["frame"] if entry["mean"] is not None)
        for name, found in result["differences"].items()
    }
    same = [LABELS[name] for name, sign in frames.items() if sign <= 0]
    losses = sorted(models, key=lambda name: models[name]["loss"]["mean"])
    return (
        f"Correlation of promise and effect, one number moved by a cell: {told}. Of a whole frame FSQ is "
        + (f"not closer than {' or '.join(same)}" if same else "closer too")
        + f". After the same {models['fsq']['steps']:,} steps the loss is, from the lowest: "
        + ", ".join(f"{LABELS[name]} {number(models[name]['loss']['mean'], 2)}" for name in losses)
        + "."
    )


def _bandwidth(result: Result) -> str:
    runs = [name for name, found in result["codecs"].items() if name.startswith("run:")]
    whole, half = {}, {}
    for name in runs:
        points = [p for p in result["points"] if p["codec"] == name and p["how"] == "first"]
        full = max(points, key=lambda p: p["kept"])
        whole[name] = full["metrics"]["stoi"]["mean"]
        close = min(points, key=lambda p: abs(p["bits_per_second"] - full["bits_per_second"] / 2))
        half[name] = close["metrics"]["stoi"]["mean"]
    order = sorted(runs, key=lambda name: -whole[name])
    told = ", ".join(f"{name.removeprefix('run:')} {number(whole[name], 3)}" for name in order)
    cut = ", ".join(f"{name.removeprefix('run:')} {number(half[name], 2)}" for name in order)
    return (
        f"STOI of small models, same training, same bits: {told}. Cut to about half the bits: {cut} "
        "(only the chain of RVQ was trained to be cut)."
    )


def _robustness(result: Result) -> str:
    told = []
    rate = max(entry["rate"] for entry in result["flips"])
    for codec in result["codecs"]:
        clean = next(e for e in result["clean"] if e["codec"] == codec)["metrics"]["stoi"]["mean"]
        worst = next(e for e in result["flips"] if e["codec"] == codec and e["rate"] == rate)["metrics"]["stoi"]["mean"]
        told.append((clean - worst, codec.removeprefix("run:") + (" (small)" if codec.startswith("run:") else "")))
    order = ", ".join(f"{name} {number(loss, 2)}" for loss, name in sorted(told))
    return f"STOI lost when {rate:.0%} of the bits are flipped: {order}."


def _lm_cost(result: Result) -> str:
    found = result["codecs"]
    told = ", ".join(
        f"{name} {_percent(one['share_of_raw_bits'])} %" for name, one in found.items() if "share_of_raw_bits" in one
    )
    return (
        f"Silk {number(found['silk']['tokens_per_second'], 1)} steps a second of speech. Bits that a small model "
        f"still needs of the raw ones: {told}."
    )


def _percent(share: float) -> str:
    return number(100 * share, 1)


def _points(entry: Result) -> str:
    mean, low, high = (100 * entry[key] for key in ("mean", "low", "high"))
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]"


def _sign(entry: Result) -> int:
    """1: above zero beyond its interval, -1: below, 0: not told apart."""
    return (entry["low"] > 0) - (entry["high"] < 0)


ANSWERS: dict[str, Callable[[Result], str]] = {
    "quantization-error": _quantization_error,
    "residual": _residual,
    "coverage": _coverage,
    "gradient": _gradient,
    "bandwidth": _bandwidth,
    "robustness": _robustness,
    "lm-cost": _lm_cost,
}

TABLES: dict[str, Callable[[Path], str]] = {"laboratory": laboratory}
