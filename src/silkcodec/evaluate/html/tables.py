"""Build the tables of the page: results, groups and missing values."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.html.columns import (
    COST,
    QUALITY,
    RATES,
    Cell,
    Column,
    Result,
    columns,
    first,
    names,
    number,
    signed,
)
from silkcodec.evaluate.html.markup import Markup, el, join
from silkcodec.evaluate.markdown import ARROWS, digits

_DIRECTION = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "nearer to 0 is better",
    "original": "nearer to the original is better",
}
_DASH = "\N{EN DASH}"


def swatch(colour: int) -> Markup:
    return el("i", class_=f"swatch k{colour}", aria_hidden="true")


def results(result: Result, colours: dict[str, int]) -> Markup:
    """Return the main table: one row per codec, columns grouped into rates, quality and cost."""
    shown = columns(result)
    missing = [column.key for column in shown if column.missing]
    body = [_row(result, name, colours[name], shown) for name in names(result)]
    notes = [
        el("li", el("b", column.label), " ", column.missing, id=f"missing-{i}")
        for i, column in enumerate(column for column in shown if column.missing)
    ]
    return join(
        scrolling(
            el(
                "table",
                el("caption", "Every codec on the same clips: mean, 95 % interval", class_="unseen"),
                el("thead", _groups(shown), _heads(shown, missing)),
                el("tbody", *body),
                id="results",
            ),
            "Results",
        ),
        el(
            "div",
            el("p", "Not measured here:"),
            el("ol", *notes),
            class_="footnotes",
        )
        if notes
        else None,
    )


def _groups(shown: list[Column]) -> Markup:
    heads = []
    for group in (RATES, QUALITY, COST):
        n = sum(column.group == group for column in shown)
        if n:
            heads.append(el("th", el("span", group), scope="colgroup", colspan=n, class_="group"))
    return el("tr", el("td", class_="name"), *heads, class_="groups")


def _heads(shown: list[Column], missing: list[str]) -> Markup:
    heads = [_head("Codec", "", "", "The codec; sorts by name", "name", sort="text", opens=False)]
    group = ""
    for column in shown:
        what = " ".join(
            [text for text in (column.what, f"({_DIRECTION[column.better]})" if column.better else "") if text]
        )
        opens, group = column.group != group, column.group
        if column.missing:
            note = missing.index(column.key)
            heads.append(
                el(
                    "th",
                    el("span", column.label, class_="label"),
                    el("a", f"{note + 1}", href=f"#missing-{note}", class_="note", aria_label=f"why: note {note + 1}"),
                    scope="col",
                    class_="missing" + (" opens" if opens else ""),
                    title=column.missing,
                )
            )
        else:
            sort = column.better or "higher"
            heads.append(_head(column.label, column.unit, ARROWS.get(column.better, ""), what, "", sort, opens))
    return el("tr", *heads)


def _head(label: str, unit: str, arrow: str, what: str, class_: str, sort: str, opens: bool) -> Markup:
    """Return the header of a column, a button that sorts. `sort` is the better direction, or "text"."""
    return el(
        "th",
        el(
            "button",
            el("span", label, class_="label"),
            el("span", arrow, class_="arrow", aria_hidden="true") if arrow else None,
            el("span", unit, class_="unit") if unit else None,
            type="button",
            title=what or None,
            data_sort=sort,
        ),
        scope="col",
        aria_sort="none",
        class_=" ".join([word for word in (class_, "opens" if opens else "") if word]) or None,
    )


def _row(result: Result, name: str, colour: int, shown: list[Column]) -> Markup:
    rates = result["codecs"][name]
    group, cells = "", []
    for column in shown:
        opens, group = column.group != group, column.group
        cells.append(_cell(column, name, first(result), opens))
    head = el(
        "th",
        el("div", swatch(colour), el("span", name, class_="codec")),
        el("small", _about(rates)) if _about(rates) else None,
        scope="row",
        class_="name",
        data_v=name,
        title=rates.get("failed"),
    )
    return el("tr", head, *cells, class_="failed" if rates.get("failed") else None)


def _about(rates: dict[str, Any]) -> str:
    """Return the small text under the name of a codec."""
    if rates.get("failed"):
        return "cannot be used here"
    parts = [rates.get("quantizer") or ""]
    if rates.get("n_failed"):
        parts.append(f"failed on {rates['n_failed']} of {rates['n_clips']}")
    return ", ".join(part for part in parts if part)


def _cell(column: Column, name: str, first_codec: str, opens: bool) -> Markup:
    cell = column.cells[name]
    marks = ("opens" if opens else "", "tied" if name in column.tied else "", "best" if name == column.best else "")
    classes = [mark for mark in marks if mark]
    if column.missing:
        return el("td", el("span", "not measured", class_="unseen"), class_=" ".join([*classes, "missing"]))
    if cell.value is None:
        return el("td", _DASH, class_=" ".join([*classes, "none"]))
    shown = [el("span", number(cell.value, column.n_digits), class_="mean")]
    title = None
    if cell.low is not None and cell.high is not None:
        shown += [el("span", _span(cell.low, cell.high, column.n_digits), class_="range"), _whisker(column, cell)]
    if column.group == QUALITY:
        shown.append(_difference(column, cell, name, name == first_codec))
        if cell.difference is not None:
            title = f"{first_codec} minus {name}: {_spelled(cell.difference, column.n_digits)}"
    if name in column.tied:
        shown.append(el("span", "best" if name == column.best else "not told from the best", class_="unseen"))
    return el("td", *shown, class_=" ".join(classes) or None, title=title, data_v=repr(float(cell.value)))


def _span(low: float, high: float, n_digits: int | None) -> str:
    return f"{number(low, n_digits)} to {number(high, n_digits)}"


def _spelled(entry: dict[str, Any], n_digits: int | None) -> str:
    low, high = signed(entry["low"], n_digits), signed(entry["high"], n_digits)
    return f"{signed(entry['mean'], n_digits)} [{low}, {high}], clip by clip, {entry['n']} clips"


def _difference(column: Column, cell: Cell, name: str, is_first: bool) -> Markup:
    """Return the first codec minus this one, shown instead of the mean when the reader selects differences."""
    entry = cell.difference
    if is_first or entry is None:
        return el("span", el("span", name if is_first else _DASH, class_="words"), class_="difference")
    told = not entry["low"] <= 0 <= entry["high"]
    verdict = ""
    if told and column.better in ("higher", "lower"):
        verdict = "ahead" if (entry["mean"] > 0) == (column.better == "higher") else "behind"
    span = f"{signed(entry['low'], column.n_digits)} to {signed(entry['high'], column.n_digits)}"
    return el(
        "span",
        el("span", signed(entry["mean"], column.n_digits), class_="mean"),
        el("span", span, class_="range"),
        class_=f"difference {verdict or ('told' if told else 'same')}",
    )


def _whisker(column: Column, cell: Cell) -> Markup:
    """Draw the interval on the scale of its column, so that the rows of a column can be compared."""
    lows = [other.low for other in column.cells.values() if other.low is not None]
    highs = [other.high for other in column.cells.values() if other.high is not None]
    bottom, width = min(lows), (max(highs) - min(lows)) or 1.0

    def at(value: float | None) -> str:
        return f"{4 + 92 * ((value or 0.0) - bottom) / width:.1f}%"

    return el(
        "svg",
        el("line", x1=at(cell.low), x2=at(cell.high), y1="3.5", y2="3.5"),
        el("circle", cx=at(cell.value), cy="3.5", r="2.5"),
        class_="whisker",
        height="7",
        aria_hidden="true",
    )


def groups(result: Result, colours: dict[str, int]) -> list[Markup]:
    """Return one table for each manifest column that the clips were grouped by."""
    return [_group(result, column, values, colours) for column, values in result.get("groups", {}).items() if values]


def _group(result: Result, by: str, values: dict[str, Any], colours: dict[str, int]) -> Markup:
    shown = [(key, metric) for key, metric in result["metrics"].items() if not metric.get("missing")]
    heads = [
        el("th", metric["label"], " ", el("span", ARROWS[metric["better"]], class_="arrow"), scope="col")
        for _, metric in shown
    ]
    bodies = []
    for value, group in values.items():
        title = el("th", value, el("small", f"{group['n_clips']} clips"), scope="rowgroup", rowspan=len(names(result)))
        rows = []
        for i, name in enumerate(names(result)):
            means = group["codecs"].get(name, {})
            cells = [_small_cell(means.get(key), digits(key)) for key, _ in shown]
            codec = el("th", swatch(colours[name]), el("span", name, class_="codec"), scope="row")
            rows.append(el("tr", title if i == 0 else None, codec, *cells))
        bodies.append(el("tbody", *rows))
    head = el("thead", el("tr", el("th", by, scope="col"), el("th", "Codec", scope="col"), *heads))
    label = f"By {by}"
    return el(
        "details",
        el("summary", label, el("small", ", ".join(f"{value} ({values[value]['n_clips']})" for value in values))),
        scrolling(el("table", el("caption", label, class_="unseen"), head, *bodies, class_="small"), label),
    )


def _small_cell(entry: dict[str, Any] | None, n_digits: int) -> Markup:
    if not entry or entry.get("mean") is None:
        return el("td", _DASH, class_="none")
    mean = el("span", number(entry["mean"], n_digits), class_="mean")
    return el("td", mean, el("span", _span(entry["low"], entry["high"], n_digits), class_="range"))


def left_out(result: Result) -> Markup:
    """Return the missing values: one line per metric, reason and set of clips, with the codecs concerned."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for entry in result["left_out"]:
        found.setdefault((entry["metric"], entry["reason"]), {}).setdefault(entry["codec"], []).append(entry["clip"])
    if not found:
        return el("p", "Nothing: every codec has every figure that was measured, on every clip.")
    labels = {key: metric["label"] for key, metric in result["metrics"].items()}
    rows = []
    for (metric, reason), by_codec in found.items():
        together: dict[tuple[str, ...], list[str]] = {}
        for codec, missed in by_codec.items():
            together.setdefault(tuple(missed), []).append(codec)
        for clips, codecs in together.items():
            everyone = len(codecs) == len(names(result)) > 1
            rows.append(
                el(
                    "tr",
                    el("th", "all codecs" if everyone else ", ".join(codecs), scope="row"),
                    el("td", labels.get(metric, metric), class_="text"),
                    el("td", f"{len(clips)}"),
                    el("td", reason, el("small", _some(clips)), class_="text"),
                )
            )
    heads = [
        el("th", text, scope="col", class_=class_)
        for text, class_ in (("Codec", "text"), ("Metric", "text"), ("Clips", None), ("Why", "text"))
    ]
    note = "A mean is over the clips where every codec has a figure, so that all are judged on the same speech."
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="small left-out")
    return join(el("p", note, class_="hint"), scrolling(table, "Left out"))


def _some(clips: tuple[str, ...]) -> str:
    return ", ".join(clips[:3]) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")


def lengths(result: Result) -> Markup | None:
    """Return the delays and length differences corrected before measuring; None if they are not known."""
    rows = []
    for name, codec in result["codecs"].items():
        delay_ms, error = codec.get("delay_ms_largest"), codec.get("length_error_samples_largest")
        if delay_ms is not None and error is not None:
            cells = el("td", signed(delay_ms, 1)), el("td", signed(error, 0))
            rows.append(el("tr", el("th", name, scope="row"), *cells))
    if not rows:
        return None
    heads = [
        el("th", text, " ", el("span", unit, class_="unit"), scope="col")
        for text, unit in (("Codec", ""), ("Largest delay", "ms"), ("Largest length error", "samples at 24 kHz"))
    ]
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="small")
    return join(el("h3", "Delays and lengths"), scrolling(table, "Delays and lengths", "narrow"))


def scrolling(table: Markup, label: str, class_: str = "") -> Markup:
    """Return a table that scrolls horizontally if it is wider than the page, also with the keyboard."""
    return el("div", table, class_=f"scroll {class_}".strip(), tabindex="0", role="group", aria_label=label)
