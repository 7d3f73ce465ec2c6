"""Draw charts without a script: token rates as bars, and the use of each codebook as columns."""

from __future__ import annotations

import math
from typing import Any

from silkcodec.evaluate.html.columns import Result, names, number
from silkcodec.evaluate.html.markup import Markup, el, join
from silkcodec.evaluate.html.tables import scrolling, swatch

_HEIGHT = 64  # pixels of a codebook's column


def burden(result: Result, colours: dict[str, int]) -> Markup | None:
    """Draw the tokens per second of each codec as bars with details; return None if no codec has rates."""
    rated = {name: rates for name, rates in result["codecs"].items() if rates.get("tokens_per_second")}
    if not rated:
        return None
    most = max(rates["tokens_per_second"] for rates in rated.values())
    rows = []
    for name in sorted(rated, key=lambda name: rated[name]["tokens_per_second"]):
        rates = rated[name]
        tokens = rates["tokens_per_second"]
        bar = el(
            "svg",
            el("rect", width=f"{max(0.4, 100 * tokens / most):.2f}%", height="100%", rx="2"),
            class_=f"bar k{colours[name]}",
            aria_hidden="true",
        )
        rows.append(
            el(
                "tr",
                el("th", swatch(colours[name]), el("span", name, class_="codec"), scope="row"),
                el("td", bar, class_="bars"),
                el("td", el("b", number(tokens, None))),
                el("td", number(60 * tokens, 0)),
                el("td", number(rates["bits_per_second"], 0)),
                el("td", _made_of(rates), class_="text"),
            )
        )
    heads = [
        el("th", "Codec", scope="col"),
        el("th", el("span", "Bar of tokens per second", class_="unseen"), scope="col", class_="bars"),
        el("th", "Tokens ", el("span", "per s", class_="unit"), scope="col"),
        el("th", "Tokens ", el("span", "per minute", class_="unit"), scope="col"),
        el("th", "Bits ", el("span", "per s", class_="unit"), scope="col"),
        el("th", "Frames and codebooks", scope="col", class_="text"),
    ]
    return scrolling(el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="burden"), "Token burden")


def _made_of(rates: dict[str, Any]) -> str:
    """Return the composition of a token rate: `2.5 Hz x 19`, or for a multi-scale codec `12 + 23 + 47 Hz`."""
    books = rates.get("codebooks") or []
    hertz = [book["frame_rate_hz"] for book in books] or [rates["frame_rate_hz"]]
    if len(set(hertz)) > 1:
        return " + ".join(number(hz, None) for hz in hertz) + " Hz"
    n = rates.get("n_codebooks") or len(books)
    return f"{number(hertz[0], None)} Hz \N{MULTIPLICATION SIGN} {n}"


def codebooks(result: Result, colours: dict[str, int]) -> Markup | None:
    """Draw one card per codec with the use of each codebook; return None if no codec has codebook statistics."""
    cards = [
        _card(name, result["codecs"][name], colours[name])
        for name in names(result)
        if result["codecs"][name].get("codebooks")
    ]
    return el("div", *cards, class_="cards") if cards else None


def _card(name: str, rates: dict[str, Any], colour: int) -> Markup:
    books = rates["codebooks"]
    dimensions = rates.get("dimensions")
    return el(
        "article",
        el("h3", swatch(colour), el("span", name, class_="codec"), el("small", rates.get("quantizer") or "")),
        _book_columns(books, colour),
        _summary(books),
        _dimensions(dimensions, colour) if dimensions else None,
        el("details", el("summary", "Every codebook in numbers"), _book_table(books)),
        class_="card",
    )


