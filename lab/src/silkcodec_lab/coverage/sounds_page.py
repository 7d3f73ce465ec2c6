"""Write two parts of the coverage page: coverage by sound and pitch, and the quality of resynthesized speech."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import digits, interval, number, table
from silkcodec.evaluate.metrics import METRICS
from silkcodec_lab.coverage.about import NO_QUANTIZER, label
from silkcodec_lab.coverage.intervals import FEW, SEEN, UNSEEN, in_order
from silkcodec_lab.pages import Result

KIND_TITLES = {"tone": "tone", "sound": "Arabic sound", "height": "F0", "movement": "F0 movement"}


def sounds_method(result: Result) -> list[str]:
    """Return the paragraphs on classes of sounds, or an empty list if they were not measured."""
    if not result.get("sounds"):
        return []
    return [
        "**Sounds.** Coverage is also measured for classes of sounds, with the level removed. There are four kinds of "
        "classes:",
        "- *tone*: the tone of Mandarin syllables.\n"
        "- *Arabic sound*: words and names of letters with an *emphatic* consonant (sad, dad, tah, zah), with a "
        "*pharyngeal* consonant (hah, ain), or with *neither*. Only words with an unambiguous Arabic form are used "
        "(numbers, yes, no, right, left).\n"
        "- *F0*: the fundamental frequency of voiced vectors, measured by WORLD's DIO.\n"
        "- *F0 movement*: the change in F0 over 80 ms. *Fast* means more than 30 semitones per second, and *level* "
        "means less than 10.",
        "The labels of tones and Arabic sounds come from file names and apply to the whole word or syllable. Some "
        "clips consist of several short files. They are split at the silences between files, and skipped if these "
        "silences are not clear. The coverage of a class is compared with the coverage of the *same speaker's other "
        "vectors of this kind*, which removes effects of voice and microphone. The same difference for the grid is "
        "then subtracted, which removes effects that all quantizers have in common.",
    ]


def rebuilt_method(result: Result) -> list[str]:
    """Return the paragraph on resynthesized speech, or an empty list if it was not measured."""
    if not result.get("rebuilt"):
        return []
    settings = result["rebuilt"]["settings"]
    return [
        f"**Resynthesis.** An excerpt of {settings['seconds']:g} s is selected for up to {settings['speakers']} "
        f"speakers of each group. Its log-mel columns of 10 ms with {settings['width']} bands are normalized and "
        "limited as above. Columns that contain speech are quantized. The quantizers are fitted to columns of the "
        "training speech, without the excerpts. Griffin-Lim converts the quantized and the unquantized columns to "
        f"audio ({settings['steps']} steps), and the metrics compare the two versions, which differ only in the "
        "quantization. *No quantizer* is the unquantized spectrogram with different random phases. It shows how much "
        "two versions differ without quantization. *Seen* and *unseen* have the same speakers and excerpts, but *seen* "
        "uses a fit that includes the speaker."
    ]


def sounds_findings(result: Result) -> list[str]:
    """Return the section on coverage by sound and pitch, or an empty list if it was not measured."""
    found = result.get("sounds")
    if not found:
        return []
    name = next(iter(found))
    parts = ["### Coverage by sound and pitch", _in_short(found)]
    labeled = _labeled(found[name])
    if labeled:
        parts += [
            f"The next table shows how well {label(name)} covers words and syllables. Differences from the same "
            "speaker's other vectors are in percentage points:",
            labeled,
        ]
    for kind in ("movement", "height"):
        if kind in found[name]:
            parts += [
                f"The next table shows classes of {KIND_TITLES[kind]} with {label(name)}. Each cell contains the share "
                "of voiced vectors in the class and their coverage, in %:",
                _pitch(found[name][kind]),
                "The next table shows how much the coverage of a class differs from that of the speaker's other voiced "
                f"vectors with {label(name)}, minus the same difference for the grid, in percentage points. If a value "
                "is below 0, the codebook loses more coverage in this class than the grid. The last columns are "
                "differences between groups:",
                _pitch_excess(found[name][kind]),
            ]
    return parts


def _in_short(found: dict[str, Any]) -> str:
    """Return a table of the classes in which a codebook's coverage differs significantly from the scalar grid's."""
    rows, n_few = [], 0
    for name, one in found.items():
        for kind, title in KIND_TITLES.items():
            # Classes of pitch exist in all groups, so they are also compared with unseen speakers.
            key = "beyond_grid_and_unseen" if kind in ("height", "movement") else "beyond_grid"
            entries = [
                (f"*{word}*, {group}: {_points(entry[key])}", entry[key])
                for word, groups in one.get(kind, {}).items()
                for group, entry in groups.items()
                if key in entry
            ]
            n_few += sum(entry["n"] < FEW for _, entry in entries)
            entries = [(text, entry) for text, entry in entries if entry["n"] >= FEW]
            if entries:
                what = "codebook - grid, group - unseen" if key == "beyond_grid_and_unseen" else "codebook - grid"
                below = [text for text, entry in entries if entry["high"] < 0]
                above = [text for text, entry in entries if entry["low"] > 0]
                cells = ("<br>".join(texts) or "none" for texts in (below, above))
                rows.append([label(name), title, what, str(len(entries)), *cells])
    if not rows:
        return "There are too few labeled vectors or speakers for a comparison."
    parts = [
        "The next table shows significant differences in coverage, in percentage points. If a value is below 0, the "
        "codebook loses more coverage in this class than the grid. About one in twenty 95 % intervals excludes 0 by "
        "chance.",
        table(["codebook", "classes", "difference", "comparisons", "below 0", "above 0"], rows, numeric=False),
    ]
    if n_few:
        parts.append(
            f"The table does not include {n_few} comparisons with fewer than {FEW} speakers, because their intervals "
            "are too narrow. The tables below include them."
        )
    return "\n\n".join(parts)


def _labeled(one: dict[str, Any]) -> str | None:
    rows = []
    for kind in ("tone", "sound"):
        for word, groups in one.get(kind, {}).items():
            for group, entry in groups.items():
                rows.append(
                    [
                        f"{KIND_TITLES[kind]} {word}" if kind == "tone" else word,
                        group,
                        str(entry["covered"]["n"]),
                        number(100 * entry["share"], 0),
                        _percent(entry["covered"]),
                        *(_points(entry[key]) for key in ("apart", "grid_apart", "beyond_grid")),
                    ]
                )
    header = ["class", "group", "speakers", "share, %", "coverage, %", "codebook", "grid", "codebook - grid"]
    return table(header, rows) if rows else None


def _pitch(classes: dict[str, Any]) -> str:
    groups = _groups(classes)
    rows = []
    for word, found in classes.items():
        cells = [
            f"{100 * found[g]['share']:.0f}: {_percent(found[g]['covered'])}" if g in found else "-" for g in groups
        ]
        rows.append([word, *cells])
    return table(["F0", *groups], rows)


def _pitch_excess(classes: dict[str, Any]) -> str:
    groups = _groups(classes)
    others = [group for group in groups if group not in (SEEN, UNSEEN)]
    rows = []
    for word, found in classes.items():
        cells = [_points(found[group]["beyond_grid"]) if group in found else "-" for group in groups]
        for group in others:
            cells.append(_points(found.get(group, {}).get("beyond_grid_and_unseen")))
        rows.append([word, *cells])
    return table(["F0", *groups, *(f"{group} - unseen" for group in others)], rows)


def _groups(classes: dict[str, Any]) -> list[str]:
    return in_order(group for found in classes.values() for group in found)


def rebuilt_findings(result: Result) -> list[str]:
    """Return the section on the quality of resynthesized speech, or an empty list if it was not measured."""
    found = result.get("rebuilt")
    if not found:
        return []
    codecs = found["codecs"]
    parts = ["### Quality after resynthesis"]
    short = _rebuilt_in_short(found)
    parts += [short] if short else []
    parts.append("The next table compares quantized with unquantized columns, both after Griffin-Lim:")
    parts.append(_qualities(found, [name for name in found["of"] if name not in codecs]))
    against = _rebuilt_against(found)
    if against:
        parts += [
            "The next table shows differences from unseen speakers of the training language, for the codebook and for "
            "the codebook minus the grid. If a value is above 0 (for STOI, below 0), quality is worse than for unseen "
            "speakers, or decreases more than with the grid:",
            against,
        ]
    if codecs:
        parts += [
            "The next table compares the output of complete codecs with the original excerpts. **These codecs were "
            "trained on many languages**, including Mandarin and Arabic, and on some of these speakers:",
            _qualities(found, codecs),
        ]
    return parts


def _rebuilt_in_short(found: dict[str, Any]) -> str | None:
    """Return a table of the F0 error and the mel distance of each group, relative to unseen speakers."""
    rows = []
    for name in found["grids"]:
        for metric in ("f0_rmse_cents", "mel_distance"):
            for group, entry in found["of"][name][metric].items():
                if "against_unseen" in entry and group != SEEN:
                    own, excess = entry["against_unseen"], entry.get("beyond_grid_and_unseen")
                    unit = f", {METRICS[metric].unit}" if METRICS[metric].unit else ""
                    cells = [
                        "-" if one is None else f"{_signed(one, digits(metric))}, {_verdict(one)}"
                        for one in (own, excess)
                    ]
                    rows.append([f"{label(name)}, {METRICS[metric].label}{unit}", group, *cells])
    if not rows:
        return None
    header = ["codebook and metric", "group", "difference from unseen speakers", "minus that of the grid"]
    return table(header, rows, numeric=False)


def _verdict(entry: dict[str, Any]) -> str:
    """Describe a difference in error: better, worse, not significantly different, or too few speakers."""
    if entry["n"] < FEW:
        return f"fewer than {FEW} speakers"
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return "not significantly different"
    return "worse" if entry["low"] > 0 else "better"


def _qualities(found: dict[str, Any], names: list[str]) -> str:
    groups = in_order(g for name in names for metric in found["metrics"] for g in found["of"][name][metric])
    rows = []
    for metric in found["metrics"]:
        for name in names:
            entries = found["of"][name][metric]
            cells = [interval(entries[g]["mean"], digits(metric)) if g in entries else "-" for g in groups]
            unit = f", {METRICS[metric].unit}" if METRICS[metric].unit else ""
            rows.append([METRICS[metric].label + unit, "no quantizer" if name == NO_QUANTIZER else _name(name), *cells])
    counts = [_count(found, names, group) for group in groups]
    return table(
        ["metric", "quantizer or codec", *(f"{g} (n = {n})" for g, n in zip(groups, counts, strict=True))], rows
    )


def _count(found: dict[str, Any], names: list[str], group: str) -> int:
    """Return the number of speakers in a group, or the maximum if it differs between metrics."""
    entries = [found["of"][name][metric].get(group) for name in names for metric in found["metrics"]]
    return max(entry["mean"]["n"] for entry in entries if entry is not None)


def _rebuilt_against(found: dict[str, Any]) -> str | None:
    rows = []
    for name in found["grids"]:
        for group in found["of"][name][found["metrics"][0]]:
            entries = [found["of"][name][metric].get(group, {}) for metric in found["metrics"]]
            if any("against_unseen" in entry for entry in entries) and group != SEEN:
                cells = [
                    _signed(entry.get(key), digits(metric))
                    for metric, entry in zip(found["metrics"], entries, strict=True)
                    for key in ("against_unseen", "beyond_grid_and_unseen")
                ]
                rows.append([label(name), group, *cells])
    titles = [t for metric in found["metrics"] for t in (METRICS[metric].label, "codebook - grid")]
    return table(["codebook", "group", *titles], rows) if rows else None


def _name(name: str) -> str:
    return label(name) if name.split(" ")[0] in ("vq", "rvq", "fsq") and " " in name else f"`{name}`"


def _signed(entry: dict[str, Any] | None, n_digits: int = 2) -> str:
    if entry is None:
        return "-"
    text = interval(entry, n_digits) if entry["low"] is not None else number(entry["mean"], n_digits)
    return f"+{text}" if entry["mean"] > 0 else text


def _points(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "-"
    return _signed({key: None if entry[key] is None else 100 * entry[key] for key in ("mean", "low", "high")}, 1)


def _percent(entry: dict[str, Any]) -> str:
    return _points(entry).removeprefix("+")
