"""The page of the coverage experiment. Every number is the JSON's."""

from __future__ import annotations

from math import expm1
from shlex import quote
from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.coverage import about
from silkcodec_lab.coverage.about import VIEWS, headline, label
from silkcodec_lab.coverage.figure import figure as figure  # of this page
from silkcodec_lab.coverage.intervals import FEW, SEEN, UNSEEN
from silkcodec_lab.coverage.sounds_page import rebuilt_findings, rebuilt_method, sounds_findings, sounds_method
from silkcodec_lab.pages import Result, made

TITLE, WOULD_CHANGE = about.TITLE, about.WOULD_CHANGE
title, question = about.title, about.question
SAME = "not significantly different"


def method(result: Result) -> list[str]:
    settings = result["settings"]
    covered = round(100 * settings["covered"])
    folds = result["views"]["level"]["n_folds"]
    return [
        about.vectors(result),
        f"**Fits.** The quantizers are fitted {folds} times, each time without one part in {folds} of the "
        f"{settings['hold_out']}s of the training speech. *VQ*: one codebook, k-means ({settings['kmeans_steps']} "
        f"steps). *RVQ*: a chain of codebooks of {settings['rvq_entries']}, each fitted to the residual of those "
        "before it. No codebook has more entries than a quarter of its vectors. *FSQ*: a scalar grid at equal bits. "
        "The vectors are rotated to the principal components of the same training vectors, and each component is "
        "rounded to 2^b uniform levels around its mean. Each bit goes to the component where it reduces the error "
        "most; the step is the one with the least training error. The grid is linear and clips, while FSQ in a codec "
        "follows a tanh and an encoder.",
        f"**Coverage.** A vector is covered if its error is within the radius. The radius is the error that {covered} "
        "% of the vectors of *seen* speakers stay within: the last fifth of each training speaker, which is not used "
        "for fitting. *Unseen* speakers are the control: speakers of the training language whose "
        f"{settings['hold_out']} was left out. Only *seen* speakers are measured by a quantizer that was fitted to the "
        f"same {settings['hold_out']}; others are measured by all {folds}. Every speaker has the same weight. Where a "
        "manifest names no speakers, each source counts as one.",
        "**Intervals** are 95 % bootstrap intervals over speakers, 2,000 draws; for a difference, both groups are "
        "drawn. The fits are not repeated.",
        *sounds_method(result),
        *rebuilt_method(result),
    ]


def findings(result: Result) -> list[str]:
    parts = [*_warnings(result), *_of_one_source(result), *_in_short(result), "### Who spoke", _groups(result)]
    for view, heading in VIEWS.items():
        found = result["views"][view]
        parts += [f"### {heading}", "Share of the vectors within the radius, %:", _covered(found, about.unit(result))]
        if found["control"]:
            parts += [
                "Relative to unseen speakers of the training language: percentage points of coverage, for the codebook "
                "and for the grid at equal bits, and how much larger the error is (ratio of geometric means over "
                "speakers). The last column is that ratio divided by the grid's: above 0 %, the *codebook* loses more "
                "than the grid.",
                _against(found),
                *_verdicts(found),
            ]
    sources = _sources(result)
    if sources:
        parts += ["### By source", sources]
    parts += ["### Entries used", _used(result)]
    return [*parts, *sounds_findings(result), *rebuilt_findings(result)]


def _warnings(result: Result) -> list[str]:
    """Return the reasons why a run is no evidence, if any."""
    few = [f"`{name}` {group['n_speakers']}" for name, group in result["groups"].items() if group["n_speakers"] < FEW]
    if result["views"]["level"]["control"] is None:
        return [
            "**This run is no evidence.** The training speech is of one speaker, so there is no control: effects of "
            "language, voice and microphone cannot be separated."
        ]
    warnings = []
    if few:
        warnings.append(
            f"**This run is weak evidence**: groups of fewer than {FEW} speakers ({', '.join(few)}) reflect their "
            "speakers more than their language, and their intervals are too narrow."
        )
    known = set(result["groups"][UNSEEN]["sources"])
    elsewhere = [name for name, group in result["groups"].items() if set(group["sources"]) - known]
    if about.kind_of(result) == "source":
        warnings.append(
            "The control comes from the only source of the training speech, and the other groups do not. Their loss "
            "includes the change of recordings and of words, and in some groups of language. The grid shows how much "
            "of it a quantizer without entries loses as well."
        )
    elif known and elsewhere and result["settings"]["hold_out"] == "speaker":
        warnings.append(
            "**The control shares the sources of the training speech, and other groups do not** "
            f"({', '.join(f'`{name}`' for name in elsewhere)}): their loss may be due to other recordings. "
            "`--hold-out source` removes this difference."
        )
    return warnings


