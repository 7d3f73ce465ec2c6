"""Format an evaluation result as one self-contained HTML page.

    columns.py    builds the columns of the table and marks the best cells
    numbers.py    formats text and numbers for the templates
    players.py    prepares the audio and the spectrograms
    report.html   is the Jinja template of the page
    sections/     contains one template per section
    report.css    defines the style
    tokens.css    defines colors and fonts; the `silk explain` page and the documentation site use them too
    table.js      sorts the table
    player.js     shows the players
    mixer.js      plays the clips; the `silk explain` page uses it too
    plot.js       plots quality against rate

The templates escape all values, and a Content-Security-Policy allows only the scripts above. Without JavaScript, the
page still shows its tables and plays its audio.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib import resources

from jinja2 import Environment, PackageLoader
from jinja2.ext import Extension

from silkcodec.evaluate import report
from silkcodec.evaluate.html import numbers
from silkcodec.evaluate.html.columns import Result, columns, first, names, number, signed
from silkcodec.evaluate.html.players import players
from silkcodec.evaluate.listening import Listening
from silkcodec.evaluate.markdown import ARROWS, digits
from silkcodec.picture import band_height

_SCRIPTS = ("table.js", "player.js", "plot.js")
N_COLORS = 8  # number of colors defined in report.css
_NAMES_IN_TITLE = 4
_TITLES = {
    "table": "Results",
    "listen": "Listen",
    "lm-cost": "Cost for a language model",
    "plot": "Rate and quality",
    "codebooks": "Codebooks",
    "groups": "Groups",
    "missing-values": "Missing values",
    "method": "Method",
}


class _Compact(Extension):
    """Remove the line breaks between a template's tags, because browsers would show them as spaces."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"(?<=[>}])\n\s*|\n\s*(?=<|{[%#])", "", source)


def to_html(result: Result, listening: Sequence[Listening]) -> str:
    """Format a result as a self-contained HTML page.

    Args:
        result: result of `silk compare` or `silk score`, i.e. the contents of results.json.
        listening: audio of the clips to embed. If empty, the page has no players.

    Returns:
        The HTML text.
    """
    environment = Environment(
        autoescape=True, extensions=[_Compact], loader=PackageLoader("silkcodec.evaluate.html", ".")
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals.update(vars(numbers), number=number, signed=signed, digits=digits, band_height=band_height)
    families = {name: name.partition(":")[0] for name in names(result)}
    colors = family_colors(names(result))
    shown = columns(result)
    filled = {
        "table": shown,
        "listen": listening,
        "lm-cost": numbers.rated(result),
        "plot": numbers.is_plottable(result),
        "codebooks": any(codec.get("codebooks") for codec in result["codecs"].values()),
        "groups": any(result.get("groups", {}).values()),
        "missing-values": True,
        "method": True,
    }
    return environment.get_template("report.html").render(
        result=result,
        compared=result["kind"] == "silk compare",
        created=datetime.fromisoformat(result["created"]),
        title=_title(result),
        speech=_spelled_duration(result["clips"]["duration_s"]),
        failures=report.failures(result),
        sections=[(id_, title) for id_, title in _TITLES.items() if filled[id_]],
        names=names(result),
        first=first(result),
        families=families,
        colors=colors,
        columns=shown,
        groups=Counter(column.group for column in shown),
        arrows=ARROWS,
        players=players(listening),
        rated=filled["lm-cost"],
        plotted=[key for key in result["metrics"] if numbers.n_measured(result, key, names(result))],
        measured=report.measured(result),
        reasons=report.reasons(result),
        lengths=numbers.lengths(result),
        # data that the plot needs in addition to the result
        view={
            "codecs": [{"name": name, "color": colors[name], "family": families[name]} for name in colors],
            "digits": [[key, digits(key)] for key in result["metrics"]],
        },
        style=_asset("tokens.css") + _asset("report.css"),
        script="\n".join(['"use strict";', *(f"{{\n{_script(name)}}}" for name in _SCRIPTS)]),
        hash=_hash,
    )


def family_colors(codecs: Sequence[str]) -> dict[str, int]:
    """Return the color index of each codec. Presets of the same codec, e.g. `mimi:4` and `mimi:8`, share a color."""
    families = list(dict.fromkeys(name.partition(":")[0] for name in codecs))
    return {name: families.index(name.partition(":")[0]) % N_COLORS for name in codecs}


def _asset(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    """Return the code of a script. player.js includes mixer.js, because inline scripts cannot import files."""
    if name != "player.js":
        return _asset(name)
    return re.sub(r"^export ", "", _asset("mixer.js"), flags=re.MULTILINE) + _asset(name)


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


def _spelled_duration(duration_s: float) -> str:
    minutes = round(duration_s / 60)
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
