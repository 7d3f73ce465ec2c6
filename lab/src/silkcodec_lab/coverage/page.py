"""Write the page for the coverage experiment. All numbers come from the JSON result."""

from __future__ import annotations

from shlex import quote
from typing import Any

from silkcodec.evaluate.markdown import table
from silkcodec_lab.coverage import about
from silkcodec_lab.coverage.about import VIEWS, group_label, headline, label
from silkcodec_lab.coverage.figure import figure as figure  # `pages.write` calls it.
from silkcodec_lab.coverage.intervals import FEW, UNSEEN
from silkcodec_lab.coverage.sounds_page import rebuilt_findings, rebuilt_method, sounds_findings, sounds_method
from silkcodec_lab.metric_tables import estimate, joined
from silkcodec_lab.pages import Description, Result, reproduction


def caption(result: Result) -> str:
    """Return the text below the page's figure."""
    text = (
        "Colors distinguish groups of speakers, and bars are 95 % intervals. In the first two rows, the left "
        "plots show the coverage of the codebooks, the middle plots show the coverage of scalar grids with the same "
        "number of bits, and the right plots show the distribution of quantization errors. The first row is for the "
        "original vectors. In the second row, each speaker's mean vector is subtracted."
    )
    if result.get("sounds") or result.get("rebuilt"):
        text += " The third row shows coverage by pitch and by sound, and the pitch error after resynthesis."
    return text


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(about.title(result), about.question(result), caption(result), about.limitations(result))


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences. If the evidence is weak, start with warnings."""
    found = result["views"]["level"]
    warnings = _warnings(result)
    if found["control"] is None:
        return " ".join(warnings)
    codebook = found["quantizers"][headline(found)]
    groups = codebook["against_unseen"]
    same = "in its training project" if about.kind_of(result) == "source" else "of its training language"
    texts = [
        f"By definition, a codebook covers {100 * result['settings']['covered']:.0f} % of the held-out vectors from "
        f"speakers in its training set. A codebook with {_entries(headline(found))} entries covers "
        f"{_percent(codebook['groups'][UNSEEN]['inside'])} % of the vectors from unseen speakers {same} (mean with "
        "95 % interval)."
    ]
    if groups:
        points = [f"{_percent(one['inside'], sign=True)} for {group_label(name)}" for name, one in groups.items()]
        excess = {group_label(name): one["inside_beyond_fsq"] for name, one in groups.items()}
        worse = [
            f"{name} (by {estimate(entry, 1, scale=-100)} points)" for name, entry in excess.items() if _sign(entry) < 0
        ]
        texts += [
            f"The change from this value, in percentage points, is {joined(points)}.",
            "Compared with a scalar grid with the same number of bits, the codebook loses significantly more coverage "
            f"for {joined(worse)}{', but not for the other groups' if len(worse) < len(excess) else ''}."
            if worse
            else "In these groups, the codebook does not lose significantly more coverage than a scalar grid with the "
            "same number of bits.",
        ]
    shares = [100 * one["inside"] for one in codebook["groups"][UNSEEN]["by_source"].values()]
    if len(shares) > 1:
        texts.append(
            f"Among the recording projects in the training language, coverage ranges from {min(shares):.1f} to "
            f"{max(shares):.1f} %. If the difference between two groups is smaller than this range, it may be due "
            "to the recordings rather than the language."
        )
    return " ".join([*warnings, *texts])


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings = result["settings"]
    covered, folds = round(100 * settings["covered"]), result["views"]["level"]["n_folds"]
    found = result["views"]["level"]
    vq, rvq = headline(found), [name for name, one in found["quantizers"].items() if one["kind"] == "rvq"][-1]
    parts = "recording project" if settings["hold_out"] == "source" else "speaker"
    return [
        about.vectors(result),
        f"**Quantizers.** *{label(vq)}* is a single codebook with {_entries(vq)} entries. *{label(rvq)}* is a chain of "
        f"{rvq.split()[1].split('x')[0]} codebooks with {settings['rvq_entries']} entries each. Each codebook in the "
        "chain quantizes the error left by the previous ones. Every codebook or chain is compared with a scalar grid "
        "(FSQ) that has the same number of bits. The grid rounds the principal components of a vector to uniformly "
        "spaced levels.",
        f"**Groups.** The training speech is divided into {folds} parts by {parts}. For each part, the quantizers are "
        "fitted to the remaining training speech. Speakers in the part are *unseen*, and the remaining training "
        "speakers are *seen*. The other groups are measured with all of these quantizers.",
        "**Coverage.** A vector is covered if its quantization error is at most the *radius* of the quantizer. The "
        f"radius is chosen so that the quantizer covers {covered} % of the seen speakers' held-out vectors, i.e. of "
        "vectors that were not used for fitting.",
        "**Intervals.** Values are means over speakers. Square brackets contain 95 % bootstrap intervals over "
        "speakers. A difference is significant if its interval excludes 0.",
        *sounds_method(result),
        *rebuilt_method(result),
    ]


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    parts = ["### Groups", _groups(result)]
    if result["views"]["level"]["control"] and len(result["groups"]) > 1:
        parts += [
            "### Differences from unseen speakers",
            "The table shows the coverage of each group minus the coverage of unseen speakers, in percentage points:",
            _differences(result),
            "The next table shows the range of the difference between codebook and grid across all codebooks, all "
            "chains and both kinds of vectors. It also counts the significant differences:",
            _counts(result),
        ]
    return [*parts, *sounds_findings(result), *rebuilt_findings(result)]


def _warnings(result: Result) -> list[str]:
    """Return warnings about weak evidence, if any."""
    if result["views"]["level"]["control"] is None:
        return [
            "**This result is not evidence.** The training speech has only one speaker, so there is no control group. "
            "Effects of language, voice and microphone cannot be separated."
        ]
    warnings = []
    few = [f"`{name}` {group['n_speakers']}" for name, group in result["groups"].items() if group["n_speakers"] < FEW]
    if few:
        warnings.append(
            f"**This result is weak evidence.** Some groups have fewer than {FEW} speakers ({', '.join(few)}), so "
            "their intervals are too narrow."
        )
    known = set(result["groups"][UNSEEN]["sources"])
    elsewhere = [f"`{name}`" for name, group in result["groups"].items() if set(group["sources"]) - known]
    if known and elsewhere and result["settings"]["hold_out"] == "speaker" and about.kind_of(result) != "source":
        warnings.append(
            "**Unseen speakers come from the same recording projects as the training speech, but other groups do not** "
            f"({', '.join(elsewhere)}). Use `--hold-out source` to hold out whole recording projects."
        )
    return warnings


def _groups(result: Result) -> str:
    rows = [
        [
            "Training speech (seen and unseen speakers)" if name == UNSEEN else group_label(name),
            str(group["n_speakers"]),
            str(len(group["sources"]) or "-"),
            f"{group['n_vectors']:,}",
        ]
        for name, group in result["groups"].items()
    ]
    return table(["group", "speakers", "recording projects", "vectors"], rows)


def _differences(result: Result) -> str:
    name = headline(result["views"]["level"])
    rows = []
    for view, vectors in VIEWS.items():
        found = result["views"][view]["quantizers"]
        grid = found[f"fsq {found[name]['bits']}"]["against_unseen"]
        for group, one in found[name]["against_unseen"].items():
            entries = (one["inside"], grid[group]["inside"], one["inside_beyond_fsq"])
            rows.append([vectors, group_label(group), *(_percent(entry, sign=True) for entry in entries)])
    header = ["vectors", "group", label(name), "grid", f"{label(name)} - grid"]
    return table(header, rows, numeric=[False, False, True, True, True])


def _counts(result: Result) -> str:
    """Return a table that shows the range of differences between codebooks and grids and how many are significant."""
    found = [result["views"][view]["quantizers"].values() for view in VIEWS]
    codebooks = [one["against_unseen"] for view in found for one in view if one["kind"] != "fsq"]
    rows = []
    for group in codebooks[0]:
        entries = [one[group]["inside_beyond_fsq"] for one in codebooks]
        means, signs = [100 * entry["mean"] for entry in entries], [_sign(entry) for entry in entries]
        span = f"{min(means):+.1f} to {max(means):+.1f}"
        rows.append([group_label(group), span, str(len(entries)), str(signs.count(-1)), str(signs.count(1))])
    header = ["group", "codebook - grid", "comparisons", "significantly below 0", "significantly above 0"]
    return table(header, rows)


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    settings = result["settings"]
    filters, patches = settings["filters"], settings["patches"]
    tests = [f"--test {quote(f'{name}=SPEECH{chosen}')}" for name, chosen in filters.items() if name != UNSEEN]
    command = [
        f"silk lab coverage --train {quote(f'SPEECH{filters[UNSEEN]}')}",
        *tests,
        f"--hold-out {settings['hold_out']} --folds {settings['folds']} --limit-hz {patches['limit_hz']:g}",
        f"--seconds {patches['seconds']:g} --speakers {patches['speakers']} --seed {settings['seed']}",
        *_options(result),
        "-o FOLDER",
    ]
    return reproduction(result, command)


def _options(result: Result) -> list[str]:
    """Return the command-line options that only some results require."""
    settings, rebuilt = result["settings"], result["rebuilt"]
    options = [] if settings["patches"]["of"] == "mel" else [f"--vectors {settings['patches']['of']}"]
    options += [] if settings["sounds"] else ["--no-sounds"]
    if rebuilt is None:
        options.append("--rebuild 0")
    else:
        resynthesis = rebuilt["settings"]
        options.append(f"--rebuild {resynthesis['speakers']} --codecs {quote(','.join(resynthesis['codecs']))}")
        options += ["--run RUN"] * resynthesis["runs"]
    return [*options, *([f"--name {result['name']}"] if result["name"] != "coverage" else [])]


def _entries(quantizer: str) -> str:
    return f"{int(quantizer.split()[1]):,}"


def _sign(entry: dict[str, Any]) -> int:
    """Return the sign of a difference, or 0 if it is not significant."""
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return 0
    return 1 if entry["low"] > 0 else -1


def _percent(entry: dict[str, Any], *, sign: bool = False) -> str:
    return estimate(entry, 1, scale=100, signed=sign)
