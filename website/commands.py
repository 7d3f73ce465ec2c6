"""Generate the command-line reference page from the Typer app."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from silkcodec.evaluate.markdown import table

INTRODUCTION = """# Command line

This page is generated from the help texts that `silk COMMAND --help` prints.

A command exits with code 0 on success, 2 after an error, and 130 after Ctrl-C. It prints errors on one line.

## silk
"""

INSTALLED = "This command is in a separate package. To install it, run `{}` in a checkout."


def page(root: Path) -> str:
    """Return the reference page as Markdown."""
    sys.path[:0] = [str(root / folder / "src") for folder in (".", "pytorch", "lab")]
    from silkcodec.cli import app
    from silkcodec.cli.commands import INSTALL
    from silkcodec.cli.verbs import SECTIONS
    from silkcodec_lab.cli import lab
    from silkcodec_torch.cli import export, train

    silk: Any = get_command(app)
    silk.name = "silk"
    # Omit commands of other installed packages, so that the page is the same on every machine.
    commands = {name: silk.get_command(None, name) for name in silk.commands}
    of_pytorch = {name: get_command(command) for name, command in (("train", train), ("export", export))}
    sections: dict[str, list[list[str]]] = {section: [] for section in SECTIONS}
    for name, command in commands.items():
        sections[command.rich_help_panel].append(_row(name, command))
    sections["Training"] = [_row(name, command) for name, command in of_pytorch.items()]
    laboratory: Any = get_command(lab)
    sections["Learning"].append(_row("lab", laboratory))
    parts = [INTRODUCTION]
    for section, rows in sections.items():
        parts.append(f"**{section}**\n\n{table(['command', 'purpose'], rows, numeric=False)}")
    for name, command in commands.items():
        parts += [f"## silk {name}", *_described(command, f"silk {name}")]
    for name, command in of_pytorch.items():
        parts += [f"## silk {name}", INSTALLED.format(INSTALL[name]), *_described(command, f"silk {name}")]
    parts += ["## silk lab", INSTALLED.format(INSTALL["lab"]), laboratory.help]
    for name in laboratory.list_commands(None):
        command = laboratory.get_command(None, name)
        parts += [f"### silk lab {name}", *_described(command, f"silk lab {name}")]
    return "\n\n".join(parts) + "\n"


def _row(name: str, command: Any) -> list[str]:
    return [f"[`silk {name}`](#silk-{name})", _cell(command.help.split("\n\n")[0])]


def _described(command: Any, name: str) -> Iterator[str]:
    """Yield the help text of a command, its usage line, and a table of its arguments and options."""
    context = command.make_context(name, [], resilient_parsing=True)
    yield "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
    yield f"```text\n{' '.join(command.get_usage(context).removeprefix('Usage: ').split())}\n```"
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    records = [parameter.get_help_record(context) for parameter in shown]
    rows = [[f"`{name}`", _cell(text)] for name, text in filter(None, records)]
    yield table(["argument or option", "meaning"], rows, numeric=False)


def _cell(text: str) -> str:
    """Escape a help text for a table cell."""
    return re.sub(r"([<*])", r"\\\1", " ".join(text.split()))
