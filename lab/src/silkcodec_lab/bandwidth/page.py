"""Write the page for the bandwidth experiment. All numbers come from the JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.bandwidth.figure import HOW, figure
from silkcodec_lab.metric_tables import (
    ABOUT_METRICS,
    estimate,
    joined,
    matching,
    metric_cells,
    metric_headers,
    trial_note,
)
from silkcodec_lab.pages import Description, Result, reproduction, weights

__all__ = ["describe", "figure", "findings", "method", "reproduce", "summary"]

TITLE = "Quality and token rate"

QUESTION = (
    "If a codec uses only some of its codebooks, it needs fewer tokens and bits per second. How does quality depend on "
    "these rates for different quantizers? Does it matter which of Silk's codebooks are kept?"
)

CAPTION = (
    "Each row of plots shows one metric, and bands are 95 % intervals over clips. The pictures at the bottom are "
    "spectrograms of the audio examples."
)

LIMITATIONS = (
    "Only RVQ was trained with missing codebooks. Such training might improve the other models at low rates.",
    "Missing codes are replaced with fixed values. Other replacements might give better results.",
    "The `run:*` models are small and were trained only briefly. Compare them with each other, not with other codecs.",
    "The search for the best groups does not try all orders, and it minimizes the mel distance. Another order might be "
    "better for intelligibility.",
    "The metrics compare the output with the original. They do not measure naturalness.",
    "The intervals apply only to these clips. Clips from the same speaker are treated as independent.",
)

CUT = {
    "FSQ": "FSQ rounds each dimension of the latent, i.e. of the encoder's output. The first dimensions are kept, and "
    "the others are set to the middle level. The models were not trained with missing dimensions.",
    "RVQ": "RVQ is a chain of codebooks, each of which quantizes the error left by the previous ones. The first "
    "codebooks are kept. The model was trained with a random number of codebooks.",
    "multi-scale RVQ": "Multi-scale RVQ is RVQ in which the codebooks have different frame rates. The codebooks with "
    "the lowest rates are kept. The model was always trained with all codebooks.",
    "VQ": "VQ splits the latent into vectors and replaces each with an entry from one shared codebook. The first "
    "vectors are kept, and the others are set to the mean of the training vectors. The model was not trained with "
    "missing vectors.",
    "split RVQ": "The first codebooks are kept.",
    "bit stream": "These codecs always use all codes, so each mode has only one rate.",
}


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    texts = ["The small `run:*` models differ only in the quantizer."] if result["settings"]["runs"] else []
    pairs = {name: pair for name in result["codecs"] if (pair := _ends(result, name))}
    stoi = {name: pair for name, pair in pairs.items() if all("stoi" in point["metrics"] for point in pair)}
    if stoi:
        full = joined([f"{estimate(pair[0]['metrics']['stoi'], 3)} for `{name}`" for name, pair in stoi.items()])
        lost = {name: a["metrics"]["stoi"]["mean"] - b["metrics"]["stoi"]["mean"] for name, (a, b) in stoi.items()}
        halves = joined([f"{lost[name]:.3f} for `{name}`" for name in sorted(lost, key=lambda name: lost[name])])
        texts += [
            f"With all codebooks, STOI (estimated intelligibility) is {full}.",
            f"With about half of the bits, STOI decreases by {halves}.",
        ]
        if "run:rvq" in stoi:
            texts.append("Of these models, only `run:rvq` was trained with missing codebooks.")
    best = [entry for entry in result["compared"] if entry["of"]["how"] == "best" and "stoi" in entry["metrics"]]
    if best:
        n = result["codecs"]["silk"]["n_codebooks"]
        gains = [f"{estimate(entry['metrics']['stoi'], 3)} ({entry['of']['kept']} of {n} codebooks)" for entry in best]
        texts.append(
            f"If Silk's most important codebooks are kept instead of the first ones, STOI increases by {joined(gains)}."
        )
    return " ".join(texts) or "No codec was measured with fewer codebooks."


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, speech, order = result["settings"], result["speech"], result["order"]
    kinds: dict[str, list[str]] = {}
    for name, codec in result["codecs"].items():
        kinds.setdefault(codec["quantizer"], []).append(f"`{name}`")
    parts = [
        f"**Speech.** The speech consists of {speech['n_clips']} clips of at most {settings['clip_s']:g} s, "
        f"{speech['duration_s']:.0f} s in total. Square brackets contain 95 % bootstrap intervals over clips. "
        "Differences are paired by clip." + trial_note(speech["n_clips"]),
        f"{ABOUT_METRICS} Arrows in the tables point in the direction of better values.",
        *(_handling(kind, kinds[kind]) for kind in sorted(kinds, key=lambda kind: kind == "bit stream")),
    ]
    if settings["runs"]:
        parts.append(
            "**Small models.** The `run:*` models differ only in the quantizer. They were trained with the same code, "
            "data and number of steps. With all codebooks, they use 384 bits per 400 ms frame. Each code in a frame "
            "counts as one codebook, even if several codes share the same entries. A `run:fsq` token contains only "
            "one dimension, so compare the models at the same bit rate, not at the same token rate."
        )
    if order is not None:
        parts.append(
            "**Selection of Silk's codebooks.** Each Silk codebook is a group of 7 dimensions of the latent, except "
            "for the last one, which has 2. *First groups* are groups 1 to k. *Random groups* are k random groups "
            f"({settings['n_draws']} draws per clip). *Best groups* are the k most important groups. Their order of "
            f"importance is determined on {order['n_clips']} other clips, by repeatedly removing the group whose "
            "removal increases the mel distance least."
        )
    return parts


def _handling(kind: str, names: list[str]) -> str:
    """Return a paragraph on how a kind of quantizer handles missing codebooks."""
    title = "Fixed rate" if kind == "bit stream" else f"{kind[:1].upper()}{kind[1:]} with fewer codebooks"
    return f"**{title}** ({joined(names)}). {CUT.get(kind, 'Defined by the codec.')}"


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    parts = [
        "### Quality with all codebooks and with half of the bits",
        _curves(result),
    ]
    if result["compared"]:
        parts += [
            "### Paired differences",
            "Each row compares two codecs, or two selections of Silk's groups, on the same clips.",
            _differences(result),
        ]
    audio = result["audio"]
    return [
        *parts,
        "### Audio examples",
        f"Each file contains the first {audio['duration_s']:g} s of the same recording. The bit rates are means over "
        "the measured clips.",
        _audio(result),
    ]


def _ends(result: Result, name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the results of a codec with all codebooks and with about half of the bits.

    Return None if the codec was measured only with all codebooks.
    """
    *cut, whole = matching(result["points"], codec=name, how="first")
    if not cut:
        return None
    return whole, min(cut, key=lambda point: abs(point["bits_per_second"] / whole["bits_per_second"] - 0.5))


