"""Write the page of the coverage experiment. All numbers come from the JSON result."""

from __future__ import annotations

from math import expm1
from shlex import quote
from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.coverage import about
from silkcodec_lab.coverage.about import VIEWS, headline, label
from silkcodec_lab.coverage.figure import figure as figure  # `pages.write` calls it.
from silkcodec_lab.coverage.intervals import FEW, SEEN, UNSEEN
from silkcodec_lab.coverage.sounds_page import rebuilt_findings, rebuilt_method, sounds_findings, sounds_method
from silkcodec_lab.pages import Result, provenance

TITLE, LIMITATIONS = about.TITLE, about.LIMITATIONS
title, question, limitations = about.title, about.question, about.limitations
SAME = "not significantly different"


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings = result["settings"]
    covered = round(100 * settings["covered"])
    folds = result["views"]["level"]["n_folds"]
    held_out = "who were held out" if settings["hold_out"] == "speaker" else "whose source was held out"
    return [
        about.vectors(result),
        f"**Quantizers.** The {settings['hold_out']}s of the training speech are divided into {folds} parts. For each "
        "part, the quantizers are fitted to the rest of the training speech. A codebook has at most a quarter as many "
        "entries as there are training vectors. The quantizers are:",
        f"- *VQ* is one codebook, which is fitted by k-means ({settings['kmeans_steps']} steps).\n"
        f"- *RVQ* has several codebooks of {settings['rvq_entries']} entries. Each of them is fitted to the residual "
        "of the previous ones.\n"
        "- *FSQ* is a scalar grid with the same number of bits. The vectors are rotated to their principal components, "
        "and each component is rounded to 2^b uniform levels around its mean. Bits are assigned one at a time, each to "
        "the component whose error it reduces most, and the distance between levels minimizes the training error. "
        "Unlike FSQ in a codec, the grid has no encoder and no tanh.",
        "**Coverage.** Coverage is the share of vectors whose quantization error is at most the *radius* of the "
        f"quantizer. The radius is defined so that {covered} % of the vectors of the group *seen* are covered. The "
        "groups are:",
        "- *seen*: speakers in the training set. Their vectors come from the last fifth of each speaker's vectors, "
        "which is not used for fitting.\n"
        f"- *unseen*: the control group, i.e. speakers of the training language {held_out}.\n"
        "- the test groups, which are measured with the quantizers of all fits.",
        "All speakers have the same weight. If a manifest does not name speakers, each source counts as one speaker.",
        "**Intervals.** The intervals are 95 % bootstrap intervals over speakers (2,000 resamples). For differences, "
        "both groups are resampled. The intervals do not include the variation between fits.",
        *sounds_method(result),
        *rebuilt_method(result),
    ]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
    parts = [*_warnings(result), *_of_one_source(result), *_in_short(result), "### Groups", _groups(result)]
    for view, heading in VIEWS.items():
        found = result["views"][view]
        parts += [f"### {heading}", "The first table shows coverage in %:", _covered(found, about.unit(result))]
        if found["control"]:
            parts += [
                "The next table shows differences from unseen speakers of the training language, for the codebook and "
                "for the grid with the same number of bits. Differences in coverage are in percentage points. "
                "Differences in error are relative differences between geometric means over speakers, in %. The last "
                "column compares the two errors. If it is above 0, the error of the codebook increases more.",
                _against(found),
                *_verdicts(found),
            ]
    sources = _sources(result)
    if sources:
        parts += ["### By source", sources]
    parts += ["### Entries used", _used(result)]
    return [*parts, *sounds_findings(result), *rebuilt_findings(result)]


