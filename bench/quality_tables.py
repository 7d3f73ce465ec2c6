"""Build the quality tables from results of `silk compare`, and draw the figure of the quantization levels.

quality/results.json                  all codecs on the evaluation clips
quality/english/, quality/mandarin/   recognizer errors on the English and Mandarin clips
quality/gap/                          Silk on training speech and on unseen speech from the same sources
history/*.json                        earlier weights
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import findings
from findings import TableError

from silkcodec.evaluate.markdown import ARROWS, digits, interval, number, table
from silkcodec.evaluate.metrics import METRICS
from silkcodec.evaluate.report import load_result, measured
from silkcodec.evaluate.results import to_json
from silkcodec_lab.figures import new_figure, to_png

Figures = dict[str, Any]

QUALITY = Path("quality", "results.json")
GAP = Path("quality", "gap", "results.json")
WORDS = {  # Mandarin is written without spaces, so its word errors cannot be counted.
    "English": ("english", ("dwer", "dwer_moonshine", "dcer")),
    "Mandarin": ("mandarin", ("dcer",)),
}
ENGLISH = "english-read"  # value of the `group` column in evaluation/clips.tsv
NATURALNESS = "distillmos"
# Training losses are similar to PESQ, STOI, ESTOI and the mel distance, so each table also shows other metrics.
COLUMNS = (
    (NATURALNESS, "visqol", "speaker_similarity", "pesq_wb", "stoi", "estoi"),
    ("fricative_scatter_db", "flatness_db", "bandwidth_percent", "high_band_db"),
    ("mel_distance", "level_db", "si_sdr_db", "f0_correlation", "voicing_error"),
)
GROUPED = (NATURALNESS, "fricative_scatter_db", "pesq_wb", "stoi", "mel_distance")
PROGRESS = (NATURALNESS, "fricative_scatter_db", "visqol", "pesq_wb", "stoi", "estoi", "mel_distance")
NOT_YET = "Not measured yet. Run `make quality`."
LEVELS_FIGURE = Path("docs", "levels.png")


def quality(bench: Path) -> str:
    """Return tables of the scores of all codecs, and a table of Silk's targets."""
    result = _read(bench / QUALITY)
    if result is None:
        return NOT_YET
    parts = _tables(result, result["means"])
    if findings.targets(bench)["quality"]["codec"] in result["settings"]["codecs"]:
        parts.append(table(["metric", "silk", "target", "target met"], _targets(bench, result)))
    return "\n\n".join([*parts, _clips_note(bench, result)])


def quality_english(bench: Path) -> str:
    """Return tables of the scores of all codecs on read English speech."""
    result = _read(bench / QUALITY)
    group = {} if result is None else result["groups"].get("group", {}).get(ENGLISH, {})
    if result is None or not group:
        return NOT_YET
    tables = _tables(result, group["codecs"])
    folder, names = WORDS["English"]
    if (spoken := _read(bench / "quality" / folder / "results.json")) is not None and not spoken["settings"]["split"]:
        tables += _tables(spoken, spoken["means"], [names])
    return "\n\n".join([*tables, f"These tables are limited to the {group['n_clips']} clips of read English speech."])


def scores(bench: Path) -> str:
    """Return a summary of the scores of the current weights on read English speech."""
    result = _read(bench / QUALITY)
    group = {} if result is None else result["groups"].get("group", {}).get(ENGLISH, {})
    if result is None or not group or NATURALNESS not in measured(result):
        return NOT_YET
    silk, original = group["codecs"]["silk"], group["codecs"]["original"]
    weights = _silk(bench, result)
    remark = findings.not_embedded(bench, weights)
    subject = f"the weights {weights}{remark}" if remark else "the current weights"
    text = (
        f"On {group['n_clips']} other English clips, most of which were in the training set of the starting weights, "
        f"{subject} score {number(silk[NATURALNESS]['mean'], 2)} on "
        f"DistillMOS (original recordings: {number(original[NATURALNESS]['mean'], 2)}) and "
        f"{number(silk['pesq_wb']['mean'], 2)} on PESQ-WB."
    )
    spoken = _read(bench / "quality" / WORDS["English"][0] / "results.json")
    if spoken is not None and _silk(bench, spoken) == weights:
        errors = number(spoken["means"]["silk"]["dwer"]["mean"], 1)
        text += f" A recognizer's transcripts of the decoded and original audio differ in {errors} % of the words."
    return text