def _curves(result: Result) -> str:
    rows = []
    for name, codec in result["codecs"].items():
        for point in _ends(result, name) or matching(result["points"], codec=name, how="first"):
            kept = f"{point['kept']} of {codec['n_codebooks']}"
            rates = number(point["tokens_per_second"], 1), number(point["bits_per_second"], 0)
            rows.append([name, kept, *rates, *metric_cells(result, point["metrics"])])
    return table(["codec", "codebooks", "tokens/s", "bit/s", *metric_headers(result)], rows)


def _differences(result: Result) -> str:
    rows = []
    for entry in result["compared"]:
        left, right = entry["of"], entry["minus"]
        ends = _ends(result, left["codec"])
        if left["how"] != "first":
            what = f"{HOW[left['how']]} - {HOW[right['how']]}, {left['kept']} groups"
        elif ends is None or left["kept"] in {point["kept"] for point in ends}:
            bits = next(matching(result["points"], **left))["bits_per_second"]
            rate = f", {bits:.0f} bit/s" if left["codec"].startswith("run:") else ""
            what = f"{left['codec']} - {right['codec']}{rate}"
        else:
            continue
        rows.append([what, *metric_cells(result, entry["metrics"], signed=True)])
    return table(["difference", *metric_headers(result)], rows)


def _audio(result: Result) -> str:
    audio = result["audio"]
    links: dict[str, list[str]] = {}
    for entry in audio["files"]:
        name, label = "original", "original"
        if entry["codec"] is not None:
            name = entry["codec"] if entry["how"] == "first" else f"{entry['codec']}, {HOW[entry['how']]}"
            point = next(matching(result["points"], **{key: entry[key] for key in ("codec", "kept", "how")}))
            label = f"{point['bits_per_second']:.0f} bit/s"
        links.setdefault(name, []).append(f"[{label}]({audio['folder']}/{entry['file']})")
    rows = [[name, ", ".join(texts)] for name, texts in links.items()]
    return table(["codec", "audio"], rows, numeric=False)


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    command = [f"silk lab bandwidth SPEECH --codecs {','.join(settings['codecs'])}"]
    command += ["--run RUN"] * settings["runs"]
    command += [f"--split {settings['split']}"] if settings["split"] else []
    command += [f"--order-split {settings['order_split']}"] if settings["order_split"] else []
    command += [f"--clips {settings['limit']}"] if settings["limit"] else []
    command += ["--listen FILE"] if settings["listen"] else []
    command += [f"--seconds {settings['clip_s']:g} --points {settings['points']} --seed {settings['seed']} -o FOLDER"]
    return reproduction(result, command, note=weights(found["codec_id"] for found in result["codecs"].values()))
