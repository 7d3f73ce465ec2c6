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
    """Return the paragraphs on the classification of sounds, if they were measured."""
    if not result.get("sounds"):
        return []
    return [
        "**Sounds.** Coverage is also measured by class of sound, with the level removed:",
        "- *tone* of Mandarin syllables;\n"
        "- *Arabic sound*: words and names of letters with an *emphatic* (sad, dad, tah, zah), with a *pharyngeal* "
        "(hah, ain), or with *neither*. Only words with an unambiguous Arabic form are used (numbers, yes, no, right, "
        "left);\n"
        "- *F0* of voiced vectors, by WORLD's DIO;\n"
        "- *F0 movement* over 80 ms. *Fast* is more than 30 semitones per second, and *level* is less than 10.",
        "Labels of tones and Arabic sounds come from file names and apply to the whole word or syllable. Clips that "
        "join short files are split at the silences between them, and clips without clear silences are skipped. The "
        "coverage of a class is compared with that of the *same speaker's other vectors of this kind*, which removes "
        "effects of voice and microphone. The difference of the grid is then subtracted from that of the codebook, "
        "which removes effects that are common to all quantizers.",
    ]


def rebuilt_method(result: Result) -> list[str]:
    """Return the paragraph on the resynthesis, if it was measured."""
    if not result.get("rebuilt"):
        return []
    settings = result["rebuilt"]["settings"]
    return [
        f"**Resynthesis.** Up to {settings['speakers']} speakers of each group have an excerpt of "
        f"{settings['seconds']:g} s. Its log-mel columns of 10 ms with {settings['width']} bands are normalized and "
        "clamped as above. Columns of speech are quantized by quantizers that were fitted to columns of the training "
        "speech without the excerpts. Quantized and unquantized columns are converted to waves by Griffin-Lim "
        f"({settings['steps']} steps), and the two waves are compared, so that only the quantizer differs. *No "
        "quantizer* is Griffin-Lim with other random phases, which gives the lower bound of the error. *Seen* and "
        "*unseen* have the same speakers and excerpts, but *seen* uses a fit that includes the speaker."
    ]


def sounds_findings(result: Result) -> list[str]:
    """Return coverage by sound and pitch, if it was measured."""
    found = result.get("sounds")
    if not found:
        return []
    name = next(iter(found))
    parts = ["### Coverage by sound and pitch", _in_short(found)]
    labeled = _labeled(found[name])
    if labeled:
        parts += [
            f"Coverage of words and syllables with {label(name)}, and differences from the same speaker's other "
            "vectors in percentage points:",
            labeled,
        ]
    for kind in ("movement", "height"):
        if kind in found[name]:
            parts += [
                f"{KIND_TITLES[kind]}, {label(name)}: share of the voiced vectors in the class, followed by their "
                "coverage, in %:",
                _pitch(found[name][kind]),
                f"{KIND_TITLES[kind]}, {label(name)} minus grid: difference in coverage from the speaker's other "
                "voiced "
                "vectors, in percentage points. Below 0, the class is harder for the codebook than for the grid. The "
                "last columns are the differences between groups:",
                _pitch_excess(found[name][kind]),
            ]
    return parts


def _in_short(found: dict[str, Any]) -> str:
    """Return a table of the classes whose difference from the grid is significant, by codebook and kind."""
    rows, n_few = [], 0
    for name, one in found.items():
        for kind, title in KIND_TITLES.items():
            # All groups have pitch, so its classes are also compared with unseen speakers.
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
        "Significant differences in coverage, in percentage points. Below 0, a class is harder for the codebook than "
        "for the grid. One in twenty 95 % intervals excludes 0 by chance.",
        table(["codebook", "classes", "difference", "comparisons", "below 0", "above 0"], rows, numeric=False),
    ]
    if n_few:
        parts.append(
            f"{n_few} comparisons with fewer than {FEW} speakers are not included, because their intervals are too "
            "narrow. They are in the tables below."
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
    """Return the quality of resynthesized speech, if it was measured."""
    found = result.get("rebuilt")
    if not found:
        return []
    codecs = found["codecs"]
    parts = ["### Quality after resynthesis"]
    short = _rebuilt_in_short(found)
    parts += [short] if short else []
    parts.append("Quantized columns compared with unquantized columns, both with Griffin-Lim:")
    parts.append(_qualities(found, [name for name in found["of"] if name not in codecs]))
    against = _rebuilt_against(found)
    if against:
        parts += [
            "Differences from unseen speakers of the training language, for the codebook and for codebook minus grid. "
            "Above 0 (for STOI, below 0), the codebook loses more quality than the grid:",
            against,
        ]
    if codecs:
        parts += [
            "Complete codecs, compared with the original excerpt. **They were trained on many languages**, including "
            "Mandarin and Arabic, and on some of these speakers:",
            _qualities(found, codecs),
        ]
    return parts


def _rebuilt_in_short(found: dict[str, Any]) -> str | None:
    """Return the differences in F0 error and mel distance from unseen speakers, by codebook and group."""
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
    """Return the verdict on a difference of an error."""
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
    """Return the number of speakers of a group; a metric may be undefined for some."""
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
