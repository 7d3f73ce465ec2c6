"""Build HTML and SVG elements as strings, escaped by construction: text becomes markup only through `Markup`.

    el("td", "<b>", class_="best")            -> <td class="best">&lt;b&gt;</td>
    el("p", el("b", "1"), " of ", "2")        -> <p><b>1</b> of 2</p>

Names of codecs, clips and groups come from file names. This escaping is what keeps them from becoming markup.
"""

from __future__ import annotations

import html
import json
from typing import Any

_VOID = {"img", "input", "br", "col"}


class Markup(str):
    """Mark a text as markup that needs no escaping."""

    __slots__ = ()


def el(tag: str, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """Return one element.

    Args:
        children: text, which is escaped, or markup. None is skipped.
        attributes: `class_` becomes class, `data_codec` becomes data-codec. None and False omit the attribute; True
            writes it without a value.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: str | None) -> Markup:
    """Concatenate the children: text is escaped, markup is not."""
    pieces = (child if isinstance(child, Markup) else html.escape(child) for child in children if child is not None)
    return Markup("".join(pieces))


def data(content: Any, id_: str) -> Markup:
    """Return JSON for a script element, without `<`, `>` or `&`, so that it cannot close the element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return el("script", Markup(text), type="application/json", id=id_)


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