def _warnings(result: Result) -> list[str]:
    """Return warnings about weak evidence, if any."""
    few = [f"`{name}` {group['n_speakers']}" for name, group in result["groups"].items() if group["n_speakers"] < FEW]
    if result["views"]["level"]["control"] is None:
        return [
            "**This result is not evidence.** The training speech has only one speaker, so there is no control group. "
            "Effects of language, voice and microphone cannot be separated."
        ]
    warnings = []
    if few:
        warnings.append(
            f"**This result is weak evidence.** Some groups have fewer than {FEW} speakers ({', '.join(few)}). Their "
            "values depend more on the speakers than on the language, and their intervals are too narrow."
        )
    known = set(result["groups"][UNSEEN]["sources"])
    elsewhere = [name for name, group in result["groups"].items() if set(group["sources"]) - known]
    if about.kind_of(result) == "source":
        warnings.append(
            "The control group comes from the same source as the training speech, but the test groups come from other "
            "sources. The differences therefore also reflect different recording conditions and vocabulary and, for "
            "some groups, a different language. The grid shows how large this effect is for a quantizer without "
            "learned entries."
        )
    elif known and elsewhere and result["settings"]["hold_out"] == "speaker":
        warnings.append(
            "**The control group comes from the same sources as the training speech, but other groups do not** "
            f"({', '.join(f'`{name}`' for name in elsewhere)}). Differences can therefore be an effect of different "
            "recording conditions. To hold out sources for the control group as well, use `--hold-out source`."
        )
    return warnings


def _groups(result: Result) -> str:
    spread = f"standard deviation, {about.unit(result)}"
    header = ["group", "speakers", "sources", "vectors", "level range, dB", spread, "bandwidth, Hz"]
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
        for group, differences in one["against_unseen"].items():
            rows.append(
                [
                    label(quantizer),
                    group,
                    _percent(differences["inside"], sign=True),
                    _percent(grid[group]["inside"], sign=True),
                    _ratio(differences["log_error"]),
                    _ratio(grid[group]["log_error"]),
                    _ratio(differences["log_error_beyond_fsq"]),
                ]
            )
    header = ["codebook", "group", "coverage, codebook", "coverage, grid", "error, codebook", "error, grid"]
    header += ["error, codebook / grid"]
    return table(header, rows)


def _verdicts(found: dict[str, Any]) -> list[str]:
    """Return a table that counts significant differences in coverage, for each test group."""
    codebooks = [one for one in found["quantizers"].values() if one["kind"] != "fsq"]
    grids = [found["quantizers"][f"fsq {one['bits']}"] for one in codebooks]
    rows = []
    for group in codebooks[0]["against_unseen"]:
        own = _count([one["against_unseen"][group]["inside"] for one in codebooks])
        theirs = _count([one["against_unseen"][group]["inside"] for one in grids])
        excess = _count([one["against_unseen"][group]["inside_beyond_fsq"] for one in codebooks])
        rows.append([group, own, theirs, excess])
    return [
        f"For the {len(codebooks)} codebooks and their grids, the next table counts how often the coverage of a group "
        "differs significantly from that of unseen speakers. The last column counts how often this difference is "
        "significantly higher or lower for the codebook than for the grid:",
        table(["group", "codebook", "grid", "codebook - grid"], rows),
    ]


def _count(entries: list[dict[str, Any]]) -> str:
    words = [_verdict(entry) for entry in entries]
    return f"{words.count('better')} better, {words.count('worse')} worse"


def _verdict(entry: dict[str, Any]) -> str:
    """Return "better", "worse" or "not significantly different" for a difference in coverage."""
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return SAME
    return "worse" if entry["high"] < 0 else "better"


def _in_short(result: Result) -> list[str]:
    """Summarize how coverage by the largest VQ codebook differs between groups and between sources."""
    name = headline(result["views"]["level"])
    rows = []
    for view, heading in VIEWS.items():
        found = result["views"][view]["quantizers"]
        grid = found[f"fsq {found[name]['bits']}"]["against_unseen"]
        for group, differences in found[name]["against_unseen"].items():
            entries = (differences["inside"], grid[group]["inside"], differences["inside_beyond_fsq"])
            rows.append(
                [
                    heading.removesuffix(" removed").lower(),
                    group,
                    *(f"{_percent(one, sign=True)}, {_verdict(one)}" for one in entries),
                ]
            )
    if not rows:
        return []
    seen, unseen = (result["views"]["level"]["quantizers"][name]["groups"][group]["inside"] for group in (SEEN, UNSEEN))
    parts = [
        f"{label(name)} covers {_percent(seen)} % of the vectors of speakers in its training set, and "
        f"{_percent(unseen)} % of the vectors of unseen speakers of the same language. The next table shows how much "
        "the coverage of the test groups differs from that of unseen speakers, in percentage points:",
        table(["removed", "group", label(name), "grid (FSQ)", "codebook - grid"], rows, numeric=False),
    ]
    return [*parts, *_sources_alone(result, name)]


