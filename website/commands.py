"""Write the page of the command line: every verb of `silk` with its arguments and options, read from Typer."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

INTRODUCTION = """# Command line

This page is generated from the command line itself. `silk VERB --help` prints the same texts.

Every verb exits with 0 on success. It exits with 2 after an error, which it prints on one line, and with 130 after
Ctrl-C.

## silk
"""

INSTALLED = "This command is in a separate distribution. To install it, run `{}` in a checkout."


def page(root: Path) -> str:
    """Return the page of the command line, Markdown, of the checkout at `root`."""
    sys.path[:0] = [str(root / folder / "src") for folder in (".", "pytorch", "lab")]
    from silkcodec.cli import app
    from silkcodec.cli.commands import INSTALL
    from silkcodec.cli.verbs import SECTION_ORDER
    from silkcodec_lab.cli import lab
    from silkcodec_torch.cli import export, train

    silk: Any = get_command(app)
    silk.name = "silk"
    # Verbs of other installed distributions are omitted, so that the page is the same on every machine.
    verbs = {name: silk.get_command(None, name) for name in silk.commands}
    of_pytorch = {name: get_command(verb) for name, verb in (("train", train), ("export", export))}
    sections: dict[str, list[str]] = {section: [] for section in SECTION_ORDER}
    for name, verb in verbs.items():
        sections[verb.rich_help_panel].append(f"| [`silk {name}`](#silk-{name}) | {_first(verb.help)} |")
    sections["Training"] = [
        f"| [`silk {name}`](#silk-{name}) | {_first(verb.help)} |" for name, verb in of_pytorch.items()
    ]
    laboratory: Any = get_command(lab)
    sections["Learning"].append(f"| [`silk lab`](#silk-lab) | {_first(laboratory.help)} |")
    parts = [INTRODUCTION]
    for section, rows in sections.items():
        parts.append(f"**{section}**\n\n| verb | what it does |\n|---|---|\n" + "\n".join(rows))
    for name, verb in verbs.items():
        parts += [f"## silk {name}", *_described(verb, f"silk {name}")]
    for name, verb in of_pytorch.items():
        parts += [f"## silk {name}", INSTALLED.format(INSTALL[name]), *_described(verb, f"silk {name}")]
    parts += ["## silk lab", INSTALLED.format(INSTALL["lab"]), laboratory.help]
    for name, verb in laboratory.commands.items():
        if not verb.hidden:
            parts += [f"### silk lab {name}", *_described(verb, f"silk lab {name}")]
    return "\n\n".join(parts) + "\n"


def _first(text: str) -> str:
    return _cell(text.split("\n\n")[0])


def _described(verb: Any, name: str) -> Iterator[str]:
    """Yield the text of a verb, its usage line and the table of its arguments and options."""
    context = verb.make_context(name, [], resilient_parsing=True)
    yield "\n\n".join(" ".join(part.split()) for part in verb.help.split("\n\n"))
    yield f"```text\n{' '.join(verb.get_usage(context).removeprefix('Usage: ').split())}\n```"
    shown = [parameter for parameter in verb.params if not getattr(parameter, "hidden", False)]
    records = [parameter.get_help_record(context) for parameter in shown]
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in filter(None, records)]
    yield "| argument or option | meaning |\n|---|---|\n" + "\n".join(rows)


def _cell(text: str) -> str:
    """Return a help text as a cell of a table: one line, without characters that Markdown would read as markup."""
    return re.sub(r"([|<*])", r"\\\1", " ".join(text.split()))