def _book_columns(books: list[dict[str, Any]], colour: int) -> Markup:
    """Draw one column per codebook: entropy relative to its bits. A line marks the limit set by the token count."""
    pitch = max(6, min(26, 286 // len(books)))
    drawn = []
    for i, book in enumerate(books):
        full = math.log2(book["size"]) if book["size"] > 1 else 1.0
        height = _HEIGHT * min(1.0, book["entropy_bits"] / full)
        x, width = i * pitch, pitch - max(1, pitch // 6)
        title = (
            f"codebook {i + 1}: {number(book['entropy_bits'], 2)} of {number(full, 2)} bits,"
            f" {number(book['n_used'], 0)} of {number(book['size'], 0)} codes used"
        )
        seen = math.log2(max(1, book["n_tokens"]))
        limit = _HEIGHT * (1 - seen / full)
        drawn.append(
            el(
                "g",
                el("title", title),
                el("rect", x=x, y=0, width=width, height=_HEIGHT, class_="room"),
                el("rect", x=x, y=f"{_HEIGHT - height:.1f}", width=width, height=f"{height:.1f}", class_="used"),
                el("rect", x=x, y=f"{limit - 1:.1f}", width=width, height="2", class_="limit") if limit > 1 else None,
            )
        )
    width = len(books) * pitch
    return el(
        "svg",
        *drawn,
        class_=f"books k{colour}",
        viewBox=f"0 0 {width} {_HEIGHT}",
        width=width,
        height=_HEIGHT,
        role="img",
        aria_label="Entropy of each codebook out of the bits it carries; the numbers are in the table below.",
    )


def _summary(books: list[dict[str, Any]]) -> Markup:
    carried = sum(math.log2(book["size"]) * book["frame_rate_hz"] for book in books)
    measured = sum(book["entropy_bits"] * book["frame_rate_hz"] for book in books)
    facts = [
        ("Codes", _range([book["size"] for book in books], 0)),
        ("Used", _used([book["n_used"] / book["size"] for book in books])),
        ("Perplexity", _range([book["perplexity"] for book in books], 0)),
        ("Entropy", f"{number(measured, 0)} of {number(carried, 0)} bits per s"),
    ]
    pairs = [el("div", el("dt", term), el("dd", value)) for term, value in facts]
    short = [book for book in books if book["n_tokens"] < book["size"]]
    note = (
        f"{number(min(book['n_tokens'] for book in short), 0)} tokens were seen of a codebook of"
        f" {number(max(book['size'] for book in short), 0)}: too few to show its use or entropy."
        " The thin line is the most that so many tokens can show."
        if short
        else None
    )
    return join(el("dl", *pairs), el("p", note, class_="caution") if note else None)


def _used(shares: list[float]) -> str:
    """Return a range such as `0.4 to 32.8 %`. Values that round to 0 are shown as less than the smallest step."""
    least, most = (f"{100 * share:.1f}" if share >= 0.0005 else "<0.1" for share in (min(shares), max(shares)))
    return f"{least} %" if least == most else f"{least} to {most} %"


def _range(values: list[float], n_digits: int | None) -> str:
    low, high = number(min(values), n_digits), number(max(values), n_digits)
    return low if low == high else f"{low} to {high}"


def _book_table(books: list[dict[str, Any]]) -> Markup:
    heads = ("Codebook", "Codes", "Hz", "Tokens seen", "Used", "Perplexity", "Entropy, bits")
    rows = [
        el(
            "tr",
            el("th", f"{i + 1}", scope="row"),
            el("td", number(book["size"], 0)),
            el("td", number(book["frame_rate_hz"], None)),
            el("td", number(book["n_tokens"], 0)),
            el("td", number(book["n_used"], 0)),
            el("td", number(book["perplexity"], 1)),
            el("td", f"{number(book['entropy_bits'], 2)} of {number(math.log2(book['size']), 2)}"),
        )
        for i, book in enumerate(books)
    ]
    head = el("thead", el("tr", *(el("th", text, scope="col") for text in heads)))
    return scrolling(el("table", head, el("tbody", *rows), class_="small"), "Every codebook in numbers")


def _dimensions(dimensions: dict[str, Any], colour: int) -> Markup:
    """Draw the perplexity of each FSQ dimension's levels, which few frames suffice to estimate."""
    n_levels, values = dimensions["n_levels"], dimensions["perplexity"]
    height = 40
    bars = [
        el(
            "rect",
            x=2 * i,
            y=f"{height * (1 - value / n_levels):.1f}",
            width="1.5",
            height=f"{height * value / n_levels:.1f}",
            class_="used",
        )
        for i, value in enumerate(values)
    ]
    text = (
        f"Each of the {len(values)} dimensions has {n_levels} levels; perplexity of each, {_range(values, 1)} of"
        f" {n_levels}, over {number(dimensions['n_frames'], 0)} frames. Together at most"
        f" {number(dimensions['entropy_bits_per_second'], 0)} bits per s of entropy."
    )
    return el(
        "figure",
        el(
            "svg",
            el("rect", width=2 * len(values), height=height, class_="room"),
            *bars,
            class_=f"dimensions k{colour}",
            viewBox=f"0 0 {2 * len(values)} {height}",
            preserveAspectRatio="none",
            height=height,
            role="img",
            aria_label="Perplexity of each dimension",
        ),
        el("figcaption", text),
    )
