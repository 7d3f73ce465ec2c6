"""Two parts of the coverage page: which sounds fall far, and what is heard of it. Every number is the JSON's."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import digits, interval, number, table
from silkcodec.evaluate.metrics import METRICS
from silkcodec_lab.coverage.about import AGAIN, label
from silkcodec_lab.coverage.intervals import FEW, HEARD, NEW, in_order
from silkcodec_lab.pages import Result

KIND_TITLES = {"tone": "tone", "sound": "Arabic sound", "height": "F0", "movement": "F0 movement"}


def sounds_method(result: Result) -> list[str]:
    if not result.get("sounds"):
        return []
    return [
        "**Sounds.** Clips that join short files are taken apart at the silences between these (clips where those "
        "are not plain are not); a file's name tells its syllable's *tone* (Mandarin), or which of the Arabic "
        "commands and letters it is: words with an *emphatic* (sad, dad, tah, zah), with a *pharyngeal* (hah, "
        "ain), with *neither*; only numbers, yes, no, right and left, whose Arabic form leaves no doubt, and the "
        "names of letters. The label is the whole word's, not the sound's own moment. Other Mandarin words are "
        "known by their characters only and have no tone here. Of voiced vectors of all speech, the height of F0 "
        "and how it moves over 80 ms (WORLD's DIO; *fast* is more than 30 semitones a second, *level* less than "
        "10). A class is always set against the *same speaker's other vectors of its kind*, so that voice and "
        "microphone drop out; then the codebook against its grid, so that what is hard for every quantizer drops "
        "out. Level view."
    ]


def rebuilt_method(result: Result) -> list[str]:
    if not result.get("rebuilt"):
        return []
    settings = result["rebuilt"]["settings"]
    return [
        f"**Heard again.** From {settings['seconds']:g} s of up to {settings['speakers']} speakers of each group: "
        f"log-mel columns of 10 ms, {settings['width']} bands, in dB below the loud level and clamped as above, "
        "those of speech through quantizers that were fitted on such columns of the training speech only (other "
        "speech than the excerpts), then both the quantized and the unquantized columns to a wave by Griffin-Lim "
        f"({settings['steps']} steps). The first wave is measured against the second, so the codebook alone parts "
        "them; *no quantizer* is Griffin-Lim from another beginning, the floor. *Heard* and *new* are the same "
        "speakers and excerpts, by a fold that was fitted on them and one that was not."
    ]


def sounds_findings(result: Result) -> list[str]:
    found = result.get("sounds")
    if not found:
        return []
    name = next(iter(found))
    parts = ["### Which sounds fall far", _in_short(found)]
    told = _labelled(found[name])
    if told:
        parts += [
            f"Words and syllables by their label, {label(name)}; points against the same speaker's others:",
            told,
        ]
    for kind in ("movement", "height"):
        if kind in found[name]:
            parts += [
                f"By {KIND_TITLES[kind]}, {label(name)}: share of the voiced vectors that are so (first), and of these "
                "share covered, %:",
                _pitch(found[name][kind]),
                "The same, codebook less grid, points against the speaker's other voiced vectors; below 0 the codebook "
                "loses more there than the grid does. Last, that of each group less that of new speakers:",
                _pitch_beyond(found[name][kind]),
            ]
    return parts


def _in_short(found: dict[str, Any]) -> str:
    """By codebook and kind: in how many classes its loss beyond the grid's is told from 0, and which."""
    lines = []
    for name, one in found.items():
        for kind, title in KIND_TITLES.items():
            pitch = kind in ("height", "movement")  # every language has them: what is special is told against new
            key = "beyond_grid_and_new" if pitch else "beyond_grid"
            entries = [
                (f"{word} (`{group}`, {_points(entry[key])})", entry[key])
                for word, groups in one.get(kind, {}).items()
                for group, entry in groups.items()
                if key in entry
            ]
            n_few = sum(entry["n"] < FEW for _, entry in entries)
            entries = [(text, entry) for text, entry in entries if entry["n"] >= FEW]
            if n_few:
                lines.append(
                    f"- {label(name)}, {title}: {n_few} classes and groups are of fewer than {FEW} speakers, whose "
                    "intervals are too narrow to be trusted; they are in the table only."
                )
            if entries:
                worse = [text for text, entry in entries if entry["high"] < 0]
                better = [text for text, entry in entries if entry["low"] > 0]
                lines.append(
                    f"- {label(name)}, {title}, codebook less grid{', less new speakers' if pitch else ''}: of "
                    f"{len(entries)} classes and groups {len(worse)} below 0, where the codebook loses more"
                    f"{_list(worse)}; {len(better)} above{_list(better)}; {len(entries) - len(worse) - len(better)} "
                    "not told from 0."
                )
    if not lines:
        return "Too few labelled vectors or speakers to compare anything."
    return "\n".join(lines) + ("\n\nOf so many intervals of 95 %, one in twenty misses 0 by chance alone.")


