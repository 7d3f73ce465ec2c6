"""The page of the bandwidth experiment. Every number is the JSON's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from silkcodec.evaluate.markdown import digits, number, table
from silkcodec_lab.bandwidth.figure import HOW, figure
from silkcodec_lab.cells import cells, heads, of, verdict
from silkcodec_lab.pages import Result, made

__all__ = ["QUESTION", "TITLE", "WOULD_CHANGE", "figure", "findings", "how_made", "method"]

FEW_CLIPS = 10

TITLE = "How much quality is left at fewer tokens per second?"

QUESTION = (
    "A codec can use fewer codebooks: fewer stages of a residual chain, or fewer groups of Silk's dimensions. How much "
    "quality is left at a given number of tokens and bits per second, for each quantizer, and does it matter which of "
    "Silk's groups are kept?"
)

FIGURE = (
    "Above, one row per metric: over tokens/s, over bit/s, and Silk with other choices of groups; bands are 95 % "
    "intervals over clips. Below, spectrograms of the audio examples, all at one scale."
)

WOULD_CHANGE = (
    "**Training for the cut.** FSQ here, Silk included, was not trained with missing dimensions; RVQ was (quantizer "
    "dropout). Nested dropout (keep the first n groups, n drawn anew for every batch) would order Silk's groups, "
    "coarse first, perhaps at some cost to the whole. Without it these curves are a lower bound for "
    "FSQ.",
    "**Replacement of missing codes.** The middle level, the codebook's mean and zero are the simplest choices. Each "
    "dimension's own mean, or a decoder conditioned on what is missing, may be better.",
    "**A decoder trained longer.** The runs are small models on a small budget, the same for all. They are to be "
    "compared with each other, not with Silk or the classical codecs.",
    "**Another order.** Greedy removal does not try all choices, and it minimises mel distance. An order "
    "optimised for intelligibility may keep more of it.",
    "**Other ways to fewer tokens.** Grouping more FSQ dimensions to one token makes fewer tokens of the same bits; a "
    "slower frame or fewer levels, trained for, makes fewer bits.",
    "**Listening.** PESQ and STOI compare with the original and do not measure naturalness. Audio is below.",
    "**Other speech.** The intervals are for these clips only, and clips of one speaker count as independent.",
)

CUT = {
    "FSQ": "the first dimensions (Silk: the first groups of 7) are kept, the rest is set to the middle level; never "
    "trained to be cut",
    "RVQ": "the first stages of every vector's chain, as quantizer dropout has trained it",
    "multi-scale RVQ": "the first, slow scales; trained without dropout",
    "VQ": "the first vectors are kept, the rest is the mean of the codebook's training vectors; not trained to be cut",
    "split RVQ": "the first codebooks",
    "bit stream": "no cut: each mode is a point",
}


def method(result: Result) -> list[str]:
    settings, speech, order = result["settings"], result["speech"], result["order"]
    parts = [
        f"**Speech.** {speech['n_clips']} clips, {speech['duration_s']:.0f} s, each at most {settings['clip_s']:g} s. "
        "Quality is measured against the original; values are means over clips with 95 % bootstrap intervals, "
        "differences are taken clip by clip."
        + (
            " **This is a trial run**: there are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        "**Cuts.** `encode(n_codebooks=k)`, at most "
        f"{settings['points']} values of k for a codec. Tokens and bits per second are counted from the tokens that "
        "came out; a token of FSQ may hold one dimension or many, so bits are the fairer measure between quantizers. "
        "What a cut means:",
        "\n".join(f"- {kind} ({names}): {CUT.get(kind, 'as the codec cuts')}." for kind, names in _kinds(result)),
    ]
    if settings["runs"]:
        parts.append(
            "**Runs.** Models that were trained by the same code with the same budget and data, differing in the "
            "quantizer; whole, they all spend 384 bits on a frame of 400 ms. One of FSQ counts 128 tokens of a "
            "dimension a frame; packed by seven, as Silk packs them, the same bits are 19 tokens."
        )
    if order is not None:
        parts.append(
            f"**Order of Silk's groups.** *First*: group 1 to k. *Random*: k groups, drawn {settings['n_draws']} times "
            f"for each clip, a clip's value being the mean. *Best*: greedy removal on other speech "
            f"({order['n_clips']} x {settings['order_s']:g} s): starting from all groups, the group whose removal "
            "increases the mel distance least is dropped, repeatedly. The last group has 2 dimensions, all others 7; "
            "random choices leave it out, so that they have as many bits as the first."
        )
    return parts


def _kinds(result: Result) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for name, codec in result["codecs"].items():
        found.setdefault(codec["quantizer"], []).append(f"`{name}`")
    return [(kind, ", ".join(names)) for kind, names in found.items()]


def findings(result: Result) -> list[str]:
    parts = [FIGURE, "### The curves", _curves(result), *_halves(result)]
    if result["order"] is not None:
        parts += ["### Which of Silk's groups", _order(result), _differences(result, _is_order), _order_note(result)]
    if any(map(_is_run, result["compared"])):
        parts += ["### Quantizers at equal bits", _differences(result, _is_run), _runs_note(result)]
    if any(map(_is_whole, result["compared"])):
        parts += ["### Silk whole against other codecs", _differences(result, _is_whole)]
    return [*parts, "### Audio examples", _audio(result)]


# --- tables


def _curves(result: Result) -> str:
    rows = []
    for name, codec in result["codecs"].items():
        for point in of(result["points"], codec=name, how="first"):
            kept = f"{point['kept']} of {codec['n_codebooks']}"
            rows.append([name, kept, *_rates(point), *cells(result, point["metrics"])])
    return table(["codec", "codebooks", "tokens/s", "bit/s", *heads(result)], rows)


def _order(result: Result) -> str:
    rows = []
    for kept in sorted({point["kept"] for point in result["points"] if point["how"] == "best"}):
        for how in HOW:
            for point in of(result["points"], codec="silk", how=how, kept=kept):
                rows.append([HOW[how], str(kept), *_rates(point), *cells(result, point["metrics"])])
    return table(["groups", "kept", "tokens/s", "bit/s", *heads(result)], rows)


def _differences(result: Result, chosen: Any) -> str:
    rows = []
    for entry in filter(chosen, result["compared"]):
        ours, minus = entry["of"], entry["minus"]
        if _is_order(entry):
            what = f"{HOW[ours['how']]} - {HOW[minus['how']]}, {ours['kept']} groups"
        else:
            what = f"{_point_name(result, ours)} - {_point_name(result, minus)}"
        rows.append([what, *cells(result, entry["metrics"], signed=True)])
    return table(["paired difference", *heads(result)], rows)


def _audio(result: Result) -> str:
    audio = result["audio"]
    folder = audio["folder"]
    rows = []
    for entry in audio["files"]:
        link = f"[{entry['file']}]({folder}/{entry['file']})"
        if entry["codec"] is None:
            rows.append(["original", "-", "-", "-", link])
            continue
        point = next(of(result["points"], **{key: entry[key] for key in ("codec", "kept", "how")}))
        name = entry["codec"] if entry["how"] == "first" else f"{entry['codec']}, {HOW[entry['how']]}"
        rows.append([name, str(entry["kept"]), *_rates(point), link])
    about = (
        f"{audio['duration_s']:.1f} s, {len(audio['files'])} files, {audio['bytes'] / 1e6:.1f} MB. The clip is for "
        "listening; the rates are those of the measured clips."
    )
    return about + "\n\n" + table(["codec", "codebooks", "tokens/s", "bit/s", "audio"], rows)


# --- sentences


def _halves(result: Result) -> Iterator[str]:
    """Return the quality of each codec at about half its bits, where it can use fewer codebooks."""
    lines, lost = [], {}
    for name, codec in result["codecs"].items():
        points = list(of(result["points"], codec=name, how="first"))
        if len(points) < 2:
            continue
        whole = points[-1]
        half = min(points[:-1], key=lambda point: abs(point["bits_per_second"] / whole["bits_per_second"] - 0.5))
        share = 100 * half["bits_per_second"] / whole["bits_per_second"]
        parts = []
        for metric, about in result["metrics"].items():
            if metric in half["metrics"] and metric in whole["metrics"]:
                ends = (point["metrics"][metric]["mean"] for point in (whole, half))
                parts.append(f"{about['label']} {' → '.join(number(end, digits(metric)) for end in ends)}")
        if "stoi" in half["metrics"] and "stoi" in whole["metrics"]:
            lost[name] = whole["metrics"]["stoi"]["mean"] - half["metrics"]["stoi"]["mean"]
        cut = f"{half['kept']} of {codec['n_codebooks']} ({share:.0f} % of its bits)"
        lines.append(f"- `{name}`, {cut}: {', '.join(parts)}")
    if lines:
        yield "From all codebooks to the number that is nearest to half the bits:"
        yield "\n".join(lines)
    if len(lost) > 1:
        by_loss = ", ".join(f"`{name}` {lost[name]:.3f}" for name in sorted(lost, key=lambda name: lost[name]))
        yield f"Loss of STOI, smallest first: {by_loss}."


def _order_note(result: Result) -> str:
    order = result["order"]
    verdicts = [
        verdict(result, (entry["metrics"] for entry in result["compared"] if entry["of"]["how"] == how))
        for how in ("random", "best")
    ]
    best = ", ".join(str(group + 1) for group in order["groups"])
    return (
        f"Compared with the first groups, significantly: random groups: {verdicts[0]}; the best found: {verdicts[1]}. "
        f"The order found, from the most important group to the least: {best}."
    )


def _runs_note(result: Result) -> str:
    compared = list(filter(_is_run, result["compared"]))
    reference = compared[0]["minus"]["codec"]
    others = dict.fromkeys(e["of"]["codec"] for e in compared)
    lines = []
    for other in others:
        against = [e for e in compared if e["of"]["codec"] == other]
        whole = verdict(result, (e["metrics"] for e in against if _is_full(result, e)))
        cut = verdict(result, (e["metrics"] for e in against if not _is_full(result, e)))
        lines.append(f"- `{other}` whole: {whole}." + (f" Cut: {cut}." if cut else ""))
    return f"Compared with `{reference}` at equal bits, significantly:\n\n" + "\n".join(lines)


def _is_order(entry: dict[str, Any]) -> bool:
    return entry["of"]["how"] != "first"


def _is_run(entry: dict[str, Any]) -> bool:
    return bool(entry["of"]["codec"].startswith("run:") and not _is_order(entry))


def _is_whole(entry: dict[str, Any]) -> bool:
    return entry["of"]["codec"] == "silk" and not _is_order(entry)


def _is_full(result: Result, entry: dict[str, Any]) -> bool:
    return bool(entry["of"]["kept"] == result["codecs"][entry["of"]["codec"]]["n_codebooks"])


def _point_name(result: Result, key: dict[str, Any]) -> str:
    point = next(of(result["points"], **key))
    return f"{key['codec']} ({key['kept']}; {point['bits_per_second']:.0f} bit/s)"


def _rates(point: dict[str, Any]) -> list[str]:
    return [number(point["tokens_per_second"], 1), number(point["bits_per_second"], 0)]


def how_made(result: Result) -> str:
    settings = result["settings"]
    command = [f"silk lab bandwidth SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--order-split {settings['order_split']}"] if settings["order_split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += ["--listen FILE"] if settings["listen"] else []
    command += [f"--seconds {settings['clip_s']:g} --points {settings['points']} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in result["codecs"].values()}))
    return f"`{' '.join(command)}`\n\n{made(result)} {settings['jobs']} processes. Codecs and weights: {ids}."