def _of_one_source(result: Result) -> list[str]:
    """Return a table that compares codebooks with grids, or [] if the training speech has more than one source."""
    if about.kind_of(result) != "source":
        return []
    rows = []
    found = [result["views"][view]["quantizers"].values() for view in VIEWS]
    codebooks = [one["against_unseen"] for view in found for one in view if one["kind"] != "fsq"]
    for group in codebooks[0]:
        entries = [one[group]["inside_beyond_fsq"] for one in codebooks]
        means = [100 * entry["mean"] for entry in entries]
        rows.append([group, f"{min(means):+.1f} to {max(means):+.1f}", str(len(entries)), _count(entries)])
    if not rows:
        return []
    return [
        "For each quantizer, the coverage of unseen speakers of the training source is subtracted from the coverage of "
        "the test group. The next table shows the result for the codebook minus the result for the grid, in percentage "
        "points. The range is over all codebooks and both versions of the vectors:",
        table(["group", "codebook - grid", "comparisons", "significant"], rows),
    ]


def _sources_alone(result: Result, name: str) -> list[str]:
    """Return paragraphs that compare coverage across the sources of the training language, and across groups."""
    groups = {
        group: entry["by_source"] for group, entry in result["views"]["level"]["quantizers"][name]["groups"].items()
    }
    own = groups.get(UNSEEN, {})
    if len(own) < 2:
        return []
    shares = [100 * one["inside"] for one in own.values()]
    text = (
        f"Among sources of the training language, coverage ranges from {min(shares):.1f} to {max(shares):.1f} %. "
        "Differences smaller than this range can be caused by the recordings instead of the language."
    )
    shared = []
    for source, one in own.items():
        others = {group: found[source] for group, found in groups.items() if group != UNSEEN and source in found}
        if others:
            entries = {UNSEEN: one, **others}
            values = ", ".join(f"{group} {100 * e['inside']:.1f} % (n = {e['n']})" for group, e in entries.items())
            shared.append(f"- {source}: {values}.")
    if not shared:
        return [text]
    return [
        text,
        "Groups from the same source have the most similar recordings. Their coverage is:",
        "\n".join(shared),
    ]


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
    header = ["source", "group", "speakers", f"coverage by {label(name)}, %", "mean spectrum removed"]
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
    text = table(["quantizer", "vectors per group", *(f"{name}, %" for name in names)], rows)
    return (
        "The table shows the share of a codebook's entries that are used and, in parentheses, the share of a grid's "
        f"components that are clipped. The number of vectors is the same for each group.\n\n{text}"
    )


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
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
    return f"`{command}`\n\n{provenance(result)}" + (f" Sources: {sources}." if sources else "")


def _options(result: Result) -> str:
    """Return the command-line options that only some results require."""
    if "name" not in result:
        return ""
    settings, rebuilt = result["settings"], result["rebuilt"]
    text = "" if settings["patches"]["of"] == "mel" else f" --vectors {settings['patches']['of']}"
    text += "" if settings["sounds"] else " --no-sounds"
    if rebuilt is None:
        text += " --rebuild 0"
    else:
        resynthesis = rebuilt["settings"]
        text += f" --rebuild {resynthesis['speakers']} --codecs {quote(','.join(resynthesis['codecs']))}"
        text += " --run RUN" * resynthesis["runs"]
    return text + (f" --name {result['name']}" if result["name"] != "coverage" else "")


def _percent(entry: dict[str, Any], *, sign: bool = False) -> str:
    scaled = {key: None if entry[key] is None else 100 * entry[key] for key in ("mean", "low", "high")}
    text = interval(scaled, 1) if scaled["low"] is not None else number(scaled["mean"], 1)
    return f"+{text}" if sign and scaled["mean"] is not None and scaled["mean"] > 0 else text


def _ratio(entry: dict[str, Any]) -> str:
    """Format a difference between logarithms, with its interval, as a relative change in %."""
    return _percent(
        {key: None if entry[key] is None else expm1(entry[key]) for key in ("mean", "low", "high")}, sign=True
    )


def _times_100(share: float | None) -> float | None:
    return None if share is None else 100 * share