def quality_gap(bench: Path) -> str:
    """Return a table of Silk's scores on training speech and on unseen speech from the same sources."""
    result = _read(bench / GAP)
    groups = {} if result is None else result["groups"].get("gap", {})
    if result is None or set(groups) != {"training", "unseen"}:
        return NOT_YET
    codec = findings.targets(bench)["quality"]["codec"]
    shown = [name for columns in COLUMNS for name in columns if name in measured(result)]
    rows = []
    for name in shown:
        known, new = (groups[value]["codecs"][codec][name] for value in ("training", "unseen"))
        cells = [interval(entry, digits(name)) for entry in (known, new, _minus(known, new))]
        rows.append([_metric_headers(result, [name])[0], *cells])
    counts = [f"{groups[value]['n_clips']} clips" for value in ("training", "unseen")]
    header = ["metric", f"training speech, {counts[0]}", f"unseen speech, {counts[1]}", "difference"]
    note = (
        "The two groups contain different clips, so the interval of the difference combines the intervals of both "
        "means."
    )
    return f"{table(header, rows)}\n\n{note} {_clips_note(bench, result)}"


def words(bench: Path) -> str:
    """Return a table of recognizer errors on each codec's output."""
    results = {language: _read(bench / "quality" / folder / "results.json") for language, (folder, _) in WORDS.items()}
    known = {language: result for language, result in results.items() if result is not None}
    if not known:
        return NOT_YET
    targets = findings.targets(bench)["quality"]
    columns = [
        (language, name) for language in known for name in WORDS[language][1] if name in measured(known[language])
    ]
    headers = [f"{language} {known[language]['metrics'][name]['label']} % ↓" for language, name in columns]
    rows = []
    first = next(iter(known.values()))
    for codec in first["settings"]["codecs"]:
        figures = [interval(known[language]["means"][codec][name], 1) for language, name in columns]
        rows.append([codec, *_rates(first, codec), *figures])
    targeted = []
    for language, name in columns:
        entry = known[language]["means"][targets["codec"]][name]
        cells = findings.target_cells(entry["mean"], targets["words"][language][name], "%", 0)
        targeted.append([f"{language} {known[language]['metrics'][name]['label']}", interval(entry, 1), *cells])
    notes = [f"- **{language}**: {_clips_note(bench, result)}" for language, result in known.items()]
    return "\n\n".join(
        [
            table(["codec", "tokens/s", "bit/s", *headers], rows),
            table(["metric", "silk", "target", "target met"], targeted),
            "\n".join(notes),
            f"The recognizer is Moonshine tiny in the columns that name Moonshine, and Whisper {_whisper(first)} in "
            "the others.",
        ]
    )


def published(bench: Path) -> str:
    """Return a table that compares published scores with Silk's scores."""
    result, english = _read(bench / QUALITY), _read(bench / "quality" / WORDS["English"][0] / "results.json")
    if result is None:
        return NOT_YET
    targets = findings.targets(bench)["quality"]
    rows = []
    for name, figures in targets["published"].items():
        for metric, value in figures.items():
            source, ours, side = (english, "dwer", "at_most") if metric == "wer" else (result, metric, "at_least")
            if source is not None and ours in source["means"][targets["codec"]]:
                entry = source["means"][targets["codec"]][ours]
                reached = findings.target_cells(entry["mean"], {side: value}, "")[1]
                label = "WER % (silk: English dWER %)" if metric == "wer" else _label(result, metric)
                figures_of = [number(value, 2), interval(entry, 1 if metric == "wer" else digits(metric)), reached]
                rows.append([f"{name}, {label}", *figures_of])
    return table(["codec and metric", "published value", "silk, on other clips", "reached by silk"], rows)


def quality_groups(bench: Path) -> str:
    """Return a table of the mean scores for each group of clips."""
    result = _read(bench / QUALITY)
    if result is None:
        return NOT_YET
    shown = [name for name in GROUPED if name in result["metrics"]]
    rows = []
    for column, values in result["groups"].items():
        for value, group in values.items():
            for codec in result["settings"]["codecs"]:
                figures = [interval(group["codecs"][codec][name], digits(name)) for name in shown]
                label = value if column == "group" else f"{column.replace('_', ' ')}: {value}"
                rows.append([label, codec, str(group["n_clips"]), *figures])
    return table(["group", "codec", "clips", *_metric_headers(result, shown)], rows)


def times(bench: Path) -> str:
    """Return a table of the speeds in the quality measurement."""
    result = _read(bench / QUALITY)
    if result is None:
        return NOT_YET
    codecs: Figures = result["codecs"]
    rows = []
    for name in result["settings"]["codecs"]:
        speeds = [codecs[name].get(f"{way}_times_real_time") for way in ("encode", "decode")]
        cells = ["" if speed is None else f"{speed:,.0f}x" for speed in speeds]
        latency = codecs[name].get("latency_ms")
        rows.append([name, *_rates(result, name), *cells, "" if latency is None else f"{latency:.0f} ms"])
    jobs = max(codecs[name].get("timed_with_jobs") or 1 for name in result["settings"]["codecs"])
    note = f"Speeds are multiples of real time{f', measured with {jobs} clips in parallel' if jobs > 1 else ''}."
    return table(["codec", "tokens/s", "bit/s", "encode", "decode", "latency"], rows) + "\n\n" + note