def _list(texts: list[str]) -> str:
    return f": {', '.join(texts)}" if texts else ""


def _labelled(one: dict[str, Any]) -> str | None:
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
    header = ["class", "group", "speakers", "share, %", "covered, %", "codebook", "grid", "codebook less grid"]
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


def _pitch_beyond(classes: dict[str, Any]) -> str:
    groups = _groups(classes)
    others = [group for group in groups if group not in (HEARD, NEW)]
    rows = []
    for word, found in classes.items():
        cells = [_points(found[group]["beyond_grid"]) if group in found else "-" for group in groups]
        for group in others:
            cells.append(_points(found.get(group, {}).get("beyond_grid_and_new")))
        rows.append([word, *cells])
    return table(["F0", *groups, *(f"{group} less new" for group in others)], rows)


def _groups(classes: dict[str, Any]) -> list[str]:
    return in_order(group for found in classes.values() for group in found)


def rebuilt_findings(result: Result) -> list[str]:
    found = result.get("rebuilt")
    if not found:
        return []
    codecs = found["codecs"]
    parts = ["### What is heard of it"]
    short = _rebuilt_in_short(found)
    parts += [short] if short else []
    parts.append("Quantized against unquantized columns, both through Griffin-Lim:")
    parts.append(_qualities(found, [name for name in found["of"] if name not in codecs]))
    against = _rebuilt_against(found)
    if against:
        parts += [
            "Against new speakers of the training language: the codebook's distance, and that less the grid's "
            "(above 0 the codebook loses more than the grid does; for STOI below 0):",
            against,
        ]
    if codecs:
        parts += [
            "Whole codecs against the excerpt itself. **They are no English codebooks**: Silk and the training runs "
            "learned from many languages, Mandarin and Arabic among them, and some of these speakers were in their "
            "training.",
            _qualities(found, codecs),
        ]
    return parts


def _rebuilt_in_short(found: dict[str, Any]) -> str | None:
    """The error in pitch and mel by codebook and group: whether it is more than new speakers', and than the grid's."""
    lines = []
    for name, grid in found["grids"].items():
        for metric in ("f0_rmse_cents", "mel_distance"):
            for group, entry in found["of"][name][metric].items():
                if "against_new" in entry and group != HEARD:
                    own, beyond = entry["against_new"], entry.get("beyond_grid_and_new")
                    text = f"{label(name)}, {METRICS[metric].label}, `{group}`: {_signed(own, digits(metric))} "
                    text += f"{METRICS[metric].unit} against new speakers, **{_told(own)}**"
                    if beyond is not None:
                        text += (
                            f"; beyond the grid's ({label(grid)}) {_signed(beyond, digits(metric))}, {_told(beyond)}"
                        )
                    lines.append(f"- {text}.".replace("  ", " "))
    return "\n".join(lines) if lines else None


def _told(entry: dict[str, Any]) -> str:
    """Of a difference of an error."""
    if entry["n"] < FEW:
        return f"fewer than {FEW} speakers"
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return "not told apart"
    return "worse" if entry["low"] > 0 else "better"


def _qualities(found: dict[str, Any], names: list[str]) -> str:
    groups = in_order(g for name in names for metric in found["metrics"] for g in found["of"][name][metric])
    rows = []
    for metric in found["metrics"]:
        for name in names:
            entries = found["of"][name][metric]
            cells = [interval(entries[g]["mean"], digits(metric)) if g in entries else "-" for g in groups]
            unit = f", {METRICS[metric].unit}" if METRICS[metric].unit else ""
            rows.append([METRICS[metric].label + unit, "no quantizer" if name == AGAIN else _name(name), *cells])
    counts = [_count(found, names, group) for group in groups]
    return table(["metric", "of", *(f"{g} (n = {n})" for g, n in zip(groups, counts, strict=True))], rows)


def _count(found: dict[str, Any], names: list[str], group: str) -> int:
    """Speakers of a group; a metric that is undefined for one has fewer."""
    entries = [found["of"][name][metric].get(group) for name in names for metric in found["metrics"]]
    return max(entry["mean"]["n"] for entry in entries if entry is not None)


def _rebuilt_against(found: dict[str, Any]) -> str | None:
    rows = []
    for name in found["grids"]:
        for group in found["of"][name][found["metrics"][0]]:
            entries = [found["of"][name][metric].get(group, {}) for metric in found["metrics"]]
            if any("against_new" in entry for entry in entries) and group != HEARD:
                cells = [
                    _signed(entry.get(key), digits(metric))
                    for metric, entry in zip(found["metrics"], entries, strict=True)
                    for key in ("against_new", "beyond_grid_and_new")
                ]
                rows.append([label(name), group, *cells])
    titles = [t for metric in found["metrics"] for t in (METRICS[metric].label, "less grid's")]
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