def _groups(result: Result) -> str:
    spread = f"spread of the vectors, {about.unit(result)}"
    header = ["group", "speakers", "sources", "vectors", "loud to quiet, dB", spread, "bandwidth, Hz"]
    rows = []
    for name, group in result["groups"].items():
        rows.append(
            [
                "seen and unseen" if name == UNSEEN else name,
                str(group["n_speakers"]),
                str(len(group["sources"]) or "-"),
                f"{group['n_vectors']:,}",
                number(group["range_db"], 1),
                number(group["spread_db"], 1),
                "-" if group["bandwidth_hz"] is None else f"{group['bandwidth_hz']:,.0f}",
            ]
        )
    return table(header, rows)


def _covered(found: dict[str, Any], unit: str) -> str:
    names = list(next(iter(found["quantizers"].values()))["groups"])
    rows = []
    for quantizer, one in found["quantizers"].items():
        shares = [_percent(one["groups"][name]["inside"]) for name in names]
        rows.append([label(quantizer), str(one["bits"]), number(one["radius_db"], 1), *shares])
    return table(["quantizer", "bits", f"radius, {unit}", *names], rows)


def _against(found: dict[str, Any]) -> str:
    rows = []
    for quantizer, one in found["quantizers"].items():
        if one["kind"] == "fsq":
            continue
        grid = found["quantizers"][f"fsq {one['bits']}"]["against_unseen"]
        for group, apart in one["against_unseen"].items():
            rows.append(
                [
                    label(quantizer),
                    group,
                    _percent(apart["inside"], sign=True),
                    _percent(grid[group]["inside"], sign=True),
                    _ratio(apart["log_error"]),
                    _ratio(grid[group]["log_error"]),
                    _ratio(apart["log_error_beyond_fsq"]),
                ]
            )
    header = ["codebook", "group", "covered", "grid's", "error", "grid's", "error over the grid's"]
    return table(header, rows)


def _verdicts(found: dict[str, Any]) -> list[str]:
    """Return a sentence per test group: for how many codebooks the interval excludes 0."""
    codebooks = [one for one in found["quantizers"].values() if one["kind"] != "fsq"]
    grids = [found["quantizers"][f"fsq {one['bits']}"] for one in codebooks]
    sentences = []
    for group in codebooks[0]["against_unseen"]:
        own = _tell([one["against_unseen"][group]["inside"] for one in codebooks])
        theirs = _tell([one["against_unseen"][group]["inside"] for one in grids])
        beyond = _tell([one["against_unseen"][group]["inside_beyond_fsq"] for one in codebooks])
        sentences.append(f"`{group}`: codebooks {own}; grids {theirs}; codebook less its grid {beyond}")
    return [
        f"Number of codebooks, of {len(codebooks)}, and of grids that cover a group worse than unseen speakers, "
        "better, or not significantly differently (the interval contains 0):",
        _bullets(sentences),
    ]


def _tell(entries: list[dict[str, Any]]) -> str:
    words = [_verdict(entry) for entry in entries]
    return f"{words.count('worse')} worse, {words.count('better')} better, {words.count(SAME)} not different"


def _verdict(entry: dict[str, Any]) -> str:
    """Return the verdict on a difference in coverage."""
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return SAME
    return "worse" if entry["high"] < 0 else "better"


def _in_short(result: Result) -> list[str]:
    """Return the answer of the largest codebook in both views, and the differences between sources alone."""
    name = headline(result["views"]["level"])
    sentences = []
    for view, heading in VIEWS.items():
        found = result["views"][view]["quantizers"]
        grid = found[f"fsq {found[name]['bits']}"]["against_unseen"]
        for group, apart in found[name]["against_unseen"].items():
            sentences.append(
                f"{heading}, `{group}`: {_percent(apart['inside'], sign=True)} points relative to unseen speakers, "
                f"**{_verdict(apart['inside'])}**; the grid at equal bits "
                f"{_percent(grid[group]['inside'], sign=True)}, "
                f"{_verdict(grid[group]['inside'])}; codebook minus grid "
                f"{_percent(apart['inside_beyond_fsq'], sign=True)}, {_verdict(apart['inside_beyond_fsq'])}."
            )
    if not sentences:
        return []
    seen, unseen = (result["views"]["level"]["quantizers"][name]["groups"][group]["inside"] for group in (SEEN, UNSEEN))
    parts = [
        f"Share of vectors that {label(name)} covers: {_percent(seen)} % for speakers in its training set, "
        f"{_percent(unseen)} % for unseen speakers of the same language. The test groups relative to the latter:",
        "\n".join(f"- {sentence}" for sentence in sentences),
    ]
    return [*parts, *_sources_alone(result, name)]


def _of_one_source(result: Result) -> list[str]:
    """Return how much more than its grid a codebook loses, over all codebooks and both views; for one source only."""
    if about.kind_of(result) != "source":
        return []
    sentences = []
    found = [result["views"][view]["quantizers"].values() for view in VIEWS]
    codebooks = [one["against_unseen"] for view in found for one in view if one["kind"] != "fsq"]
    for group in codebooks[0]:
        entries = [one[group]["inside_beyond_fsq"] for one in codebooks]
        means = [100 * entry["mean"] for entry in entries]
        sentences.append(
            f"`{group}`: codebook minus grid {min(means):+.1f} to {max(means):+.1f} points relative to unseen speakers "
            f"of the source, over {len(entries)} codebooks and views: {_tell(entries)}"
        )
    if not sentences:
        return []
    return ["How much more a codebook loses than a grid, on other recordings:", _bullets(sentences)]


