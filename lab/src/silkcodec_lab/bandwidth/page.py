"""Write the page of the bandwidth experiment. All numbers come from the JSON result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from silkcodec.evaluate.markdown import digits, number, table
from silkcodec_lab.bandwidth.figure import HOW, figure
from silkcodec_lab.metric_tables import joined, matching, metric_cells, metric_headers, significance_table
from silkcodec_lab.pages import Result, provenance

__all__ = ["LIMITATIONS", "QUESTION", "TITLE", "figure", "findings", "method", "reproduce"]

FEW_CLIPS = 10  # With fewer clips, the page warns that this is a trial run.

TITLE = "Quality and token rate"

QUESTION = (
    "Many codecs can encode speech with fewer codebooks and therefore with fewer tokens and bits per second. In "
    "Silk, each codebook is a group of 7 dimensions of the latent. How does quality depend on the token rate and the "
    "bit rate for different quantizers? Does it matter which of Silk's groups are kept?"
)

FIGURE = (
    "The upper part shows quality by tokens per second, by bits per second, and by the selection of Silk's groups. "
    "Each row shows one metric, and bands are 95 % intervals over clips. The lower part shows spectrograms of the "
    "audio examples with the same color scale."
)

LIMITATIONS = (
    "**Training.** Only RVQ was trained with missing codebooks (quantizer dropout). Nested dropout, which keeps a "
    "random number of the first groups in each batch, would train Silk to encode coarse information in its first "
    "groups. Quality with few groups would improve, but quality with all groups might become worse. The measured "
    "curves of FSQ are therefore a lower bound.",
    "**Missing codes.** Missing codes are replaced with the middle level, the mean of the codebook, or zero. "
    "Replacing them with the mean of each dimension, or a decoder with a mask as input, might give better results.",
    "**Small models.** The training runs are small models with short training. They can be compared with each other, "
    "but not with Silk or the classical codecs.",
    "**Order of the groups.** Greedy removal does not try all orders, and it minimizes the mel distance. The best "
    "order for intelligibility might differ.",
    "**Other ways to reduce the rate.** Tokens that contain more FSQ dimensions reduce the token rate at the same bit "
    "rate. Longer frames or fewer levels reduce the bit rate, but the model must be trained with them.",
    "**Naturalness.** PESQ and STOI compare the output with the original. They do not measure naturalness.",
    "**Other speech.** The intervals apply only to these clips. Clips of the same speaker are treated as independent.",
)

CUT = {
    "FSQ": "The first dimensions are kept (in Silk, the first groups of dimensions). The remaining dimensions are set "
    "to the middle level. The models were not trained with missing dimensions.",
    "RVQ": "The first codebooks of all vectors are kept. The model was trained with quantizer dropout.",
    "multi-scale RVQ": "The first scales, which have the lowest rates, are kept. The model was trained without "
    "quantizer dropout.",
    "VQ": "The first vectors are kept. The remaining vectors are set to the mean of the codebook's training vectors. "
    "The model was not trained with missing vectors.",
    "split RVQ": "The first codebooks are kept.",
    "bit stream": "These codecs always use all codes, so each mode has only one rate.",
}


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, speech, order = result["settings"], result["speech"], result["order"]
    parts = [
        f"**Speech.** The speech consists of {speech['n_clips']} clips of at most {settings['clip_s']:g} s, "
        f"{speech['duration_s']:.0f} s in total. The decoded speech is compared with the original. Values are means "
        "over clips with 95 % bootstrap intervals. Differences are paired by clip."
        + (
            " **This is a trial run.** There are too few clips for useful intervals."
            if speech["n_clips"] < FEW_CLIPS
            else ""
        ),
        f"**Fewer codebooks.** Each codec encodes the clips with `n_codebooks=k` for at most {settings['points']} "
        "values of k. The rates are computed from the tokens. A token of FSQ can contain one dimension or several, so "
        "compare quantizers at the same bit rate, not at the same token rate. The quantizers handle missing codebooks "
        "as follows:",
        "\n".join(f"- {kind} ({names}): {CUT.get(kind, 'Defined by the codec.')}" for kind, names in _kinds(result)),
    ]
    if settings["runs"]:
        parts.append(
            "**Training runs.** The models `run:*` are small models that differ only in the quantizer. They were "
            "trained with the same code, data and number of steps. With all codebooks, they use 384 bits per frame of "
            "400 ms. The tokens of `run:fsq` contain one dimension each, so a frame has 128 tokens. In groups of 7 "
            "dimensions, as in Silk, the same frame would have 19 tokens."
        )
    if order is not None:
        parts.append(
            "**Selection of Silk's groups.** *First groups* are groups 1 to k. *Random groups* are k groups drawn at "
            f"random. Their values are means over {settings['n_draws']} draws per clip. *Best groups* are the "
            f"k most important groups on other speech ({order['n_clips']} clips of {settings['order_s']:g} s). Their "
            "order is found by greedy removal, which starts with all groups and repeatedly removes the group whose "
            "removal increases the mel distance least. The last group has 2 dimensions instead of 7. Random groups do "
            "not include it, so they have as many bits as the first groups."
        )
    return parts


def _kinds(result: Result) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for name, codec in result["codecs"].items():
        found.setdefault(codec["quantizer"], []).append(f"`{name}`")
    return [(kind, ", ".join(names)) for kind, names in found.items()]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
    parts = [FIGURE, "### Quality by rate", _curves(result), *_halves(result)]
    if result["order"] is not None:
        parts += [
            "### Selection of Silk's groups",
            _order(result),
            _differences(result, _is_order),
            _order_note(result),
        ]
    if any(map(_is_run, result["compared"])):
        parts += ["### Quantizers at the same bit rate", _differences(result, _is_run), _runs_note(result)]
    if any(map(_is_whole, result["compared"])):
        parts += ["### Silk and other codecs with all codebooks", _differences(result, _is_whole)]
    return [*parts, "### Audio examples", _audio(result)]


# --- tables


def _curves(result: Result) -> str:
    rows = []
    for name, codec in result["codecs"].items():
        for point in matching(result["points"], codec=name, how="first"):
            kept = f"{point['kept']} of {codec['n_codebooks']}"
            rows.append([name, kept, *_rates(point), *metric_cells(result, point["metrics"])])
    return table(["codec", "codebooks", "tokens/s", "bit/s", *metric_headers(result)], rows)


def _order(result: Result) -> str:
    rows = []
    for kept in sorted({point["kept"] for point in result["points"] if point["how"] == "best"}):
        for how in HOW:
            for point in matching(result["points"], codec="silk", how=how, kept=kept):
                rows.append([HOW[how], str(kept), *_rates(point), *metric_cells(result, point["metrics"])])
    return table(["selection", "groups", "tokens/s", "bit/s", *metric_headers(result)], rows)


def _differences(result: Result, chosen: Any) -> str:
    rows = []
    for entry in filter(chosen, result["compared"]):
        left, right = entry["of"], entry["minus"]
        if _is_order(entry):
            what = f"{HOW[left['how']]} - {HOW[right['how']]}, {left['kept']} groups"
        else:
            what = f"{_point_name(result, left)} - {_point_name(result, right)}"
        rows.append([what, *metric_cells(result, entry["metrics"], signed=True)])
    return table(["paired difference", *metric_headers(result)], rows)


def _audio(result: Result) -> str:
    audio = result["audio"]
    folder = audio["folder"]
    rows = []
    for entry in audio["files"]:
        link = f"[{entry['file']}]({folder}/{entry['file']})"
        if entry["codec"] is None:
            rows.append(["original", "-", "-", "-", link])
            continue
        point = next(matching(result["points"], **{key: entry[key] for key in ("codec", "kept", "how")}))
        name = entry["codec"] if entry["how"] == "first" else f"{entry['codec']}, {HOW[entry['how']]}"
        rows.append([name, str(entry["kept"]), *_rates(point), link])
    about = (
        f"The {len(audio['files'])} files are {audio['duration_s']:.1f} s long and have a total size of "
        f"{audio['bytes'] / 1e6:.1f} MB. The rates are means over the measured clips."
    )
    return about + "\n\n" + table(["codec", "codebooks", "tokens/s", "bit/s", "audio"], rows)


# --- sentences


def _halves(result: Result) -> Iterator[str]:
    """Yield paragraphs that compare the quality of each codec with all codebooks and with about half of its bits."""
    lines: list[str] = []
    lost: dict[str, float] = {}
    for name, codec in result["codecs"].items():
        points = list(matching(result["points"], codec=name, how="first"))
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
        yield "The list shows quality with all codebooks (before the arrow) and with about half of the bits (after it):"
        yield "\n".join(lines)
    if len(lost) > 1:
        by_loss = joined([f"{lost[name]:.3f} (`{name}`)" for name in sorted(lost, key=lambda name: lost[name])])
        yield f"With about half of the bits, STOI decreases by {by_loss}."


def _order_note(result: Result) -> str:
    order = result["order"]
    comparisons = {
        HOW[how]: [entry["metrics"] for entry in result["compared"] if entry["of"]["how"] == how]
        for how in ("random", "best")
    }
    best = ", ".join(str(group + 1) for group in order["groups"])
    return (
        "The next table counts the significant differences:\n\n"
        + significance_table(result, "compared with the first groups", comparisons)
        + f"\n\nThe order of the groups, from the most to the least important, is {best}."
    )


def _runs_note(result: Result) -> str:
    compared = list(filter(_is_run, result["compared"]))
    reference = compared[0]["minus"]["codec"]
    comparisons: dict[str, list[Any]] = {}
    for entry in compared:
        which = "all codebooks" if _is_full(result, entry) else "fewer codebooks"
        comparisons.setdefault(f"{entry['of']['codec']}, {which}", []).append(entry["metrics"])
    title = f"compared with {reference} at the same bit rate"
    return "The next table counts the significant differences:\n\n" + significance_table(
        result, title, dict(sorted(comparisons.items()))
    )


def _is_order(entry: dict[str, Any]) -> bool:
    return entry["of"]["how"] != "first"


def _is_run(entry: dict[str, Any]) -> bool:
    return bool(entry["of"]["codec"].startswith("run:") and not _is_order(entry))


def _is_whole(entry: dict[str, Any]) -> bool:
    return entry["of"]["codec"] == "silk" and not _is_order(entry)


def _is_full(result: Result, entry: dict[str, Any]) -> bool:
    return bool(entry["of"]["kept"] == result["codecs"][entry["of"]["codec"]]["n_codebooks"])


def _point_name(result: Result, key: dict[str, Any]) -> str:
    point = next(matching(result["points"], **key))
    return f"{key['codec']} ({key['kept']} codebooks, {point['bits_per_second']:.0f} bit/s)"


def _rates(point: dict[str, Any]) -> list[str]:
    return [number(point["tokens_per_second"], 1), number(point["bits_per_second"], 0)]


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    settings = result["settings"]
    command = [f"silk lab bandwidth SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--order-split {settings['order_split']}"] if settings["order_split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += ["--listen FILE"] if settings["listen"] else []
    command += [f"--seconds {settings['clip_s']:g} --points {settings['points']} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in result["codecs"].values()}))
    return (
        f"`{' '.join(command)}`\n\n{provenance(result)} The measurement used {settings['jobs']} processes. "
        f"Codec IDs: {ids}."
    )
