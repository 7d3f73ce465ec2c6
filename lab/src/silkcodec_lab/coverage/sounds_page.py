"""Two parts of the coverage page: error by sound and pitch, and the quality of resynthesized speech."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import digits, interval, number, table
from silkcodec.evaluate.metrics import METRICS
from silkcodec_lab.coverage.about import AGAIN, label
from silkcodec_lab.coverage.intervals import FEW, SEEN, UNSEEN, in_order
from silkcodec_lab.pages import Result

KIND_TITLES = {"tone": "tone", "sound": "Arabic sound", "height": "F0", "movement": "F0 movement"}


def sounds_method(result: Result) -> list[str]:
    if not result.get("sounds"):
        return []
    return [
        "**Sounds.** Clips that join short files are split at the silences between these files; clips without clear "
        "silences are skipped. The name of a file gives the *tone* of a Mandarin syllable, or the Arabic word or "
        "letter: with an *emphatic* (sad, dad, tah, zah), with a *pharyngeal* (hah, ain), or with *neither*. Of the "
        "Arabic words only numbers, yes, no, right and left are used, whose form is unambiguous. The label applies to "
        "the whole word. Mandarin words that are named by characters have no tone label. For voiced vectors of all "
        "speech, the classes are the height of F0 and its movement over 80 ms (WORLD's DIO; *fast* is more than 30 "
        "semitones per second, *level* less than 10). A class is compared with the *same speaker's other vectors of "
        "its kind*, so that voice and microphone cancel; then the codebook with its grid, so that what is hard for "
        "every quantizer cancels. Level view."
    ]


def rebuilt_method(result: Result) -> list[str]:
    if not result.get("rebuilt"):
        return []
    settings = result["rebuilt"]["settings"]
    return [
        f"**Resynthesis.** From {settings['seconds']:g} s of up to {settings['speakers']} speakers of each group: "
        f"log-mel columns of 10 ms, {settings['width']} bands, relative to the loud level and clamped as above. "
        "Columns of speech are quantized by quantizers fitted to such columns of the training speech, without the "
        "excerpts. The quantized and the unquantized columns are turned into waves by Griffin-Lim "
        f"({settings['steps']} steps), and the first wave is compared with the second, so that only the quantizer "
        "differs. *No quantizer* is Griffin-Lim from other random phases: the lower bound. *Seen* and *unseen* are the "
        "same speakers and excerpts, with a fold that was fitted to them and one that was not."
    ]


def sounds_findings(result: Result) -> list[str]:
    found = result.get("sounds")
    if not found:
        return []
    name = next(iter(found))
    parts = ["### Error by sound and pitch", _in_short(found)]
    told = _labelled(found[name])
    if told:
        parts += [
            f"Words and syllables by their label, {label(name)}; points relative to the same speaker's other vectors:",
            told,
        ]
    for kind in ("movement", "height"):
        if kind in found[name]:
            parts += [
                f"By {KIND_TITLES[kind]}, {label(name)}: share of the voiced vectors in the class, and share of these "
                "that is covered, %:",
                _pitch(found[name][kind]),
                "Codebook minus grid, points relative to the speaker's other voiced vectors. Below 0, the codebook "
                "loses more there than the grid. The last columns: each group minus unseen speakers:",
                _pitch_beyond(found[name][kind]),
            ]
    return parts


def _in_short(found: dict[str, Any]) -> str:
    """Return, by codebook and kind, in which classes its loss differs significantly from the grid's."""
    lines = []
    for name, one in found.items():
        for kind, title in KIND_TITLES.items():
            pitch = kind in ("height", "movement")  # every language has them: compared with unseen speakers
            key = "beyond_grid_and_unseen" if pitch else "beyond_grid"
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
                    f"- {label(name)}, {title}: {n_few} classes and groups have fewer than {FEW} speakers, so "
                    "their intervals are too narrow. They are in the table only."
                )
            if entries:
                worse = [text for text, entry in entries if entry["high"] < 0]
                better = [text for text, entry in entries if entry["low"] > 0]
                lines.append(
                    f"- {label(name)}, {title}, codebook minus grid{', minus unseen speakers' if pitch else ''}: of "
                    f"{len(entries)} classes and groups, {len(worse)} are below 0, where the codebook loses more"
                    f"{_list(worse)}; {len(better)} above{_list(better)}; {len(entries) - len(worse) - len(better)} "
                    "not significantly different from 0."
                )
    if not lines:
        return "Too few labelled vectors or speakers to compare anything."
    return "\n".join(lines) + ("\n\nOne in twenty 95 % intervals excludes 0 by chance.")


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
    header = ["class", "group", "speakers", "share, %", "covered, %", "codebook", "grid", "codebook minus grid"]
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
    others = [group for group in groups if group not in (SEEN, UNSEEN)]
    rows = []
    for word, found in classes.items():
        cells = [_points(found[group]["beyond_grid"]) if group in found else "-" for group in groups]
        for group in others:
            cells.append(_points(found.get(group, {}).get("beyond_grid_and_unseen")))
        rows.append([word, *cells])
    return table(["F0", *groups, *(f"{group} minus unseen" for group in others)], rows)


def _groups(classes: dict[str, Any]) -> list[str]:
    return in_order(group for found in classes.values() for group in found)


def rebuilt_findings(result: Result) -> list[str]:
    found = result.get("rebuilt")
    if not found:
        return []
    codecs = found["codecs"]
    parts = ["### Quality after resynthesis"]
    short = _rebuilt_in_short(found)
    parts += [short] if short else []
    parts.append("Quantized compared with unquantized columns, both by Griffin-Lim:")
    parts.append(_qualities(found, [name for name in found["of"] if name not in codecs]))
    against = _rebuilt_against(found)
    if against:
        parts += [
            "Relative to unseen speakers of the training language: the difference for the codebook, and that minus the "
            "grid's (above 0, the codebook loses more than the grid; for STOI below 0):",
            against,
        ]
    if codecs:
        parts += [
            "Complete codecs, compared with the excerpt itself. **They are not trained on English alone**: the "
            "training set of Silk and of the training runs has many languages, Mandarin and Arabic among them, and "
            "some of these speakers.",
            _qualities(found, codecs),
        ]
    return parts


def _rebuilt_in_short(found: dict[str, Any]) -> str | None:
    """Return the error in pitch and mel by codebook and group, relative to unseen speakers and to the grid."""
    lines = []
    for name, grid in found["grids"].items():
        for metric in ("f0_rmse_cents", "mel_distance"):
            for group, entry in found["of"][name][metric].items():
                if "against_unseen" in entry and group != SEEN:
                    own, beyond = entry["against_unseen"], entry.get("beyond_grid_and_unseen")
                    text = f"{label(name)}, {METRICS[metric].label}, `{group}`: {_signed(own, digits(metric))} "
                    text += f"{METRICS[metric].unit} relative to unseen speakers, **{_verdict(own)}**"
                    if beyond is not None:
                        text += (
                            f"; minus the grid's ({label(grid)}) {_signed(beyond, digits(metric))}, {_verdict(beyond)}"
                        )
                    lines.append(f"- {text}.".replace("  ", " "))
    return "\n".join(lines) if lines else None


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
            rows.append([METRICS[metric].label + unit, "no quantizer" if name == AGAIN else _name(name), *cells])
    counts = [_count(found, names, group) for group in groups]
    return table(["metric", "of", *(f"{g} (n = {n})" for g, n in zip(groups, counts, strict=True))], rows)


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
    titles = [t for metric in found["metrics"] for t in (METRICS[metric].label, "minus grid's")]
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