def _bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}." for sentence in sentences)


def _sources_alone(result: Result, name: str) -> list[str]:
    """Return how much sources of one language differ, and the groups within one source."""
    groups = {
        group: entry["by_source"] for group, entry in result["views"]["level"]["quantizers"][name]["groups"].items()
    }
    own = groups.get(UNSEEN, {})
    if len(own) < 2:
        return []
    shares = [100 * one["inside"] for one in own.values()]
    text = (
        f"Sources of the training language lie between {min(shares):.1f} and {max(shares):.1f} %: a smaller gap may be "
        "an effect of recordings, not of language."
    )
    shared = []
    for source, one in own.items():
        others = {group: found[source] for group, found in groups.items() if group != UNSEEN and source in found}
        if others:
            entries = {UNSEEN: one, **others}
            told = ", ".join(f"{group} {100 * e['inside']:.1f} % (n = {e['n']})" for group, e in entries.items())
            shared.append(f"{source}: {told}")
    if shared:
        text += f" Within one source, where recordings are most similar: {'; '.join(shared)}."
    return [text]


def _sources(result: Result) -> str | None:
    name = headline(result["views"]["level"])
    views = [result["views"][view]["quantizers"][name]["groups"] for view in VIEWS]
    rows = []
    for group, entry in views[0].items():
        for source, one in entry["by_source"].items():
            shares = [number(100 * view[group]["by_source"][source]["inside"], 1) for view in views]
            rows.append([source, group, str(one["n"]), *shares])
    if not rows:
        return None
    header = ["source", "group", "speakers", f"covered by {label(name)}, %", "mean spectrum removed too"]
    return table(header, rows)


def _used(result: Result) -> str:
    found = result["views"]["level"]["quantizers"]
    names = [name for name in next(iter(found.values()))["groups"] if name != SEEN]
    rows = []
    for quantizer, one in found.items():
        if one["kind"] != "fsq":
            shares = [number(_times_100(one["groups"][name]["used"]), 1) for name in names]
            rows.append([label(quantizer), f"{one['used_of']:,}", *shares])
        else:
            shares = [f"({number(_times_100(one['groups'][name]['clipped']), 1)})" for name in names]
            rows.append([label(quantizer), "-", *shares])
    text = table(["quantizer", "vectors drawn per group", *(f"{name}, %" for name in names)], rows)
    return text + "\n\nIn brackets, for a grid: share of components that it clips."


def how_made(result: Result) -> str:
    settings = result["settings"]
    filters = settings["filters"]
    tests = "".join(f" --test {quote(f'{name}=SPEECH{chosen}')}" for name, chosen in filters.items() if name != UNSEEN)
    patches = settings["patches"]
    command = (
        f"silk lab coverage --train {quote(f'SPEECH{filters[UNSEEN]}')}{tests} --hold-out {settings['hold_out']} "
        f"--folds {settings['folds']} --limit-hz {patches['limit_hz']:g} --seconds {patches['seconds']:g} "
        f"--speakers {patches['speakers']} --seed {settings['seed']}{_options(result)} -o FOLDER"
    )
    sources = "; ".join(
        f"{'training' if name == UNSEEN else name}: {', '.join(group['sources'])}"
        for name, group in result["groups"].items()
        if group["sources"]
    )
    return f"`{command}`\n\n{made(result)}" + (f" Sources: {sources}." if sources else "")


def _options(result: Result) -> str:
    """Return the options that not every result has."""
    if "name" not in result:
        return ""
    settings, rebuilt = result["settings"], result["rebuilt"]
    text = "" if settings["patches"]["of"] == "mel" else f" --vectors {settings['patches']['of']}"
    text += "" if settings["sounds"] else " --no-sounds"
    if rebuilt is None:
        text += " --rebuild 0"
    else:
        asked = rebuilt["settings"]
        text += f" --rebuild {asked['speakers']} --codecs {quote(','.join(asked['codecs']))}"
        text += " --run RUN" * asked["runs"]
    return text + (f" --name {result['name']}" if result["name"] != "coverage" else "")


def _percent(entry: dict[str, Any], *, sign: bool = False) -> str:
    scaled = {key: None if entry[key] is None else 100 * entry[key] for key in ("mean", "low", "high")}
    text = interval(scaled, 1) if scaled["low"] is not None else number(scaled["mean"], 1)
    return f"+{text}" if sign and scaled["mean"] is not None and scaled["mean"] > 0 else text


def _ratio(entry: dict[str, Any]) -> str:
    """Return a difference of logarithms as an increase in %."""
    return _percent(
        {key: None if entry[key] is None else expm1(entry[key]) for key in ("mean", "low", "high")}, sign=True
    )


def _times_100(share: float | None) -> float | None:
    return None if share is None else 100 * share
