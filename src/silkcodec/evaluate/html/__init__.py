"""Write a result as one self-contained HTML file with tables, sound, pictures and scripts. It loads nothing else.

    markup.py    elements, escaped by construction
    columns.py   the columns of the table, and which cells are best
    tables.py    results, groups, missing values
    listen.py    players: FLAC and spectrograms in the page
    charts.py    token rates and codebooks, drawn without a script
    template.html, report.css; table.js sorts, player.js plays, plot.js draws rate against quality

The Content-Security-Policy of the page allows only scripts with the listed hashes. A clip called `<script>` would not
run even if the escaping failed. Without scripts the page still shows its tables and plays its sound.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

from silkcodec.evaluate.html import charts, listen, tables
from silkcodec.evaluate.html.columns import Result, first, names
from silkcodec.evaluate.html.markup import Markup, data, el, join
from silkcodec.evaluate.listening import Listening
from silkcodec.evaluate.markdown import digits
from silkcodec.evaluate.report import failures

_HERE = Path(__file__).parent
_SCRIPTS = ("table.js", "player.js", "plot.js")
N_COLOURS = 8  # defined in report.css; the presets of one codec share a colour
_NAMES_IN_TITLE = 4
_FEW_CLIPS = 20  # With fewer clips the intervals of the percentile bootstrap are too narrow.


def to_html(result: Result, listening: Sequence[Listening]) -> str:
    """Return the report as one self-contained HTML file.

    Args:
        result: a result of kind "silk compare" or "silk score", as `compare` writes it to results.json.
        listening: the clips to listen to. If empty, the page has no players.

    Returns:
        The text of the file, UTF-8. About 0.4 MB for each 10 s of each codec.
    """
    colours = family_colours(names(result))
    style = Markup(_asset("report.css"))
    script = Markup("\n".join(['"use strict";', *(f"{{\n{_asset(name)}}}" for name in _SCRIPTS)]))
    sections = _sections(result, listening, colours)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}';"
        " img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("template.html")).substitute(
        policy=join(policy),
        title=join(_title(result)),
        style=style,
        header=_header(result),
        contents=el("ul", *(el("li", el("a", title, href=f"#{id_}")) for id_, title, _ in sections)),
        sections=join(*(_section(id_, title, body) for id_, title, body in sections)),
        result=data(result, "result"),
        view=data(_view(result, colours), "view"),
        script=script,
    )


def family_colours(codecs: Sequence[str]) -> dict[str, int]:
    """Return the number of a colour for each codec. `mimi:4` and `mimi:8` share a colour."""
    families = list(dict.fromkeys(name.partition(":")[0] for name in codecs))
    return {name: families.index(name.partition(":")[0]) % N_COLOURS for name in codecs}


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _title(result: Result) -> str:
    verb = "compared" if result["kind"] == "silk compare" else "scored"
    codecs = names(result)
    if len(codecs) == 1:
        return f"{codecs[0]}, {verb}"
    if len(codecs) > _NAMES_IN_TITLE:
        return f"{codecs[0]} and {len(codecs) - 1} others, {verb}"
    return f"{', '.join(codecs[:-1])} and {codecs[-1]}, {verb}"


def _header(result: Result) -> Markup:
    compared = result["kind"] == "silk compare"
    clips, settings = result["clips"], result["settings"]
    created = datetime.fromisoformat(result["created"])
    split = f" of the split {settings['split']}" if settings.get("split") else ""
    facts = [
        ("Codecs" if compared else "Folders", f"{len(names(result))}"),
        ("Clips", f"{clips['n']:,}{split}"),
        ("Speech", _spelled_duration(clips["duration_s"])),
        ("Measured", f"{created.day} {created:%B %Y}"),
        ("By", f"silkcodec {result['version']}"),
    ]
    troubles = [el("li", sentence) for sentence in failures(result)]
    return el(
        "header",
        el("p", "Silk, codec comparison" if compared else "Silk, reconstructions scored", class_="eyebrow"),
        el("h1", _title(result)),
        el("dl", *(el("div", el("dt", term), el("dd", value)) for term, value in facts), class_="facts"),
        el("ul", *troubles, class_="failures") if troubles else None,
    )


def _spelled_duration(duration_s: float) -> str:
    minutes = round(duration_s / 60)
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _sections(result: Result, listening: Sequence[Listening], colours: dict[str, int]) -> list[tuple[str, str, Markup]]:
    """Return (id, title, body) of each section that is not empty for this result."""
    found = [("table", "Results", join(_table_tools(result), tables.results(result, colours)))]
    if listening:
        found.append(("listen", "Listen", join(_LISTEN_HINT, listen.players(listening, colours))))
    burden = charts.burden(result, colours)
    if burden:
        found.append(("burden", "Token burden", join(_BURDEN_HINT, burden)))
    if _plottable(result):
        found.append(("plot", "Rate and quality", _plot(result)))
    books = charts.codebooks(result, colours)
    if books:
        found.append(("codebooks", "Codebooks", join(_BOOKS_HINT, books)))
    groups = tables.groups(result, colours)
    if groups:
        found.append(("groups", "Groups", join(*groups)))
    found.append(("left-out", "Left out", tables.left_out(result)))
    found.append(("method", "Method", _method(result)))
    return found


def _section(id_: str, title: str, body: Markup) -> Markup:
    return el("section", el("h2", title, id=f"{id_}-title"), body, id=id_, aria_labelledby=f"{id_}-title")


def _table_tools(result: Result) -> Markup:
    n = result["clips"]["n"]
    few = f" With {n} clips the intervals are rough." if n < _FEW_CLIPS else ""
    hint = el(
        "p",
        "Means with their 95 % intervals. Bold: the best; shaded: what cannot be told from it.",
        el("b", few) if few else None,
        class_="hint of-means",
    )
    if not result["differences"]["minus"]:
        return hint
    of = first(result)
    key = f"{of} minus each, clip by clip, with 95 % intervals. \N{BLACK UP-POINTING TRIANGLE} {of} is better,"
    key += f" \N{BLACK DOWN-POINTING TRIANGLE} {of} is worse; grey: cannot be told.{few}"
    choices = (("means", "Means", True), ("differences", f"{of} minus each", False))
    options = [
        el("label", el("input", type="radio", name="shown", value=value, checked=checked), el("span", text))
        for value, text, checked in choices
    ]
    legend = el("legend", "Quality columns show", class_="unseen")
    return el(
        "div",
        hint,
        el("p", key, class_="hint of-differences"),
        el("fieldset", legend, *options, class_="switch", id="shown", hidden=True),
        class_="tools",
    )


_LISTEN_HINT = el(
    "p",
    "All play in step: choose at any time which one is heard",
    el("span", ", with the keys ", el("kbd", "1"), " to ", el("kbd", "9"), class_="keys"),
    ". A touch of a spectrogram goes to that place in that version. ",
    el("span", el("kbd", "space"), " plays and pauses. ", class_="keys"),
    "Spectrograms: mel scale, one colour scale per clip, 80 dB from the loudest point to black.",
    class_="hint",
)
_BURDEN_HINT = el(
    "p",
    "What a second of speech costs a language model that takes one step per token. One that predicts all codebooks of"
    " a frame in a step takes as many steps as there are frames.",
    class_="hint",
)
_BOOKS_HINT = el(
    "p",
    "Each column is a codebook: its whole height is the bits that one of its tokens can carry, filled to the entropy of"
    " the tokens seen over all clips. Full means that every code is used equally often.",
    class_="hint",
)


def _plottable(result: Result) -> bool:
    """Return whether at least two codecs have both a rate and a value of the same metric."""
    rated = [name for name, rates in result["codecs"].items() if rates.get("bits_per_second")]
    return any(
        sum((result["means"].get(name, {}).get(key) or {}).get("mean") is not None for name in rated) > 1
        for key in result["metrics"]
    )


def _plot(result: Result) -> Markup:
    known = [
        (key, metric["label"])
        for key, metric in result["metrics"].items()
        if any((result["means"].get(name, {}).get(key) or {}).get("mean") is not None for name in names(result))
    ]
    across = [("bits_per_second", "bits per second"), ("tokens_per_second", "tokens per second")]
    return el(
        "div",
        el(
            "div",
            el("label", "Quality ", _select("plot-y", known)),
            el("label", "against ", _select("plot-x", across)),
            class_="tools",
        ),
        el("div", el("div", id="plot-area"), class_="frame"),
        el("p", "Bars are 95 % intervals. A line joins the presets of one codec.", class_="hint"),
        class_="needs-script",
    )


def _select(id_: str, choices: list[tuple[str, str]]) -> Markup:
    return el("select", *(el("option", text, value=value) for value, text in choices), id=id_)


def _method(result: Result) -> Markup:
    notes = [
        "Each output is shifted against its reference by the delay that fits best, and cut or padded to its length,"
        " once for all metrics.",
        "An interval is the percentile bootstrap over clips (2,000 draws): how much the mean depends on which clips"
        " were taken. Clips of one speaker count as independent, so it is rather too narrow.",
        "Shading: against the first codec, the paired difference clip by clip decides (its interval holds 0: not told"
        " apart); between two others, whether their intervals overlap. Several columns are looked at: expect a wrong"
        " verdict in twenty.",
    ]
    if "pesq_wb" in result["metrics"] and any(name.partition(":")[0] == "silk" for name in names(result)):
        notes.append("PESQ is close to one of the losses that Silk was trained with: do not judge Silk by it alone.")
    if "si_sdr_db" in result["metrics"]:
        notes.append("SI-SDR compares waveforms. Codecs that draw the waveform anew score low however good they sound.")
    if result["kind"] == "silk compare":
        jobs = max(codec.get("timed_with_jobs") or 1 for codec in result["codecs"].values())
        notes += [
            "Rates are counted on the tokens that were produced, padding included. Bits are base-2 logarithms of the"
            " codebooks' sizes; entropy is of single codes, without context.",
            "Entropy and perplexity are biased low where there are few tokens for a codebook's size.",
            "Memory is that of a fresh process; encode and decode are timed in the run that measured the quality.",
        ]
        if jobs > 1:
            notes.append(f"Speeds: {jobs} processes were at work at once; for figures to rely on, use --jobs 1.")
    settings = {key: value for key, value in result["settings"].items() if value not in (None, [], {})}
    rows = [el("div", el("dt", key), el("dd", _setting(value))) for key, value in settings.items()]
    return join(
        el("ul", *(el("li", note) for note in notes), class_="notes"),
        tables.lengths(result),
        el("h3", "Settings"),
        el("dl", *rows, class_="settings"),
        el(
            "p",
            el("button", "Download the numbers (JSON)", type="button", id="download", class_="plain", hidden=True),
        ),
    )


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _view(result: Result, colours: dict[str, int]) -> dict[str, Any]:
    """Return the data that the plot needs besides the result."""
    return {
        "codecs": [{"name": name, "colour": colours[name], "family": name.partition(":")[0]} for name in colours],
        "digits": [[key, digits(key)] for key in result["metrics"]],
    }