def levels(bench: Path) -> str:
    """Return a paragraph on the usage of the quantization levels."""
    result = _read(bench / QUALITY)
    found = None if result is None else _dimensions(bench, result)
    if found is None:
        return NOT_YET
    perplexity, n_levels = found["perplexity"], found["n_levels"]
    unused = sum(used < n_levels for used in found["n_used"])
    bits = sum(found["entropy_bits"])
    use = f"{unused} of the dimensions did not use all levels." if unused else "Every dimension used all levels."
    return (
        f"Over {found['n_frames']:,} frames, the {len(perplexity)} dimensions have a perplexity of "
        f"{min(perplexity):.2f} to {max(perplexity):.2f} (mean {sum(perplexity) / len(perplexity):.2f}). The "
        f"highest possible value is {n_levels}. {use} The entropies of the dimensions add up to {bits:.1f} of the "
        f"{3 * len(perplexity)} bits per frame. This sum is an upper bound on the entropy of a frame."
    )


def progress(bench: Path) -> str:
    """Return a table of Silk's scores with earlier weights and with the current weights."""
    results = [load_result(path) for path in sorted((bench / "history").glob("*.json"))]
    if (present := _read(bench / QUALITY)) is not None:
        results.append(present)
    latest = {  # Keep only the last measurement of the same weights on the same number of clips.
        (result["codecs"]["silk"]["codec_id"], result["clips"]["n"]): result
        for result in sorted(results, key=lambda result: result["created"])
        if result["codecs"].get("silk", {}).get("codec_id")
    }
    if not latest:
        return NOT_YET
    newest = max(latest.values(), key=lambda result: result["created"])
    shown = [name for name in PROGRESS if name in newest["metrics"]]
    rows = []
    for (weights, n_clips), result in sorted(latest.items(), key=lambda item: item[1]["created"]):
        means = result["means"]["silk"]
        figures = [interval(means[name], digits(name)) if name in means else "-" for name in shown]
        rows.append([result["created"][:10], weights, str(n_clips), *figures])
    return table(["date", "weights", "clips", *_metric_headers(newest, shown)], rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "quality": quality,
    "quality-english": quality_english,
    "quality-gap": quality_gap,
    "scores": scores,
    "words": words,
    "published": published,
    "quality-groups": quality_groups,
    "quality-times": times,
    "levels": levels,
    "progress": progress,
}


def keep(bench: Path) -> Path:
    """Copy the quality result to history/, and return the path.

    Raises:
        TableError: the result does not contain Silk.
    """
    result = load_result(bench / QUALITY)
    codec_id = result["codecs"].get("silk", {}).get("codec_id")
    if codec_id is None:
        raise TableError(f"Only results with the 'silk' codec can be kept; bench/{QUALITY} does not contain it.")
    kept = {**result, "groups": {}, "left_out": []}  # The progress table does not need these fields.
    config = findings.embedded(bench)
    if config is not None and codec_id == f"silk@{config['weights_hash']}":
        kept["network"] = findings.network(config)
    path = bench / "history" / f"{result['created'][:10]}-{codec_id.partition('@')[2]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(to_json(kept), encoding="utf-8")
    return path


def draw_levels(bench: Path) -> bytes | None:
    """Return a PNG image of the perplexity of each dimension, or None if it was not measured."""
    result = _read(bench / QUALITY)
    if result is None or (found := _dimensions(bench, result)) is None:
        return None
    n_levels, n_dims = found["n_levels"], len(found["perplexity"])
    drawing = new_figure(11, 3.6)
    axes = drawing.subplots()
    axes.bar(range(n_dims), found["perplexity"], width=0.8, color="#0b6fa4")
    axes.axhline(n_levels, color="#555555", linewidth=1, linestyle="--")
    axes.annotate("all levels are equally frequent", (n_dims - 1, n_levels), ha="right", va="bottom", color="#555555")
    axes.set(xlim=(-1, n_dims), ylim=(0, n_levels + 0.8))
    axes.set(xlabel="dimension", ylabel=f"perplexity of the {n_levels} levels")
    axes.set_title(
        f"{_silk(bench, result)}, {found['n_frames']:,} frames of held-out speech: "
        f"the entropies add up to {sum(found['entropy_bits']):.1f} of {3 * n_dims} bits per frame"
    )
    return to_png(drawing, dpi=100)


def _tables(result: Figures, means: Figures, groups: Sequence[Sequence[str]] = COLUMNS) -> list[str]:
    """Return a table for each group of metrics."""
    parts = []
    for columns in groups:
        shown = [name for name in columns if name in measured(result)]
        rows = [
            [codec, *_rates(result, codec), *(interval(means[codec][name], digits(name)) for name in shown)]
            for codec in result["settings"]["codecs"]
        ]
        if shown:
            parts.append(table(["codec", "tokens/s", "bit/s", *_metric_headers(result, shown)], rows))
    if groups is COLUMNS and NATURALNESS not in measured(result):
        parts.append(
            "**Naturalness (DistillMOS) was not measured in this run.** PESQ, STOI and the mel distance are similar to "
            "training losses and do not measure the naturalness of speech."
        )
    return parts


def _minus(a: Figures, b: Figures) -> Figures:
    """Return the difference of two independent means, with its interval."""
    if a["mean"] is None or b["mean"] is None:
        return {"mean": None}
    mean = a["mean"] - b["mean"]
    low = math.hypot(a["mean"] - a["low"], b["high"] - b["mean"])
    high = math.hypot(a["high"] - a["mean"], b["mean"] - b["low"])
    return {"mean": mean, "low": mean - low, "high": mean + high}


def _read(path: Path) -> Figures | None:
    return load_result(path) if path.exists() else None


def _silk(bench: Path, result: Figures) -> str:
    return str(result["codecs"].get(findings.targets(bench)["quality"]["codec"], {}).get("codec_id"))


def _dimensions(bench: Path, result: Figures) -> Figures | None:
    found: Figures | None = result["codecs"].get(findings.targets(bench)["quality"]["codec"], {}).get("dimensions")
    return found


def _whisper(result: Figures) -> str:
    return str(result["settings"]["models"].get("whisper", "")).removeprefix("whisper-")


def _rates(result: Figures, codec: str) -> list[str]:
    rates = result["codecs"][codec]
    return [number(rates.get("tokens_per_second"), 1), number(rates.get("bits_per_second"), 0)]


def _label(result: Figures, metric: str) -> str:
    return str(result["metrics"].get(metric, {"label": METRICS[metric].label})["label"])


def _targets(bench: Path, result: Figures) -> list[list[str]]:
    """Return one table row per target."""
    targets = findings.targets(bench)["quality"]
    codec, differences = targets["codec"], result["differences"]
    missing: Figures = {"mean": None}
    rows = []
    for metric, target in targets["means"].items():
        entry = result["means"].get(codec, {}).get(metric, missing)
        cells = findings.target_cells(entry["mean"], target, "", digits(metric))
        rows.append([_label(result, metric), interval(entry, digits(metric)), *cells])
    for metric, others in targets["above"].items():
        for other in others:
            differs = differences["minus"].get(other) if differences["of"] == codec else None
            entry = (differs or {}).get(metric, missing)
            cells = findings.target_cells(entry["mean"], {"above": 0}, "")
            rows.append([f"{_label(result, metric)} gain over {other}", interval(entry, digits(metric)), *cells])
    return rows


def _clips_note(bench: Path, result: Figures) -> str:
    clips, settings = result["clips"], result["settings"]
    split = f" in the '{settings['split']}' split" if settings["split"] else ""
    drawn = f", selected at random with seed {settings['seed']}" if settings["limit"] else ""
    silk = result["codecs"].get("silk", {}).get("codec_id")
    weights = f"{silk}{findings.not_embedded(bench, silk)}; " if silk else ""
    failed = sum(rates["n_failed"] for rates in result["codecs"].values())
    n_missing = len({(entry["clip"], entry["metric"]) for entry in result["left_out"]})
    notes = f" Number of times a codec failed on a clip: {failed}." if failed else ""
    if n_missing:
        notes += f" {n_missing} values are missing or undefined."
    names = list(result["codecs"])
    processed = "All codecs processed the same" if len(names) > 1 else f"`{names[0]}` processed"
    return (
        f"{processed} {clips['n']} clips{split}{drawn} ({clips['duration_s'] / 3600:.2f} h).{notes} "
        f"Conditions: {weights}silkcodec {result['version']}; {result['created'][:10]}."
    )


def _metric_headers(result: Figures, names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        metric = result["metrics"].get(name)
        unit = f" ({metric['unit']})" if metric and metric["unit"] in ("dB", "%") else ""  # Other units are not shown.
        cells.append(f"{metric['label']}{unit} {ARROWS[metric['better']]}" if metric else name)
    return cells
